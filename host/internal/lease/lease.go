// Package lease says who may do what, on what, until when and how much: every host call of a pack uses a lease, and a
// lease that is revoked, expired or spent ends the next use, from any goroutine, also in the middle of a call.
//
// A Book holds all leases of a host, each change journaled in one transaction with its event. A Holder is one version of
// one pack; its Use is the check that stands in front of every host function and costs about as much as reading the
// clock. Budgets are reserved ahead of use in the database, so that a crash may count uses that did not happen but never
// forgets one that did. Lifetimes are kept by the monotonic clock while the host runs and by the wall clock across a
// restart; setting the wall clock cannot lengthen a lease beyond its TTL. docs/spec/policy.md is the normative
// description.
package lease

import (
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
)

// The states of a lease. Only a live one serves; an expired one may be renewed when it is renewable.
const (
	Live      = "live"
	Expired   = "expired"
	Revoked   = "revoked"
	Exhausted = "exhausted"
)

// Bounds of a grant.
const (
	MinTTL    = time.Second
	MaxTTL    = 366 * 24 * time.Hour
	MaxBudget = int64(1) << 60 // of each side
)

// Retention is how long a lease that ended stays in the book; the journal keeps its events.
const Retention = 30 * 24 * time.Hour

// Budget bounds what a lease may use, or says what it has used; as a bound, 0 is unlimited.
type Budget struct {
	Calls  int64 `json:"calls"`
	Bytes  int64 `json:"bytes"`
	Tokens int64 `json:"tokens,omitempty"`     // of a model, in and out
	Gas    int64 `json:"gas,omitempty"`        // of calls made under the lease
	Money  int64 `json:"usd_micros,omitempty"` // millionths of a US dollar
}

// The sides of a budget, in the order in which they are counted.
const (
	dimCalls = iota
	dimBytes
	dimTokens
	dimGas
	dimMoney
	dims
)

func (b Budget) sides() [dims]int64 { return [dims]int64{b.Calls, b.Bytes, b.Tokens, b.Gas, b.Money} }

func budgetOf(a [dims]int64) Budget {
	return Budget{Calls: a[dimCalls], Bytes: a[dimBytes], Tokens: a[dimTokens], Gas: a[dimGas], Money: a[dimMoney]}
}

// sound reports whether every side lies between 0 and MaxBudget.
func (b Budget) sound() bool {
	for _, n := range b.sides() {
		if n < 0 || n > MaxBudget {
			return false
		}
	}
	return true
}

// Left is what of a budget remains after a use; a side without bound stays so. False when a bounded side is used up.
func (b Budget) Left(used Budget) (Budget, bool) {
	left, gone := b.sides(), used.sides()
	for i := range left {
		if left[i] == 0 {
			continue
		}
		if left[i] -= gone[i]; left[i] <= 0 {
			return Budget{}, false
		}
	}
	return budgetOf(left), true
}

// Where is the place in which a lease holds, or is used: a project, a session of one caller, a single action. An empty field
// of a lease binds it to nothing; an empty field of a use serves only leases that are not bound. A use without a project is one
// in the default project, which a lease names "default".
type Where struct {
	Project string `json:"project,omitempty"`
	Session string `json:"session,omitempty"`
	Action  string `json:"action,omitempty"`
}

// defaultProject is what belongs to no other project, by name.
const defaultProject = "default"

// holds reports whether a lease of this place serves a use at w.
func (l *Where) holds(w *Where) bool {
	return (l.Project == "" || l.Project == w.Project || l.Project == defaultProject && w.Project == "") && (l.Session == "" || l.Session == w.Session) && (l.Action == "" || l.Action == w.Action)
}

// Grant is what somebody gives. Pack and Digest name one version of one pack; Scope follows docs/spec/policy.md; By is
// who gives it ("operator", or "policy" for a rule) and Policies the policies that decided it. A Renewable lease may be
// prolonged by Renew; it is for leases that a policy gives again whenever it is asked.
type Grant struct {
	Pack, Digest string
	Capability   abi.Capability
	Scope        []string
	TTL          time.Duration
	Budget       Budget
	By, Reason   string
	Policies     []string
	Renewable    bool
	Where        // bound to a project or a session; the zero value holds everywhere
}

// Ending says how a lease stopped being live.
type Ending struct {
	Time   time.Time
	By     string // who revoked it; empty when it ended by itself
	Reason string
}

// Lease is a grant in force, or what is left of it. It is a copy: changing it changes nothing. Used may run ahead of the
// truth after a crash, never behind it when the budget is bounded.
type Lease struct {
	ID string
	Grant
	Created, Expires time.Time
	State            string
	Used             Budget
	Ended            *Ending // nil while live
}

// Wire is the JSON form of a lease, as in events and the API. Times are RFC 3339 in UTC with milliseconds.
type Wire struct {
	ID         string   `json:"id"`
	Pack       string   `json:"pack"`
	Digest     string   `json:"digest"`
	Capability string   `json:"capability"`
	Scope      []string `json:"scope"`
	State      string   `json:"state"`
	TTLMS      int64    `json:"ttl_ms"`
	Created    string   `json:"created"`
	Expires    string   `json:"expires"`
	Budget     Budget   `json:"budget"`
	Used       Budget   `json:"used"`
	By         string   `json:"by"`
	Reason     string   `json:"reason"`
	Policies   []string `json:"policies"`
	Renewable  bool     `json:"renewable"`
	Where
	Ended *WireEnding `json:"ended,omitempty"`
}

// WireEnding is the JSON form of an Ending.
type WireEnding struct {
	Time   string `json:"time"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

const wireTime = "2006-01-02T15:04:05.000Z"

// Wire returns the JSON form.
func (l Lease) Wire() Wire {
	w := Wire{
		ID: l.ID, Pack: l.Pack, Digest: l.Digest, Capability: string(l.Capability), Scope: nonNil(l.Scope),
		State: l.State, TTLMS: l.TTL.Milliseconds(), Created: stamp(l.Created), Expires: stamp(l.Expires),
		Budget: l.Budget, Used: l.Used, By: l.By, Reason: l.Reason, Policies: nonNil(l.Policies), Renewable: l.Renewable, Where: l.Where,
	}
	if l.Ended != nil {
		w.Ended = &WireEnding{Time: stamp(l.Ended.Time), By: l.Ended.By, Reason: l.Ended.Reason}
	}
	return w
}

// MarshalJSON writes the Wire form.
func (l Lease) MarshalJSON() ([]byte, error) { return json.Marshal(l.Wire()) }

func stamp(t time.Time) string { return t.UTC().Format(wireTime) }

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// Filter selects leases; an empty field selects all.
type Filter struct {
	Pack, Digest, State, Project string
}
