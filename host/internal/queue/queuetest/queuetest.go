// Package queuetest holds every implementation of package queue to its contract: one suite, the same for all.
package queuetest

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// Bench is one queue under test and the place it lives in.
type Bench struct {
	// Open opens the queue as a new process would, whose predecessor said nothing when it ended. The suite runs it.
	Open func(t testing.TB) queue.Queue
	// Again is how long after Open a job is given out that the predecessor held, at most.
	Again time.Duration
}

// Run plays the suite. fresh makes an empty queue in a place of its own.
func Run(t *testing.T, fresh func(t testing.TB) Bench) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig)
	}{
		{"a job is put in, given out and done", testLife},
		{"what is written beside a step shares its fate", testAlso},
		{"priorities, then lanes in turn, then first in first out", testOrder},
		{"a full lane holds nobody up", testSlots},
		{"a job comes again after its delay", testAgain},
		{"an attempt that did not begin does not count", testUncounted},
		{"the last attempt is followed by death", testAttempts},
		{"the dead are listed, requeued and dropped", testDead},
		{"a cancelled job never runs", testCancel},
		{"a lease that runs out is over", testExpiry},
		{"a renewed lease lasts", testRenew},
		{"what dies with its holder too often is buried and told", testLost},
		{"a deadline buries what waits", testDeadline},
		{"not before its time", testNotBefore},
		{"a held queue gives nothing, and drains", testHold},
		{"a new process has everything again", testReopen},
		{"the record decides what is restored", testRestore},
		{"many at once of one id are one", testIdentical},
		{"many workers, every job once", testHammer},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := fresh(t)
			r := &rig{t: t, b: b}
			r.open()
			c.run(t, r)
		})
	}
}

// rig is a running queue.
type rig struct {
	queue.Queue
	t    *testing.T
	b    Bench
	stop func()

	mu     sync.Mutex
	buried []told
}

type told struct {
	id   string
	code abi.Code
}

func (r *rig) open() {
	r.Queue = r.b.Open(r.t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- r.Queue.Run(ctx, func(_ *sql.Tx, j queue.Info, code abi.Code) (func(), error) {
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.buried = append(r.buried, told{j.ID, code})
			}, nil
		})
	}()
	q := r.Queue
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		if err := q.Close(); err != nil {
			r.t.Errorf("Close: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) reopen() { r.stop(); r.open() }

func (r *rig) told() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.buried)
}

func (r *rig) put(jobs ...queue.Job) {
	r.t.Helper()
	for _, j := range jobs {
		if _, err := r.Put(r.t.Context(), j, nil, nil); err != nil {
			r.t.Fatalf("put %q: %v", j.ID, err)
		}
	}
}

const patience = 30 * time.Second

// until waits on changes of the queue for a condition.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	end := time.After(patience)
	for {
		changed := r.Changed()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-end:
			r.t.Fatalf("timed out: %s; %+v", what, r.Stats())
		}
	}
}

// take waits for one job.
func (r *rig) take(a queue.Ask) queue.Lease {
	r.t.Helper()
	var got []queue.Lease
	r.until("a job to take", func() bool {
		var err error
		if got, err = r.Take(r.t.Context(), a); err != nil {
			r.t.Fatalf("take: %v", err)
		}
		return len(got) > 0
	})
	return got[0]
}

// none asserts that nothing can be taken now.
func (r *rig) none() {
	r.t.Helper()
	if got, err := r.Take(r.t.Context(), queue.Ask{Max: 10}); err != nil || len(got) > 0 {
		r.t.Fatalf("took %+v, %v; want nothing", got, err)
	}
}

func (r *rig) end(l queue.Lease, e queue.End) {
	r.t.Helper()
	if _, err := r.End(r.t.Context(), l, e); err != nil {
		r.t.Fatalf("%s %q: %v", e.How, l.ID, err)
	}
}

func (r *rig) list(s queue.State) []string {
	r.t.Helper()
	infos, err := r.List(r.t.Context(), s, "", 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, i := range infos {
		if i.State != s {
			r.t.Fatalf("%q is listed as %s and is %s", i.ID, s, i.State)
		}
		ids = append(ids, i.ID)
	}
	return ids
}

func (r *rig) want(s queue.State, ids ...string) {
	r.t.Helper()
	if got := r.list(s); !slices.Equal(got, ids) {
		r.t.Fatalf("%s: %v, want %v", s, got, ids)
	}
}

func (r *rig) wantCode(err error, want abi.Code) {
	r.t.Helper()
	if err == nil || abi.CodeOf(err) != want {
		r.t.Fatalf("got %v, want code %s", err, want)
	}
}

func job(id string) queue.Job { return queue.Job{ID: id, Lane: "a"} }

var errNo = errors.New("no")
