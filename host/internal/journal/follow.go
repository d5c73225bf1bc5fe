package journal

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/arw-project/arw/abi"
)

// GapKind is the kind of what a follower gets in place of records that it cannot have. Such a record has no id, no hash
// and is not in the journal; its body is a Gap.
const GapKind = "bus.gap"

// Gap says which records a follower did not get.
type Gap struct {
	From  int64 `json:"from"`  // the first
	To    int64 `json:"to"`    // the last
	Count int64 `json:"count"` // how many there were, counted before any filter
	// Reason is why: pruned (removed by retention: gone), lagged (skipped because the follower bounded how far it may be
	// behind: they can be asked for), damaged (the disk does not give them: see arw journal verify).
	Reason string `json:"reason"`
}

// Reasons of a Gap.
const (
	GapPruned  = "pruned"
	GapLagged  = "lagged"
	GapDamaged = "damaged"
)

// Bound limits what a follower costs.
type Bound func(*bounds)

type bounds struct{ lag int64 }

// MaxLag lets a follower that is more than n records behind skip what is too old, with a Gap, instead of reading it back
// from the table. It then costs no disk and is never more than n records behind for long.
func MaxLag(n int64) Bound { return func(b *bounds) { b.lag = n } }

// Follow yields every chosen record behind the id after, first those that exist, then each new one as soon as it is
// durable: in order, none twice, none left out silently. To hear only what is new, start after Last. A follower that is
// slow loses nothing, unless it asked for a MaxLag, and holds nobody up: it reads older records back from the table, in
// pages of bounded size, and no connection is held while the consumer works. At most a few followers read the table at
// once; the others wait their turn. What cannot be given is named by a record of kind GapKind.
//
// The sequence ends without an error when ctx ends or the consumer stops. It ends with one error (and a zero Record):
// Unavailable when the database was closed, Conflict when after lies beyond the end of the journal (the follower's
// number is of another journal, or of one restored from a backup), those of reading otherwise. After an error, Follow
// can be called again behind the last record seen.
func (j *Journal) Follow(ctx context.Context, after int64, f Filter, limits ...Bound) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		c, err := j.From(after, f, limits...)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer c.Close()
		for ctx.Err() == nil {
			page, err := c.Next(ctx)
			if err != nil {
				if ctx.Err() == nil {
					yield(Record{}, err)
				}
				return
			}
			for _, r := range page {
				if ctx.Err() != nil || !yield(*r, nil) {
					return
				}
			}
		}
	}
}

// Cursor is a follower that is asked, page by page. It is for one goroutine.
type Cursor struct {
	j    *Journal
	at   int64
	f    Filter
	b    bounds
	page []*Record
}

// From is Follow for whoever wants to wait for other things too. Errors: Conflict for an id that is not of this journal.
func (j *Journal) From(after int64, f Filter, limits ...Bound) (*Cursor, error) {
	if last := j.Last(); after < 0 || after > last {
		return nil, abi.Errorf(abi.Conflict, "follow journal after event %d: the last one is %d", after, last).
			WithHint("read the current state, then follow after event %d", last)
	}
	c := &Cursor{j: j, at: after, f: f}
	for _, limit := range limits {
		limit(&c.b)
	}
	j.pub.followers.Add(1)
	return c, nil
}

// Next waits for chosen records and gives those that are next, perhaps none; the slice is good until the next call, the
// records are shared. When ctx ends it fails with the context's error and can be called again. Other errors are Follow's.
func (c *Cursor) Next(ctx context.Context) (page []*Record, err error) {
	if c.page == nil {
		c.page = make([]*Record, 0, followPage)
	}
	page, next, err := c.j.next(ctx, c.page[:0], c.at, &c.f, c.b)
	if err != nil {
		return nil, err
	}
	c.at = next
	n := int64(len(page))
	if n == 1 && page[0].ID == 0 {
		n = 0 // a gap is no record
	}
	c.j.pub.delivered.Add(n)
	return page, nil
}

// Close ends the follower; it is no longer counted.
func (c *Cursor) Close() { c.j.pub.followers.Add(-1) }

// followPage is how many records a follower takes at a time, and followBytes of what size when it reads them back.
const (
	followPage  = 256
	followBytes = 256 << 10
)

// next waits until there is something behind cursor, then gives some chosen records (perhaps none) and the id up to
// which everything has been looked at.
func (j *Journal) next(ctx context.Context, page []*Record, cursor int64, f *Filter, b bounds) ([]*Record, int64, error) {
	for {
		if floor := j.Floor(); cursor < floor {
			return j.gap(page, cursor, floor, GapPruned)
		}
		if last := j.Last(); b.lag > 0 && last-cursor > b.lag {
			return j.gap(page, cursor, last-b.lag, GapLagged)
		}
		page, next, last, wake := j.pub.take(page, cursor, f)
		if next > cursor {
			return page, next, nil
		}
		if cursor < last { // too far behind for the memory
			return j.behind(ctx, page, cursor, last, f)
		}
		if wake == nil {
			return nil, cursor, abi.Errorf(abi.Unavailable, "follow journal after event %d: the database is closed", cursor)
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, cursor, ctx.Err()
		}
	}
}

// behind reads a page back from the table. The turn bounds how many pages are being read, and so the memory and the
// connections that slow followers take together.
func (j *Journal) behind(ctx context.Context, page []*Record, cursor, last int64, f *Filter) ([]*Record, int64, error) {
	select {
	case j.pub.turn <- struct{}{}:
		defer func() { <-j.pub.turn }()
	case <-ctx.Done():
		return nil, cursor, ctx.Err()
	}
	read, next, err := j.page(ctx, cursor, last, followPage, followBytes, f)
	if floor := j.Floor(); cursor < floor {
		// Removed while we read: what was read of it may have holes.
		return j.gap(page, cursor, floor, GapPruned)
	}
	if abi.CodeOf(err) == abi.Corrupt {
		return j.around(ctx, page, cursor, last, err)
	}
	if err != nil {
		return nil, cursor, err
	}
	return read, next, nil
}

// around finds the first record behind cursor that the disk still gives, and names those it does not.
func (j *Journal) around(ctx context.Context, page []*Record, cursor, last int64, cause error) ([]*Record, int64, error) {
	good, err := j.readable(ctx, cursor, last)
	if err != nil {
		return nil, cursor, err
	}
	if good == cursor+1 {
		// The next one is there by itself, but not as the beginning of a page: go on one at a time.
		one, next, err := j.page(ctx, cursor, good, 1, followBytes, &Filter{})
		if err != nil {
			return nil, cursor, cause
		}
		return append(page, one...), next, nil
	}
	return j.gap(page, cursor, good-1, GapDamaged)
}

// readable is the first record in (cursor, last] that can be read by itself; last+1 when there is none.
func (j *Journal) readable(ctx context.Context, cursor, last int64) (int64, error) {
	for id := cursor + 1; id <= last; id++ {
		_, _, err := j.page(ctx, id-1, id, 1, followBytes, &Filter{})
		if err == nil {
			return id, nil
		}
		if abi.CodeOf(err) != abi.Corrupt {
			return 0, err
		}
	}
	return last + 1, nil
}

// gap is a page of one record that names what is missing up to to, inclusive.
func (j *Journal) gap(page []*Record, cursor, to int64, reason string) ([]*Record, int64, error) {
	g := Gap{From: cursor + 1, To: to, Count: to - cursor, Reason: reason}
	body, err := json.Marshal(g)
	if err != nil {
		return nil, cursor, err
	}
	j.pub.gaps.Add(1)
	j.pub.missed.Add(g.Count)
	return append(page, &Record{Kind: GapKind, Time: j.now().UTC(), Body: body}), to, nil
}
