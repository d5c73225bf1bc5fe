package jet

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/arw-project/arw/host/internal/queue"
)

// pool is what one consumer gives out.
type pool struct {
	rank queue.Priority
	lane string
}

// stand is the jobs of a pool that are ready. It is in its rank's turn while it has any.
type stand struct {
	pool
	jobs    int
	delayed int       // of them, those whose time has not come
	asked   int       // fetches under way
	pause   time.Time // the server had nothing though the index has: not asked before
	wait    time.Duration
}

// ready counts a job in, or out. The caller holds mu.
func (q *Queue) ready(j *job, by int) {
	key := pool{j.Priority, j.Lane}
	st := q.pools[key]
	if st == nil {
		st = &stand{pool: key}
		q.pools[key] = st
		q.turns[j.Priority] = append(q.turns[j.Priority], st)
	}
	st.jobs += by
	if !j.from.IsZero() {
		st.delayed += by
	}
	if st.jobs > 0 {
		return
	}
	delete(q.pools, key)
	turn := q.turns[j.Priority]
	for i, t := range turn {
		if t == st {
			q.turns[j.Priority] = append(turn[:i], turn[i+1:]...)
			return
		}
	}
}

// next is the stand to ask now, with room claimed in its lane and its place in the turn taken; nil when there is none. The
// caller holds mu.
func (q *Queue) next(a *queue.Ask, tried map[*stand]bool) *stand {
	now := time.Now()
	for _, p := range queue.Priorities {
		turn := q.turns[p]
		for i, st := range turn {
			if tried[st] || st.pause.After(now) || st.jobs-st.delayed-st.asked <= 0 || a.Slot != nil && !a.Slot(st.lane) {
				continue
			}
			st.asked++
			q.turns[p] = append(append(turn[:i:i], turn[i+1:]...), st)
			return st
		}
	}
	return nil
}

// How soon the server is asked again for jobs that the index has and the server did not give.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// rested notes what came of asking. The caller holds mu.
func (q *Queue) rested(st *stand, got bool) {
	if st.asked--; got {
		st.wait, st.pause = 0, time.Time{}
		return
	}
	st.wait = min(max(2*st.wait, firstPause), lastPause)
	st.pause = time.Now().Add(st.wait)
	q.alarms.set("", st.pause) // any change is told then
	q.wake()
}

// consumers are those of the work stream that were met.
type consumers struct {
	q     *Queue
	mu    sync.Mutex // held while one is made: two at once would make it twice
	known map[pool]jetstream.Consumer
}

func (c *consumers) init(q *Queue) { c.q, c.known = q, map[pool]jetstream.Consumer{} }

// of finds a pool's consumer, making it when it is new to this process.
func (c *consumers) of(ctx context.Context, p pool) (jetstream.Consumer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.known[p]; got != nil {
		return got, nil
	}
	lane := token(p.lane)
	name := p.rank.String() + "-" + lane
	if len(name) > 200 {
		sum := sha256.Sum256([]byte(name))
		name = p.rank.String() + "-" + hex.EncodeToString(sum[:])
	}
	got, err := c.q.work.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: c.q.subject("q." + p.rank.String() + "." + lane + ".*"),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.q.o.Wait,
		// How often a job is given out is decided here, where the delivery after the last attempt becomes a dead letter. A limit of
		// the server's would leave the message in the stream, and tell of it only if somebody asks for more.
		MaxDeliver: -1, MaxAckPending: -1,
	})
	if err == nil {
		c.known[p] = got
	}
	return got, err
}

// forget makes the next use ask the server again.
func (c *consumers) forget(p pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, p)
}

// alarms are times by name, the earliest first.
type alarms struct {
	byName map[string]*alarm
	heap   alarmHeap
}

type alarm struct {
	name string
	at   time.Time
	i    int
}

// set changes a name's time; zero takes it out.
func (a *alarms) set(name string, t time.Time) {
	old := a.byName[name]
	switch {
	case old == nil && t.IsZero():
	case old == nil:
		if a.byName == nil {
			a.byName = map[string]*alarm{}
		}
		al := &alarm{name: name, at: t}
		a.byName[name] = al
		heap.Push(&a.heap, al)
	case t.IsZero():
		heap.Remove(&a.heap, old.i)
		delete(a.byName, name)
	case name == "" && old.at.Before(t): // the earliest of several counts
	default:
		old.at = t
		heap.Fix(&a.heap, old.i)
	}
}

// due takes out a name whose time has come; otherwise it says how long to wait, negative for ever.
func (a *alarms) due(now time.Time) (name string, ok bool, wait time.Duration) {
	if len(a.heap) == 0 {
		return "", false, -1
	}
	if wait := a.heap[0].at.Sub(now); wait > 0 {
		return "", false, wait
	}
	al := heap.Pop(&a.heap).(*alarm)
	delete(a.byName, al.name)
	return al.name, true, 0
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, k int) bool { return h[i].at.Before(h[k].at) }
func (h alarmHeap) Swap(i, k int)      { h[i], h[k] = h[k], h[i]; h[i].i, h[k].i = i, k }
func (h *alarmHeap) Push(x any)        { al := x.(*alarm); al.i = len(*h); *h = append(*h, al) }
func (h *alarmHeap) Pop() any {
	old := *h
	al := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return al
}
