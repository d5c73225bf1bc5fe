package lease

import (
	"maps"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/pattern"
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

// meeting finds two entries that some path lies in, whatever may be done there.
func meeting(mine, theirs []admission) (a, b string, meet bool) {
	for i := range mine {
		for j := range theirs {
			if p, q := &mine[i], &theirs[j]; p.any || q.any || pattern.Meet(p.prefix, q.prefix) {
				return p.text, q.text, true
			}
		}
	}
	return "", "", false
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
