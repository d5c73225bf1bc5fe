package action_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
)

func TestAPausedQueueTakesWorkAndBeginsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, &tools{}, action.Config{Workers: 2})
	g := newGate()
	b.tools.set("a/b:slow", g.tool())
	b.tools.set("a/b:t", echo)
	b.start(t)
	running := b.submit(t, action.Request{Kind: "slow"})
	<-g.started
	for range 2 {
		if st, err := b.Pause(t.Context(), "operator", "maintenance"); err != nil || !st.Paused || st.Running != 1 {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	waiting := b.submit(t, action.Request{Kind: "t", Input: raw(1)})
	if waiting.State != action.Queued {
		t.Fatalf("got %s", waiting.State)
	}
	close(g.open) // what runs goes on, and its worker takes nothing up
	if a := b.wait(t, running.ID); a.State != action.Completed {
		t.Fatalf("got %s", a.State)
	}
	until(t, "the worker is free", func() bool { return b.Stats().Running == 0 })
	b.stop()
	b.db.Close()

	b = open(t, dir, b.tools, action.Config{Workers: 2})
	b.start(t)
	if st := b.Stats(); !st.Paused || st.Waiting != 1 {
		t.Fatalf("after a restart: %+v", st)
	}
	if a, err := b.Get(t.Context(), waiting.ID); err != nil || a.State != action.Queued {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := b.Unpause(t.Context(), "operator"); err != nil {
		t.Fatal(err)
	}
	if a := b.wait(t, waiting.ID); a.State != action.Completed {
		t.Fatalf("got %s", a.State)
	}
	var kinds []string
	for _, r := range b.records(t, journal.Filter{Prefixes: []string{"queue."}}) {
		kinds = append(kinds, r.Kind)
	}
	if got := strings.Join(kinds, " "); got != action.EventPaused+" "+action.EventResumed {
		t.Fatalf("events: %s", got)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	fail := true
	b.tools.set("a/b:t", tool{run: func(_ context.Context, job action.Job) (action.Result, error) {
		if fail {
			return action.Result{}, abi.Errorf(abi.ToolFailed, "not yet")
		}
		return action.Result{Kind: abi.FrameJSON, Body: raw(job.Action.Actor)}, nil
	}})
	first := b.submit(t, action.Request{Kind: "t", Input: raw(7), Actor: "agent:x", Corr: "cor_1", IdemKey: "k"})
	if a := b.wait(t, first.ID); a.State != action.Failed {
		t.Fatalf("got %s", a.State)
	}
	fail = false
	again, err := b.Retry(t.Context(), first.ID, "operator")
	if err != nil || again.ID == first.ID || again.Corr != "cor_1" {
		t.Fatalf("%+v, %v", again, err)
	}
	if a := b.wait(t, again.ID); a.State != action.Completed || string(a.Output) != `"operator"` || string(a.Input) != "7" {
		t.Fatalf("got %+v", a)
	}
	_, err = b.Retry(t.Context(), again.ID, "operator")
	wantCode(t, err, abi.Conflict)
	_, err = b.Retry(t.Context(), "act_none", "operator")
	wantCode(t, err, abi.NotFound)
}

// Each child opens the folder, runs what is there and is killed in mid-call.
func TestAKilledHostRunsAgainWhatDoesNoHarm(t *testing.T) {
	if dir := os.Getenv("ARW_TEST_ATTEMPT_DIR"); dir != "" {
		runUntilKilled(t, dir)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	var ids []string
	for range 3 {
		if got := killed(t, dir); len(got) > 0 {
			ids = got
		}
	}
	b := open(t, dir, &tools{}, action.Config{})
	for i, want := range []struct {
		what    string
		attempt int
	}{{"reads", 3}, {"writes", 1}, {"writes with a key", 3}} {
		a, err := b.Get(t.Context(), ids[i])
		if err != nil || a.State != action.Failed || a.Failure.Code != abi.Interrupted || a.Attempt != want.attempt {
			t.Errorf("%s: %+v %+v, %v", want.what, a, a.Failure, err)
		}
	}
	if rep, err := b.jrn.Verify(t.Context()); err != nil {
		t.Fatalf("journal: %+v, %v", rep, err)
	}
}

func killed(t *testing.T, dir string) (ids []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledHostRunsAgainWhatDoesNoHarm$", "-test.v")
	cmd.Env = append(os.Environ(), "ARW_TEST_ATTEMPT_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		var rest string
		if rest, ready = strings.CutPrefix(lines.Text(), "ready"); ready {
			ids = strings.Fields(rest)
		}
	}
	if err := cmd.Process.Kill(); err != nil || !ready {
		t.Fatalf("ready %v, %v", ready, err)
	}
	_ = cmd.Wait()
	return ids
}

func runUntilKilled(t *testing.T, dir string) {
	r, g := &tools{}, newGate()
	look, change := g.tool(), g.tool()
	look.effects, change.effects = abi.Reads, abi.Writes
	r.set("a/b:look", look)
	r.set("a/b:change", change)
	b := open(t, dir, r, action.Config{Workers: 4, PerPack: 4})
	p, err := b.List(t.Context(), action.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	b.start(t)
	var ids []string
	n := 2 // of the three, the one that writes without a key runs once
	if len(p.Items) == 0 {
		n = 3
		for _, req := range []action.Request{{Kind: "look"}, {Kind: "change"}, {Kind: "change", IdemKey: "k"}} {
			ids = append(ids, b.submit(t, req).ID)
		}
	}
	for range n {
		<-g.started
	}
	fmt.Println("ready", strings.Join(ids, " "))
	select {} // until the parent kills us
}
