package host_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

// A new policy is in force when the reload returns: for calls, and for leases that were given before.
func TestPoliciesAreReloaded(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	h.Grant("test/sink", abi.FS, "read:/srv")
	h.MustCall("sink.put", `{"key":"k","val":"v"}`)
	before := h.PolicyState()

	h.WriteState("policy/no.cedar", `@id("local.no_keys") @reason("keys are over") forbid (principal, action == Action::"link", resource == Capability::"kv");
@id("local.no_files") @reason("files are over") forbid (principal, action == Action::"grant", resource == Capability::"fs");
@id("local.no_echo") @reason("echo is over") forbid (principal, action == Action::"call", resource == Tool::"test/sink:sink.echo");`)
	now, err := h.ReloadPolicy(t.Context(), "cor_reload", "operator")
	if err != nil || now.Digest == before.Digest || now.Stale != "" {
		t.Fatalf("got %+v, %v", now, err)
	}
	h.FailCall("sink.put", `{"key":"k","val":"v"}`, abi.LeaseRevoked)
	h.FailCall("sink.echo", `{}`, abi.Denied)
	for _, l := range h.Services().Leases.List(lease.Filter{State: lease.Live}) {
		if l.Capability == abi.KV || l.Capability == abi.FS {
			t.Errorf("still live: %+v", l)
		}
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"policy.reloaded"}}); len(rs) != 1 || rs[0].Corr != "cor_reload" {
		t.Fatalf("events: %+v", rs)
	}

	// A broken file changes nothing, and the host says so until it is mended.
	h.WriteState("policy/broken.cedar", `@id("local.x") permit (`)
	for range 2 { // told once
		if _, err := h.ReloadPolicy(t.Context(), "", "operator"); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), "broken.cedar:1") {
			t.Fatalf("got %v", err)
		}
	}
	if s := h.PolicyState(); s.Digest != now.Digest || !strings.Contains(s.Stale, "broken.cedar:1") {
		t.Fatalf("got %+v", s)
	}
	h.FailCall("sink.echo", `{}`, abi.Denied)
	if rs := h.Events(journal.Filter{Prefixes: []string{"policy.reload.failed"}}); len(rs) != 1 {
		t.Fatalf("events: %+v", rs)
	}
	if err := os.Remove(filepath.Join(h.State, "policy", "broken.cedar")); err != nil {
		t.Fatal(err)
	}
	if s, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil || s.Stale != "" {
		t.Fatalf("got %+v, %v", s, err)
	}
}

// A pack that may not load any more stops, and goes on when it may again; files that change are found without being told.
func TestReloadSuspendsAndResumes(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	h.WriteState("policy/no.cedar", `@id("local.out") @reason("not here") forbid (principal == Pack::"test/sink", action == Action::"load", resource);`)
	state := func() pack.State {
		info, err := h.Services().Packs.Get("test/sink")
		if err != nil {
			t.Fatal(err)
		}
		return info.State
	}
	hosttest.Eventually(t, "it is suspended", func() bool { return state() == pack.Halted })
	if _, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo"}); abi.CodeOf(err) != abi.Denied {
		t.Fatalf("got %v", err)
	}
	if err := os.Remove(filepath.Join(h.State, "policy", "no.cedar")); err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "it goes on", func() bool { return state() != pack.Halted })
	h.MustCall("sink.echo", `{}`)
}

func TestPostureIsTriedThenChosen(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	if _, err := h.SetPosture(t.Context(), "", "operator", "lax", false); abi.CodeOf(err) != abi.Invalid {
		t.Fatalf("got %v", err)
	}
	plan, err := h.SetPosture(t.Context(), "", "operator", "trial", true)
	if err != nil || plan.From != "base" || h.PolicyState().Posture != "base" {
		t.Fatalf("got %+v, %v", plan, err)
	}
	changes := map[string]string{}
	for _, s := range plan.Shifts {
		changes[s.Capability] = string(s.Before.Outcome) + " " + string(s.After.Outcome)
	}
	if got, _ := json.Marshal(changes); string(got) != `{"action":"ask deny","clock":"allow allow","fs":"ask deny","kv":"allow allow","log":"allow allow","rand":"allow allow"}` {
		t.Fatalf("shifts: %s", got)
	}
	done, err := h.SetPosture(t.Context(), "", "operator", "trial", false)
	if err != nil || done.Digest != plan.Digest || h.PolicyState().Digest != plan.Digest {
		t.Fatalf("got %+v, %v", done, err)
	}
	if _, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "test/sink", Capability: abi.FS, Scope: []string{"read:/srv"}}); abi.CodeOf(err) != abi.Denied {
		t.Fatalf("got %v", err)
	}
	h.Restart()
	if s := h.PolicyState(); s.Posture != "trial" || s.Digest != plan.Digest {
		t.Fatalf("after a restart: %+v", s)
	}
}
