package lease_test

import (
	"context"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

// Every side of a budget ends a lease by itself, at the very use that does not fit, and counts over a restart.
func TestEverySideOfABudgetEndsALease(t *testing.T) {
	t.Parallel()
	for name, side := range map[string]lease.Budget{
		"calls": {Calls: 1}, "bytes": {Bytes: 1}, "tokens": {Tokens: 1}, "gas": {Gas: 1}, "money": {Money: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			h := open(t, t.TempDir())
			g := grantOf(abi.KV)
			g.Budget = times(side, 10)
			l := h.grant(t, g)
			stop := h.run(t)
			for range 6 {
				if err := h.holder().Charge(ctx, abi.KV, "", side); err != nil {
					t.Fatal(err)
				}
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			h = h.reopen(t)
			h.run(t)
			if got, err := h.Get(l.ID); err != nil || got.Used != times(side, 6) {
				t.Fatalf("after a restart: used %+v, %v; want %+v", got.Used, err, times(side, 6))
			}
			if err := h.holder().Charge(ctx, abi.KV, "", times(side, 5)); abi.CodeOf(err) != abi.BudgetExhausted {
				t.Fatalf("5 of 4 left: %v", err)
			}
			if _, err := h.holder().Use(ctx, abi.KV, "", 0); abi.CodeOf(err) != abi.BudgetExhausted {
				t.Fatalf("the next use: %v", err)
			}
			until(t, "the ending is journaled", func() bool { return h.kinds(t, l.ID) == "granted exhausted" })
		})
	}
}

func times(b lease.Budget, n int64) lease.Budget {
	return lease.Budget{Calls: n * b.Calls, Bytes: n * b.Bytes, Tokens: n * b.Tokens, Gas: n * b.Gas, Money: n * b.Money}
}

// A charge that does not fit counts nothing of any side.
func TestChargeIsAllOrNothing(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	g := grantOf(abi.KV)
	g.Budget = lease.Budget{Tokens: 100, Money: 5}
	l := h.grant(t, g)
	if err := h.holder().Charge(context.Background(), abi.KV, "", lease.Budget{Tokens: 50, Money: 6}); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Fatal(err)
	}
	if got, _ := h.Get(l.ID); got.Used != (lease.Budget{}) || got.State != lease.Exhausted {
		t.Fatalf("got %+v, %s", got.Used, got.State)
	}
	if err := h.holder().Charge(context.Background(), abi.KV, "", lease.Budget{Tokens: -1}); abi.CodeOf(err) != abi.Invalid {
		t.Fatalf("a negative amount: %v", err)
	}
}

// A lease bound to a project or a session serves nobody else.
func TestPlaceBindsALease(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, tc := range []struct {
		name        string
		lease, use  lease.Where
		serves      bool
		restartable bool
	}{
		{name: "unbound serves anywhere", use: lease.Where{Project: "a", Session: "s"}, serves: true},
		{name: "its project", lease: lease.Where{Project: "a"}, use: lease.Where{Project: "a", Session: "s"}, serves: true},
		{name: "another project", lease: lease.Where{Project: "a"}, use: lease.Where{Project: "b"}},
		{name: "no project", lease: lease.Where{Project: "a"}},
		{name: "its session", lease: lease.Where{Session: "s"}, use: lease.Where{Session: "s"}, serves: true},
		{name: "another session", lease: lease.Where{Session: "s"}, use: lease.Where{Session: "t"}},
		{name: "its session in another project", lease: lease.Where{Project: "a", Session: "s"}, use: lease.Where{Project: "b", Session: "s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			g := grantOf(abi.KV)
			g.Where = tc.lease
			h.grant(t, g)
			for _, life := range []string{"first", "second"} {
				_, err := h.holder().At(tc.use).Use(ctx, abi.KV, "", 1)
				if tc.serves && err != nil || !tc.serves && abi.CodeOf(err) != abi.Denied {
					t.Errorf("in its %s life: %v", life, err)
				}
				if err := h.holder().At(tc.use).Spend(ctx, abi.KV, "", 1); (err == nil) != tc.serves {
					t.Errorf("spend in its %s life: %v", life, err)
				}
				h = h.reopen(t)
			}
		})
	}
}

func TestNamesScope(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	h := open(t, t.TempDir())
	g := grantOf("infer", "local/*", "gpt-oss:20b")
	g.TTL = time.Hour
	h.grant(t, g)
	for target, serves := range map[string]bool{"local/llama/8b:q4": true, "local/": true, "gpt-oss:20b": true, "gpt-oss:120b": false, "remote/local/x": false, "": false} {
		if _, err := h.holder().Use(ctx, "infer", target, 0); (err == nil) != serves {
			t.Errorf("%q: %v", target, err)
		}
	}
	if err := lease.Covers("infer", []string{"local/*"}, []string{"local/a*"}); err != nil {
		t.Error(err)
	}
	if err := lease.Covers("infer", []string{"local/a*"}, []string{"local/*"}); abi.CodeOf(err) != abi.Denied {
		t.Errorf("a wider grant: %v", err)
	}
}
