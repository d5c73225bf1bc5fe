package action_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
)

func TestCompletedActionTellsItsWholeLife(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("arw/x:x.echo", echo)
	a := b.submit(t, action.Request{Kind: "x.echo", Input: raw(map[string]int{"n": 1}), Actor: "operator", Project: "p"})
	end := b.wait(t, a.ID)
	if end.State != action.Completed || string(end.Output) != `{"n":1}` || end.OutKind != abi.FrameJSON || end.Usage.Gas != 7 {
		t.Fatalf("got %+v", end)
	}
	got, err := b.Get(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kind != "x.echo" || got.Pack != "arw/x" || got.Actor != "operator" || got.Project != "p" || got.Corr == "" ||
		got.Started.IsZero() || got.Ended.Before(got.Started) || string(got.Input) != `{"n":1}` || string(got.Output) != `{"n":1}` {
		t.Fatalf("record: %+v", got)
	}
	want := []string{"actions.submitted", "actions.running", "actions.completed"}
	if kinds := b.events(t, a.ID); !slices.Equal(kinds, want) {
		t.Fatalf("events: got %v, want %v", kinds, want)
	}
	for _, r := range b.records(t, journal.Filter{Action: a.ID}) {
		if r.Corr != got.Corr || r.Pack != "arw/x" || r.Actor != "operator" || r.Project != "p" {
			t.Fatalf("event %s: %+v", r.Kind, r)
		}
	}
}

func TestSubmitIsDurableBeforeItReturns(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), &tools{}, action.Config{}) // no workers: it can only be queued
	b.tools.set("a/b:t", echo)
	a := b.submit(t, action.Request{Kind: "t"})
	got, err := b.Get(t.Context(), a.ID)
	if err != nil || got.State != action.Queued || string(got.Input) != "{}" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if kinds := b.events(t, a.ID); !slices.Equal(kinds, []string{"actions.submitted"}) {
		t.Fatalf("events: %v", kinds)
	}
	b.start(t)
	if end := b.wait(t, a.ID); end.State != action.Completed {
		t.Fatalf("after Run: %+v", end)
	}
}

func TestSubmitRefusesBeforeItQueues(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{MaxInput: 64})
	b.tools.set("a/b:t", tool{run: echo.run, validate: func(in []byte) error {
		if !strings.Contains(string(in), "q") {
			return abi.Errorf(abi.Invalid, `check input: "/q" is missing`)
		}
		return nil
	}})
	b.tools.set("a/b:small", tool{run: echo.run, maxInput: 4})
	for _, c := range []struct {
		name string
		req  action.Request
		code abi.Code
	}{
		{"unknown tool", action.Request{Kind: "nope"}, abi.NotFound},
		{"not JSON", action.Request{Kind: "t", Input: json.RawMessage(`{"q":`)}, abi.Invalid},
		{"does not fit", action.Request{Kind: "t", Input: json.RawMessage(`{"k":1}`)}, abi.Invalid},
		{"too large for the host", action.Request{Kind: "t", Input: raw(strings.Repeat("q", 100))}, abi.TooLarge},
		{"too large for the tool", action.Request{Kind: "small", Input: raw("12345")}, abi.TooLarge},
		{"key too long", action.Request{Kind: "t", Input: raw("q"), IdemKey: strings.Repeat("k", 257)}, abi.Invalid},
		{"actor with a line break", action.Request{Kind: "t", Input: raw("q"), Actor: "a\nb"}, abi.Invalid},
		{"deadline passed", action.Request{Kind: "t", Input: raw("q"), Deadline: time.Now().Add(-time.Second)}, abi.Deadline},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := b.Submit(t.Context(), c.req)
			wantCode(t, err, c.code)
		})
	}
	if page, err := b.List(t.Context(), action.Filter{}); err != nil || len(page.Items) != 0 {
		t.Fatalf("something was recorded: %+v, %v", page, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := b.Submit(ctx, action.Request{Kind: "t", Input: raw("q")})
	wantCode(t, err, abi.Cancelled)
}

func TestFailuresKeepCodeMessageHintAndDetail(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{MaxOutput: 32})
	fail := func(err error) tool {
		return tool{run: func(context.Context, action.Job) (action.Result, error) { return action.Result{}, err }}
	}
	answer := func(kind abi.FrameKind, body string) tool {
		return tool{run: func(context.Context, action.Job) (action.Result, error) {
			return action.Result{Kind: kind, Body: []byte(body)}, nil
		}}
	}
	b.tools.set("a/b:denied", fail(abi.Errorf(abi.Denied, "policy says no").WithHint("ask").WithDetail(map[string]string{"policy": "p1"})))
	b.tools.set("a/b:lease", fail(abi.Errorf(abi.LeaseExpired, "lease ran out")))
	b.tools.set("a/b:plain", fail(fmt.Errorf("boom")))
	b.tools.set("a/b:long", fail(abi.Errorf(abi.ToolFailed, "%s", strings.Repeat("é", 5000))))
	b.tools.set("a/b:big", answer(abi.FrameJSON, `"`+strings.Repeat("x", 100)+`"`))
	b.tools.set("a/b:broken", answer(abi.FrameJSON, `{"a":`))
	b.tools.set("a/b:odd", answer(9, `{}`))
	b.tools.set("a/b:panic", tool{run: func(context.Context, action.Job) (action.Result, error) { panic("ouch") }})
	for name, want := range map[string]abi.Code{
		"denied": abi.Denied, "lease": abi.LeaseExpired, "plain": abi.Internal, "long": abi.ToolFailed,
		"big": abi.TooLarge, "broken": abi.ToolFailed, "odd": abi.ToolFailed, "panic": abi.Internal,
	} {
		t.Run(name, func(t *testing.T) {
			a := b.submit(t, action.Request{Kind: name})
			b.wait(t, a.ID)
			got, err := b.Get(t.Context(), a.ID)
			if err != nil || got.State != action.Failed || got.Failure == nil || got.Failure.Code != want || got.Failure.Hint == "" {
				t.Fatalf("got %+v %+v, %v", got, got.Failure, err)
			}
			if len(got.Failure.Message) > 5000 || strings.Contains(got.Failure.Message, "ouch") {
				t.Fatalf("message: %q", got.Failure.Message)
			}
			if name == "denied" && (got.Failure.Hint != "ask" || string(got.Failure.Detail) != `{"policy":"p1"}`) {
				t.Fatalf("got %+v", got.Failure)
			}
			rs := b.records(t, journal.Filter{Action: a.ID})
			if last := rs[len(rs)-1]; last.Kind != "actions.failed" || !strings.Contains(string(last.Body), `"code":"`+want.String()+`"`) {
				t.Fatalf("event: %s %s", last.Kind, last.Body)
			}
		})
	}
}

func TestBytesOutputIsKeptUntouched(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("a/b:t", tool{run: func(context.Context, action.Job) (action.Result, error) {
		return action.Result{Kind: abi.FrameBytes, Body: []byte{0, 0xff, 1}}, nil
	}})
	a := b.wait(t, b.submit(t, action.Request{Kind: "t"}).ID)
	got, err := b.Get(t.Context(), a.ID)
	if err != nil || got.OutKind != abi.FrameBytes || string(got.Output) != "\x00\xff\x01" {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("a/b:t", echo)
	b.tools.set("a/b:u", echo)
	first := b.submit(t, action.Request{Kind: "t", Input: raw(map[string]int{"n": 1}), IdemKey: "k", Actor: "ann"})
	b.wait(t, first.ID)

	t.Run("same key and input, however spelt, gives the same action", func(t *testing.T) {
		for _, r := range []action.Request{
			{Kind: "t", Input: json.RawMessage(` { "n" : 1 } `), IdemKey: "k", Actor: "ann"},
			{Kind: "a/b:t", Input: raw(map[string]int{"n": 1}), IdemKey: "k", Actor: "ann"},
		} {
			a, reused, err := b.Submit(t.Context(), r)
			if err != nil || !reused || a.ID != first.ID || a.State != action.Completed || string(a.Output) != `{"n":1}` {
				t.Fatalf("got %+v, %v, %v", a, reused, err)
			}
		}
		if kinds := b.events(t, first.ID); len(kinds) != 3 {
			t.Fatalf("a reuse was journaled as a submission: %v", kinds)
		}
	})
	t.Run("another input is a conflict", func(t *testing.T) {
		_, _, err := b.Submit(t.Context(), action.Request{Kind: "t", Input: raw(2), IdemKey: "k", Actor: "ann"})
		wantCode(t, err, abi.Conflict)
	})
	t.Run("another tool or actor is another action", func(t *testing.T) {
		for _, r := range []action.Request{{Kind: "u", IdemKey: "k", Actor: "ann"}, {Kind: "t", IdemKey: "k", Actor: "bob"}} {
			if _, reused, err := b.Submit(t.Context(), r); err != nil || reused {
				t.Fatalf("%+v: reused %v, %v", r, reused, err)
			}
		}
	})
	t.Run("many at once run once", func(t *testing.T) {
		ids := make([]string, 32)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				a, _, err := b.Submit(t.Context(), action.Request{Kind: "t", IdemKey: "many"})
				if err != nil {
					t.Error(err)
				}
				ids[i] = a.ID
			})
		}
		wg.Wait()
		if u := slices.Compact(slices.Sorted(slices.Values(ids))); len(u) != 1 {
			t.Fatalf("%d actions for one key", len(u))
		}
	})
}

func TestIdempotencyKeyExpires(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{IdemTTL: time.Nanosecond})
	b.tools.set("a/b:t", echo)
	first := b.submit(t, action.Request{Kind: "t", IdemKey: "k"})
	until(t, "the key is forgotten", func() bool {
		a, reused, err := b.Submit(t.Context(), action.Request{Kind: "t", IdemKey: "k", Input: raw(1)})
		return err == nil && !reused && a.ID != first.ID
	})
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 1, Queue: 2})
	g := newGate()
	b.tools.set("a/b:t", g.tool())
	b.submit(t, action.Request{Kind: "t"})
	<-g.started
	b.submit(t, action.Request{Kind: "t"})
	b.submit(t, action.Request{Kind: "t"})
	_, _, err := b.Submit(t.Context(), action.Request{Kind: "t"})
	wantCode(t, err, abi.Busy)
	if s := b.Stats(); s.Running != 1 || s.Waiting != 2 {
		t.Fatalf("stats: %+v", s)
	}
	close(g.open)
	until(t, "the queue drains", func() bool { return b.Stats().Completed == 3 })
	if s := b.Stats(); s.Running != 0 || s.Waiting != 0 || s.Submitted != 3 {
		t.Fatalf("stats: %+v", s)
	}
}

func TestPacksTakeTurns(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 1})
	g := newGate()
	b.tools.set("a/hold:hold", g.tool())
	var mu sync.Mutex
	var order []string
	note := tool{run: func(_ context.Context, job action.Job) (action.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, job.Action.Pack+string(job.Action.Input))
		return action.Result{Kind: abi.FrameJSON, Body: []byte("1")}, nil
	}}
	b.tools.set("a/greedy:g", note)
	b.tools.set("a/modest:m", note)
	b.submit(t, action.Request{Kind: "hold"})
	<-g.started
	var last action.Action
	for i := range 4 {
		last = b.submit(t, action.Request{Kind: "g", Input: raw(i)})
	}
	b.submit(t, action.Request{Kind: "m", Input: raw(0)})
	b.submit(t, action.Request{Kind: "m", Input: raw(1)})
	close(g.open)
	b.wait(t, last.ID)
	want := []string{"a/greedy0", "a/modest0", "a/greedy1", "a/modest1", "a/greedy2", "a/greedy3"}
	if mu.Lock(); !slices.Equal(order, want) {
		t.Fatalf("got %v, want %v", order, want)
	}
	mu.Unlock()
}

func TestOnePackNeverHoldsEveryWorker(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 4})
	g := newGate()
	b.tools.set("a/slow:slow", g.tool())
	b.tools.set("a/quick:quick", echo)
	for range 8 {
		b.submit(t, action.Request{Kind: "slow"})
	}
	for range 3 {
		<-g.started
	}
	if end := b.wait(t, b.submit(t, action.Request{Kind: "quick"}).ID); end.State != action.Completed {
		t.Fatalf("got %+v", end)
	}
	close(g.open)
}

func TestHammer(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{Workers: 6})
	const packs, each = 5, 40
	for p := range packs {
		b.tools.set(fmt.Sprintf("h/p%d:t%d", p, p), echo)
	}
	var wg sync.WaitGroup
	for p := range packs {
		for i := range each {
			wg.Go(func() {
				a, _, err := b.Submit(t.Context(), action.Request{Kind: fmt.Sprintf("t%d", p), Input: raw(i)})
				if err != nil {
					t.Error(err)
					return
				}
				if i%7 == 0 {
					b.Cancel(t.Context(), a.ID, "ann", "")
				}
				end, err := b.Wait(t.Context(), a.ID)
				if err != nil || !end.State.Final() || (i%7 != 0 && string(end.Output) != fmt.Sprint(i)) {
					t.Errorf("action %d of pack %d: %+v, %v", i, p, end, err)
				}
			})
		}
	}
	wg.Wait()
	s := b.Stats()
	if s.Submitted != packs*each || s.Completed+s.Cancelled != packs*each || s.Failed != 0 {
		t.Fatalf("stats: %+v", s)
	}
	until(t, "all slots are free", func() bool { s := b.Stats(); return s.Running == 0 && s.Waiting == 0 })
}

func TestListFiltersAndPages(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("a/one:one.t", echo)
	b.tools.set("a/two:two.t", tool{run: func(context.Context, action.Job) (action.Result, error) {
		return action.Result{}, abi.Errorf(abi.Denied, "no")
	}})
	var ids []string
	for i := range 25 {
		kind := []string{"one.t", "two.t"}[i%2]
		ids = append(ids, b.submit(t, action.Request{Kind: kind, Corr: fmt.Sprint("c", i%5), Actor: "ann"}).ID)
	}
	for _, id := range ids {
		b.wait(t, id)
	}
	slices.Reverse(ids)
	var got []string
	f := action.Filter{Limit: 10}
	for pages := 1; ; pages++ {
		p, err := b.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Items {
			got = append(got, a.ID)
			if a.Input != nil || a.Output != nil {
				t.Fatal("payload in a list that did not ask for it")
			}
		}
		if f.Before = p.Next; p.Next == "" {
			if pages != 3 {
				t.Fatalf("%d pages", pages)
			}
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Fatalf("got %v, want %v", got, ids)
	}
	for _, c := range []struct {
		name string
		f    action.Filter
		want int
	}{
		{"state", action.Filter{State: action.Failed}, 12},
		{"kind prefix", action.Filter{Kind: "one."}, 13},
		{"kind is not a pattern", action.Filter{Kind: "%"}, 0},
		{"pack", action.Filter{Pack: "a/two"}, 12},
		{"corr", action.Filter{Corr: "c3"}, 5},
		{"actor", action.Filter{Actor: "bob"}, 0},
		{"since now", action.Filter{Since: time.Now().Add(time.Hour)}, 0},
		{"since then", action.Filter{Since: time.Now().Add(-time.Hour), Payload: true}, 25},
		{"two at once", action.Filter{State: action.Completed, Corr: "c0"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := b.List(t.Context(), c.f)
			if err != nil || len(p.Items) != c.want {
				t.Fatalf("got %d, %v; want %d", len(p.Items), err, c.want)
			}
		})
	}
	_, err := b.List(t.Context(), action.Filter{Before: "act_nope"})
	wantCode(t, err, abi.Invalid)
	_, err = b.Get(t.Context(), "act_nope")
	wantCode(t, err, abi.NotFound)
}
