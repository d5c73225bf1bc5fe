package lease

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/pattern"
	"github.com/arw-project/arw/manifests/reach"
)

// Bounds of a grant's scope.
const (
	MaxScope      = 64   // entries
	MaxScopeEntry = 4096 // bytes of one entry
)

// family is how the scope entries and targets of a capability are compared.
type family uint8

const (
	unscoped family = iota // log, kv, clock, rand, archive: no entries, no target
	paths                  // fs: "read:/abs/path", "write:/abs/*/path", "read:*"
	words                  // event, state: "research." covers all kinds that begin so, "research.done" itself alone
	tools                  // action: "namespace/name:tool" with * inside a part, and " where " with conditions on the arguments
	requests               // http: "GET,POST https://host/path", see package reach
	names                  // infer, secret, config, export: the name of a model, key, document or thing, * for any run of characters
)

// Export is the capability of reading what another project wrote, "kv:PROJECT:KEY", "state:PROJECT:NAME" or
// "files:PROJECT:/PATH". No manifest asks for it: an export of the operator's gives it to a pack in a project.
const Export abi.Capability = "export"

// familyOf is false for a capability this host cannot lease.
func familyOf(c abi.Capability) (family, bool) {
	switch c {
	case abi.Log, abi.KV, abi.Clock, abi.Rand, abi.Archive:
		return unscoped, true
	case abi.FS:
		return paths, true
	case abi.Event, abi.State:
		return words, true
	case abi.Action:
		return tools, true
	case abi.HTTP:
		return requests, true
	case abi.Infer, abi.Secret, abi.Config, Export:
		return names, true
	}
	return 0, false
}

// admission is one scope entry, parsed when the lease is made so that a use compares strings only.
type admission struct {
	text   string // as granted; what Use returns
	family family
	write  bool        // paths
	any    bool        // paths: "*"
	star   bool        // paths: a * in prefix
	prefix string      // paths: the root without a slash at its end; tools: without conditions; else the entry
	reach  reach.Entry // requests
	tool   pattern.Tool
	glob   pattern.Compiled // names
	where  pattern.Where
}

// parsePattern reads one entry of a scope; what is wrong with it is the error's text.
func parsePattern(f family, entry string) (admission, string) {
	p := admission{text: entry, family: f, prefix: entry}
	if entry == "" || len(entry) > MaxScopeEntry || !utf8.ValidString(entry) || strings.ContainsFunc(entry, unicode.IsControl) {
		return p, "an entry is text of 1 to 4096 bytes without control characters"
	}
	switch f {
	case unscoped:
		return p, "this capability takes no scope"
	case paths:
		return parsePath(p, entry)
	case words:
		if strings.ContainsAny(entry, " */:") || entry[0] == '.' || strings.Contains(entry, "..") {
			return p, `an entry is a name ("research.done") or, ending with a dot, the beginning of names ("research.")`
		}
	case tools:
		name, conditions, has := pattern.Split(entry)
		p.prefix = name
		if has {
			var err error
			if p.where, err = pattern.ParseWhere(conditions); err != nil {
				return p, err.Error()
			}
		}
		var shaped bool
		if p.tool, shaped = pattern.NewTool(name); !shaped || strings.Contains(name, " ") {
			return p, `an entry is "namespace/name:tool" or "namespace/name", and * stands for any part of one of the three; conditions follow behind " where "`
		}
	case names:
		if strings.Contains(entry, " ") {
			return p, `an entry is a name, in which * stands for any run of characters ("local/*")`
		}
		p.glob = pattern.Compile(entry)
	case requests:
		e, err := reach.Parse(entry)
		if err != nil {
			return p, err.Error()
		}
		p.reach = e
	}
	return p, ""
}

func parsePath(p admission, entry string) (admission, string) {
	mode, name, _ := strings.Cut(entry, ":")
	p.write = mode == "write"
	if mode != "read" && !p.write {
		return p, `an entry begins with "read:" or "write:"`
	}
	if name == "*" {
		p.any, p.prefix = true, ""
		return p, ""
	}
	if !strings.HasPrefix(name, "/") || path.Clean(name) != name {
		return p, `a folder is "*" or an absolute path without "..", "." and doubled slashes`
	}
	p.prefix = strings.TrimSuffix(name, "/")
	p.star = strings.Contains(name, "*")
	return p, pattern.StarFault(name)
}

// target is what a use wants, split once for all entries it meets.
type target struct {
	text  string
	name  string       // paths: the cleaned path
	write bool         // paths
	reach reach.Target // requests
	tool  pattern.Reference
	args  pattern.Arguments
	ok    bool // false: no entry can cover it
}

// parse fills an empty target in its place, since a use has no time to copy one. It allocates only for a path that is not clean.
func (t *target) parse(f family, text string) {
	t.text = text
	switch f {
	case unscoped:
		t.ok = text == ""
	case paths:
		name, read := strings.CutPrefix(text, "read:")
		if !read {
			name, t.write = strings.CutPrefix(text, "write:")
		}
		if t.ok = (read || t.write) && len(name) > 0 && name[0] == '/'; !t.ok {
			return
		}
		if strings.Contains(name, "/.") || strings.Contains(name, "//") || name[len(name)-1] == '/' {
			name = path.Clean(name)
		}
		t.name = name
	case requests:
		t.reach, t.ok = reach.ParseTarget(text)
	case tools:
		t.tool, t.ok = pattern.SplitTool(text)
	default:
		t.ok = text != ""
	}
}

// covers reports whether the entry admits the target.
func (p *admission) covers(t *target) bool {
	switch p.family {
	case paths:
		if t.write && !p.write {
			return false
		}
		if p.star {
			return pattern.Below(p.prefix, t.name)
		}
		if p.any || !strings.HasPrefix(t.name, p.prefix) {
			return p.any
		}
		return len(t.name) == len(p.prefix) || t.name[len(p.prefix)] == '/'
	case words:
		if p.prefix[len(p.prefix)-1] == '.' {
			return len(t.text) > len(p.prefix) && strings.HasPrefix(t.text, p.prefix)
		}
		return p.prefix == t.text
	case tools:
		return p.tool.Matches(&t.tool) && p.where.Covers(&t.args)
	case names:
		return p.glob.Matches(t.text)
	case requests:
		return p.reach.Covers(&t.reach)
	}
	return false
}

// within reports whether everything q admits, p admits.
func (p *admission) within(q *admission) bool {
	switch p.family {
	case paths:
		if q.write && !p.write {
			return false
		}
		return p.any || (!q.any && p.covers(&target{name: q.prefix, write: q.write}))
	case words:
		return p.text == q.text || p.covers(&target{text: q.text})
	case requests:
		return p.reach.Within(&q.reach)
	}
	if p.family == names {
		return pattern.Glob(p.text, q.text, "")
	}
	return pattern.Glob(p.prefix, q.prefix, "/:") && p.where.Within(&q.where)
}

// CheckScope reads every entry of a scope. A bad one is an *abi.Error with code Invalid that quotes it. A scoped
// capability needs at least one entry; the others take none.
func CheckScope(c abi.Capability, scope []string) error {
	_, err := parseScope(c, scope)
	return err
}

func parseScope(c abi.Capability, scope []string) ([]admission, error) {
	f, ok := familyOf(c)
	if !ok {
		return nil, abi.Errorf(abi.Invalid, "lease %q: this host leases no such capability", c).
			WithHint("there are log, kv, event, state, fs, clock, rand, action, http, infer, secret, archive and config")
	}
	if len(scope) > MaxScope {
		return nil, abi.Errorf(abi.Invalid, "lease %q: %d scope entries, more than %d", c, len(scope), MaxScope)
	}
	if f != unscoped && len(scope) == 0 {
		return nil, abi.Errorf(abi.Invalid, "lease %q: it needs a scope", c).WithHint("for example --scope %s", exampleScope(f))
	}
	entries := make([]admission, len(scope))
	for i, entry := range scope {
		p, wrong := parsePattern(f, entry)
		if wrong != "" {
			return nil, abi.Errorf(abi.Invalid, "lease %q: scope %q: %s", c, clip(entry), wrong)
		}
		entries[i] = p
	}
	return entries, nil
}

func exampleScope(f family) string {
	return [...]string{unscoped: "", paths: "read:/path", words: "research.", tools: "arw/research:research.search", requests: "https://api.example.com/v1", names: "local/*"}[f]
}

// Reaches reports whether an entry of a scope covers a target; an entry that cannot be read covers nothing. args are those of a
// call of a tool, nil otherwise.
func Reaches(c abi.Capability, entry, wanted string, args []byte) bool {
	f, ok := familyOf(c)
	if !ok {
		return false
	}
	p, wrong := parsePattern(f, entry)
	t := target{args: pattern.NewArguments(args)}
	t.parse(f, wanted)
	return wrong == "" && t.ok && p.covers(&t)
}

// Names reports whether an entry names a target, whatever the conditions it has on arguments.
func Names(c abi.Capability, entry, wanted string) bool {
	if c == abi.Action {
		entry, _, _ = pattern.Split(entry)
	}
	return Reaches(c, entry, wanted, nil)
}

// Covers refuses a scope that reaches beyond the one the manifest asked for: nobody can grant a pack more than it told
// people it wants. Every entry wanted must lie within one entry of the manifest; a manifest that asks "read:*" may be
// granted any folder for reading, one that asks for a folder that folder and what lies in it. The error is an
// *abi.Error with code Denied that names the entry, or Invalid for an entry of either that cannot be read.
func Covers(c abi.Capability, manifest, want []string) error {
	asked, err := parseScope(c, manifest)
	if err != nil {
		return err
	}
	wanted, err := parseScope(c, want)
	if err != nil {
		return err
	}
	for i := range wanted {
		if !slices.ContainsFunc(asked, func(p admission) bool { return p.within(&wanted[i]) }) {
			return abi.Errorf(abi.Denied, "lease %q: %q lies outside what the manifest asks for (%s)", c, wanted[i].text, quoted(manifest)).
				WithHint("grant something inside it, or have the author widen [capabilities.%s] in pack.toml", c)
		}
	}
	return nil
}
