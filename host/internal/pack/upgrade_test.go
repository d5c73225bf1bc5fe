package pack_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// The new version answers at once; a call inside the old one ends on the old one, with the lease it has.
func TestUpgradeRunsBesideTheOldVersion(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	folder := t.TempDir()
	old := infoOf(t, h).Digest
	given := h.Grant(sinkName, abi.FS, "read:"+folder)
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "a call is inside", func() bool { return infoOf(t, h).Calls == 1 })

	v := h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0")})
	info := infoOf(t, h)
	if info.Version != "1.1.0" || v.Replaces != old || info.Calls != 1 || info.Draining != 1 {
		t.Fatalf("info %s, verdict %s", asJSON(t, info), asJSON(t, v))
	}
	h.MustCall("sink.echo", `{"n":1}`)
	if a, err := h.Services().Actions.Get(t.Context(), waiting.ID); err != nil || a.State != action.Running {
		t.Fatalf("the call on the old version: %+v, %v", a, err)
	}
	h.MustCall("sink.put", `{"key":"never","val":"now"}`)
	if end := h.Wait(waiting.ID); end.State != action.Completed {
		t.Fatalf("the call on the old version: %+v %+v", end, end.Failure)
	}
	hosttest.Eventually(t, "the old version is closed", func() bool { return infoOf(t, h).Draining == 0 })
	if rs := h.Events(journal.Filter{Prefixes: []string{"pack.retired"}, Pack: sinkName}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), `"cut":0`) {
		t.Fatalf("journal: %s", asJSON(t, rs))
	}
	if left := h.Services().Leases.List(lease.Filter{Pack: sinkName, Digest: old}); len(left) != 0 {
		t.Errorf("leases of the old version: %s", asJSON(t, left))
	}
	if n := len(live(h, sinkName)); n != 7 {
		t.Errorf("%d leases, want the 6 by policy and the person's", n)
	}
	h.MustCall("sink.list", fmt.Sprintf(`{"path":%q}`, folder))
	kept, err := h.Services().Leases.Get(given.ID)
	if err != nil || !kept.Expires.Equal(given.Expires) || kept.By != "operator" || kept.Digest != v.Digests.Manifest || kept.State != lease.Live {
		t.Fatalf("kept: %s, %v", asJSON(t, kept), err)
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"leases.carried"}, Corr: v.Corr}); len(rs) != 7 || len(v.Carried) != 7 {
		t.Fatalf("%d leases carried in the journal, %d in the verdict", len(rs), len(v.Carried))
	}
}

// Callers never notice an upgrade: no call fails while versions go back and forth.
func TestNoCallFailsDuringUpgrades(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a := h.Call("sink.put", fmt.Sprintf(`{"key":"k%d","val":"%d"}`, i, n))
				if a.State != action.Completed {
					t.Errorf("call %d: %+v %+v", n, a, a.Failure)
					return
				}
				calls.Add(1)
			}
		})
	}
	for i := range 4 {
		h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML(fmt.Sprintf("1.%d.0", i+1))})
		if i%2 == 1 {
			if _, err := h.Services().Packs.Rollback(t.Context(), sinkName, pack.RollbackOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	if calls.Load() < 20 {
		t.Errorf("only %d calls were made", calls.Load())
	}
	hosttest.Eventually(t, "old versions are closed", func() bool { return infoOf(t, h).Draining == 0 })
}

// What is still inside when the time is over is cut off, and says why.
func TestAnUpgradeCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Config: func(c *host.Config) { c.Limits.Drain = 50 * time.Millisecond }})
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "a call is inside", func() bool { return infoOf(t, h).Calls == 1 })
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0")})
	end := h.Wait(waiting.ID)
	if end.State != action.Failed || end.Failure.Code != abi.Interrupted || !strings.Contains(end.Failure.Message, "1.1.0 took its place") {
		t.Fatalf("got %+v %+v", end, end.Failure)
	}
	hosttest.Eventually(t, "the old version is closed", func() bool { return infoOf(t, h).Draining == 0 })
	h.MustCall("sink.echo", `{}`)
}

func TestUpgradeAsksAgainForWhatItNoLongerCovers(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	folder := t.TempDir()
	h.Grant(sinkName, abi.FS, "read:"+folder)
	v := h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.1.0"), `scope = ["read:*", "write:*"]`, `scope = ["read:/srv"]`)})
	if slices.ContainsFunc(v.Carried, func(c pack.Carry) bool { return c.Capability == "fs" }) {
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

func TestARemovalWaitsAndGivesUp(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Config: func(c *host.Config) { c.Limits.Drain = 50 * time.Millisecond }})
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "a call is inside", func() bool { return infoOf(t, h).Calls == 1 })
	wantCode(t, h.Services().Packs.Remove(t.Context(), sinkName, pack.Options{}), abi.Busy)
	if got := h.MustCall("sink.echo", `{}`); got != `{}` || infoOf(t, h).Version != "1.0.0" {
		t.Fatalf("got %s", got)
	}
	h.MustCall("sink.put", `{"key":"never","val":"now"}`)
	if end := h.Wait(waiting.ID); end.State != action.Completed {
		t.Fatalf("the call that was inside: %+v %+v", end, end.Failure)
	}
	if err := h.Services().Packs.Remove(t.Context(), sinkName, pack.Options{}); err != nil {
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
