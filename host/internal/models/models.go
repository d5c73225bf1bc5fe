// Package models keeps one promise: the host's own read models say what the journal says. Each is a projection: a
// function of the document before and of one record, bounded in what it keeps, so that telling the journal again gives
// the same document.
package models

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// Bounds of the documents. Each stays well below view.MaxDoc.
const (
	MaxActions      = 200
	MaxEvents       = 100
	MaxKinds        = 500 // kinds that are counted by name; the rest count as "other"
	MaxEpisodes     = 200
	MaxObservations = 256
	MaxBeliefs      = 500
	MaxIntents      = 500
	maxNames        = 20   // names of one sort in an episode
	maxPayload      = 1024 // bytes of an event's body that an observation shows
)

// All are the projections of the host.
func All() []view.Projection {
	return []view.Projection{
		{ID: "events", Fold: foldEvent},
		{ID: "actions", Kinds: []string{"actions"}, Fold: foldAction},
		{ID: "episodes", Fold: foldEpisode},
		{ID: "observations", Fold: foldObservation},
		{ID: "beliefs", Fold: foldBelief},
		{ID: "intents", Fold: foldIntent},
		{ID: "usage", Kinds: []string{"infer"}, Fold: foldUsage},
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// event is a line of the document "events": a record without its body.
type event struct {
	ID      int64  `json:"id"`
	Time    string `json:"time"`
	Kind    string `json:"kind"`
	Corr    string `json:"corr_id,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Project string `json:"project,omitempty"`
	Pack    string `json:"pack,omitempty"`
	Action  string `json:"action,omitempty"`
}

// foldEvent keeps the newest records' heads and counts all by kind.
func foldEvent(e *view.Edit, r *journal.Record) error {
	e.Set(event{r.ID, stamp(r.Time), r.Kind, r.Corr, r.Actor, r.Project, r.Pack, r.Action}, "items", view.Ordinal(r.ID))
	e.Keep(MaxEvents, "items")
	if err := add(e, 1, "total"); err != nil {
		return err
	}
	kind := r.Kind
	if known, err := e.Get(nil, "kinds", kind); err != nil || !known && e.Len("kinds") >= MaxKinds {
		kind = "other"
	}
	return add(e, 1, "kinds", kind)
}

// add counts at path.
func add(e *view.Edit, by int64, path ...string) error {
	var n int64
	if _, err := e.Get(&n, path...); err != nil {
		return err
	}
	e.Set(n+by, path...)
	return nil
}

// action is an item of the document "actions". Input and output stay with the action: GET /actions/ID.
type action struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	State    string          `json:"state"`
	Pack     string          `json:"pack,omitempty"`
	Corr     string          `json:"corr_id,omitempty"`
	Parent   string          `json:"parent,omitempty"`
	Actor    string          `json:"actor,omitempty"`
	Project  string          `json:"project,omitempty"`
	Created  string          `json:"created,omitempty"`
	Changed  string          `json:"changed"`
	WaitedMS int64           `json:"waited_ms,omitempty"`
	RanMS    int64           `json:"ran_ms,omitempty"`
	Code     string          `json:"code,omitempty"`
	Message  string          `json:"message,omitempty"`
	Usage    json.RawMessage `json:"usage,omitempty"`
}

// foldAction keeps the newest actions; their ids grow with the time they were made at.
func foldAction(e *view.Edit, r *journal.Record) error {
	if r.Action == "" {
		return nil
	}
	var a action
	if _, err := e.Get(&a, "items", r.Action); err != nil {
		return err
	}
	if a.ID == "" && !strings.HasSuffix(r.Kind, ".submitted") {
		return nil // long out of the window: its end does not bring it back
	}
	created := a.Created
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return err
	}
	a.ID, a.Pack, a.Corr, a.Actor, a.Project, a.Changed = r.Action, r.Pack, r.Corr, r.Actor, r.Project, stamp(r.Time)
	if a.Created = created; created == "" {
		a.Created = stamp(r.Time)
	}
	a.Message = cut(a.Message, 300)
	e.Set(a, "items", r.Action)
	e.Keep(MaxActions, "items")
	return nil
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Observation is something that was perceived: an event that is not the host talking about itself.
type Observation struct {
	ID      int64           `json:"id"`
	Time    string          `json:"time"`
	Kind    string          `json:"kind"`
	Subject string          `json:"subject,omitempty"` // the action, else the pack it is about
	Corr    string          `json:"corr_id,omitempty"`
	Project string          `json:"project,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"` // absent when it has more than 1,024 bytes: read the event
	Bytes   int             `json:"payload_bytes"`
}

func foldObservation(e *view.Edit, r *journal.Record) error {
	switch first, _, _ := strings.Cut(r.Kind, "."); first {
	case "service", "state", "bus", "snappy", "journal":
		return nil
	}
	o := Observation{ID: r.ID, Time: stamp(r.Time), Kind: r.Kind, Subject: r.Action, Corr: r.Corr, Project: r.Project, Bytes: len(r.Body)}
	if o.Subject == "" {
		o.Subject = r.Pack
	}
	if len(r.Body) <= maxPayload {
		o.Payload = r.Body
	}
	e.Set(o, "items", view.Ordinal(r.ID))
	e.Keep(MaxObservations, "items")
	return nil
}

// Belief is a claim that somebody holds, with how sure they are and why.
type Belief struct {
	ID         string   `json:"id"`
	Claim      string   `json:"claim"`
	Confidence float64  `json:"confidence"`
	Provenance []string `json:"provenance"`
	Status     string   `json:"status"`
	Pack       string   `json:"pack,omitempty"`
	Project    string   `json:"project,omitempty"`
	Changed    string   `json:"changed"`
	Event      int64    `json:"event"`
}

// about reports whether a kind is one of the host's own or a pack's of that name: "beliefs.updated" and
// "acme.beliefs.updated".
func about(r *journal.Record, what string) (verb string, ok bool) {
	words := strings.Split(r.Kind, ".")
	at := len(words) - 2
	if at < 0 || at > 1 || words[at] != what || at == 1 && r.Pack == "" {
		return "", false
	}
	return words[at+1], true
}

// owned is the name of an entry: packs do not reach each other's.
func owned(r *journal.Record, id string) string {
	if r.Pack == "" {
		return id
	}
	return r.Pack + "#" + id
}

// foldBelief keeps what beliefs.updated and beliefs.removed say, a pack's under its own name.
func foldBelief(e *view.Edit, r *journal.Record) error {
	verb, ok := about(r, "beliefs")
	if !ok {
		return nil
	}
	var b Belief
	if json.Unmarshal(r.Body, &b) != nil || b.ID == "" || len(b.ID) > 200 {
		return nil // a pack may say what it likes; what is not a belief is none
	}
	name := owned(r, b.ID)
	if verb == "removed" {
		e.Remove("items", name)
		e.Remove("order", name)
		return nil
	}
	b.Claim, b.Status, b.Provenance = cut(b.Claim, 1000), cut(b.Status, 50), trim(b.Provenance)
	b.Pack, b.Project, b.Changed, b.Event = r.Pack, r.Project, stamp(r.Time), r.ID
	b.Confidence = min(1, max(0, b.Confidence))
	e.Set(b, "items", name)
	return evict(e, MaxBeliefs, name, r.ID)
}

func trim(names []string) []string {
	out := make([]string, 0, min(len(names), maxNames))
	for _, n := range names[:min(len(names), maxNames)] {
		out = append(out, cut(n, 200))
	}
	return out
}

// evict notes that name was touched by record id, and forgets whoever was touched longest ago when there are more than n.
func evict(e *view.Edit, n int, name string, id int64) error {
	e.Set(id, "order", name)
	if e.Len("items") <= n {
		return nil
	}
	var order map[string]int64
	if _, err := e.Get(&order, "order"); err != nil {
		return err
	}
	oldest := name
	for k, at := range order {
		if at < order[oldest] {
			oldest = k
		}
	}
	e.Remove("items", oldest)
	e.Remove("order", oldest)
	return nil
}

// Intent is what somebody means to do and what was said to it.
type Intent struct {
	ID      string `json:"id"`
	Status  string `json:"status"` // proposed, approved, rejected
	Title   string `json:"title,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Pack    string `json:"pack,omitempty"`
	Project string `json:"project,omitempty"`
	Corr    string `json:"corr_id,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Changed string `json:"changed"`
	Event   int64  `json:"event"`
}

// foldIntent follows intents.proposed, intents.approved and intents.rejected. What was never proposed cannot be approved.
func foldIntent(e *view.Edit, r *journal.Record) error {
	verb, ok := about(r, "intents")
	if !ok || !slices.Contains([]string{"proposed", "approved", "rejected"}, verb) {
		return nil
	}
	var told Intent
	if json.Unmarshal(r.Body, &told) != nil || told.ID == "" || len(told.ID) > 200 {
		return nil
	}
	name := owned(r, told.ID)
	var now Intent
	known, err := e.Get(&now, "items", name)
	if err != nil || !known && verb != "proposed" {
		return err
	}
	if told.Title == "" {
		told.Title = now.Title
	}
	told.Title, told.Reason, told.Status = cut(told.Title, 500), cut(told.Reason, 500), verb
	told.Pack, told.Project, told.Corr, told.Actor, told.Changed, told.Event = r.Pack, r.Project, r.Corr, r.Actor, stamp(r.Time), r.ID
	e.Set(told, "items", name)
	return evict(e, MaxIntents, name, r.ID)
}
