package pack_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

func TestUpgradeDrainsThenReplaces(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	folder := t.TempDir()
	old := infoOf(t, h).Digest
	given := h.Grant(sinkName, abi.FS, "read:"+folder)
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "a call is inside", func() bool { return infoOf(t, h).Calls == 1 })

	ref, digest := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0")})
	draining, installed := make(chan struct{}), make(chan *pack.Verdict, 1)
	go func() {
		v, err := h.TryInstall(ref, pack.Options{By: "operator", Step: func(s string) {
			if s == "drain" {
				close(draining)
			}
		}})
		if err != nil {
			t.Error(err)
		}
		installed <- v
	}()
	<-draining
	later := h.Submit("sink.echo", `{"n":1}`) // it may come in before the gate closes, or wait behind it
	if _, err := h.Services().Actions.Cancel(t.Context(), waiting.ID, "operator", "make room"); err != nil {
		t.Fatal(err)
	}
	v := <-installed
	if end := h.Wait(later.ID); end.State != action.Completed {
		t.Fatalf("the call behind the gate: %+v %+v", end, end.Failure)
	}
	if info := infoOf(t, h); info.Version != "1.1.0" || info.Digest != digest || v.Replaces != old {
		t.Fatalf("info %s, verdict %s", asJSON(t, info), asJSON(t, v))
	}
	for _, l := range h.Services().Leases.List(lease.Filter{Pack: sinkName, Digest: old}) {
		if l.State != lease.Revoked {
			t.Errorf("lease of the old version: %s", asJSON(t, l))
		}
	}
	h.MustCall("sink.put", `{"key":"a","val":"b"}`)
	if len(v.Carried) != 1 || v.Carried[0].From != given.ID {
		t.Fatalf("carried: %s", asJSON(t, v.Carried))
	}
	h.MustCall("sink.list", fmt.Sprintf(`{"path":%q}`, folder))
	kept, err := h.Services().Leases.Get(v.Carried[0].Lease)
	if err != nil || kept.Expires.After(given.Expires.Add(time.Second)) || kept.By != "operator" {
		t.Fatalf("kept: %s, %v", asJSON(t, kept), err)
	}
}

func TestUpgradeAsksAgainForWhatItNoLongerCovers(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	folder := t.TempDir()
	h.Grant(sinkName, abi.FS, "read:"+folder)
	v := h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.1.0"), `scope = ["read:*", "write:*"]`, `scope = ["read:/srv"]`)})
	if len(v.Carried) != 0 {
		t.Fatalf("carried: %s", asJSON(t, v.Carried))
	}
	h.FailCall("sink.list", fmt.Sprintf(`{"path":%q}`, folder), abi.Denied)
}

func TestAFailedUpgradeLeavesTheOldVersion(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"resolve", "pull", "verify", "manifest", "inspect", "admit", "compare", "store", "load", "examples", "commit"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := installed(t, hosttest.Options{})
			h.MustCall("sink.put", `{"key":"a","val":"b"}`)
			before := asJSON(t, live(h, sinkName))
			ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0")})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			v, err := h.Services().Packs.Install(ctx, ref, pack.Options{Step: func(s string) {
				if s == step {
					cancel()
				}
			}})
			refused(t, h, v, err, step, abi.Cancelled)
			if info := infoOf(t, h); info.Version != "1.0.0" || info.State != pack.Ready {
				t.Fatalf("info: %s", asJSON(t, info))
			}
			if after := asJSON(t, live(h, sinkName)); len(after) != len(before) {
				t.Fatalf("leases:\n%s\n%s", before, after)
			}
			if got := h.MustCall("sink.get", `{"key":"a"}`); got != `{"got":"b"}` {
				t.Fatalf("got %s", got)
			}
		})
	}
}

func TestDrainGivesUpAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Config: func(c *host.Config) { c.Limits.Drain = 50 * time.Millisecond }})
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "a call is inside", func() bool { return infoOf(t, h).Calls == 1 })
	ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0")})
	v, err := h.TryInstall(ref, pack.Options{})
	refused(t, h, v, err, "drain", abi.Busy)
	wantCode(t, h.Services().Packs.Remove(t.Context(), sinkName, pack.Options{}), abi.Busy)
	if got := h.MustCall("sink.echo", `{}`); got != `{}` || infoOf(t, h).Version != "1.0.0" {
		t.Fatalf("got %s", got)
	}
	h.MustCall("sink.put", `{"key":"never","val":"now"}`)
	if end := h.Wait(waiting.ID); end.State != action.Completed {
		t.Fatalf("the call that was inside: %+v %+v", end, end.Failure)
	}
	if _, err := h.TryInstall(ref, pack.Options{}); err != nil {
		t.Fatal(err)
	}
}

// A call that calls its own pack must not wait for a drain that waits for it.
func TestNestedCallsPassADrainingPack(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.Grant(sinkName, abi.Action, "*/*:*")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := h.Call("sink.call", `{"tool":"test/sink:sink.echo","input":"{}"}`)
				// The lease on action is carried from version to version, so that each call finds one.
				if a.State != action.Completed {
					t.Errorf("got %+v %+v", a, a.Failure)
					return
				}
			}
		})
	}
	for i := range 4 {
		h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML(fmt.Sprintf("1.%d.0", i+1))})
	}
	close(stop)
	wg.Wait()
}

func TestRemove(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	m := h.Services().Packs
	h.MustCall("sink.put", `{"key":"a","val":"b"}`)
	if err := m.Remove(t.Context(), sinkName, pack.Options{By: "operator", Corr: "cor_r"}); err != nil {
		t.Fatal(err)
	}
	absent(t, h, sinkName)
	_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo"})
	wantCode(t, err, abi.NotFound)
	wantCode(t, m.Remove(t.Context(), sinkName, pack.Options{}), abi.NotFound)
	if rs := h.Events(journal.Filter{Prefixes: []string{"pack.removed"}, Corr: "cor_r"}); len(rs) != 1 || rs[0].Actor != "operator" {
		t.Fatalf("journal: %+v", rs)
	}
	if v, err := m.Verdict(t.Context(), sinkName); err != nil || !v.Allowed {
		t.Fatalf("why: %v, %v", v, err)
	}
	h.Restart()
	absent(t, h, sinkName)
	h.Install(hosttest.SinkPack(t))
	if got := h.MustCall("sink.get", `{"key":"a"}`); got != `{"got":"b"}` {
		t.Fatalf("its keys: %s", got)
	}
	if err := h.Services().Packs.Remove(t.Context(), sinkName, pack.Options{Purge: true}); err != nil {
		t.Fatal(err)
	}
	h.Install(hosttest.SinkPack(t))
	h.FailCall("sink.get", `{"key":"a"}`, abi.NotFound)
}

func TestTwoInstallsAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	one, _ := h.Publish(hosttest.SinkPack(t))
	two, _ := h.Publish(hosttest.Artifact{Module: hosttest.Build(t, other), TOML: otherTOML("1.0.0")})
	var wg sync.WaitGroup
	for _, ref := range []string{one, two, one, two} {
		wg.Go(func() {
			if _, err := h.TryInstall(ref, pack.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	h.MustCall("sink.echo", `{}`)
	h.MustCall("other.hello", `{}`)
}

func TestALostStepIsMadeUpForAtTheStart(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	// As if the host had stopped between a removal's commit and the revocations.
	l, err := h.Services().Leases.Grant(t.Context(), "", lease.Grant{
		Pack: "test/gone", Digest: "sha256:" + strings.Repeat("0", 64), Capability: abi.KV, TTL: time.Hour, By: "policy", Renewable: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Restart()
	if got, err := h.Services().Leases.Get(l.ID); err != nil || got.State != lease.Revoked {
		t.Fatalf("%s, %v", asJSON(t, got), err)
	}
	if n := len(live(h, sinkName)); n != 6 {
		t.Fatalf("%d leases of the pack that is there", n)
	}
}

func TestSweepLeavesWhatIsInstalled(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	s := h.Services()
	if _, err := s.CAS.Sweep(t.Context(), s.Packs.Live, 0); err != nil {
		t.Fatal(err)
	}
	h.Restart()
	h.MustCall("sink.echo", `{}`)
	if err := h.Services().Packs.Remove(t.Context(), sinkName, pack.Options{}); err != nil {
		t.Fatal(err)
	}
	s = h.Services()
	module := s.Packs.Live // nothing is live any more
	if _, err := s.CAS.Sweep(t.Context(), module, 0); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(h.State, "cas", "sha256", "*", "*"))
	if err != nil || len(left) != 0 {
		t.Fatalf("left: %v, %v", left, err)
	}
}
