package wasm_test

import (
	"context"
	"testing"

	"github.com/arw-project/arw/host/internal/wasm"
)

// TestKin: a module that is tried on the interpreter and then loaded for good is loaded once; each program goes its own way
// from there, and neither feels the other's end.
func TestKin(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{CacheDir: t.TempDir()})
	hold := make(chan struct{})
	trial, err := e.Load(t.Context(), wasm.Spec{Name: "t/kin", Module: goGuest(t), Interpret: true})
	if err != nil {
		t.Fatal(err)
	}
	p := load(t, e, wasm.Spec{Name: "t/kin", Module: goGuest(t), Tiered: true, Check: func(ctx context.Context, c *wasm.Program) error {
		<-hold
		return nil
	}})
	if !wasm.OnOneMachine(trial, p) {
		t.Error("the module was loaded twice")
	}
	if small := load(t, e, wasm.Spec{Name: "t/kin", Module: goGuest(t), Interpret: true, Limits: wasm.Limits{MemoryBytes: 32 << 20}}); wasm.OnOneMachine(trial, small) {
		t.Error("programs with other limits on memory share a machine")
	}
	counts := func(p *wasm.Program, session, want string) {
		t.Helper()
		if r, err := p.Call(t.Context(), wasm.Call{Tool: "count", Session: session}); err != nil || string(r.Body) != want {
			t.Errorf("%q, %v; want %s", r.Body, err, want)
		}
	}
	counts(trial, "s", "101")
	counts(trial, "s", "102")
	counts(p, "s", "101")
	if err := trial.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts(p, "s", "102")
	counts(p, "", "101")
	close(hold)
	if err := p.Settle(t.Context()); err != nil || !p.Stats().Compiled {
		t.Fatalf("%v, %+v", err, p.Stats())
	}
	counts(p, "s", "103")
	counts(p, "", "101")
	again := load(t, e, wasm.Spec{Name: "t/kin", Module: goGuest(t), Interpret: true})
	if again.Settle(t.Context()) != nil || again.Stats().Compiled || wasm.OnOneMachine(p, again) {
		t.Errorf("it was to stay on the interpreter: %+v", again.Stats())
	}
	counts(again, "", "101")
}
