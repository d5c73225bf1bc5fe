package lease

import (
	"maps"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// A folder is shared by whoever is leased it, so what one project's calls write there another's would read. That is why a
// folder belongs to one project: a lease of fs that names none holds in the default project alone, and while it lives no lease
// in another project reaches into its folders, nor around them. docs/spec/projects.md is the normative description.

// sameProject reports whether a lease of fs serves a use in a project; "" is the default one in both.
func sameProject(l, w string) bool {
	return l == w || l == "" && w == defaultProject || l == defaultProject && w == ""
}

// unshared refuses a lease of folders that live leases of another project reach, or those that the running transactions make.
// The error is Conflict and names the lease.
func (b *Book) unshared(g Grant, patterns []admission, coming []coming) error {
	if g.Capability != abi.FS {
		return nil
	}
	b.mu.Lock()
	others := slices.Collect(maps.Values(b.leases))
	b.mu.Unlock()
	for _, c := range coming {
		others = append(others, c.entry)
	}
	for _, other := range others {
		if other.grant.Capability != abi.FS || sameProject(other.grant.Project, g.Project) || !other.usable(b.now()) {
			continue
		}
		if mine, theirs, meet := meeting(patterns, other.patterns); meet {
			return abi.Errorf(abi.Conflict, "lease %q in project %q: %q and %q, which the lease %q gives to project %q, would be one folder of two projects",
				abi.FS, named(g.Project), mine, theirs, other.id, named(other.grant.Project)).
				WithHint("let the other project read it: arw project export create --from %s --to %s --pack %s --what files:FOLDER",
					named(other.grant.Project), named(g.Project), g.Pack)
		}
	}
	return nil
}

// coming is a lease that a running transaction makes, and where its publication stands among what is staged.
type coming struct {
	at    int
	entry *entry
}

func named(project string) string {
	if project == "" {
		return defaultProject
	}
	return project
}

// meeting finds two entries that may name one file, whatever may be done there. Of an entry with a star only what stands before it
// counts, so two that would never meet may be taken for two that do; never the other way round.
func meeting(mine, theirs []admission) (a, b string, meet bool) {
	for i := range mine {
		for j := range theirs {
			p, q := mine[i].root(), theirs[j].root()
			if below(p, q) || below(q, p) {
				return mine[i].text, theirs[j].text, true
			}
		}
	}
	return "", "", false
}

// root is the deepest folder above everything that an entry of folders admits, without a slash at its end.
func (p *admission) root() string {
	before, _, star := strings.Cut(p.prefix, "*")
	if star {
		return before[:max(strings.LastIndexByte(before, '/'), 0)]
	}
	return before
}

func below(folder, name string) bool {
	return strings.HasPrefix(name, folder) && (len(name) == len(folder) || name[len(folder)] == '/')
}

// Folder reports whether a folder may be lent to another project by this one: no live lease of a third reaches it. The error is
// that of granting it.
func (b *Book) Folder(project, folder string) error {
	p, wrong := parsePattern(paths, "read:"+folder)
	if wrong != "" {
		return abi.Errorf(abi.Invalid, "export %q: %s", clip(folder), wrong)
	}
	return b.unshared(Grant{Capability: abi.FS, Where: Where{Project: project}}, []admission{p}, nil)
}
