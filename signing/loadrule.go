package signing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/arw-project/arw/manifests/strict"
	"golang.org/x/mod/semver"
)

// loadRule makes one rule for every pattern; they share everything else.
func (l *loader) loadRule(i int, in ruleEntry) []*rule {
	before := len(l.problems)
	base := rule{publisher: l.label(in.Publisher, "rule", i, "publisher"), expires: in.Expires}
	base.minVersion = l.minVersion(in.MinVersion, "rule", i, "min_version")
	own := l.loadDemand(requireEntry{Role: cmp.Or(in.Role, roleAuthor), Predicate: cmp.Or(in.Predicate, PredicateSign),
		Signers: in.Signers, Threshold: in.Threshold}, "rule", i)
	base.demands = append(base.demands, own)
	for n, more := range in.Require {
		if more.Role == "" && more.Predicate == own.predicate {
			more.Role = roleReviewer
		}
		base.demands = append(base.demands, l.loadDemand(more, "rule", i, "require", n))
	}
	for n, d := range base.demands {
		for _, earlier := range base.demands[:n] {
			l.checkOverlap(earlier, d, "rule", i, "require", n-1, "signers")
		}
	}
	var out []*rule
	for _, p := range l.patterns(i, in.Packs) {
		r, err := newRule(p.text)
		if err != nil {
			l.bad(err.Error(), `write packs = "namespace/*", "namespace/name" or "namespace/begin*"`, p.path...)
			continue
		}
		if r.prefix == "" {
			l.warn("this rule covers every pack of every namespace that has no rule of its own", p.path...)
		}
		r.publisher, r.minVersion, r.expires, r.demands = base.publisher, base.minVersion, base.expires, base.demands
		r.path = p.path
		out = append(out, r)
	}
	if len(l.problems) > before {
		return nil
	}
	return out
}

// The roles that a signature has where the policy gives it no other.
const (
	roleAuthor   = "author"
	roleReviewer = "reviewer"
)

// pattern is one pack pattern and where it stands.
type pattern struct {
	text string
	path []any
}

// patterns reads packs = "…" or packs = ["…", "…"].
func (l *loader) patterns(i int, in any) []pattern {
	at := []any{"rule", i, "packs"}
	switch v := in.(type) {
	case string:
		return []pattern{{v, at}}
	case []any:
		var out []pattern
		for n, item := range v {
			here := append(slices.Clone(at), n)
			text, ok := item.(string)
			if !ok {
				l.bad(fmt.Sprintf("expected a string, found %s", strict.Describe(item)), "", here...)
				continue
			}
			out = append(out, pattern{text, here})
		}
		if len(v) == 0 {
			l.bad("it lists no pack", `write packs = "namespace/*"`, at...)
		}
		return out
	}
	l.bad(fmt.Sprintf("expected a string, found %s", strict.Describe(in)), "or a list of strings", at...)
	return nil
}

// label keeps what will be shown beside a pack printable and short.
func (l *loader) label(text string, path ...any) string {
	if text != clean(text) || len(text) > 100 {
		l.bad("it cannot be shown in one line", "at most 100 bytes of printable text", path...)
	}
	return text
}

func (l *loader) minVersion(text string, path ...any) string {
	if text == "" {
		return ""
	}
	v, ok := canonicalVersion(text)
	if !ok {
		l.bad(fmt.Sprintf("%q is not a version", clean(text)), `write it as in pack.toml, such as "1.4.0"`, path...)
	}
	return v
}

// canonicalVersion puts the v before a semantic version that package semver wants; short forms are refused.
func canonicalVersion(text string) (string, bool) {
	v := "v" + text
	return v, semver.IsValid(v) && semver.Canonical(v) == v
}

// checkOverlap keeps roles apart: for one predicate a signer in two lists would satisfy both with one signature.
func (l *loader) checkOverlap(a, b demand, path ...any) {
	if a.predicate != b.predicate {
		return
	}
	for _, s := range b.signers {
		if slices.Contains(a.signers, s) {
			l.bad(fmt.Sprintf("signer %q stands in two lists for %q", s.name, a.predicate),
				"a signer has one role for one predicate; take it out of one list", path...)
		}
	}
}

func (l *loader) loadDemand(in requireEntry, path ...any) demand {
	at := func(key string) []any { return append(slices.Clone(path), key) }
	d := demand{role: in.Role, predicate: in.Predicate, builder: in.BuilderID}
	if in.Role != "" && !entryName.MatchString(in.Role) {
		l.bad(fmt.Sprintf("%q is not a name", clean(in.Role)), nameHint, at("role")...)
	}
	if in.Predicate == "" {
		l.bad("it is empty", fmt.Sprintf("for example %q", PredicateProvenance), at("predicate")...)
	}
	if in.BuilderID != "" && in.Predicate != PredicateProvenance {
		l.bad(fmt.Sprintf("a builder is read from %s only", PredicateProvenance), "take builder_id away", at("builder_id")...)
	}
	seen := map[string]bool{}
	for n, name := range in.Signers {
		s, known := l.signers[name]
		switch {
		case !known:
			l.bad(fmt.Sprintf("there is no signer %q", clean(name)), "add [signer."+clean(name)+"]", append(at("signers"), n)...)
		case seen[name]:
			l.bad(fmt.Sprintf("signer %q is listed twice", name), "it counts once; take one away", append(at("signers"), n)...)
		case s != nil:
			d.signers = append(d.signers, s)
		}
		l.used["signer "+name], seen[name] = true, true
	}
	if len(in.Signers) == 0 {
		l.bad("it lists nobody", "a pack that nobody may sign needs no rule", at("signers")...)
		return d
	}
	d.threshold = l.threshold(in.Threshold, len(seen), at("threshold"))
	return d
}

// threshold reads "any" (the default), "all" or a number of distinct signers.
func (l *loader) threshold(in any, signers int, path []any) int {
	switch n := in.(type) {
	case nil:
		return 1
	case int64:
		if n >= 1 && n <= int64(signers) {
			return int(n)
		}
		l.bad(fmt.Sprintf("%d of %d signers", n, signers), "it is a number from 1 to the number of signers", path...)
		return 1
	case string:
		switch n {
		case "any":
			return 1
		case "all":
			return signers
		}
	}
	l.bad(fmt.Sprintf("expected a number, \"any\" or \"all\", found %s", strict.Describe(in)), "", path...)
	return 1
}
