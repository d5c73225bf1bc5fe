package host_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

const threePuts = `schema = 1
[[quota]]
id = "keys"
on = "kv"
per = "pack"
window = "24h"
calls = 3
near = 60
reason = "three are enough"
`

// A quota is felt at the next host call of a pack, is told of, outlives a restart, and is nobody's to lift but the operator's.
func TestAQuotaRefusesWhatLeasesAllow(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	put := `{"key":"k","val":"v"}`
	h.MustCall("sink.put", put) // counted by nobody
	h.WriteState("quotas.toml", threePuts)
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.MustCall("sink.put", put)
	}
	a := h.FailCall("sink.put", put, abi.BudgetExhausted)
	if !strings.Contains(a.Failure.Message, `the quota "keys"`) || !strings.Contains(a.Failure.Hint, "arw quota reset keys") {
		t.Errorf("%+v", a.Failure)
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"quota."}})
	if len(rs) != 2 || rs[0].Kind != "quota.nearing" || rs[1].Kind != "quota.exhausted" {
		t.Fatalf("%+v", rs)
	}
	var q api.Quota
	if err := json.Unmarshal(rs[1].Body, &q); err != nil || q.ID != "keys" || q.Subject != "test/sink" || q.Used.Calls != 3 || rs[1].Corr == "" {
		t.Errorf("%s, %v", rs[1].Body, err)
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"leases.denied"}, Action: a.ID}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), "budget_exhausted") {
		t.Errorf("%+v", rs)
	}
	h.Restart()
	h.FailCall("sink.put", put, abi.BudgetExhausted)
	hosttest.Eventually(t, "the read model tells it", func() bool {
		doc, err := h.Services().View.Get(t.Context(), "quotas")
		return err == nil && strings.Contains(string(doc.Body), `"keys/test/sink"`)
	})

	// What is denied anyway is on nobody's account.
	if _, err := h.Services().Quotas.Reset(t.Context(), "", "operator", "keys", ""); err != nil {
		t.Fatal(err)
	}
	l := leaseOn(t, h, abi.KV)
	if _, err := h.Services().Leases.Revoke(t.Context(), "", l, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		h.FailCall("sink.put", put, abi.LeaseRevoked)
	}
	h.Grant("test/sink", abi.KV)
	h.MustCall("sink.put", put)
}

// A file with a fault changes nothing while the host runs, and stops the start.
func TestQuotasAreReadStrictly(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	h.WriteState("quotas.toml", strings.ReplaceAll(threePuts, "calls = 3", "calls = 1"))
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	h.WriteState("quotas.toml", strings.ReplaceAll(threePuts, "calls", "cals"))
	if s, err := h.ReloadPolicy(t.Context(), "", "operator"); abi.CodeOf(err) != abi.Invalid || !strings.Contains(s.Stale, "quotas.toml:7") {
		t.Fatalf("%+v, %v", s, err)
	}
	h.MustCall("sink.put", `{"key":"k","val":"v"}`)
	h.FailCall("sink.put", `{"key":"k","val":"v"}`, abi.BudgetExhausted)
}

// Calls of tools are counted with their gas, which is known when they end.
func TestAQuotaOnCallsAndGas(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	h.WriteState("quotas.toml", `schema = 1
[[quota]]
id = "gas"
on = "call"
per = "publisher"
window = "24h"
gas = 1
reason = "one call is enough"
`)
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	h.MustCall("sink.echo", `{}`)
	h.FailCall("sink.echo", `{}`, abi.BudgetExhausted)
	list := h.Services().Quotas.List()
	if len(list) != 1 || list[0].Used.Gas < 2 || list[0].Used.Calls != 1 {
		t.Errorf("%+v", list)
	}
}

// The tokens of models are counted while they are made, of packs and of everybody else, and end what goes beyond.
func TestAQuotaOnTokens(t *testing.T) {
	t.Parallel()
	h, _, _ := thinkers(t, nil)
	grant(t, h, lease.Budget{}, "talker")
	h.WriteState("quotas.toml", `schema = 1
[[quota]]
id = "tokens"
on = "infer"
per = "host"
window = "24h"
tokens = 20
reason = "twenty are enough"
`)
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	ask := `{"model":"talker","prompt":"say it","max_tokens":5,"seed":1}` // comes to eight
	h.MustCall("thinker.think", ask)
	h.MustCall("infer.generate", ask)
	h.FailCall("infer.generate", ask, abi.BudgetExhausted) // in the middle
	h.FailCall("thinker.think", ask, abi.BudgetExhausted)  // at once
	h.FailCall("infer.generate", ask, abi.BudgetExhausted)
	if l := h.Services().Quotas.List(); len(l) != 1 || l[0].Used.Tokens < 20 || l[0].Used.Tokens > 24 || !l[0].Exhausted {
		t.Errorf("%+v", l)
	}
}

func leaseOn(t *testing.T, h *hosttest.Host, c abi.Capability) string {
	t.Helper()
	for _, l := range h.Services().Leases.List(lease.Filter{State: lease.Live}) {
		if l.Capability == c {
			return l.ID
		}
	}
	t.Fatalf("no live lease on %s", c)
	return ""
}

// TestARefusalCostsNobodyAnything: many calls at once, more than a quota and a lease let pass together: each counts exactly those
// that passed, whichever of the two refused the others.
func TestARefusalCostsNobodyAnything(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		quota, lease int64
		want         int64
	}{{"the quota refuses", 7, 100, 7}, {"the lease refuses", 100, 7, 7}, {"both do", 7, 7, 7}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := hosttest.New(t, hosttest.Options{})
			h.Install(hosttest.SinkPack(t))
			h.WriteState("quotas.toml", strings.ReplaceAll(threePuts, "calls = 3", fmt.Sprint("calls = ", c.quota)))
			if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Services().Leases.Revoke(t.Context(), "", leaseOn(t, h, abi.KV), "operator", "another"); err != nil {
				t.Fatal(err)
			}
			l, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "test/sink", Capability: abi.KV, TTL: time.Hour, Budget: lease.Budget{Calls: c.lease}})
			if err != nil {
				t.Fatal(err)
			}
			var passed atomic.Int64
			var wg sync.WaitGroup
			for i := range 24 {
				a := h.Submit("sink.put", fmt.Sprintf(`{"key":"k%d","val":"v"}`, i))
				wg.Go(func() {
					if h.Wait(a.ID).Failure == nil {
						passed.Add(1)
					}
				})
			}
			wg.Wait()
			now, err := h.Services().Leases.Get(l.ID)
			if err != nil {
				t.Fatal(err)
			}
			counted := int64(0)
			for _, q := range h.Services().Quotas.List() {
				counted += q.Used.Calls
			}
			if passed.Load() != c.want || now.Used.Calls != c.want || counted != c.want {
				t.Errorf("%d passed, the lease counts %d, the quota %d; want %d", passed.Load(), now.Used.Calls, counted, c.want)
			}
		})
	}
}
