package manifests

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// Bounds of the lists and texts of a manifest. Texts are counted in Unicode code points.
const (
	maxTools       = 256
	maxExamples    = 16
	maxScopes      = 64
	maxScopeLen    = 1024
	maxFiles       = 256
	maxAuthors     = 16
	maxID          = 64
	maxTitle       = 80
	maxSummary     = 300  // descriptions of packs and read models, reasons, authors
	maxDescription = 4000 // description of a tool
	maxTTL         = 366 * 24 * time.Hour
)

var (
	namePart = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
	itemID   = regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`)
)

// checker turns what was written into a Pack and collects what is wrong with it.
type checker struct {
	lines    *strict.Lines
	problems strict.Problems
	broken   map[string]bool // keys that have a problem already, whose consequences are not worth another
}

func newChecker(lines *strict.Lines, problems strict.Problems) *checker {
	c := &checker{lines: lines, broken: map[string]bool{}}
	for _, p := range problems {
		c.problems = append(c.problems, p)
		c.broken[p.Key] = true
	}
	return c
}

// at is a place in the manifest.
type at []any

func (a at) key(parts ...any) at { return append(slices.Clip(a), parts...) }

// bad notes a problem, unless the key or one above it has one already.
func (c *checker) bad(where at, hint, format string, args ...any) {
	if !c.isBroken(where) {
		c.broken[strict.Path(where...)] = true
		c.problems = append(c.problems, c.lines.Problem(fmt.Sprintf(format, args...), hint, where...))
	}
}

// badInside notes the faults of one JSON document, each at its own place inside it.
func (c *checker) badInside(where at, doc any, faults []Fault, prefix string) {
	if c.isBroken(where) {
		return
	}
	for _, f := range faults {
		place := where.key(places(doc, f.Pointer)...)
		c.problems = append(c.problems, c.lines.Problem(prefix+f.Msg, "", place...))
	}
	c.broken[strict.Path(where...)] = true
}

// isBroken reports whether the key or one above it has a problem already.
func (c *checker) isBroken(where at) bool {
	for i := 1; i <= len(where); i++ {
		if c.broken[strict.Path(where[:i]...)] {
			return true
		}
	}
	return false
}

func (c *checker) pack(raw *rawPack) *Pack {
	if raw.Schema != 1 && c.lines.Has("schema") {
		c.bad(at{"schema"}, "", "this host reads version 1 of the manifest, found %d", raw.Schema)
	}
	p := &Pack{
		Name: raw.Name, Version: raw.Version, Description: raw.Description, License: raw.License, Authors: slices.Clone(raw.Authors),
		Homepage: raw.Homepage, Repository: raw.Repository, Module: c.module(raw.Module),
	}
	c.head(raw)
	if len(raw.Tools) == 0 || len(raw.Tools) > maxTools {
		c.bad(at{"tools"}, "", "a pack has 1 to %d tools, found %d", maxTools, len(raw.Tools))
	}
	for i := range raw.Tools {
		p.Tools = append(p.Tools, c.tool(at{"tools", i}, &raw.Tools[i]))
	}
	unique(c, at{"tools"}, raw.Tools, func(t rawTool) string { return t.ID })
	for _, f := range c.files("units", raw.Units) {
		p.Units = append(p.Units, Unit(f))
	}
	for _, f := range c.files("recipes", raw.Recipes) {
		p.Recipes = append(p.Recipes, Recipe(f))
	}
	for _, f := range c.files("panels", raw.Panels) {
		p.Panels = append(p.Panels, Panel(f))
	}
	p.State = c.state(raw)
	for _, name := range slices.Sorted(maps.Keys(raw.Capabilities)) {
		p.Capabilities = append(p.Capabilities, c.capability(raw, name))
	}
	c.reachable(p)
	return p
}

func (c *checker) head(raw *rawPack) {
	if _, _, err := ParseName(raw.Name); err != nil {
		c.bad(at{"name"}, `write namespace/name in lower case, such as "acme/weather"`, "%s", nameProblem(raw.Name))
	}
	c.version(raw.Version)
	c.text(at{"description"}, raw.Description, 1, maxSummary, false)
	c.credits(raw.License, raw.Authors)
	c.web(at{"homepage"}, raw.Homepage)
	c.web(at{"repository"}, raw.Repository)
}

// credits checks whose work it is and under which licence.
func (c *checker) credits(license string, authors []string) {
	if license != "" && !isSPDX(license) {
		c.bad(at{"license"}, `such as "MIT" or "Apache-2.0 OR MIT"`, "expected an SPDX licence expression, found %q", license)
	}
	if len(authors) > maxAuthors {
		c.bad(at{"authors"}, "", "at most %d authors, found %d", maxAuthors, len(authors))
	}
	for i, author := range authors {
		c.text(at{"authors", i}, author, 1, maxSummary, false)
	}
}

func (c *checker) version(version string) {
	switch v := "v" + version; {
	case strings.HasPrefix(version, "v") && semver.IsValid(version):
		c.bad(at{"version"}, fmt.Sprintf("write %q", version[1:]), "a version has no leading v")
	case semver.Build(v) != "":
		c.bad(at{"version"}, "a registry tag cannot hold it", "a version has no build metadata (%s)", semver.Build(v))
	case semver.Canonical(v) != v || len(version) > maxID:
		c.bad(at{"version"}, `such as "0.1.0" or "1.0.0-rc.1"`, "expected a semantic version with three numbers, found %q", version)
	}
}

func (c *checker) module(raw rawModule) Module {
	m := Module{File: raw.File, Runtime: raw.Runtime, ABI: raw.ABI}
	c.file(at{"module", "file"}, raw.File)
	if m.Runtime == "" && !c.lines.Has("module", "runtime") {
		m.Runtime = "arw"
	}
	c.oneOf(at{"module", "runtime"}, m.Runtime, "arw", "extism")
	if _, err := parseRange(raw.ABI); err != nil {
		c.bad(at{"module", "abi"}, `such as "^1.0" or ">=1.0 <2"`, "%s", err)
	}
	return m
}

func (c *checker) oneOf(where at, word string, words ...string) {
	if slices.Contains(words, word) {
		return
	}
	hint := ""
	if guess := strict.Closest(word, words); guess != "" {
		hint = fmt.Sprintf("did you mean %q?", guess)
	}
	c.bad(where, hint, "expected %s, found %q", quoteAll(words), word)
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// files checks a list of contributed files.
func (c *checker) files(list string, raw []rawFile) []struct{ ID, Title, File string } {
	if len(raw) > maxFiles {
		c.bad(at{list}, "", "at most %d %s, found %d", maxFiles, list, len(raw))
	}
	var files []struct{ ID, Title, File string }
	for i, f := range raw {
		where := at{list, i}
		c.id(where.key("id"), f.ID)
		c.text(where.key("title"), f.Title, 1, maxTitle, false)
		c.file(where.key("file"), f.File)
		files = append(files, struct{ ID, Title, File string }(f))
	}
	unique(c, at{list}, raw, func(f rawFile) string { return f.ID })
	return files
}

func (c *checker) id(where at, id string) {
	if !itemID.MatchString(id) || len(id) > maxID {
		c.bad(where, "", "expected a lower-case letter and then letters, digits, '_', '.' or '-', at most %d in all; found %q", maxID, id)
	}
}

// unique refuses an id that stands twice in one list, at its second place, naming the line of the first.
func unique[T any](c *checker, list at, items []T, id func(T) string) {
	first := map[string]int{}
	for i, item := range items {
		name := id(item)
		before, twice := first[name]
		if name == "" || !twice {
			first[name] = i
			continue
		}
		c.bad(list.key(i, "id"), "", "%q is already the id of %s in line %d", name, strict.Path(list.key(before)...), c.lines.At(list.key(before, "id")...))
	}
}

// state checks the read models, which live in one name space with those of all other packs.
func (c *checker) state(raw *rawPack) []State {
	if len(raw.State) > maxFiles {
		c.bad(at{"state"}, "", "at most %d read models, found %d", maxFiles, len(raw.State))
	}
	var states []State
	for i, s := range raw.State {
		where := at{"state", i}
		if problem, hint := checkKind(raw.Name, s.ID); problem != "" {
			c.bad(where.key("id"), hint, "%s", problem)
		}
		c.text(where.key("description"), s.Description, 1, maxSummary, false)
		states = append(states, State{ID: s.ID, Description: s.Description, Schema: c.schema(where.key("schema"), s.Schema)})
	}
	unique(c, at{"state"}, raw.State, func(s rawState) string { return s.ID })
	return states
}

// reachable refuses a capability that no tool could ever use: the host refuses every function above the effects of the
// tool that is called, so such a request is either a mistake in effects or authority that nobody needs.
func (c *checker) reachable(p *Pack) {
	if c.isBroken(at{"tools"}) {
		return
	}
	most := abi.Pure
	for i := range p.Tools {
		if c.isBroken(at{"tools", i, "effects"}) {
			return // what the tools may do is unknown until that is mended
		}
		most = max(most, p.Tools[i].Effects)
	}
	for i := range p.Tools {
		for n, name := range p.Tools[i].Capabilities {
			if _, asked := p.Capability(name); !asked {
				c.bad(at{"tools", i, "capabilities", n}, fmt.Sprintf("add [capabilities.%s], or remove it here", name), "the pack asks for no capability %q", name)
			}
		}
	}
	for _, capability := range p.Capabilities {
		least, known := abi.OpenWorld, false
		for _, f := range abi.Functions {
			if f.Capability == capability.Name {
				least, known = min(least, f.Effect), true
			}
		}
		if known && most < least {
			c.bad(at{"capabilities", string(capability.Name)}, fmt.Sprintf("declare effects = %q on the tool that needs it, or remove the capability", least),
				"no tool can use this: it needs effects of at least %q, and the tools declare at most %q", least, most)
		}
		for i, scope := range capability.Scope {
			if capability.Name == abi.FS && strings.HasPrefix(scope, "write:") && most < abi.Writes {
				c.bad(at{"capabilities", "fs", "scope", i}, `declare effects = "writes" on the tool that needs it, or ask for "read:"`,
					"no tool can write: the tools declare effects of at most %q", most)
			}
		}
	}
}
