package host_test

import (
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

// In safe mode no program of a pack is loaded, what waits in the queue waits, and nothing new comes; afterwards it all runs.
func TestSafeModeRunsNothing(t *testing.T) {
	t.Parallel()
	safe := ""
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) { c.Safe = safe }})
	h.Install(hosttest.SinkPack(t))
	if _, err := h.Services().Actions.Pause(t.Context(), "operator", "for the test"); err != nil {
		t.Fatal(err)
	}
	waits := h.Submit("sink.echo", `{"n":1}`)
	safe = "for the test"
	h.Stop()
	from := int64(0)
	h.Start()
	for _, r := range h.Events(journal.Filter{Prefixes: []string{"service.safe"}}) {
		from = r.ID
	}
	if from == 0 || h.SafeMode() != "for the test" {
		t.Fatalf("it did not start safe: %q", h.SafeMode())
	}
	ctx := t.Context()
	if _, err := h.Services().Actions.Unpause(ctx, "operator"); err != nil {
		t.Fatal(err)
	}
	_, _, submit := h.Services().Actions.Submit(ctx, action.Request{Kind: "sink.echo", Actor: "operator"})
	_, call := h.Services().Packs.Call(ctx, pack.Call{Pack: "test/sink", Tool: "sink.echo", Input: []byte(`{}`), Actor: "operator"})
	_, install := h.TryInstall("test/sink:1.0.0", pack.Options{By: "operator"})
	_, rollback := h.Services().Packs.Rollback(ctx, "test/sink", pack.RollbackOptions{})
	for what, err := range map[string]error{"submit": submit, "call": call, "install": install, "roll back": rollback} {
		if abi.CodeOf(err) != abi.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a, err := h.Services().Actions.Get(ctx, waits.ID); err != nil || a.State != action.Queued {
		t.Errorf("what waited is %s (%v)", a.State, err)
	}
	if loaded := after(h, from, "pack.loaded"); len(loaded) != 0 {
		t.Errorf("a pack was loaded: %v", loaded)
	}
	if err := h.LeaveSafeMode(ctx, "cor_1", "operator"); err != nil {
		t.Fatal(err)
	}
	if a := h.Wait(waits.ID); a.State != action.Completed {
		t.Errorf("what waited ended %s: %+v", a.State, a.Failure)
	}
	h.MustCall("sink.echo", `{"n":1}`)
	if abi.CodeOf(h.LeaveSafeMode(ctx, "cor_1", "operator")) != abi.Conflict {
		t.Error("it was left twice")
	}
	if left := after(h, from, "service.safe.left"); len(left) != 1 {
		t.Errorf("leaving it was journaled %d times", len(left))
	}
}

// after are the events of one kind behind another.
func after(h *hosttest.Host, id int64, kind string) (out []journal.Record) {
	for _, r := range h.Events(journal.Filter{Prefixes: []string{kind}}) {
		if r.ID > id && r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}
