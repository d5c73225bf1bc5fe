package action_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue"
)

func TestCancel(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 1})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	b.tools.set("a/b:e", echo)
	running := b.submit(t, action.Request{Kind: "t"})
	<-g.started
	queued := b.submit(t, action.Request{Kind: "t"})

	t.Run("queued never runs", func(t *testing.T) {
		a, err := b.Cancel(t.Context(), queued.ID, "ann", "changed my mind")
		if err != nil || a.State != action.Cancelled || a.Failure.Code != abi.Cancelled || !a.Started.IsZero() {
			t.Fatalf("got %+v, %v", a, err)
		}
		if !strings.Contains(a.Failure.Message, "ann: changed my mind") {
			t.Fatalf("message %q", a.Failure.Message)
		}
		if kinds := b.events(t, queued.ID); !slices.Equal(kinds, []string{"actions.submitted", "actions.cancelled"}) {
			t.Fatalf("events: %v", kinds)
		}
	})
	t.Run("running is stopped", func(t *testing.T) {
		a, err := b.Cancel(t.Context(), running.ID, "ann", "")
		if err != nil || a.State != action.Cancelled {
			t.Fatalf("got %+v, %v", a, err)
		}
	})
	t.Run("twice is once", func(t *testing.T) {
		if a, err := b.Cancel(t.Context(), running.ID, "bob", ""); err != nil || !strings.Contains(a.Failure.Message, "ann") {
			t.Fatalf("got %+v, %v", a, err)
		}
	})
	t.Run("what has ended is a conflict", func(t *testing.T) {
		end := b.wait(t, b.submit(t, action.Request{Kind: "e"}).ID)
		_, err := b.Cancel(t.Context(), end.ID, "ann", "")
		wantCode(t, err, abi.Conflict)
	})
	t.Run("what is not there", func(t *testing.T) {
		_, err := b.Cancel(t.Context(), "act_nope", "ann", "")
		wantCode(t, err, abi.NotFound)
	})
}

// A tool that finishes although it was told to stop has had its effect; the record must say so.
func TestCancelThatComesTooLate(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	started := make(chan struct{})
	b.tools.set("a/b:t", tool{run: func(ctx context.Context, _ action.Job) (action.Result, error) {
		close(started)
		<-ctx.Done()
		return action.Result{Kind: abi.FrameJSON, Body: []byte("1")}, nil
	}})
	a := b.submit(t, action.Request{Kind: "t"})
	<-started
	a, err := b.Cancel(t.Context(), a.ID, "ann", "")
	wantCode(t, err, abi.Conflict)
	if a.State != action.Completed {
		t.Fatalf("got %+v", a)
	}
}

func TestDeadlineEndsTheCall(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	end := b.wait(t, b.submit(t, action.Request{Kind: "t", Deadline: time.Now().Add(20 * time.Millisecond)}).ID)
	if end.State != action.Failed || end.Failure.Code != abi.Deadline {
		t.Fatalf("got %+v %+v", end, end.Failure)
	}
}

func TestWaitGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	a := b.submit(t, action.Request{Kind: "t"})
	<-g.started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	got, err := b.Wait(ctx, a.ID)
	wantCode(t, err, abi.Deadline)
	if got.State != action.Running {
		t.Fatalf("got %+v", got)
	}
	close(g.open)
}

// Whoever follows the journal may hear of an action before its submitter does.
func TestFollowerMayWaitAtOnce(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("a/b:t", echo)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ends := make(chan action.State, 20)
	go func() {
		defer close(ends)
		n := 0
		for r, err := range b.jrn.Follow(ctx, 0, journal.Filter{Prefixes: []string{"actions.submitted"}}) {
			if err != nil {
				return
			}
			a, err := b.Wait(ctx, r.Action)
			if err != nil {
				t.Error(err)
				return
			}
			ends <- a.State
			if n++; n == 20 {
				return
			}
		}
	}()
	for range 20 {
		b.submit(t, action.Request{Kind: "t"})
	}
	n := 0
	for s := range ends {
		if n++; s != action.Completed {
			t.Fatalf("got %s", s)
		}
	}
	if n != 20 {
		t.Fatalf("heard of %d", n)
	}
}

// A stop whose patience is over and a kill end alike: see TestAKilledHostRunsAgainWhatDoesNoHarm.
func TestStopInterruptsWhatRunsAndKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, &tools{}, action.Config{Workers: 4, PerPack: 4, Grace: time.Millisecond})
	g := newGate()
	look, change := g.tool(), g.tool()
	look.effects, change.effects = abi.Reads, abi.Writes
	b.tools.set("a/b:look", look)
	b.tools.set("a/b:change", change)
	b.tools.set("a/b:calls", tool{effects: abi.Writes, run: func(ctx context.Context, job action.Job) (action.Result, error) { return job.Call(ctx, "look", nil) }})
	b.start(t)
	harmless := b.submit(t, action.Request{Kind: "look"})
	keyed := b.submit(t, action.Request{Kind: "change", IdemKey: "k"})
	harmful := b.submit(t, action.Request{Kind: "change"})
	caller := b.submit(t, action.Request{Kind: "calls"})
	for range 4 {
		<-g.started
	}
	queued := b.submit(t, action.Request{Kind: "look"})
	b.stop()
	for what, a := range map[string]action.Action{"harmful": harmful, "caller": caller} {
		end, err := b.Get(t.Context(), a.ID)
		if err != nil || end.State != action.Failed || end.Failure.Code != abi.Interrupted {
			t.Fatalf("%s: %+v, %v", what, end, err)
		}
		if kinds := b.events(t, a.ID); !slices.Equal(kinds, []string{"actions.submitted", "actions.running", "actions.failed", "actions.dead"}) {
			t.Fatalf("%s: %v", what, kinds)
		}
	}
	for what, a := range map[string]action.Action{"harmless": harmless, "keyed": keyed, "queued": queued} {
		if end, err := b.Get(t.Context(), a.ID); err != nil || end.State != action.Queued {
			t.Fatalf("%s: %+v, %v", what, end, err)
		}
	}
	_, _, err := b.Submit(t.Context(), action.Request{Kind: "look"})
	wantCode(t, err, abi.Unavailable)
	b.db.Close()

	again := open(t, dir, b.tools, action.Config{})
	close(g.open)
	again.start(t)
	for what, want := range map[string]struct {
		id      string
		attempt int
	}{"harmless": {harmless.ID, 2}, "keyed": {keyed.ID, 2}, "queued": {queued.ID, 1}} {
		if a := again.wait(t, want.id); a.State != action.Completed || a.Attempt != want.attempt {
			t.Fatalf("%s after restart: %+v", what, a)
		}
	}
	dead, err := again.Jobs(t.Context(), queue.Dead, "", 10)
	if err != nil || len(dead) != 2 {
		t.Fatalf("dead letters %+v, %v", dead, err)
	}
	wantCode(t, again.Run(t.Context()), abi.Conflict)
}

func TestStopLetsCallsFinish(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Grace: 20 * time.Second})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	a := b.submit(t, action.Request{Kind: "t"})
	<-g.started
	stopped := make(chan struct{})
	go func() { b.stop(); close(stopped) }()
	until(t, "the host refuses work", func() bool {
		_, _, err := b.Submit(t.Context(), action.Request{Kind: "t"})
		return errors.Is(err, &abi.Error{Code: abi.Unavailable})
	})
	close(g.open)
	<-stopped
	if end, err := b.Get(t.Context(), a.ID); err != nil || end.State != action.Completed {
		t.Fatalf("got %+v, %v", end, err)
	}
}

// The child process is killed in mid-call; the parent reads what it left.
func TestKillInMidCall(t *testing.T) {
	if dir := os.Getenv("ARW_TEST_KILL_DIR"); dir != "" {
		killMe(t, dir)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillInMidCall$", "-test.v")
	cmd.Env = append(os.Environ(), "ARW_TEST_KILL_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			ids = strings.Fields(rest)
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if len(ids) != 4 {
		t.Fatalf("the child said %v", ids)
	}
	r := &tools{}
	r.set("a/b:t", echo)
	r.set("a/b:outer", echo)
	b := open(t, dir, r, action.Config{})
	outer, inner, queued, big := ids[0], ids[1], ids[2], ids[3]
	a, err := b.Get(t.Context(), inner) // its caller is gone
	if err != nil || a.State != action.Failed || a.Failure.Code != abi.Interrupted || a.Ended.IsZero() {
		t.Fatalf("running: %+v %+v, %v", a, a.Failure, err)
	}
	if kinds := b.events(t, inner); !slices.Equal(kinds, []string{"actions.submitted", "actions.running", "actions.failed"}) {
		t.Fatalf("events: %v", kinds)
	}
	if a, err := b.Get(t.Context(), outer); err != nil || a.State != action.Queued || a.Attempt != 1 {
		t.Fatalf("outer: %+v, %v", a, err)
	}
	if a, err := b.Get(t.Context(), queued); err != nil || a.State != action.Queued {
		t.Fatalf("queued: %+v, %v", a, err)
	}
	b.start(t)
	if a := b.wait(t, outer); a.State != action.Completed || a.Attempt != 2 {
		t.Fatalf("outer, run again: %+v", a)
	}
	if kinds := b.events(t, outer); !slices.Equal(kinds, []string{"actions.submitted", "actions.running", "actions.queued", "actions.running", "actions.completed"}) {
		t.Fatalf("events: %v", kinds)
	}
	if a := b.wait(t, queued); a.State != action.Completed || string(a.Output) != `"later"` {
		t.Fatalf("queued, run again: %+v", a)
	}
	if a := b.wait(t, big); a.State != action.Completed || len(a.Output) != 200<<10+2 {
		t.Fatalf("large input, run again: %s, %d bytes", a.State, len(a.Output))
	}
	if rep, err := b.jrn.Verify(t.Context()); err != nil {
		t.Fatalf("journal: %+v, %v", rep, err)
	}
}

func killMe(t *testing.T, dir string) {
	b := open(t, dir, &tools{}, action.Config{Workers: 1})
	inner := make(chan string)
	b.tools.set("a/b:t", tool{run: func(_ context.Context, job action.Job) (action.Result, error) {
		inner <- job.Action.ID
		select {}
	}})
	b.tools.set("a/b:outer", tool{run: func(ctx context.Context, job action.Job) (action.Result, error) {
		return job.Call(ctx, "t", nil)
	}})
	b.start(t)
	outer := b.submit(t, action.Request{Kind: "outer"})
	in := <-inner
	queued := b.submit(t, action.Request{Kind: "t", Input: raw("later")})
	big := b.submit(t, action.Request{Kind: "t", Input: raw(strings.Repeat("x", 200<<10))})
	os.Stdout.WriteString("ready " + strings.Join([]string{outer.ID, in, queued.ID, big.ID}, " ") + "\n")
	select {}
}
