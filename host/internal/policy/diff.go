package policy

import (
	"bytes"
	"slices"

	"github.com/arw-project/arw/abi"
)

// Difference is what another set of policies changes: its policies, and its answers to questions.
type Difference struct {
	Before  string      `json:"before"` // digests
	After   string      `json:"after"`
	Added   []Rule      `json:"added"`
	Removed []Rule      `json:"removed"`
	Changed []Change    `json:"changed"`
	Shifts  []CaseShift `json:"case_shifts"`
	Cases   int         `json:"cases"` // asked
}

// Change is a policy that says something else under the same id.
type Change struct {
	Before Rule `json:"before"`
	After  Rule `json:"after"`
}

// CaseShift is a case that is answered otherwise.
type CaseShift struct {
	Case   string   `json:"case"`
	Before Decision `json:"before"`
	After  Decision `json:"after"`
}

// Empty reports whether nothing changes.
func (d Difference) Empty() bool {
	return len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Shifts) == 0
}

// Diff compares two sets. Policies are compared by what they say, not by how it is written or where; cases by outcome, lifetime, budget,
// how long a use waits, and obligations.
func Diff(before, after *Set, cases []Case) Difference {
	d := Difference{
		Before: before.digest, After: after.digest, Cases: len(cases), Added: []Rule{}, Removed: []Rule{}, Changed: []Change{}, Shifts: []CaseShift{},
	}
	said := before.texts()
	for id, text := range after.texts() {
		now, _ := after.Rule(id)
		was, known := before.Rule(id)
		switch {
		case !known:
			d.Added = append(d.Added, now)
		case !bytes.Equal(text, said[id]):
			d.Changed = append(d.Changed, Change{was, now})
		}
		delete(said, id)
	}
	for id := range said {
		rule, _ := before.Rule(id)
		d.Removed = append(d.Removed, rule)
	}
	byID := func(a, b Rule) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) }
	slices.SortFunc(d.Added, byID)
	slices.SortFunc(d.Removed, byID)
	slices.SortFunc(d.Changed, func(a, b Change) int { return byID(a.After, b.After) })
	for _, c := range cases {
		if x, y := before.Decide(c.Request), after.Decide(c.Request); Shifted(x, y) {
			d.Shifts = append(d.Shifts, CaseShift{c.Name, x, y})
		}
	}
	return d
}

// Shifted reports whether two decisions come to something else for whoever asks; by which policies does not matter.
func Shifted(a, b Decision) bool {
	return a.Outcome != b.Outcome || a.TTL != b.TTL || a.Budget != b.Budget || a.Hold != b.Hold || a.Log != b.Log || a.Redact != b.Redact || a.NeedsReason != b.NeedsReason || a.Approvals != b.Approvals || a.Preview != b.Preview
}

// texts are the policies by id, each in one spelling.
func (s *Set) texts() map[string][]byte {
	out := make(map[string][]byte, len(s.rules))
	for _, shard := range s.shards {
		for _, e := range shard {
			if out[string(e.id)] == nil {
				out[string(e.id)] = e.policy.MarshalCedar()
			}
		}
	}
	return out
}

// Cases reads the cases of an archive as Test does, or a bare list of them. Invalid.
func Cases(archive Source) ([]Case, error) {
	if text := bytes.TrimSpace(archive.Text); len(text) > 0 && text[0] == '[' {
		return parseCases(archive.Name, text)
	}
	for _, f := range txtar(archive.Text) {
		if f.Name == "cases.json" {
			return parseCases(archive.Name, f.Text)
		}
	}
	return nil, abi.Errorf(abi.Invalid, "read cases %q: it is neither a list of cases nor an archive with cases.json", archive.Name)
}
