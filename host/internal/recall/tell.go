package recall

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
)

// The kinds of events. None holds a question or an answer.
const (
	KindHit     = "recall.hit"
	KindMiss    = "recall.miss"
	KindAudited = "recall.audited"
	KindRested  = "recall.rested"
)

// Event is the body of all of them; times are nanoseconds.
type Event struct {
	Tool       string     `json:"tool"`
	Outcome    string     `json:"outcome,omitempty"` // exact, near, empty, miss, audit
	Cosine     float64    `json:"cosine,omitempty"`
	Near       float64    `json:"near,omitempty"` // what counts as near
	Engine     string     `json:"engine,omitempty"`
	EngineKind string     `json:"engine_kind,omitempty"`
	Age        int64      `json:"age_ns,omitempty"`
	Saved      int64      `json:"saved_ns,omitempty"`
	Elapsed    int64      `json:"elapsed_ns,omitempty"`
	Agreed     *bool      `json:"agreed,omitempty"` // both answers
	Until      *time.Time `json:"until,omitempty"`
}

// tell hands an event to Run without waiting; when it is busy the event is counted as lost.
func (s *search) tell(kind string, e Event) {
	if s.r.jrn == nil {
		return
	}
	e.Tool = s.c.Tool
	select {
	case s.r.told <- journal.Event{Kind: kind, Corr: s.c.Corr, Actor: "host", Project: s.c.Project, Pack: s.c.Pack, Action: s.c.Action, Body: e}:
	default:
		s.r.lost.Add(1)
	}
}

// Run journals events until ctx ends, those that wait then included. Call it once.
func (r *Recall) Run(ctx context.Context) error {
	work := context.WithoutCancel(ctx)
	for {
		select {
		case e := <-r.told:
			r.journal(work, e)
		case <-ctx.Done():
			for {
				select {
				case e := <-r.told:
					r.journal(work, e)
				default:
					return nil
				}
			}
		}
	}
}

// journal writes an event and what waits behind it as one.
func (r *Recall) journal(ctx context.Context, e journal.Event) {
	events := []journal.Event{e}
	for len(events) < 256 {
		select {
		case e := <-r.told:
			events = append(events, e)
			continue
		default:
		}
		break
	}
	if _, err := r.jrn.Append(ctx, events...); err != nil {
		r.lost.Add(int64(len(events)))
	}
}

// Totals count since the start.
type Totals struct {
	Exact      int64 `json:"exact"`
	Near       int64 `json:"near"`
	Empty      int64 `json:"empty"`
	Misses     int64 `json:"miss"`
	Refused    int64 `json:"refused"` // by the verifier, although the vectors were near
	Stale      int64 `json:"stale"`   // ended by a write
	Unkept     int64 `json:"unkept"`
	Evicted    int64 `json:"evicted"`
	Audits     int64 `json:"audits"`
	False      int64 `json:"false"` // audits whose answers differed
	SavedNS    int64 `json:"saved_ns"`
	SavedBytes int64 `json:"saved_bytes"`
}

func (t *Totals) add(o Totals) {
	t.Exact, t.Near, t.Empty, t.Misses = t.Exact+o.Exact, t.Near+o.Near, t.Empty+o.Empty, t.Misses+o.Misses
	t.Refused, t.Stale, t.Unkept, t.Evicted = t.Refused+o.Refused, t.Stale+o.Stale, t.Unkept+o.Unkept, t.Evicted+o.Evicted
	t.Audits, t.False, t.SavedNS, t.SavedBytes = t.Audits+o.Audits, t.False+o.False, t.SavedNS+o.SavedNS, t.SavedBytes+o.SavedBytes
}

// Standing is how one space stands.
type Standing struct {
	Space
	Totals
	Entries   int
	Threshold float64   // what counts as near beyond the rule's; 0: the rule's
	Rests     time.Time // until when; zero: it does not
}

// Stats is a snapshot: all spaces with answers or a past, and what all came to.
func (r *Recall) Stats() (spaces []Standing, all Totals, entries int, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all = r.gone
	now := r.now()
	for key, sp := range r.spaces {
		all.add(sp.n)
		st := Standing{Space: key, Totals: sp.n, Entries: len(sp.all), Threshold: sp.near}
		if now.Before(sp.rests) {
			st.Rests = sp.rests
		}
		spaces = append(spaces, st)
	}
	slices.SortFunc(spaces, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Pack, b.Pack), cmp.Compare(a.Tool, b.Tool), cmp.Compare(a.Project, b.Project), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Digest, b.Digest))
	})
	return spaces, all, r.lru.n, r.bytes
}

// Lost is how many events were not journaled.
func (r *Recall) Lost() int64 { return r.lost.Load() }
