package pack_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

func leaseOf(t *testing.T, h *hosttest.Host, c abi.Capability) lease.Lease {
	t.Helper()
	for _, l := range live(h, sinkName) {
		if l.Capability == c {
			return l
		}
	}
	t.Fatalf("no live lease of %s", c)
	return lease.Lease{}
}

func TestARevokedLeaseEndsTheNextHostCallInMidCall(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "the call is inside", func() bool { return infoOf(t, h).Calls == 1 })
	if _, err := h.Services().Leases.Revoke(t.Context(), "cor_x", leaseOf(t, h, abi.KV).ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	end := h.Wait(waiting.ID)
	if end.State != action.Failed || end.Failure.Code != abi.LeaseRevoked {
		t.Fatalf("got %+v %+v", end, end.Failure)
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"leases.denied"}, Action: waiting.ID})
	if len(rs) != 1 || rs[0].Corr != end.Corr || !strings.Contains(string(rs[0].Body), `"code":"lease_revoked"`) {
		t.Fatalf("journal: %+v", rs)
	}
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked)
	h.Restart() // what was revoked is never renewed
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked)
	h.Grant(sinkName, abi.KV)
	h.FailCall("sink.get", `{"key":"a"}`, abi.NotFound)
}

func TestRefusalsAreJournaledWithoutFlooding(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	a := h.Call("sink.flood", `{}`)
	rs := h.Events(journal.Filter{Prefixes: []string{"leases.denied"}, Action: a.ID})
	if len(rs) != 9 || !strings.Contains(string(rs[8].Body), `"more":32`) {
		t.Fatalf("%d records, last %s", len(rs), rs[len(rs)-1].Body)
	}
}

func TestPolicyLeasesThatRanOutAreRenewedWhileCedarPermits(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), "[capabilities.kv]\n", "[capabilities.kv]\nttl = \"1s\"\n")})
	l := leaseOf(t, h, abi.KV)
	expired := func() bool {
		got, err := h.Services().Leases.Get(l.ID)
		return err == nil && got.State == lease.Expired
	}
	hosttest.Eventually(t, "the lease expires", expired)
	h.MustCall("sink.put", `{"key":"a","val":"b"}`)
	rs := h.Events(journal.Filter{Prefixes: []string{"leases.renewed"}, Pack: sinkName})
	if len(rs) != 1 {
		t.Fatalf("renewals: %+v", rs)
	}
	hosttest.Eventually(t, "it expires again", expired)
	h.WriteState("policy/late.cedar", `@id("test.late")
forbid (principal, action == Action::"link", resource == Capability::"kv");`)
	h.Restart()
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked)
}

func TestALeaseAPersonGaveIsNotRenewed(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	folder := t.TempDir()
	l, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS, Scope: []string{"read:" + folder}, TTL: time.Second})
	if err != nil || l.Renewable || l.By != "operator" {
		t.Fatalf("%+v, %v", l, err)
	}
	h.MustCall("sink.list", fmt.Sprintf(`{"path":%q}`, folder))
	hosttest.Eventually(t, "it expires", func() bool {
		got, err := h.Services().Leases.Get(l.ID)
		return err == nil && got.State == lease.Expired
	})
	h.FailCall("sink.list", fmt.Sprintf(`{"path":%q}`, folder), abi.LeaseExpired)
}

func TestGrant(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), `scope = ["read:*", "write:*"]`, `scope = ["read:/srv"]`)})
	m := h.Services().Packs
	for _, c := range []struct {
		name, actor string
		grant       pack.Grant
		want        abi.Code
	}{
		{"as the manifest asks", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS}, abi.OK},
		{"narrower", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS, Scope: []string{"read:/srv/docs"}}, abi.OK},
		{"wider", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS, Scope: []string{"read:/"}}, abi.Denied},
		{"to write", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS, Scope: []string{"write:/srv"}}, abi.Denied},
		{"by an agent", "agent:local", pack.Grant{Pack: sinkName, Capability: abi.FS}, abi.Denied},
		{"by another person", "person:ann", pack.Grant{Pack: sinkName, Capability: abi.FS}, abi.Denied},
		{"by a pack", "pack:" + sinkName, pack.Grant{Pack: sinkName, Capability: abi.FS}, abi.Denied},
		{"not in the manifest", "operator", pack.Grant{Pack: sinkName, Capability: "http"}, abi.Denied},
		{"to nobody", "operator", pack.Grant{Pack: "test/none", Capability: abi.FS}, abi.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := m.Grant(t.Context(), "cor_g", c.actor, c.grant)
			wantCode(t, err, c.want)
		})
	}
	if n := len(h.Events(journal.Filter{Prefixes: []string{"leases.granted"}, Corr: "cor_g"})); n != 2 {
		t.Fatalf("%d grants journaled", n)
	}
	if n := len(h.Events(journal.Filter{Prefixes: []string{"policy.denied"}, Corr: "cor_g"})); n != 3 {
		t.Fatalf("%d denials journaled", n)
	}
}
