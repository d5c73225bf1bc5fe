package pack_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
)

// cached calls a tool and checks whether its answer was a kept one.
func cached(t *testing.T, h *hosttest.Host, kind, input, want string) action.Action {
	t.Helper()
	a := h.Call(kind, input)
	if a.State != action.Completed || a.Usage.Cache != want {
		t.Fatalf("%s %s: %s, cache %q, want %q (%+v)", kind, input, a.State, a.Usage.Cache, want, a.Failure)
	}
	return a
}

func TestOnlyPureToolsAreAnsweredFromTheCache(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	miss := cached(t, h, "sink.echo", `{"n":1}`, "miss")
	hit := cached(t, h, "sink.echo", ` {"n":1.0}`, "hit")
	if string(hit.Output) != string(miss.Output) || hit.Usage.Gas != 0 {
		t.Fatalf("got %s with %d gas, first %s", hit.Output, hit.Usage.Gas, miss.Output)
	}
	h.Restart()
	cached(t, h, "sink.echo", `{"n":1}`, "hit")
	cached(t, h, "sink.put", `{"key":"k","val":"v"}`, "bypass")
	cached(t, h, "sink.get", `{"key":"k"}`, "bypass")
	cached(t, h, "sink.now", `{}`, "bypass")
	for range 2 { // an error is made anew each time
		if a := h.FailCall("sink.fail", fmt.Sprintf(`{"code":"%d"}`, abi.NotFound), abi.NotFound); a.Usage.Cache != "miss" {
			t.Fatalf("cache %q", a.Usage.Cache)
		}
	}
	hosttest.Eventually(t, "the events are journaled", func() bool {
		var all string
		for _, r := range h.Events(journal.Filter{Prefixes: []string{"tool.cache"}, Pack: sinkName}) {
			all += string(r.Body)
		}
		return strings.Count(all, `"outcome":"hit"`) == 2 && strings.Contains(all, `"outcome":"miss"`)
	})
}

func TestAKeptAnswerOpensNothing(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"site.cedar": `@id("test.no_guests")
@reason("guests may not look")
forbid (principal == Agent::"guest", action == Action::"call", resource);`}})
	t.Run("a policy that denies is not asked to look away", func(t *testing.T) {
		cached(t, h, "sink.echo", `{"n":9}`, "miss")
		cached(t, h, "sink.echo", `{"n":9}`, "hit")
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: json.RawMessage(`{"n":9}`), Actor: "agent:guest"})
		if err != nil {
			t.Fatal(err)
		}
		if end := h.Wait(a.ID); end.State != action.Failed || end.Failure.Code != abi.Denied || len(end.Output) > 0 {
			t.Fatalf("got %+v %+v", end, end.Failure)
		}
	})
	t.Run("a lease that ended is another key", func(t *testing.T) {
		cached(t, h, "sink.log", `{"msg":"a"}`, "miss")
		cached(t, h, "sink.log", `{"msg":"a"}`, "hit")
		if _, err := h.Services().Leases.Revoke(t.Context(), "cor_x", leaseOf(t, h, abi.Log).ID, "operator", "enough"); err != nil {
			t.Fatal(err)
		}
		h.FailCall("sink.log", `{"msg":"a"}`, abi.LeaseRevoked)
	})
	t.Run("projects do not share", func(t *testing.T) {
		for _, want := range []string{"miss", "hit"} {
			for _, project := range []string{"one", "two"} {
				a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: json.RawMessage(`{"n":5}`), Project: project, Actor: "operator"})
				if err != nil {
					t.Fatal(err)
				}
				if end := h.Wait(a.ID); end.Usage.Cache != want {
					t.Fatalf("project %s: %q, want %q", project, end.Usage.Cache, want)
				}
			}
		}
	})
}
