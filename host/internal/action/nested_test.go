package action_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
)

// calls is a tool that calls another and answers with its answer.
func calls(kind string, effects abi.Effect) tool {
	return tool{effects: effects, run: func(ctx context.Context, job action.Job) (action.Result, error) {
		return job.Call(ctx, kind, job.Action.Input)
	}}
}

func TestNestedCallIsAnActionOfItsOwn(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 1}) // a nested call must not wait for a second worker
	b.tools.set("a/out:outer", calls("inner", abi.Reads))
	b.tools.set("a/in:inner", tool{effects: abi.Reads, run: echo.run})
	outer := b.wait(t, b.submit(t, action.Request{Kind: "outer", Input: raw("hi"), Actor: "ann", Project: "p"}).ID)
	if outer.State != action.Completed || string(outer.Output) != `"hi"` {
		t.Fatalf("outer: %+v", outer)
	}
	p, err := b.List(t.Context(), action.Filter{Parent: outer.ID, Payload: true})
	if err != nil || len(p.Items) != 1 {
		t.Fatalf("children: %+v, %v", p, err)
	}
	in := p.Items[0]
	if in.Corr != outer.Corr || in.Depth != 1 || in.Actor != "pack:a/out" || in.Project != "p" || in.State != action.Completed || in.Pack != "a/in" {
		t.Fatalf("inner: %+v", in)
	}
	if rs := b.records(t, journal.Filter{Corr: outer.Corr}); len(rs) != 6 {
		t.Fatalf("%d events under one corr id", len(rs))
	}
}

func TestNestedCallIsBoundInDepth(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("a/b:again", calls("again", abi.Pure))
	end := b.wait(t, b.submit(t, action.Request{Kind: "again"}).ID)
	if end.State != action.Failed || end.Failure.Code != abi.DepthExceeded {
		t.Fatalf("got %+v %+v", end, end.Failure)
	}
	p, err := b.List(t.Context(), action.Filter{})
	if err != nil || len(p.Items) != 9 || p.Items[0].Depth != 8 {
		t.Fatalf("%d actions, %v", len(p.Items), err)
	}
}

func TestNestedCallMayNotDoMoreThanItsCaller(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	ran := false
	b.tools.set("a/b:write", tool{effects: abi.Writes, run: func(context.Context, action.Job) (action.Result, error) {
		ran = true
		return action.Result{}, nil
	}})
	b.tools.set("a/b:read", calls("write", abi.Reads))
	end := b.wait(t, b.submit(t, action.Request{Kind: "read"}).ID)
	if end.State != action.Failed || end.Failure.Code != abi.Denied || !strings.Contains(end.Failure.Hint, `effects = "writes"`) || ran {
		t.Fatalf("got %+v %+v, ran %v", end, end.Failure, ran)
	}
	p, err := b.List(t.Context(), action.Filter{Parent: end.ID})
	if err != nil || len(p.Items) != 1 || p.Items[0].State != action.Failed || p.Items[0].Failure.Code != abi.Denied {
		t.Fatalf("the denial is not on record: %+v, %v", p, err)
	}
}

func TestNestedCallRefusals(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{MaxInput: 32})
	b.tools.set("a/b:missing", calls("nope", abi.Pure))
	b.tools.set("a/b:echo", echo)
	b.tools.set("a/b:big", tool{run: func(ctx context.Context, job action.Job) (action.Result, error) {
		return job.Call(ctx, "echo", raw(strings.Repeat("x", 64)))
	}})
	b.tools.set("a/b:fails", tool{run: func(context.Context, action.Job) (action.Result, error) {
		return action.Result{}, abi.Errorf(abi.BudgetExhausted, "spent").WithHint("more").WithDetail(fmt.Sprint("d"))
	}})
	b.tools.set("a/b:through", calls("fails", abi.Pure))
	for kind, want := range map[string]abi.Code{"missing": abi.NotFound, "big": abi.TooLarge, "through": abi.BudgetExhausted} {
		end := b.wait(t, b.submit(t, action.Request{Kind: kind}).ID)
		if end.State != action.Failed || end.Failure.Code != want {
			t.Fatalf("%s: got %+v %+v", kind, end, end.Failure)
		}
		if kind == "through" && (end.Failure.Hint != "more" || string(end.Failure.Detail) != `"d"`) {
			t.Fatalf("%s: %+v", kind, end.Failure)
		}
	}
}

func TestCancelReachesNestedCalls(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	g := newGate()
	b.tools.set("a/b:inner", g.tool())
	b.tools.set("a/b:outer", calls("inner", abi.Pure))
	a := b.submit(t, action.Request{Kind: "outer"})
	in := <-g.started
	if end, err := b.Cancel(t.Context(), a.ID, "ann", ""); err != nil || end.State != action.Cancelled {
		t.Fatalf("outer: %+v, %v", end, err)
	}
	if end := b.wait(t, in.Action.ID); end.State != action.Cancelled || !strings.Contains(end.Failure.Message, "called it was cancelled") {
		t.Fatalf("inner: %+v %+v", end, end.Failure)
	}
}
