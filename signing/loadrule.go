package signing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/arw-project/arw/manifests/strict"
)

func (l *loader) loadRule(i int, in ruleEntry) *rule {
	before := len(l.problems)
	r, err := newRule(in.Packs)
	if err != nil {
		l.bad(err.Error(), `write packs = "namespace/*", "namespace/name" or "namespace/begin*"`, "rule", i, "packs")
		return nil
	}
	if r.prefix == "" {
		l.warn("this rule covers every pack of every namespace that has no rule of its own", "rule", i, "packs")
	}
	own := l.loadDemand(requireEntry{Predicate: cmp.Or(in.Predicate, PredicateSign), Signers: in.Signers, Threshold: in.Threshold}, "rule", i)
	r.demands = append(r.demands, own)
	for n, more := range in.Require {
		r.demands = append(r.demands, l.loadDemand(more, "rule", i, "require", n))
	}
	for n, d := range r.demands {
		for _, earlier := range r.demands[:n] {
			l.checkOverlap(earlier, d, "rule", i, "require", n-1, "signers")
		}
	}
	if len(l.problems) > before {
		return nil
	}
	return r
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
	d := demand{predicate: in.Predicate, builder: in.BuilderID}
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
