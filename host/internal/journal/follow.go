package journal

import (
	"context"
	"iter"
	"sync"

	"github.com/arw-project/arw/abi"
)

// Follow yields every chosen record behind the id after, first those that exist, then each new one as soon as it is
// durable: in order, none twice, none left out. To hear only what is new, start after Last. A follower that is slow
// loses nothing and holds nobody up: it reads older records back from the table, in pages of bounded size, and no
// connection is held while the consumer works.
//
// The sequence ends without an error when ctx ends or the consumer stops. It ends with one error (and a zero Record):
// Unavailable when the database was closed, Conflict when after lies beyond the end of the journal (the follower's
// number is of another journal, or of one restored from a backup), those of reading otherwise. After an error, Follow
// can be called again behind the last record seen.
func (j *Journal) Follow(ctx context.Context, after int64, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if last := j.Last(); after < 0 || after > last {
			yield(Record{}, abi.Errorf(abi.Conflict, "follow journal after event %d: the last one is %d", after, last).
				WithHint("read the current state, then follow after event %d", last))
			return
		}
		cursor := after
		for page := make([]*Record, 0, followPage); ctx.Err() == nil; {
			var err error
			page, cursor, err = j.next(ctx, page[:0], cursor, &f)
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

// followPage is how many records a follower takes at a time.
const followPage = 256

// next waits until there is something behind cursor, then gives some chosen records (perhaps none) and the id up to
// which everything has been looked at.
func (j *Journal) next(ctx context.Context, page []*Record, cursor int64, f *Filter) ([]*Record, int64, error) {
	for {
		page, next, last, wake := j.pub.take(page, cursor, f)
		if next > cursor {
			return page, next, nil
		}
		if cursor < last { // too far behind for the memory
			return j.page(ctx, cursor, last, followPage, f)
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

// Bounds of the records kept in memory, for all followers together.
const (
	recentCount = 1 << 13
	recentBytes = 8 << 20
)

// published is the part of the journal that followers may see: the last id, the newest records and a bell.
type published struct {
	mu     sync.RWMutex
	last   int64
	wake   chan struct{} // closed and replaced at every commit; nil once the database is closed
	first  int64         // the oldest id in recent; first > last: recent is empty
	recent []*Record     // by id modulo its length
	bytes  int
}

func (p *published) init(last int64) {
	p.last, p.first = last, last+1
	p.wake = make(chan struct{})
	p.recent = make([]*Record, recentCount)
}

func (p *published) lastID() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.last
}

// publish makes committed records visible and wakes every follower.
func (p *published) publish(records []*Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if records[0].ID != p.last+1 {
		// Records were committed whose fate had been unknown: what is kept must have no hole, followers read the table.
		clear(p.recent)
		p.first, p.bytes = records[0].ID, 0
	}
	for _, r := range records {
		if r.ID-p.first == recentCount {
			p.drop()
		}
		p.recent[r.ID%recentCount] = r
		p.bytes += len(r.Body)
		p.last = r.ID
	}
	for p.bytes > recentBytes {
		p.drop()
	}
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *published) drop() {
	p.bytes -= len(p.recent[p.first%recentCount].Body)
	p.recent[p.first%recentCount] = nil
	p.first++
}

// take appends chosen records behind cursor that are in memory; next is how far it looked, cursor itself when what
// comes next is not in memory. wake rings when there is more than last; nil means never.
func (p *published) take(page []*Record, cursor int64, f *Filter) (_ []*Record, next, last int64, wake chan struct{}) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	next = cursor
	if cursor+1 >= p.first {
		for next < p.last && len(page) < cap(page) {
			next++
			if r := p.recent[next%recentCount]; f.Match(r) {
				page = append(page, r)
			}
		}
	}
	return page, next, p.last, p.wake
}

func (p *published) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.wake)
	p.wake = nil
}
