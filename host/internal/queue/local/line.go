package local

import (
	"container/heap"
	"time"

	"github.com/arw-project/arw/host/internal/queue"
)

// line holds what may be given out: by priority, then lane by lane, then in the order of putting in.
type line struct {
	ranks map[queue.Priority]*rank
	lanes map[string]int // jobs of a lane that wait, over all ranks
	len   int
}

// rank is the lanes of one priority that have something waiting; the first is served next.
type rank struct {
	lanes map[string]*lane
	turn  []*lane
}

type lane struct {
	name string
	jobs bySeq
}

func (l *line) init() {
	l.ranks, l.lanes = map[queue.Priority]*rank{}, map[string]int{}
	for _, p := range queue.Priorities {
		l.ranks[p] = &rank{lanes: map[string]*lane{}}
	}
}

func (l *line) empty(lane string) bool { return l.lanes[lane] == 0 }

func (l *line) push(j *job) {
	if j.at >= 0 {
		return
	}
	r := l.ranks[j.Priority]
	ln := r.lanes[j.Lane]
	if ln == nil {
		ln = &lane{name: j.Lane}
		r.lanes[j.Lane] = ln
		r.turn = append(r.turn, ln)
	}
	heap.Push(&ln.jobs, j)
	l.lanes[j.Lane]++
	l.len++
}

// pop takes the next job whose lane has room; nil when there is none.
func (l *line) pop(room func(lane string) bool) *job {
	for _, p := range queue.Priorities {
		r := l.ranks[p]
		for i, ln := range r.turn {
			if room != nil && !room(ln.name) {
				continue
			}
			j := heap.Pop(&ln.jobs).(*job)
			r.turn = append(r.turn[:i], r.turn[i+1:]...)
			if len(ln.jobs) > 0 {
				r.turn = append(r.turn, ln)
			} else {
				delete(r.lanes, ln.name)
			}
			l.count(ln.name)
			return j
		}
	}
	return nil
}

// remove takes a job out, if it is in.
func (l *line) remove(j *job) {
	if j.at < 0 {
		return
	}
	r := l.ranks[j.Priority]
	ln := r.lanes[j.Lane]
	heap.Remove(&ln.jobs, j.at)
	l.count(j.Lane)
	if len(ln.jobs) > 0 {
		return
	}
	delete(r.lanes, j.Lane)
	for i, t := range r.turn {
		if t == ln {
			r.turn = append(r.turn[:i], r.turn[i+1:]...)
			return
		}
	}
}

// count notes that one job of a lane left, and forgets idle lanes.
func (l *line) count(lane string) {
	l.len--
	if l.lanes[lane]--; l.lanes[lane] == 0 {
		delete(l.lanes, lane)
	}
}

// bySeq is a heap in the order of putting in.
type bySeq []*job

func (h bySeq) Len() int           { return len(h) }
func (h bySeq) Less(i, k int) bool { return h[i].seq < h[k].seq }
func (h bySeq) Swap(i, k int)      { h[i], h[k] = h[k], h[i]; h[i].at, h[k].at = i, k }
func (h *bySeq) Push(x any)        { j := x.(*job); j.at = len(*h); *h = append(*h, j) }
func (h *bySeq) Pop() any {
	old := *h
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	j.at = -1
	return j
}

// alarms is a heap of the jobs at which the clockwork must look, the earliest first.
type alarms []*job

// set places a job by its alarm, or takes it out when it has none, and reports whether the first alarm is another now.
func (a *alarms) set(j *job) bool {
	switch {
	case j.alarm.IsZero():
		a.remove(j)
		return false
	case j.rings < 0:
		heap.Push(a, j)
	default:
		heap.Fix(a, j.rings)
	}
	return j.rings == 0
}

func (a *alarms) remove(j *job) {
	if j.rings >= 0 {
		heap.Remove(a, j.rings)
	}
}

// due takes out the first job whose alarm is not after now; otherwise it says how long to wait, negative for ever.
func (a *alarms) due(now time.Time) (*job, time.Duration) {
	if len(*a) == 0 {
		return nil, -1
	}
	if wait := (*a)[0].alarm.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(a).(*job), 0
}

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, k int) bool { return a[i].alarm.Before(a[k].alarm) }
func (a alarms) Swap(i, k int)      { a[i], a[k] = a[k], a[i]; a[i].rings, a[k].rings = i, k }
func (a *alarms) Push(x any)        { j := x.(*job); j.rings = len(*a); *a = append(*a, j) }
func (a *alarms) Pop() any {
	old := *a
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	j.rings = -1
	return j
}
