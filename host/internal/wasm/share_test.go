package wasm_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// TestGreedyPack: a pack that takes every instance it can get leaves room for the others, and is told to wait.
func TestGreedyPack(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{Instances: 12})
	greedy := load(t, e, wasm.Spec{Name: "t/greedy", Module: loopAfterGet(), Instances: 100})
	modest := load(t, e, wasm.Spec{Name: "t/modest", Module: echoGuest()})
	kv := &blockingKV{entered: make(chan struct{}, 100), proceed: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	results := make(chan error, 40)
	for range 40 {
		calls.Go(func() {
			_, err := greedy.Call(ctx, wasm.Call{Tool: "bad", Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: kv}, Limits: wasm.Limits{Gas: 1 << 60, Time: time.Minute}})
			results <- err
		})
	}
	for range 5 { // it gets what leaves as much for the others
		<-kv.entered
	}
	for range 4 {
		late := load(t, e, wasm.Spec{Name: "t/late", Module: echoGuest()})
		for _, p := range []*wasm.Program{modest, late} {
			if r, err := p.Call(t.Context(), wasm.Call{Tool: "echo", Input: []byte("x"), Limits: wasm.Limits{Time: time.Second}}); err != nil || string(r.Body) != "x" {
				t.Errorf("the other pack starves: %q %v", r.Body, err)
			}
		}
	}
	if n, _ := e.Live(); n > 12 {
		t.Errorf("%d instances live, the bound is 12", n)
	}
	cancel()
	calls.Wait()
	close(results)
	for err := range results {
		if abi.CodeOf(err) != abi.Cancelled {
			t.Error(err)
		}
	}
}

// TestIdleInstancesMakeRoom: at the bound, who has nothing gets the place of an idle instance of whoever has most.
func TestIdleInstancesMakeRoom(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{Instances: 4})
	for i := range 10 {
		p := load(t, e, wasm.Spec{Name: fmt.Sprint("t/p", i), Module: echoGuest()})
		if _, err := p.Call(t.Context(), wasm.Call{Tool: "echo"}); err != nil {
			t.Errorf("pack %d: %v", i, err)
		}
		if n, _ := e.Live(); n > 4 {
			t.Errorf("%d instances live, the bound is 4", n)
		}
	}
}

// TestShareOfMemory: growth beyond a pack's share is refused, told apart from the pack's own limit, and not held against
// the pack.
func TestShareOfMemory(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{MemoryBytes: 8 << 20})
	grower := load(t, e, wasm.Spec{Name: "t/grower", Module: plain(loop(i32c(1), growMem, i32c(-1), op(0x47), brif(0)), unreachable)})
	other := load(t, e, wasm.Spec{Name: "t/other", Module: echoGuest()})
	for range 10 { // more often than the breaker forgives
		r, err := grower.Call(t.Context(), wasm.Call{Tool: "bad"})
		if abi.CodeOf(err) != abi.Busy || r.Usage.MemoryBytes < 3<<20 || r.Usage.MemoryBytes > 4<<20 {
			t.Errorf("%v with %d KiB, want busy with half of what there is", err, r.Usage.MemoryBytes>>10)
		}
	}
	if _, err := other.Call(t.Context(), wasm.Call{Tool: "echo", Input: make([]byte, 1<<20)}); err != nil {
		t.Errorf("the other pack has no memory: %v", err)
	}
	for i := range 100 { // sessions take what is left; then there is an answer, not a fall
		_, err := other.Call(t.Context(), wasm.Call{Tool: "echo", Session: fmt.Sprint(i)})
		if i == 99 && abi.CodeOf(err) != abi.Busy {
			t.Errorf("session %d: %v, want busy", i, err)
		}
	}
	if err := grower.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n, mem := e.Live(); n != 0 || mem != 0 {
		t.Errorf("%d instances and %d bytes are still counted", n, mem)
	}
}
