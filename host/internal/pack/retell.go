package pack

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/policy"
)

// RetellPrefixes are the kinds of events that tell of decisions which Retell can ask again.
var RetellPrefixes = []string{"actions.running", "egress.ledger.appended", "leases.granted", "policy.denied"}

// Retold is what another set of policies would say about what the journal has recorded.
type Retold struct {
	Records int         `json:"records"` // that told of a decision
	Asked   int         `json:"asked"`   // different questions among them
	Skipped int         `json:"skipped"` // of packs that are not installed any more
	Changes []Rejudging `json:"changes"`
}

// Rejudging is one question of which the journal tells another answer than the other set gives.
type Rejudging struct {
	Event      int64           `json:"event"` // the last record of it
	Times      int             `json:"times"`
	Action     string          `json:"action"`
	Pack       string          `json:"pack"`
	Tool       string          `json:"tool,omitempty"`
	Capability string          `json:"capability,omitempty"`
	Target     string          `json:"target,omitempty"`
	Actor      string          `json:"actor,omitempty"`
	Project    string          `json:"project,omitempty"`
	Was        policy.Outcome  `json:"was"` // as recorded
	Now        policy.Outcome  `json:"now"` // of the set in force
	Would      policy.Decision `json:"would"`
}

// retelling is one Retell in its course.
type retelling struct {
	m      *Manager
	set    *policy.Set
	input  func(action string) []byte
	argued bool // what a tool was called with may decide
	denied map[string]bool
	seen   map[string]*retold
	out    Retold
}

type retold struct {
	r    policy.Request
	was  policy.Outcome
	note Rejudging
}

// Retell asks another set of policies what the journal has recorded: calls of tools, requests to the network, grants of people and what
// was denied of these, each as the pack that is installed now. input finds what an action was called with, nil when that is gone. Nothing changes.
func (m *Manager) Retell(set *policy.Set, records []journal.Record, input func(action string) []byte) Retold {
	now := m.Policy.Current()
	t := &retelling{
		m: m, set: set, input: input, argued: len(set.Args())+len(now.Args()) > 0, denied: map[string]bool{}, seen: map[string]*retold{},
		out: Retold{Changes: []Rejudging{}},
	}
	for _, r := range records {
		if r.Kind == "policy.denied" && r.Action != "" {
			var body struct{ Action string }
			if json.Unmarshal(r.Body, &body) == nil && body.Action == policy.ActionCall {
				t.denied[r.Action] = true
			}
		}
	}
	for i := range records {
		t.record(&records[i])
	}
	t.out.Asked = len(t.seen)
	for _, q := range t.seen {
		would := set.Decide(q.r)
		if would.Allowed == (q.was == policy.Allow) {
			continue
		}
		q.note.Was, q.note.Now, q.note.Would = q.was, now.Decide(q.r).Outcome, would
		t.out.Changes = append(t.out.Changes, q.note)
	}
	slices.SortFunc(t.out.Changes, func(a, b Rejudging) int { return cmp.Compare(b.Event, a.Event) })
	return t.out
}

// record makes the question of one record.
func (t *retelling) record(r *journal.Record) {
	var q policy.Request
	var was policy.Outcome
	var ok bool
	switch r.Kind {
	case "actions.running":
		q, ok = t.called(r)
		was = policy.Allow
		if t.denied[r.Action] {
			was = policy.Deny
		}
	case "egress.ledger.appended":
		q, was, ok = t.sent(r)
	case "leases.granted":
		q, ok = t.given(r)
		was = policy.Allow
	case "policy.denied":
		q, ok = t.refused(r)
		was = policy.Deny
	}
	if !ok {
		return
	}
	v := t.installed(q.Pack.Name)
	if t.out.Records++; v == nil {
		t.out.Skipped++
		return
	}
	q.Pack = v.who
	if q.Context == nil {
		q.Context = facts(v.row.Verdict)
	}
	if q.Action == policy.ActionCall && !t.call(&q, v, r.Action) {
		t.out.Skipped++
		return
	}
	t.note(r, q, was)
}

// note counts one question, with the last answer that was recorded.
func (t *retelling) note(r *journal.Record, q policy.Request, was policy.Outcome) {
	n := Rejudging{Event: r.ID, Action: q.Action, Pack: q.Pack.Name, Tool: q.Tool, Capability: q.Capability, Actor: q.Actor, Project: q.Project}
	if q.Dest != nil {
		n.Target = q.Dest.Method + " " + q.Dest.Scheme + "://" + q.Dest.Host
	} else if len(q.Scope) > 0 {
		n.Target = strings.Join(q.Scope, " ")
	}
	raw, _ := json.Marshal([]any{q.Action, q.Pack.Name, q.Tool, q.Capability, q.Scope, q.Dest, q.Actor, q.Project, q.Args})
	if old := t.seen[string(raw)]; old != nil {
		n.Times = old.note.Times
	}
	n.Times++
	t.seen[string(raw)] = &retold{q, was, n}
}

func (t *retelling) installed(name string) *version {
	s := t.m.index.Load().packs[name]
	if s == nil || s.current() == nil || s.current().man == nil {
		return nil
	}
	return s.current()
}

// call completes the question about a call; false when the tool or the pack that called is gone.
func (t *retelling) call(q *policy.Request, v *version, action string) bool {
	tool := v.tools[q.Tool]
	if tool == nil {
		return false
	}
	q.Effects = tool.Effects.String()
	if t.argued {
		names := append(slices.Clone(t.set.Args()), t.m.Policy.Current().Args()...)
		q.Args = tool.facts(t.input(action), names)
	}
	name, isPack := strings.CutPrefix(q.Actor, "pack:")
	if !isPack {
		return true
	}
	caller := t.installed(name)
	if caller != nil {
		q.Caller = &caller.who
	}
	return caller != nil
}

func (t *retelling) called(r *journal.Record) (policy.Request, bool) {
	var body struct{ Kind string }
	if json.Unmarshal(r.Body, &body) != nil || body.Kind == "" {
		return policy.Request{}, false
	}
	c, err := t.m.Resolve(body.Kind)
	if err != nil {
		if r.Pack == "" { // none of a pack's
			return policy.Request{}, false
		}
		return policy.Request{Action: policy.ActionCall, Pack: policy.Pack{Name: r.Pack}}, true
	}
	return policy.Request{Action: policy.ActionCall, Pack: policy.Pack{Name: c.Pack}, Tool: c.ID, Actor: r.Actor, Project: r.Project}, true
}

// sent is a request of a pack to the network that Cedar let pass or refused; what the posture or a lease refused, it never judged.
func (t *retelling) sent(r *journal.Record) (policy.Request, policy.Outcome, bool) {
	var row struct {
		Decision, Reason, Pack, Method, Scheme, Host, Path string
		Port                                               int64
	}
	if json.Unmarshal(r.Body, &row) != nil || row.Pack == "" || row.Decision != "allow" && row.Reason != "policy" {
		return policy.Request{}, "", false
	}
	was := policy.Deny
	if row.Decision == "allow" {
		was = policy.Allow
	}
	return policy.Request{Action: policy.ActionEgress, Pack: policy.Pack{Name: row.Pack}, Dest: &policy.Dest{
		Method: row.Method, Scheme: row.Scheme, Host: row.Host, Domain: netguard.Registrable(row.Host), Port: row.Port, Path: row.Path,
	}}, was, true
}

// given is a lease that a person gave.
func (t *retelling) given(r *journal.Record) (policy.Request, bool) {
	var l struct {
		Pack, Capability, By, Reason, Project string
		Scope                                 []string
	}
	if json.Unmarshal(r.Body, &l) != nil || l.By != "operator" || abi.Capability(l.Capability).Ambient() {
		return policy.Request{}, false
	}
	q := policy.Request{Action: policy.ActionGrant, Pack: policy.Pack{Name: l.Pack}, Capability: l.Capability, Scope: l.Scope, Actor: l.By, Project: l.Project}
	if v := t.installed(l.Pack); v != nil {
		q.Context = facts(v.row.Verdict)
		q.Context["reason"] = l.Reason
	}
	return q, true
}

// refused is a grant that was denied; calls and requests that were have records of their own.
func (t *retelling) refused(r *journal.Record) (policy.Request, bool) {
	var body struct {
		Action, Capability, Actor string
		Scope                     []string
		Decision                  json.RawMessage
	}
	if json.Unmarshal(r.Body, &body) != nil || body.Action != policy.ActionGrant || len(body.Decision) == 0 {
		return policy.Request{}, false
	}
	return policy.Request{
		Action: policy.ActionGrant, Pack: policy.Pack{Name: r.Pack}, Capability: body.Capability, Scope: body.Scope, Actor: body.Actor, Project: r.Project,
	}, true
}
