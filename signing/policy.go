package signing

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Policy is a loaded trust.toml with every key and trusted root it names: who may sign which packs. It is immutable.
type Policy struct {
	digest   string
	rules    []*rule            // longest literal prefix first
	signers  []*signer          // by name
	keys     map[string]*signer // key signers by key ID
	warnings []string
}

// Digest identifies the policy: "sha256:…" over the text of trust.toml and of every file it names, so that a key swapped
// under an unchanged trust.toml is another policy. docs/spec/trust.md has the encoding.
func (p *Policy) Digest() string { return p.digest }

// Warnings lists, as "file:line: …", what is allowed but worth a person's look: signatures that stand in no log, entries
// that nothing uses, a rule for every pack. The caller owns the slice.
func (p *Policy) Warnings() []string { return slices.Clone(p.warnings) }

// rule says what a set of packs needs: every demand of it.
type rule struct {
	pattern string
	prefix  string // the pattern less its final *
	exact   bool   // there was none
	demands []demand
}

// demand wants distinct signers of one statement about the pack. A rule's first demand is its own, the rest are its
// [[rule.require]].
type demand struct {
	predicate string
	signers   []*signer
	threshold int
	builder   string
}

func (d demand) names() []string {
	names := make([]string, len(d.signers))
	for i, s := range d.signers {
		names[i] = s.name
	}
	return names
}

func (r *rule) covers(pack string) bool {
	return pack == r.prefix || !r.exact && strings.HasPrefix(pack, r.prefix)
}

func (r *rule) asksFor(predicate string) bool {
	return slices.ContainsFunc(r.demands, func(d demand) bool { return d.predicate == predicate })
}

// ruleFor finds the one rule that applies; rules never add up.
func (p *Policy) ruleFor(pack string) *rule {
	if i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.covers(pack) }); i >= 0 {
		return p.rules[i]
	}
	return nil
}

var (
	packName    = regexp.MustCompile(`\A[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*\z`)
	packPattern = regexp.MustCompile(`\A(\*|[a-z0-9][a-z0-9-]*/(\*|[a-z0-9][a-z0-9-]*\*?))\z`)
	entryName   = regexp.MustCompile(`\A[a-z0-9][a-z0-9._-]*\z`)
)

func newRule(pattern string) (*rule, error) {
	if !packPattern.MatchString(pattern) {
		return nil, fmt.Errorf("%q is not a pack pattern", clean(pattern))
	}
	prefix, open := strings.CutSuffix(pattern, "*")
	return &rule{pattern: pattern, prefix: prefix, exact: !open}, nil
}
