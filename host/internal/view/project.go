package view

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Projection is a document that is told from the journal. Whoever wants to publish one writes Fold and hands it to
// Project; nothing on the path of the events themselves knows or pays for it.
//
// The document is an object. Its member "through" is the id of the last record that changed it: after a restart the
// telling goes on behind it, so a record is folded into the durable document exactly once, whatever crash comes between.
// Bound what grows, with Edit.Keep.
type Projection struct {
	ID string
	// Kinds are prefixes as in journal.Filter; none means all kinds. Patches of documents are never folded: a document
	// that told of its own patches would never rest.
	Kinds []string
	// Fold describes what a record changes. It must be a function of document and record alone. Its error leaves the
	// document as it was and is reported, and the telling goes on.
	Fold func(e *Edit, r *journal.Record) error
}

// Through is the member of a projection that says how far it has been told.
const Through = "through"

// follower is a projection at work.
type follower struct {
	Projection
	live    *Live
	through int64
	filter  journal.Filter
}

// Project tells all projections from one pass over the journal, until ctx ends or the database closes. Versions come at
// the beats of Keep. Call it once per document. Errors: those of reading.
func (v *View) Project(ctx context.Context, ps []Projection, failed func(id string, err error)) error {
	fs := make([]*follower, len(ps))
	from := v.journal.Last()
	for i, p := range ps {
		l, err := v.Live(ctx, p.ID)
		if err != nil {
			return err
		}
		f := &follower{Projection: p, live: l, filter: journal.Filter{Prefixes: p.Kinds}}
		if _, err := (&Edit{root: l.root}).Get(&f.through, Through); err != nil {
			return abi.Errorf(abi.Corrupt, "read document %q: its %q is not a number: %w", p.ID, Through, err)
		}
		fs[i], from = f, min(from, f.through)
	}
	for r, err := range v.journal.Follow(ctx, from, union(ps)) {
		if err != nil {
			return err
		}
		if r.Kind == EventKind || r.Kind == journal.GapKind {
			v.saw(&r)
			continue
		}
		for _, f := range fs {
			if err := f.fold(&r); err != nil && failed != nil {
				failed(f.ID, err)
			}
		}
		v.saw(&r)
	}
	return nil
}

// saw notes that no projection needs r any more but from the changes it made in memory.
func (v *View) saw(r *journal.Record) {
	if r.ID > 0 {
		v.told.Store(r.ID)
	}
}

// union is the filter that chooses what any of them wants.
func union(ps []Projection) journal.Filter {
	var f journal.Filter
	for _, p := range ps {
		if len(p.Kinds) == 0 {
			return journal.Filter{}
		}
		f.Prefixes = append(f.Prefixes, p.Kinds...)
	}
	slices.Sort(f.Prefixes)
	f.Prefixes = slices.Compact(f.Prefixes)
	return f
}

func (f *follower) fold(r *journal.Record) error {
	if r.ID <= f.through || !f.filter.Match(r) {
		return nil
	}
	return f.live.Change(func(e *Edit) error {
		before := e.root
		if err := f.Fold(e, r); err != nil {
			return err
		}
		if e.root != before {
			e.Set(r.ID, Through)
		}
		return nil
	})
}

// Computed is a document that is worked out as a whole: metrics, a list that a part of the host already keeps in memory.
// Only what differs from the version before becomes part of the patch.
type Computed struct {
	ID string
	// Make gives a value that marshals to JSON; nil leaves the document as it is. It should be cheap.
	Make func(ctx context.Context) (any, error)
	// Kinds: make it again after a record of these kinds, at most once per beat.
	Kinds []string
	// Every: make it again when this long has passed; 0 means never of its own accord.
	Every time.Duration
}

// Compute makes every document once, and again as they wish, until ctx ends or the database closes. beat 0 means
// DefaultEvery. Versions come at the beats of Keep. Errors: those of reading.
func (v *View) Compute(ctx context.Context, beat time.Duration, cs []Computed, failed func(id string, err error)) error {
	if beat <= 0 {
		beat = DefaultEvery
	}
	heard := make(chan string, 1024) // kinds of new records
	follow := make(chan error, 1)
	filter := journal.Filter{Prefixes: kindsOf(cs)}
	if len(filter.Prefixes) > 0 {
		from := v.journal.Last() // before the first making, so that nothing falls between
		go func() { follow <- v.listen(ctx, from, filter, heard) }()
	}
	due := make([]bool, len(cs))
	made := make([]time.Time, len(cs))
	for i := range due {
		due[i] = true
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		now := time.Now()
		for i, c := range cs {
			if due[i] || c.Every > 0 && now.Sub(made[i]) >= c.Every {
				due[i], made[i] = false, now
				if err := v.make(ctx, c); err != nil && ctx.Err() == nil && failed != nil {
					failed(c.ID, err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-follow:
			return err
		case <-tick.C:
		}
		for more := true; more; {
			select {
			case kind := <-heard:
				r := journal.Record{Kind: kind}
				for i, c := range cs {
					due[i] = due[i] || len(c.Kinds) > 0 && (&journal.Filter{Prefixes: c.Kinds}).Match(&r)
				}
			default:
				more = false
			}
		}
	}
}

func kindsOf(cs []Computed) []string {
	var kinds []string
	for _, c := range cs {
		kinds = append(kinds, c.Kinds...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// listen passes on the kinds of new records. It waits when the receiver is behind: following loses nothing by that.
func (v *View) listen(ctx context.Context, from int64, f journal.Filter, heard chan<- string) error {
	for r, err := range v.journal.Follow(ctx, from, f) {
		if err != nil {
			return err
		}
		if r.Kind == EventKind || r.Kind == journal.GapKind {
			continue
		}
		select {
		case heard <- r.Kind:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (v *View) make(ctx context.Context, c Computed) error {
	l, err := v.Live(ctx, c.ID)
	if err != nil {
		return err
	}
	value, err := c.Make(ctx)
	if err != nil || value == nil {
		return err
	}
	doc, err := json.Marshal(value)
	if err != nil {
		return abi.Errorf(abi.Internal, "compute document %q: %w", c.ID, err)
	}
	return l.Put(doc)
}
