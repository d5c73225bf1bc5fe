package signing

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
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

// rule says what a set of packs needs: every demand of it. A [[rule]] of several patterns is several of these.
type rule struct {
	pattern    string
	prefix     string // the pattern less its final *
	exact      bool   // there was none
	publisher  string
	minVersion string    // canonical, with its v; empty: any
	expires    time.Time // zero: never
	demands    []demand
	path       []any // where the pattern stands in the file
}

// demand wants distinct signers of one statement about the pack. A rule's first demand is its own, the rest are its
// [[rule.require]].
type demand struct {
	role      string
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

// RuleNote says of one rule of a policy whether it decides about a pack, and why (not).
type RuleNote struct {
	Rule      string `json:"rule"` // its pattern
	Publisher string `json:"publisher,omitempty"`
	Applies   bool   `json:"applies"`
	Why       string `json:"why"`
}

// Rules lists every rule with what it has to say about the pack, in the order in which they are asked.
func (p *Policy) Rules(pack string) []RuleNote {
	applies := p.ruleFor(pack)
	notes := make([]RuleNote, len(p.rules))
	for i, r := range p.rules {
		n := RuleNote{Rule: r.pattern, Publisher: r.publisher, Applies: r == applies}
		switch {
		case n.Applies && r.exact:
			n.Why = "it names the pack"
		case n.Applies:
			n.Why = "of the rules that cover the pack, its pattern is the longest"
		case r.covers(pack):
			n.Why = fmt.Sprintf("rule %q is nearer to the pack", applies.pattern)
		default:
			n.Why = "it does not cover the pack"
		}
		notes[i] = n
	}
	return notes
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
