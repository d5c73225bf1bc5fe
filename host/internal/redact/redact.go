// Package redact keeps one promise: a secret it knows, or recognises, does not stand in what it gives back.
//
// It knows secrets in three ways: exact values (what the vault holds) in plain and in the usual encodings; rules, which
// are shapes of well-known tokens and keys; and entropy, for a value that stands behind a name such as "password" and
// looks drawn by chance. Rules and entropy see text only and can be fooled by splitting or compressing, so redaction is a
// seat belt for logs, ledgers, previews, prompts and snapshots; what keeps a secret from a guest is that the guest never
// gets it. docs/spec/secrets.md is the normative description.
//
// A Place is a door by which bytes leave or are kept; the parts of the house hold one each, and what is found there is
// counted by place and rule (Counts) without what it was.
package redact

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/arw-project/arw/abi"
)

// Mask replaces what was found where a rule names nothing else.
const Mask = "***"

// Finding is one secret that was taken out. It never holds the secret.
type Finding struct {
	Rule string `json:"rule"` // the rule's id, "entropy", or "vault:" and the name of the secret
	Hint string `json:"hint,omitempty"`
	At   int    `json:"at"`  // bytes from the beginning of the original
	Len  int    `json:"len"` // bytes of the original that were replaced
}

// Value is a secret known by its bytes. The Redactor keeps a reference, never a copy of its own in text.
type Value struct {
	Name  string
	Bytes []byte
}

// MinValue is the shortest exact value that is looked for, in bytes: shorter ones would black out ordinary words.
const MinValue = 8

// Redactor finds and replaces. It is safe for concurrent use; SetValues may be called at any time.
type Redactor struct {
	rules  []rule
	always []int // of rules: those without words to look for first
	words  words
	values atomic.Pointer[values]
	tally  tally
}

// New makes a Redactor from rules, in whose order overlapping findings are settled; Entropy is on when it is asked for.
// Errors: Invalid, with the id of the rule whose pattern cannot be compiled or that would match nothing or everything.
func New(rules []Rule, entropy bool) (*Redactor, error) {
	r := &Redactor{}
	r.tally.init()
	seen := map[string]bool{}
	for _, one := range rules {
		if seen[one.ID] {
			return nil, abi.Errorf(abi.Invalid, "redaction rule %q: there are two of that id", one.ID)
		}
		seen[one.ID] = true
		if one.Disabled {
			continue
		}
		c, err := compile(one)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, c)
	}
	if entropy {
		r.rules = append(r.rules, entropyRule())
	}
	for i := range r.rules {
		if r.rules[i].always {
			r.always = append(r.always, i)
		}
	}
	r.words.index(r.rules)
	return r, nil
}

// SetValues replaces the exact values. Values under MinValue bytes are left out.
func (r *Redactor) SetValues(all []Value) {
	var forms []needle
	for _, v := range all {
		if len(v.Bytes) >= MinValue {
			forms = append(forms, needles(v)...)
		}
	}
	// The longest first, so that a value that contains another is replaced as a whole.
	slices.SortStableFunc(forms, func(a, b needle) int { return cmp.Compare(len(b.text), len(a.text)) })
	r.values.Store(indexed(forms))
}

// Bytes returns text without its secrets and what was found; when nothing was, it returns text itself. It takes time in
// the length of the text, about a nanosecond a byte, and for each place where a word of a rule stands.
func (r *Redactor) Bytes(text []byte) ([]byte, []Finding) {
	if r == nil || len(text) == 0 {
		return text, nil
	}
	spans := r.find(text)
	if len(spans) == 0 {
		return text, nil
	}
	out := make([]byte, 0, len(text))
	findings := make([]Finding, 0, len(spans))
	at := 0
	for _, s := range spans {
		out = append(append(out, text[at:s.from]...), s.mask...)
		findings = append(findings, Finding{Rule: s.rule, Hint: s.hint, At: s.from, Len: s.to - s.from})
		at = s.to
	}
	return append(out, text[at:]...), findings
}

// String is Bytes for strings.
func (r *Redactor) String(text string) (string, []Finding) {
	if r == nil || text == "" {
		return text, nil
	}
	clean, found := r.Bytes([]byte(text))
	if found == nil {
		return text, nil
	}
	return string(clean), found
}

// Clean is String for callers that do not ask what was found.
func (r *Redactor) Clean(text string) string {
	clean, _ := r.String(text)
	return clean
}

// span is a stretch of text to replace. Of two that overlap the one of lower rank lends its name.
type span struct {
	from, to         int
	rank             int
	rule, hint, mask string
}

// find is every stretch to replace, in order and without overlap. Exact values win over rules, rules over entropy,
// because the first of them that takes a stretch names the cause best; stretches that touch another's are joined to it.
func (r *Redactor) find(text []byte) []span {
	spans := r.values.Load().find(nil, text)
	for _, i := range r.always {
		spans = r.rules[i].everywhere(spans, text, i)
	}
	spans = r.words.find(spans, text, r.rules)
	if len(spans) < 2 {
		return spans
	}
	return disjoint(spans)
}

// disjoint sorts spans and joins those that overlap.
func disjoint(spans []span) []span {
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	out := spans[:1]
	for _, s := range spans[1:] {
		last := &out[len(out)-1]
		if s.from >= last.to {
			out = append(out, s)
			continue
		}
		to := max(last.to, s.to)
		if s.rank < last.rank {
			from := last.from
			*last = s
			last.from = from
		}
		last.to = to
	}
	return out
}

// Summary counts findings by rule, for an event: it tells what kinds of secrets were there and not where.
func Summary(findings []Finding) map[string]int {
	n := map[string]int{}
	for _, f := range findings {
		n[f.Rule]++
	}
	return n
}

// Describe is Summary as a line for people: "2 github_token, 1 entropy".
func Describe(findings []Finding) string {
	n := Summary(findings)
	names := make([]string, 0, len(n))
	for name := range n {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(n[name]))
		b.WriteByte(' ')
		b.WriteString(name)
	}
	return b.String()
}
