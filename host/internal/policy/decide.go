package policy

import (
	"cmp"
	"fmt"
	"iter"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
)

// Outcome is the answer to a request.
type Outcome string

// The outcomes. Ask is given for a link alone: no lease comes of it by itself, but an operator's grant may make one.
const (
	Allow Outcome = "allow"
	Ask   Outcome = "ask"
	Deny  Outcome = "deny"
)

// Decision is an answer and everything that led to it.
type Decision struct {
	Outcome Outcome `json:"outcome"`
	Allowed bool    `json:"allowed"` // Outcome is Allow
	// Policies are the ids of the determining policies: the forbids when a forbid decided, else the permits; empty when
	// nothing permitted it or an error refused it.
	Policies []string `json:"policies,omitempty"`
	// Forbids are the ids of the forbids that applied, also when an error refused it first.
	Forbids []string `json:"forbids,omitempty"`
	// TTL and Budget bound a lease: of a link, the lease it gives or proposes; of a grant, the most the actor may give; Budget of an infer, one
	// request. The
	// narrowest of the determining policies wins; a link without any has DefaultTTL. 0 is unlimited.
	TTL    time.Duration `json:"ttl,omitempty"`
	Budget Budget        `json:"budget,omitzero"`
	// Hold is how long a use waits for a person who is asked, by the shortest @hold; 0: it is refused at once.
	Hold time.Duration `json:"hold,omitempty"`
	// Approvals is how many different people must have agreed to a promotion, a grant or a use that is asked about: the most that a
	// determining policy wants.
	Approvals int `json:"approvals,omitempty"`
	// Log is the obligation to journal the decision, whatever it is.
	Log bool `json:"log,omitempty"`
	// Redact is the obligation to take secrets out of what the called tool answers, NeedsReason that to grant nothing to whoever does not
	// say why. They come from the determining permits.
	Redact      bool `json:"redact,omitempty"`
	NeedsReason bool `json:"reason_required,omitempty"`
	Preview     bool `json:"preview,omitempty"` // of a link: a person who allows a use has looked at its preview
	// Reason says why in words, from the @reason of the determining policies.
	Reason string `json:"reason"`
	// Errors refuse whatever the policies said; each names the policy and its line, or what is wrong with the request.
	Errors []string `json:"errors,omitempty"`
}

// Narrow bounds what somebody asked for by what the decision gives: the smaller of each, where 0 asks for nothing in
// particular.
func (d Decision) Narrow(ttl time.Duration, b Budget) (time.Duration, Budget) {
	return smaller(d.TTL, ttl), Budget{
		Calls: smaller(d.Budget.Calls, b.Calls), Bytes: smaller(d.Budget.Bytes, b.Bytes), Tokens: smaller(d.Budget.Tokens, b.Tokens),
		Gas: smaller(d.Budget.Gas, b.Gas), Money: smaller(d.Budget.Money, b.Money),
	}
}

// smaller is the smaller of two bounds of which 0 is none.
func smaller[T ~int64](a, b T) T {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

type entry struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	head   *cedar.Policy // without its conditions, where it declares arguments
	args   []Arg
}

// shard holds the policies that can speak about one action, in the order of the files.
type shard []entry

// All implements cedar.PolicyIterator.
func (s shard) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range s {
			if !yield(s[i].id, s[i].policy) {
				return
			}
		}
	}
}

// Decide answers a request. Forbids win over permits, ask wins over allow, and any error wins over everything: a
// request that does not fit the schema and a policy whose condition fails to evaluate both refuse. Every policy that
// can speak about the action is evaluated, so the cost grows with their number (about 0.1 µs to 0.3 µs each).
func (s *Set) Decide(r Request) Decision {
	q, err := r.cedar(s.capabilities)
	if err == nil && r.Action == ActionCall && len(s.args) > 0 {
		err = s.bind(q, r.Args)
	}
	if err != nil {
		return refusal(fmt.Sprintf("the request cannot be judged: %v", err))
	}
	d := s.judge(r.Action, q.entities, q.request)
	if d.Outcome == Deny && d.Reason == "" {
		d.Reason = "no policy permits " + r.String()
	}
	return d
}

// judge evaluates every policy that can speak about an action. An error refuses, whatever the verdict: Cedar has left that policy out
// of it. The reason is empty where nothing permitted it.
func (s *Set) judge(action string, entities cedar.EntityGetter, r cedar.Request) Decision {
	verdict, why := cedar.Authorize(s.shards[action], entities, r)
	ids := make([]string, len(why.Reasons))
	for i, reason := range why.Reasons {
		ids[i] = string(reason.PolicyID)
	}
	var d Decision
	switch {
	case len(why.Errors) > 0:
		d = refusal()
		for _, e := range why.Errors {
			message := e.Message
			if i, known := s.byID[string(e.PolicyID)]; known && len(s.rules[i].Args) > 0 {
				message = "its condition fails for these arguments" // Cedar's words may hold them
			}
			d.Errors = append(d.Errors, fmt.Sprintf("policy %q (%s:%d) failed to evaluate: %s",
				e.PolicyID, e.Position.Filename, e.Position.Line, message))
		}
		d.Reason = d.Errors[0]
		if verdict == cedar.Deny {
			d.Forbids = ids
		}
	case verdict == cedar.Deny && len(ids) > 0:
		d = Decision{Outcome: Deny, Policies: ids, Forbids: ids, Reason: s.reasons(ids)}
	case verdict == cedar.Deny:
		d = Decision{Outcome: Deny}
	default:
		d = s.permitted(action, ids)
	}
	for _, id := range ids {
		d.Log = d.Log || s.rules[s.byID[id]].Log
	}
	return d
}

func refusal(errs ...string) Decision {
	return Decision{Outcome: Deny, Errors: errs, Reason: strings.Join(errs, "; ")}
}

// permitted joins the determining permits: the narrowest bounds, and ask if any of them asks, unless one says expressly that nobody
// need be asked.
func (s *Set) permitted(action string, ids []string) Decision {
	d, without := Decision{Outcome: Allow, Policies: ids}, false
	for _, id := range ids {
		rule := s.rules[s.byID[id]]
		without = without || rule.Mode == modeAllow
		d.Approvals = max(d.Approvals, rule.Approvals)
		if rule.Mode == modeAsk {
			d.Outcome = Ask
			d.Hold = smaller(d.Hold, rule.Hold)
		}
		d.TTL, d.Budget = d.Narrow(rule.TTL, rule.Budget)
		d.Redact, d.NeedsReason = d.Redact || rule.Redact, d.NeedsReason || rule.NeedsReason
		d.Preview = d.Preview || rule.Preview
	}
	if without {
		d.Outcome, d.Hold = Allow, 0
	}
	if d.TTL == 0 && action == ActionLink {
		d.TTL = DefaultTTL
	}
	d.Allowed = d.Outcome == Allow
	d.Reason = s.reasons(ids)
	return d
}

// reasons joins the reasons of the policies; one without has its id stand for it.
func (s *Set) reasons(ids []string) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		if words[i] = s.rules[s.byID[id]].Reason; words[i] == "" {
			words[i] = fmt.Sprintf("policy %q", id)
		}
	}
	return strings.Join(words, "; ")
}

// String says the request in words, for a refusal.
func (r Request) String() string {
	switch r.Action {
	case ActionLink:
		return fmt.Sprintf("link of %q to pack %q", r.Capability, r.Pack.Name)
	case ActionCall:
		return fmt.Sprintf("call of %q by %q", r.Pack.Name+":"+r.Tool, r.Actor)
	case ActionGrant:
		return fmt.Sprintf("grant of %q to pack %q by %q", r.Capability, r.Pack.Name, r.Actor)
	}
	if r.Action == ActionPromote && r.Unit != nil {
		return fmt.Sprintf("promotion of unit %q by %q", r.Unit.ID, r.Actor)
	}
	if r.Action == ActionAdopt && r.Capsule != nil {
		return fmt.Sprintf("adoption of capsule %q by %q", r.Capsule.ID, r.Actor)
	}
	if r.Action == ActionEgress && r.Dest != nil {
		return fmt.Sprintf("egress to %q by %q", r.Dest.Host, cmp.Or(r.Actor, r.Pack.Name))
	}
	return fmt.Sprintf("%s of pack %q", r.Action, r.Pack.Name)
}
