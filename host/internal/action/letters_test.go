package action_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue"
)

// cutShort leaves one dead letter behind: an action with effects that a stop cut off.
func cutShort(t *testing.T, dir string, r *tools) (id string) {
	t.Helper()
	b := open(t, dir, r, action.Config{Workers: 1, Grace: time.Millisecond})
	g := newGate()
	change := g.tool()
	change.effects = abi.Writes
	r.set("a/b:change", change)
	b.start(t)
	a := b.submit(t, action.Request{Kind: "change", Input: raw(7), Actor: "agent:x", Corr: "cor_1", Priority: queue.High, IdemKey: ""})
	<-g.started
	b.stop()
	b.db.Close()
	return a.ID
}

func TestADeadLetterIsRequeuedOnce(t *testing.T) {
	t.Parallel()
	dir, r := t.TempDir(), &tools{}
	id := cutShort(t, dir, r)
	b := open(t, dir, r, action.Config{})
	r.set("a/b:change", tool{effects: abi.Writes, run: func(_ context.Context, job action.Job) (action.Result, error) {
		return action.Result{Kind: abi.FrameJSON, Body: raw(job.Action.Actor)}, nil
	}})
	b.start(t)
	var mu sync.Mutex
	var made []action.Action
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			a, err := b.Requeue(t.Context(), id, "operator")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, a)
			} else if c := abi.CodeOf(err); c != abi.NotFound && c != abi.Conflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 || made[0].ID == id || made[0].Corr != "cor_1" || made[0].Priority != queue.High {
		t.Fatalf("made %+v", made)
	}
	if a := b.wait(t, made[0].ID); a.State != action.Completed || string(a.Output) != `"operator"` || string(a.Input) != "7" {
		t.Fatalf("%+v", a)
	}
	if dead, err := b.Jobs(t.Context(), queue.Dead, "", 10); err != nil || len(dead) != 0 {
		t.Fatalf("dead %+v, %v", dead, err)
	}
	if kinds := b.events(t, id); kinds[len(kinds)-1] != action.EventRequeued {
		t.Fatalf("events %v", kinds)
	}
	// The old action stays as it ended; running it again is a retry like any other.
	if a, err := b.Get(t.Context(), id); err != nil || a.State != action.Failed {
		t.Fatalf("%+v, %v", a, err)
	}
	if again, err := b.Retry(t.Context(), id, "operator"); err != nil || b.wait(t, again.ID).State != action.Completed {
		t.Fatalf("%+v, %v", again, err)
	}
}

func TestARetryTakesTheLetterAway(t *testing.T) {
	t.Parallel()
	dir, r := t.TempDir(), &tools{}
	id := cutShort(t, dir, r)
	b := open(t, dir, r, action.Config{})
	r.set("a/b:change", echo)
	b.start(t)
	a, err := b.Retry(t.Context(), id, "operator")
	if err != nil || b.wait(t, a.ID).State != action.Completed {
		t.Fatalf("%+v, %v", a, err)
	}
	wantCode(t, b.Drop(t.Context(), id, "operator"), abi.NotFound)
}

func TestADeadLetterIsDropped(t *testing.T) {
	t.Parallel()
	dir, r := t.TempDir(), &tools{}
	id := cutShort(t, dir, r)
	b := open(t, dir, r, action.Config{})
	b.start(t)
	dead, err := b.Jobs(t.Context(), queue.Dead, "", 10)
	if err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Failure.Code != abi.Interrupted || dead[0].Queue.Why == "" || dead[0].Queue.Attempt != 1 {
		t.Fatalf("dead %+v, %v", dead, err)
	}
	if err := b.Drop(t.Context(), id, "operator"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, b.Drop(t.Context(), id, "operator"), abi.NotFound)
	_, err = b.Requeue(t.Context(), id, "operator")
	wantCode(t, err, abi.NotFound)
	if kinds := b.events(t, id); !slices.Equal(kinds[3:], []string{action.EventDead, action.EventDropped}) {
		t.Fatalf("events %v", kinds)
	}
}

func TestADeadlinePassesInLine(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 1})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	b.submit(t, action.Request{Kind: "t"})
	<-g.started
	late := b.submit(t, action.Request{Kind: "t", Deadline: time.Now().Add(30 * time.Millisecond)})
	a := b.wait(t, late.ID) // the worker is still busy
	if a.State != action.Failed || a.Failure.Code != abi.Deadline || !a.Started.IsZero() {
		t.Fatalf("%+v %+v", a, a.Failure)
	}
	if kinds := b.events(t, late.ID); !slices.Equal(kinds, []string{"actions.submitted", "actions.failed", "actions.dead"}) {
		t.Fatalf("events %v", kinds)
	}
	// A queue on servers of its own counts the letter a moment after the record has it.
	until(t, "one dead letter is counted", func() bool { s := b.Stats(); return s.Waiting == 0 && s.Line.Dead == 1 })
	close(g.open)
}

func TestPriorityOrdersWhatWaits(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 1})
	g := newGate()
	b.tools.set("a/hold:hold", g.tool())
	var mu sync.Mutex
	var order []string
	b.tools.set("a/b:t", tool{run: func(_ context.Context, job action.Job) (action.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, string(job.Action.Input))
		return action.Result{Kind: abi.FrameJSON, Body: []byte("1")}, nil
	}})
	b.submit(t, action.Request{Kind: "hold"})
	<-g.started
	var last action.Action
	for i, p := range []queue.Priority{queue.Low, queue.Normal, queue.High, queue.Normal} {
		if a := b.submit(t, action.Request{Kind: "t", Input: raw(i), Priority: p}); p == queue.Low {
			last = a
		}
	}
	close(g.open)
	b.wait(t, last.ID)
	if mu.Lock(); strings.Join(order, "") != "2130" {
		t.Fatalf("order %v", order)
	}
	mu.Unlock()
}

func TestAJobIsGivenBackUntilItsAttemptsAreUsedUp(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Attempts: 3})
	runs := 0
	b.tools.set("a/b:t", tool{effects: abi.Writes, run: func(_ context.Context, job action.Job) (action.Result, error) {
		if runs++; job.Action.Attempt != runs {
			t.Errorf("attempt %d is the run %d", job.Action.Attempt, runs)
		}
		if string(job.Action.Input) == fmt.Sprint(runs) {
			return action.Result{Kind: abi.FrameJSON, Body: []byte("1")}, nil
		}
		return action.Result{}, &action.Again{After: 10 * time.Millisecond, Err: abi.Errorf(abi.Busy, "no room")}
	}})
	second := b.submit(t, action.Request{Kind: "t", Input: raw(2)})
	if a := b.wait(t, second.ID); a.State != action.Completed || a.Attempt != 2 {
		t.Fatalf("%+v", a)
	}
	if kinds := b.events(t, second.ID); !slices.Equal(kinds, []string{"actions.submitted", "actions.running", "actions.queued", "actions.running", "actions.completed"}) {
		t.Fatalf("events %v", kinds)
	}
	rs := b.records(t, journal.Filter{Action: second.ID})
	if body := string(rs[2].Body); !strings.Contains(body, `"retry_ms":10`) || !strings.Contains(body, "no room") || !strings.Contains(body, `"attempt":1`) {
		t.Fatalf("event %s", body)
	}
	runs = 0
	never := b.submit(t, action.Request{Kind: "t", Input: raw(0)})
	if a := b.wait(t, never.ID); a.State != action.Failed || a.Failure.Code != abi.Busy || a.Attempt != 3 {
		t.Fatalf("%+v %+v", a, a.Failure)
	}
	if dead, err := b.Jobs(t.Context(), queue.Dead, "", 10); err != nil || len(dead) != 1 || dead[0].ID != never.ID {
		t.Fatalf("dead %+v, %v", dead, err)
	}
}

func TestCancelOfWhatWaitsForItsNextAttempt(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	ran := make(chan struct{}, 9)
	b.tools.set("a/b:t", tool{run: func(context.Context, action.Job) (action.Result, error) {
		ran <- struct{}{}
		return action.Result{}, &action.Again{After: time.Hour, Err: abi.Errorf(abi.Busy, "no room")}
	}})
	a := b.submit(t, action.Request{Kind: "t"})
	<-ran
	until(t, "it waits again", func() bool { return b.Stats().Line.Delayed == 1 })
	if end, err := b.Cancel(t.Context(), a.ID, "ann", ""); err != nil || end.State != action.Cancelled {
		t.Fatalf("%+v, %v", end, err)
	}
}

func TestDrainWaitsForWhatRuns(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	b.submit(t, action.Request{Kind: "t"})
	<-g.started
	short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	_, err := b.Drain(short, "operator", "")
	wantCode(t, err, abi.Deadline)
	done := make(chan action.Stats, 1)
	go func() {
		st, err := b.Drain(t.Context(), "operator", "")
		if err != nil {
			t.Error(err)
		}
		done <- st
	}()
	close(g.open)
	if st := <-done; !st.Paused || st.Line.Leased != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestAHundredIdenticalCallsRunOnce(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	var mu sync.Mutex
	runs := 0
	b.tools.set("a/b:t", tool{effects: abi.OpenWorld, run: func(context.Context, action.Job) (action.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		runs++
		return action.Result{Kind: abi.FrameJSON, Body: raw(runs)}, nil
	}})
	ids := make([]string, 100)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			a, _, err := b.Submit(t.Context(), action.Request{Kind: "t", IdemKey: "k", Input: raw(1)})
			if err != nil {
				t.Error(err)
				return
			}
			if end, err := b.Wait(t.Context(), a.ID); err != nil || string(end.Output) != "1" {
				t.Errorf("%+v, %v", end, err)
			}
			ids[i] = a.ID
		})
	}
	wg.Wait()
	if u := slices.Compact(slices.Sorted(slices.Values(ids))); len(u) != 1 || runs != 1 {
		t.Fatalf("%d actions, %d runs", len(u), runs)
	}
}
