package queuetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

func testLife(t *testing.T, r *rig) {
	r.put(queue.Job{ID: "j1", Lane: "arw/x", Payload: []byte("\x00what\xff"), Priority: queue.High})
	r.want(queue.Ready, "j1")
	l := r.take(queue.Ask{For: time.Minute})
	if l.ID != "j1" || l.Lane != "arw/x" || string(l.Payload) != "\x00what\xff" || l.Attempt != 1 || l.Token == 0 || l.Priority != queue.High || !l.Until.After(time.Now()) {
		t.Fatalf("lease %+v", l)
	}
	if s := r.Stats(); s.Leased != 1 || s.Ready != 0 {
		t.Fatalf("stats %+v", s)
	}
	r.none()
	r.end(l, queue.End{How: queue.Done})
	r.none()
	_, err := r.End(t.Context(), l, queue.End{How: queue.Done})
	if c := abi.CodeOf(err); c != abi.NotFound && c != abi.Conflict {
		t.Fatalf("a second end: %v", err)
	}
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Dead} {
		r.want(s)
	}
	for _, bad := range []queue.Job{{ID: "", Lane: "a"}, {ID: "x", Lane: ""}, {ID: "x y", Lane: "a"}, {ID: strings.Repeat("x", 257), Lane: "a"}, {ID: "x", Lane: "a", Priority: 2}, {ID: "x", Lane: "a", Attempts: -1}} {
		_, err := r.Put(t.Context(), bad, nil, nil)
		r.wantCode(err, abi.Invalid)
	}
	_, err = r.Put(t.Context(), queue.Job{ID: "big", Lane: "a", Payload: make([]byte, queue.MaxPayload+1)}, nil, nil)
	r.wantCode(err, abi.TooLarge)
}

func testAlso(t *testing.T, r *rig) {
	refuse := func(*sql.Tx) error { return errNo }
	ran := 0
	note := func(tx *sql.Tx) error {
		if tx == nil {
			return errors.New("no transaction")
		}
		ran++
		return nil
	}
	if _, err := r.Put(t.Context(), job("j"), nil, refuse); !errors.Is(err, errNo) {
		t.Fatalf("put: %v", err)
	}
	r.want(queue.Ready)
	if _, err := r.Put(t.Context(), job("j"), nil, note); err != nil || ran != 1 {
		t.Fatalf("put: %v, ran %d", err, ran)
	}
	freed := 0
	ask := queue.Ask{Slot: func(string) bool { return true }, Free: func(lane string) { freed++ }, Also: func(_ *sql.Tx, ls []queue.Lease) error { return errNo }}
	if _, err := r.Take(t.Context(), ask); !errors.Is(err, errNo) || freed != 1 {
		t.Fatalf("take: %v, freed %d", err, freed)
	}
	l := r.take(queue.Ask{Also: func(tx *sql.Tx, ls []queue.Lease) error {
		if len(ls) != 1 || ls[0].ID != "j" {
			return fmt.Errorf("taken %+v", ls)
		}
		return note(tx)
	}})
	for _, how := range []queue.Move{queue.Done, queue.Again, queue.Bury} {
		if _, err := r.End(t.Context(), l, queue.End{How: how, Also: refuse}); !errors.Is(err, errNo) {
			t.Fatalf("%s: %v", how, err)
		}
		r.want(queue.Leased, "j")
	}
	r.end(l, queue.End{How: queue.Bury, Also: note})
	for name, step := range map[string]func() error{
		"drop":    func() error { return r.Drop(t.Context(), "j", refuse) },
		"requeue": func() error { return r.Requeue(t.Context(), "j", job("j"), refuse) },
	} {
		if err := step(); !errors.Is(err, errNo) {
			t.Fatalf("%s: %v", name, err)
		}
		r.want(queue.Dead, "j")
	}
	if err := r.Requeue(t.Context(), "j", job("j"), note); err != nil {
		t.Fatal(err)
	}
	if err := r.Cancel(t.Context(), "j", refuse); !errors.Is(err, errNo) {
		t.Fatalf("cancel: %v", err)
	}
	if err := r.Hold(t.Context(), true, refuse); !errors.Is(err, errNo) || r.Stats().Held {
		t.Fatalf("hold: %v, %+v", err, r.Stats())
	}
	if err := r.Cancel(t.Context(), "j", note); err != nil || ran != 5 {
		t.Fatalf("cancel: %v, ran %d", err, ran)
	}
}

func testCancel(t *testing.T, r *rig) {
	r.put(job("a"), job("b"))
	if err := r.Cancel(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	l := r.take(queue.Ask{})
	if l.ID != "b" {
		t.Fatalf("took %q", l.ID)
	}
	r.wantCode(r.Cancel(t.Context(), "a", nil), abi.NotFound)
	r.wantCode(r.Cancel(t.Context(), "b", nil), abi.Conflict)
	r.end(l, queue.End{How: queue.Bury})
	r.wantCode(r.Cancel(t.Context(), "b", nil), abi.Conflict)
	r.none()
}

func testHold(t *testing.T, r *rig) {
	r.put(job("a"), job("b"))
	l := r.take(queue.Ask{})
	for range 2 {
		if err := r.Hold(t.Context(), true, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.none()
	if s := r.Stats(); !s.Held || s.Leased != 1 {
		t.Fatalf("stats %+v", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := queue.Drain(ctx, r, nil); err == nil {
		t.Fatal("drained though a job runs")
	}
	drained := make(chan error, 1)
	go func() { drained <- queue.Drain(t.Context(), r, nil) }()
	r.end(l, queue.End{How: queue.Done})
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	r.reopen()
	r.none()
	r.want(queue.Ready, "b")
	if err := r.Hold(t.Context(), false, nil); err != nil {
		t.Fatal(err)
	}
	if l := r.take(queue.Ask{}); l.ID != "b" {
		t.Fatalf("took %q", l.ID)
	}
}

func testReopen(t *testing.T, r *rig) {
	r.put(job("dead"), job("run"))
	r.end(r.take(queue.Ask{}), queue.End{How: queue.Bury, Why: "because"})
	old := r.take(queue.Ask{For: r.lease()})
	r.put(job("wait"))
	r.reopen()
	infos, err := r.List(t.Context(), queue.Dead, "", 10)
	if err != nil || len(infos) != 1 || infos[0].ID != "dead" || infos[0].Why != "because" {
		t.Fatalf("dead: %+v, %v", infos, err)
	}
	got := map[string]queue.Lease{}
	for range 2 {
		l := r.take(queue.Ask{For: time.Minute})
		got[l.ID] = l
	}
	if got["run"].Attempt != 2 || got["run"].Token <= old.Token || got["wait"].Attempt != 1 {
		t.Fatalf("again: %+v", got)
	}
	if _, err := r.End(t.Context(), old, queue.End{How: queue.Done}); abi.CodeOf(err) != abi.Conflict {
		t.Fatalf("the dead holder's end: %v", err)
	}
	r.end(got["run"], queue.End{How: queue.Done})
}

// lease is a length of leases after which a crash is noticed soon.
func (r *rig) lease() time.Duration { return max(r.b.Again/2, 200*time.Millisecond) }

func testRestore(t *testing.T, r *rig) {
	r.put(job("lost"), job("begun"), job("there"))
	r.end(r.take(queue.Ask{}), queue.End{How: queue.Done}) // the queue forgot what the record still has
	r.take(queue.Ask{For: time.Minute})
	r.reopen()
	held := func(id string, s queue.State, attempt int) queue.Held {
		return queue.Held{Job: job(id), State: s, Attempt: attempt, Why: "so"}
	}
	err := r.Restore(t.Context(), []queue.Held{held("lost", queue.Ready, 0), held("begun", queue.Ready, 1), held("there", queue.Ready, 0), held("gone", queue.Dead, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for range 3 {
		l := r.take(queue.Ask{})
		got[l.ID] = l.Attempt
		r.end(l, queue.End{How: queue.Done})
	}
	if got["lost"] != 1 || got["begun"] != 2 || got["there"] != 1 {
		t.Fatalf("attempts %v", got)
	}
	r.none()
	r.want(queue.Dead, "gone")
}

func testIdentical(t *testing.T, r *rig) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	in, conflicts := 0, 0
	for range 100 {
		wg.Go(func() {
			_, err := r.Put(t.Context(), job("same"), nil, nil)
			mu.Lock()
			defer mu.Unlock()
			switch abi.CodeOf(err) {
			case abi.OK:
				in++
			case abi.Conflict:
				conflicts++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if in != 1 || conflicts != 99 {
		t.Fatalf("%d in, %d conflicts", in, conflicts)
	}
	r.end(r.take(queue.Ask{}), queue.End{How: queue.Done})
	r.none()
}

func testHammer(t *testing.T, r *rig) {
	const lanes, each, workers = 4, 25, 6
	var mu sync.Mutex
	done, running := map[string]int{}, map[string]bool{}
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for i := range each {
				j := queue.Job{ID: fmt.Sprintf("%d-%d", lane, i), Lane: fmt.Sprint("lane", lane), Priority: queue.Priority(i%3 - 1), Attempts: 5}
				if _, err := r.Put(t.Context(), j, nil, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for w := range workers {
		wg.Go(func() {
			for {
				mu.Lock()
				all := len(done) == lanes*each
				mu.Unlock()
				if all || t.Failed() {
					return
				}
				changed := r.Changed()
				ls, err := r.Take(t.Context(), queue.Ask{Max: 2})
				if err != nil {
					t.Error(err)
					return
				}
				if len(ls) == 0 {
					select {
					case <-changed:
					case <-time.After(50 * time.Millisecond): // the last one was another worker's
					}
				}
				for _, l := range ls {
					mu.Lock()
					if running[l.ID] {
						t.Errorf("%q is in two hands", l.ID)
					}
					running[l.ID] = true
					mu.Unlock()
					how := queue.Done
					if (len(l.ID)+w)%3 == 0 && l.Attempt == 1 {
						how = queue.Again
					}
					mu.Lock()
					running[l.ID] = false
					mu.Unlock()
					if _, err := r.End(t.Context(), l, queue.End{How: how}); err != nil {
						t.Errorf("%s %q: %v", how, l.ID, err)
						return
					}
					if how == queue.Done {
						mu.Lock()
						done[l.ID]++
						mu.Unlock()
					}
				}
			}
		})
	}
	wg.Wait()
	for id, n := range done {
		if n != 1 {
			t.Errorf("%q was done %d times", id, n)
		}
	}
	r.none()
}
