// Package local keeps the promise of package queue in the host's own database: a step of the queue and what the caller writes
// beside it are one commit, shared with whoever else writes at that moment.
//
// The line itself is in memory, made from the table at Open: the database has one owner, so nobody else can change it. The lock
// on memory is never held while something is written; a job whose step is being written is in no line meanwhile. Leases are
// counted on the monotonic clock and live as long as the process: whoever opens the queue again has all jobs back.
package local

import (
	"cmp"
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/queue"
)

// Options of a queue; the zero value works.
type Options struct {
	Wall func() time.Time // the wall clock, for what is written and for times before and after which a job runs; nil is the real one
}

// Queue implements queue.Queue. Its goroutine is Run's.
type Queue struct {
	db   *db.DB
	wall func() time.Time

	mu      sync.Mutex // never held while something is written
	quiet   *sync.Cond // of mu: a job is busy no more
	jobs    map[string]*job
	line    line
	alarms  alarms
	held    bool
	leased  int
	dead    int
	changed chan struct{} // nil while nobody waits for it
	seq     int64
	n       queue.Stats // the counters of it

	ring chan struct{} // the first alarm is another: capacity 1
}

// job is one row in memory. Its fields are guarded by Queue.mu.
type job struct {
	queue.Job
	seq     int64
	state   queue.State
	attempt int
	token   uint64
	busy    bool // a step of it is being written: it is in no line and has no alarm
	created time.Time
	moved   time.Time
	why     string
	until   time.Time // of a lease, with a monotonic reading
	from    time.Time // not before: with a monotonic reading; zero when at once
	late    time.Time // deadline: with a monotonic reading; zero when never

	at    int       // index in its lane's heap, -1 when in none
	alarm time.Time // when the clockwork looks at it
	rings int       // index in the alarms' heap, -1 when in none
}

// Open reads the queue of a database whose migrations include Schema. What was leased when the last owner stopped is ready
// again, or dead when its attempts are used up. The queue ends with the database.
func Open(ctx context.Context, d *db.DB, o Options) (*Queue, error) {
	q := &Queue{db: d, wall: o.Wall, jobs: map[string]*job{}, ring: make(chan struct{}, 1)}
	if q.wall == nil {
		q.wall = time.Now
	}
	q.line.init()
	q.quiet = sync.NewCond(&q.mu)
	if err := q.load(ctx); err != nil {
		return nil, d.Explain("open the queue", err)
	}
	return q, nil
}

// Close does nothing: the queue's goroutine ends with Run, its rows belong to the database.
func (q *Queue) Close() error { return nil }

// mono is a time of the wall clock on the clock that does not jump.
func (q *Queue) mono(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(t.Sub(q.wall()))
}

// Put implements queue.Worker.
func (q *Queue) Put(ctx context.Context, in queue.Job, take *queue.Ask, also queue.Also) (*queue.Lease, error) {
	if err := in.Check(); err != nil {
		return nil, err
	}
	in.Attempts = cmp.Or(in.Attempts, queue.DefaultAttempts)
	j, lease, err := q.enter(in, take)
	if err != nil {
		return nil, err
	}
	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		if err := q.insert(tx, j); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if lease != nil && take.Also != nil {
			return take.Also(tx, []queue.Lease{*lease})
		}
		return nil
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rest(j)
	if err != nil {
		delete(q.jobs, j.ID)
		if lease != nil {
			q.leased--
			give(take, j.Lane)
		}
		q.touch()
		return nil, err
	}
	q.n.Put++
	if lease != nil {
		q.n.Taken++
		q.watch(j)
		return lease, nil
	}
	q.settle(j)
	return nil, nil
}

// enter makes the job known, leased when it may run at once.
func (q *Queue) enter(in queue.Job, take *queue.Ask) (*job, *queue.Lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if old := q.jobs[in.ID]; old != nil {
		return nil, nil, abi.Errorf(abi.Conflict, "put job %q: it is in the queue already, %s", in.ID, old.state)
	}
	q.seq++
	now := q.wall()
	j := &job{Job: in, seq: q.seq, state: queue.Ready, busy: true, created: now, moved: now, at: -1, rings: -1}
	j.from, j.late = q.mono(in.NotBefore), q.mono(in.Deadline)
	q.jobs[in.ID] = j
	soon := j.from.IsZero() || !j.from.After(time.Now())
	if take == nil || q.held || !soon || !q.line.empty(in.Lane) || take.Slot != nil && !take.Slot(in.Lane) {
		return j, nil, nil
	}
	lease := q.lend(j, take.For)
	return j, &lease, nil
}

// lend makes a job leased. The caller holds mu and writes it.
func (q *Queue) lend(j *job, length time.Duration) queue.Lease {
	length = max(cmp.Or(length, queue.DefaultLease), queue.MinLease)
	j.state, j.busy, j.moved = queue.Leased, true, q.wall()
	j.attempt++
	j.token++
	j.until = time.Now().Add(length)
	q.leased++
	return q.leaseOf(j)
}

func (q *Queue) leaseOf(j *job) queue.Lease {
	return queue.Lease{Job: j.Job, Attempt: j.attempt, Token: j.token, Until: j.until}
}

// unlend takes lend back.
func (q *Queue) unlend(j *job, a *queue.Ask) {
	j.state = queue.Ready
	q.rest(j)
	j.attempt--
	j.token--
	q.leased--
	give(a, j.Lane)
	q.settle(j)
}

func give(a *queue.Ask, lane string) {
	if a.Free != nil {
		a.Free(lane)
	}
}

// rest says that nothing of a job is being written any more. The caller holds mu.
func (q *Queue) rest(j *job) {
	j.busy = false
	q.quiet.Broadcast()
}

// settle puts a ready job where it waits: in the line, or beside it until its time comes. The caller holds mu.
func (q *Queue) settle(j *job) {
	now := time.Now()
	j.alarm = j.late
	if j.from.After(now) {
		if j.alarm.IsZero() || j.from.Before(j.alarm) {
			j.alarm = j.from
		}
	} else {
		j.from = time.Time{}
		q.line.push(j)
	}
	q.setAlarm(j)
	q.touch()
}

// watch sets a lease's alarm. The caller holds mu.
func (q *Queue) watch(j *job) {
	j.alarm = j.until
	q.setAlarm(j)
}

func (q *Queue) setAlarm(j *job) {
	if q.alarms.set(j) {
		select {
		case q.ring <- struct{}{}:
		default:
		}
	}
}

// lift takes a job out of everything it waits in. The caller holds mu.
func (q *Queue) lift(j *job) {
	q.line.remove(j)
	q.alarms.remove(j)
}

// touch tells those who wait for a change. The caller holds mu.
func (q *Queue) touch() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// Changed implements queue.Worker.
func (q *Queue) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}

// Stats implements queue.Worker.
func (q *Queue) Stats() queue.Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.n
	s.Leased, s.Dead, s.Held, s.Ready = q.leased, q.dead, q.held, q.line.len
	s.Delayed = max(0, len(q.jobs)-s.Leased-s.Dead-s.Ready)
	return s
}
