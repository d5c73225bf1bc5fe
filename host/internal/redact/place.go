package redact

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/arw-project/arw/abi"
)

// What became of a secret that was found.
const (
	Redacted = "redacted" // it was replaced
	Refused  = "refused"  // what held it was not taken
	Kept     = "kept"     // it is somebody's data and stays as it is
)

// Count is how many secrets of a rule were found at a place since the start.
type Count struct {
	Where   string `json:"where"`
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"`
	Count   uint64 `json:"count"`
}

// tally counts what was found and rings when there is more.
type tally struct {
	mu    sync.Mutex
	count map[Count]uint64 // by a Count of 0
	rings chan struct{}
}

func (t *tally) init() { t.count, t.rings = map[Count]uint64{}, make(chan struct{}, 1) }

func (t *tally) add(where, outcome string, found []Finding) {
	if len(found) == 0 {
		return
	}
	t.mu.Lock()
	for _, f := range found {
		t.count[Count{Where: where, Rule: f.Rule, Outcome: outcome}]++
	}
	t.mu.Unlock()
	select {
	case t.rings <- struct{}{}:
	default:
	}
}

// Counts is what was found since the start, by place, rule and outcome, in their order.
func (r *Redactor) Counts() []Count {
	if r == nil {
		return nil
	}
	r.tally.mu.Lock()
	defer r.tally.mu.Unlock()
	all := make([]Count, 0, len(r.tally.count))
	for c, n := range r.tally.count {
		c.Count = n
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Where, b.Where), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Outcome, b.Outcome))
	})
	return all
}

// Found rings after Counts has grown; one ring may stand for many. It is for one listener.
func (r *Redactor) Found() <-chan struct{} { return r.tally.rings }

// Place is one place where bytes leave the house or are kept in it, under the name by which what is found there is counted.
// The zero value finds nothing. A Place is safe for concurrent use and may be copied.
type Place struct {
	r     *Redactor
	where string
}

// At is a place. r may be nil: then nothing is found there.
func (r *Redactor) At(where string) Place { return Place{r, where} }

// Text is a text without its secrets.
func (p Place) Text(text string) string {
	clean, found := p.r.String(text)
	p.Count(found)
	return clean
}

// Bytes is Text for bytes; it returns text itself when nothing was found.
func (p Place) Bytes(text []byte) []byte {
	clean, found := p.r.Bytes(text)
	p.Count(found)
	return clean
}

// JSON is a JSON value without its secrets: see Redactor.JSON.
func (p Place) JSON(body []byte, kept ...string) []byte {
	clean, found := p.r.JSON(body, kept...)
	p.Count(found)
	return clean
}

// Exact is a text with the exact values in it blacked out, of the same length; it returns text itself when there are none, and
// a copy otherwise.
func (p Place) Exact(text []byte) []byte {
	if p.r == nil {
		return text
	}
	found := p.r.known(text)
	if found == nil {
		return text
	}
	p.Count(found)
	return p.r.Exact(bytes.Clone(text))
}

// ExactJSON is Exact for a JSON value, whose texts are read without their escapes; it stays JSON.
func (p Place) ExactJSON(body []byte) []byte {
	if p.r == nil || !p.r.hasValues() {
		return body
	}
	clean, found := p.r.exactJSON(body)
	p.Count(found)
	return clean
}

// Refuse answers an error, Denied, when a text holds an exact value: it says which secret and never what. doing is what was
// being done.
func (p Place) Refuse(doing string, text []byte) error {
	if p.r == nil {
		return nil
	}
	found := p.r.known(text)
	if found == nil {
		return nil
	}
	p.r.tally.add(p.where, Refused, found[:1])
	return refusal(doing+": it", found[0].Rule)
}

// RefuseJSON is Refuse for a JSON value; the error names where in it the value stands, as a JSON pointer, in its detail too.
// What merely looks like a secret is counted as kept.
func (p Place) RefuseJSON(doing string, body []byte) error {
	if p.r == nil {
		return nil
	}
	_, found := p.r.JSON(body)
	i := slices.IndexFunc(found, func(f Finding) bool { return strings.HasPrefix(f.Rule, valuePrefix) })
	if i < 0 {
		p.r.tally.add(p.where, Kept, found)
		return nil
	}
	p.r.tally.add(p.where, Refused, found[i:i+1])
	at := p.r.pointer(body)
	err := refusal(fmt.Sprintf("%s: %q", doing, at), found[i].Rule)
	return err.WithDetail(map[string]string{"pointer": at, "secret": strings.TrimPrefix(found[i].Rule, valuePrefix)})
}

func refusal(what, rule string) *abi.Error {
	name := strings.TrimPrefix(rule, valuePrefix)
	return abi.Errorf(abi.Denied, "%s holds the value of the secret %q", what, name).
		WithHint("use the named secret %q instead: the host fills it in, and nobody else sees it", name)
}

// Note counts the secrets of a JSON value that is somebody's data and stays as it is.
func (p Place) Note(body []byte) {
	if p.r == nil {
		return
	}
	_, found := p.r.JSON(body)
	p.r.tally.add(p.where, Kept, found)
}

// Count counts what was taken out.
func (p Place) Count(found []Finding) {
	if p.r != nil {
		p.r.tally.add(p.where, Redacted, found)
	}
}

func (r *Redactor) hasValues() bool {
	v := r.values.Load()
	return v != nil && len(v.forms) > 0
}

// known are the exact values in a text.
func (r *Redactor) known(text []byte) []Finding { return findings(r.values.Load().find(nil, text)) }

func findings(spans []span) []Finding {
	var all []Finding
	for _, s := range spans {
		all = append(all, Finding{Rule: s.rule, Hint: s.hint, At: s.from, Len: s.to - s.from})
	}
	return all
}
