package manifests

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/pattern"
	"github.com/arw-project/arw/manifests/reach"
	"github.com/arw-project/arw/manifests/strict"
)

// askable are the capabilities a manifest may ask for.
var askable = []string{"action", "archive", "clock", "config", "event", "fs", "http", "infer", "kv", "log", "rand", "secret", "state"}

func (c *checker) capability(raw *rawPack, name string) Capability {
	where, asked := at{"capabilities", name}, raw.Capabilities[name]
	got := Capability{
		Name: abi.Capability(name), Scope: slices.Clone(asked.Scope), Reason: asked.Reason, Ask: asked.Ask, Optional: asked.Optional,
		TTL: time.Duration(asked.TTL), Budget: c.budget(where.key("budget"), asked.Budget),
	}
	switch {
	case abi.Capability(name).Ambient():
		c.bad(where, "remove this table", "%s carries no authority and is always there", name)
		return got
	case !slices.Contains(askable, name):
		hint := "the capabilities are " + strings.Join(askable, ", ")
		if guess := strict.Closest(name, askable); guess != "" {
			hint = fmt.Sprintf("did you mean %q?", guess)
		}
		c.bad(where, hint, "there is no such capability")
		return got
	}
	if strings.TrimSpace(asked.Reason) == "" {
		c.bad(where.key("reason"), "", "say in a sentence what the pack does with this; a person decides by it")
	}
	c.text(where.key("reason"), asked.Reason, 1, maxSummary, false)
	if got.TTL > maxTTL {
		c.bad(where.key("ttl"), "", "at most 366d, found %s", asked.TTL)
	}
	c.scopes(where.key("scope"), raw, abi.Capability(name), asked.Scope)
	return got
}

func (c *checker) scopes(where at, raw *rawPack, name abi.Capability, scopes []string) {
	check := map[abi.Capability]func(string) (problem, hint string){
		abi.Event:  func(s string) (string, string) { return checkKind(raw.Name, s) },
		abi.State:  func(s string) (string, string) { return checkStateScope(raw, s) },
		abi.FS:     checkFolder,
		abi.Action: checkToolGlob,
		abi.Secret: checkSecret,
		abi.Config: checkDocument,
		abi.HTTP:   checkReach,
		abi.Infer:  checkModel,
	}[name]
	switch {
	case check == nil && len(scopes) > 0:
		c.bad(where, "remove it", "the capability %s has no scopes", name)
		return
	case check != nil && len(scopes) == 0:
		c.bad(where, scopeExample(raw.Name, name), "the capability %s needs at least one scope", name)
	case len(scopes) > maxScopes:
		c.bad(where, "", "at most %d scopes, found %d", maxScopes, len(scopes))
		return
	}
	for i, scope := range scopes {
		switch {
		case len(scope) > maxScopeLen:
			c.bad(where.key(i), "", "at most %d bytes, found %d", maxScopeLen, len(scope))
		case slices.Contains(scopes[:i], scope):
			c.bad(where.key(i), "", "%q stands twice", scope)
		default:
			if problem, hint := check(scope); problem != "" {
				c.bad(where.key(i), hint, "%s", problem)
			}
		}
	}
}

func scopeExample(pack string, name abi.Capability) string {
	switch name {
	case abi.Event:
		if own := prefixes(pack); len(own) > 0 {
			return fmt.Sprintf("such as scope = [%q]", own[0])
		}
		return "rename the pack: its name is one of the host's words"
	case abi.State:
		return "name ids of [[state]]"
	case abi.FS:
		return `such as scope = ["read:*"] for a folder that the operator chooses`
	case abi.Secret:
		return `such as scope = ["github.token"], the names under which the operator stores them`
	}
	if name == abi.Config {
		return `such as scope = ["recipes/retrieval"], a document that "arw config list" shows`
	}
	if name == abi.HTTP {
		return fmt.Sprintf("such as scope = [%q]", reach.Example)
	}
	if name == abi.Infer {
		return `such as scope = ["*"] for any model that the operator chooses`
	}
	return `such as scope = ["arw/research:*"]`
}

var (
	kindWord   = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*\.?$`)
	secretName = regexp.MustCompile(`^[a-z0-9_*]+([.-][a-z0-9_*]+)*$`)
	modelName  = regexp.MustCompile(`^[a-z0-9*][a-z0-9._*-]*$`)
	docName    = regexp.MustCompile(`^[a-z0-9_*]+(/[a-z0-9_*]+)*$`)
	toolGlob   = regexp.MustCompile(`^([a-z0-9*-]+)/([a-z0-9*-]+):([a-z*][a-z0-9_.*-]*)$`)
)

// hostPrefixes begin the kinds of events and the read models that are the host's own. A pack that could write them could
// lie about what the host did.
var hostPrefixes = []string{
	"actions", "archive", "arw", "bus", "cache", "config", "egress", "host", "infer", "journal", "leases", "logic", "memory", "models", "packs",
	"policy", "queue", "quota", "registry", "runtime", "secrets", "service", "state", "tool", "tools", "trust",
}

// prefixes are what the event kinds and read models of a pack begin with: its name, or its namespace and name, with '_'
// for '-'.
func prefixes(pack string) []string {
	namespace, name, err := ParseName(pack)
	if err != nil {
		return []string{"name."}
	}
	underscore := strings.NewReplacer("-", "_")
	namespace, name = underscore.Replace(namespace), underscore.Replace(name)
	all := []string{name + ".", namespace + "." + name + "."}
	return slices.DeleteFunc(all, func(p string) bool {
		first, _, _ := strings.Cut(p, ".")
		return slices.Contains(hostPrefixes, first)
	})
}

// checkKind checks an event kind, a prefix of kinds (with a dot at its end) or the id of a read model.
func checkKind(pack, kind string) (problem, hint string) {
	if _, _, err := ParseName(pack); err != nil {
		return "", "" // what it must begin with is unknown until the name is mended
	}
	own := prefixes(pack)
	if len(own) == 0 {
		return fmt.Sprintf("a pack named %q can have no events or read models: both prefixes it could use are the host's", pack), "rename the pack"
	}
	if !kindWord.MatchString(kind) || len(kind) > 128 {
		return fmt.Sprintf("expected words of lower-case letters, digits and '_' with dots between, found %q", clip(kind)), fmt.Sprintf("such as %q", own[0]+"updated")
	}
	for _, prefix := range own {
		if strings.HasPrefix(kind, prefix) {
			return "", ""
		}
	}
	return fmt.Sprintf("%q is not this pack's to use", kind), fmt.Sprintf("begin with %q", own[0])
}

// checkStateScope wants the id of a read model that the manifest contributes.
func checkStateScope(raw *rawPack, id string) (problem, hint string) {
	var ids []string
	for _, s := range raw.State {
		if s.ID == id {
			return "", ""
		}
		ids = append(ids, s.ID)
	}
	if guess := strict.Closest(id, ids); guess != "" {
		return fmt.Sprintf("no [[state]] has the id %q", id), fmt.Sprintf("did you mean %q?", guess)
	}
	return fmt.Sprintf("no [[state]] has the id %q", id), "add it"
}

// checkFolder checks read:PATH and write:PATH, where the path is absolute and clean, with stars in its segments, or *.
func checkFolder(scope string) (problem, hint string) {
	mode, folder, _ := strings.Cut(scope, ":")
	switch {
	case mode != "read" && mode != "write":
		return fmt.Sprintf("expected read:PATH or write:PATH, found %q", clip(scope)), `such as "read:*" for a folder that the operator chooses`
	case folder == "*":
		return "", ""
	case !path.IsAbs(folder):
		return fmt.Sprintf("expected an absolute path or *, found %q", clip(folder)), `such as "read:/srv/papers"`
	case strings.ContainsFunc(folder, unicode.IsControl):
		return "a path has no control characters", ""
	case pattern.StarFault(folder) != "":
		return pattern.StarFault(folder), "a folder includes all that is below it"
	case path.Clean(folder) != folder:
		return fmt.Sprintf("the path %q is not in its plain form", clip(folder)), fmt.Sprintf("write %q", mode+":"+path.Clean(folder))
	}
	return "", ""
}

// checkToolGlob checks NAMESPACE/NAME:TOOL, where * stands for any characters within one of the three, and conditions behind it.
func checkToolGlob(scope string) (problem, hint string) {
	scope, where, conditional := pattern.Split(scope)
	if conditional {
		if _, err := pattern.ParseWhere(where); err != nil {
			return err.Error(), `such as "arw/research:research.search where /limit in 1..10"`
		}
	}
	parts := toolGlob.FindStringSubmatch(scope)
	if parts == nil {
		return fmt.Sprintf("expected namespace/name:tool, with * for any characters within a part; found %q", clip(scope)), `such as "arw/research:*"`
	}
	for _, part := range parts[1:3] {
		if !strings.Contains(part, "*") && !namePart.MatchString(part) {
			return fmt.Sprintf("%q is no part of a pack's name", clip(part)), `such as "arw/research:*"`
		}
	}
	return "", ""
}

// checkSecret checks the name of a secret, or a pattern of names with * for any run of characters.
func checkSecret(s string) (problem, hint string) {
	if !secretName.MatchString(s) || len(s) > 64 {
		return fmt.Sprintf("%q is no name of a secret", s), `such as "github.token", or "github.*" for all that begin so`
	}
	return "", ""
}

// checkModel checks the name of a model, or a pattern of names with * for any run of characters.
func checkModel(s string) (problem, hint string) {
	if !modelName.MatchString(s) || len(s) > 64 {
		return fmt.Sprintf("%q is no name of a model", clip(s)), `such as "small", or "*" for any that the operator grants`
	}
	return "", ""
}

// checkDocument checks the name of a document of the configuration, or a pattern of names with * for any run of characters.
func checkDocument(s string) (problem, hint string) {
	if !docName.MatchString(s) || len(s) > 64 {
		return fmt.Sprintf("%q is no name of a document of the configuration", clip(s)), `such as "recipes/retrieval", or "recipes/*" for all that begin so`
	}
	return "", ""
}

// checkReach checks an entry of http.
func checkReach(scope string) (problem, hint string) {
	if _, err := reach.Parse(scope); err != nil {
		return err.Error(), fmt.Sprintf("such as %q", reach.Example)
	}
	return "", ""
}
