package journal

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Bounds of the records kept in memory, for all followers together.
const (
	recentCount = 1 << 13
	recentBytes = 8 << 20
)

// published is the part of the journal that followers may see: the last id, the newest records and a bell.
type published struct {
	mu     sync.RWMutex
	last   int64
	floor  int64         // the last record that was removed
	wake   chan struct{} // closed and replaced at every commit; nil once the database is closed
	first  int64         // the oldest id in recent; first > last: recent is empty
	recent []*Record     // by id modulo its length
	bytes  int

	turn chan struct{} // held by followers that read from the table

	followers, published, delivered, gaps, missed atomic.Int64
}

func (p *published) init(last, floor int64) {
	p.last, p.first, p.floor = last, last+1, floor
	p.wake = make(chan struct{})
	p.recent = make([]*Record, recentCount)
	p.turn = make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
}

func (p *published) lastID() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.last
}

func (p *published) floorID() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.floor
}

func (p *published) bell() chan struct{} {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.wake
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
	p.published.Add(int64(len(records)))
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *published) drop() {
	p.bytes -= len(p.recent[p.first%recentCount].Body)
	p.recent[p.first%recentCount] = nil
	p.first++
}

// raise hides the records up to floor, which are being removed.
func (p *published) raise(floor int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor = max(p.floor, floor)
	for p.first <= p.floor && p.first <= p.last {
		p.drop()
	}
}

// replace puts changed records in the place of those that are in memory.
func (p *published) replace(records []*Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range records {
		if r.ID >= p.first && r.ID <= p.last {
			p.bytes += len(r.Body) - len(p.recent[r.ID%recentCount].Body)
			p.recent[r.ID%recentCount] = r
		}
	}
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

// Traffic counts what followers got since Open.
type Traffic struct {
	Followers int64 // now
	Published int64 // records that became visible
	Delivered int64 // records that followers took, all together
	Gaps      int64 // times that a follower was told of a gap
	Missed    int64 // records that those gaps named, counted once for each follower
}

// Traffic is a snapshot of the counters.
func (j *Journal) Traffic() Traffic {
	p := &j.pub
	return Traffic{p.followers.Load(), p.published.Load(), p.delivered.Load(), p.gaps.Load(), p.missed.Load()}
}
