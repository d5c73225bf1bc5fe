package pack_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/manifests/lockfile"
	"github.com/arw-project/arw/signing"
)

// An open session stays where its state is; others go to the new version.
func TestSessionsStayOnTheOldVersion(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	count := func(session string) string {
		t.Helper()
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.count", Input: []byte(`{}`), Actor: "operator", Session: session})
		if err != nil {
			t.Fatal(err)
		}
		end := h.Wait(a.ID)
		if end.State != action.Completed {
			t.Fatalf("%+v", end.Failure)
		}
		return string(end.Output)
	}
	first := count("s")
	second := count("s")
	if first == second {
		t.Fatalf("the session counts nothing: %s", first)
	}
	version(t, h, "1.1.0")
	if got := count("s"); got == first || got == second {
		t.Fatalf("the session lost its state: %s, %s, then %s", first, second, got)
	}
	if got := count("other"); got != first {
		t.Fatalf("a new session begins with %s, not %s", got, first)
	}
	if infoOf(t, h).Draining != 1 {
		t.Fatal("the old version is gone with an open session")
	}
}

func TestTwoUpgradesAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	var wg sync.WaitGroup
	for i := range 4 {
		ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML(fmt.Sprintf("1.%d.0", i+1))})
		wg.Go(func() {
			if _, err := h.TryInstall(ref, pack.Options{Downgrade: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	hosttest.Eventually(t, "one version is left", func() bool { return infoOf(t, h).Draining == 0 })
	if n := len(live(h, sinkName)); n != 6 {
		t.Fatalf("%d leases: %s", n, asJSON(t, live(h, sinkName)))
	}
	h.MustCall("sink.put", `{"key":"a","val":"b"}`)
}

func TestWhyTellsTheWholeChain(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	version(t, h, "1.1.0")
	ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.2.0"), Keys: []*signing.Key{}})
	if _, err := h.TryInstall(ref, pack.Options{}); err == nil {
		t.Fatal("unsigned")
	}
	w, err := h.Services().Packs.Why(t.Context(), sinkName)
	if err != nil {
		t.Fatal(err)
	}
	if w.Allowed || w.Refused == nil || w.Running == nil || !w.Running.Allowed || w.Running.Version != "1.1.0" || w.Installed.Version != "1.1.0" {
		t.Fatalf("why: %s", asJSON(t, w))
	}
	var kinds []string
	for _, c := range w.History {
		kinds = append(kinds, c.Change)
	}
	if got := strings.Join(kinds, " "); got != "refused upgraded installed" {
		t.Errorf("history: %s", got)
	}
	outcomes := map[string]string{}
	for _, l := range w.Linked {
		outcomes[l.Import] = l.Outcome
	}
	if outcomes["kv.get"] != pack.Granted || outcomes["fs.list"] != pack.Asked || len(w.Leases) < 6 {
		t.Errorf("imports: %v", outcomes)
	}
	if s := w.Running.Signature; s.Rule != "test/*" || s.Signers[0].Name != "test" || w.Running.Proofs[0].Bundle == "" {
		t.Errorf("signature: %s", asJSON(t, w.Running))
	}
	_, err = h.Services().Packs.Why(t.Context(), "test/none")
	wantCode(t, err, abi.NotFound)
}

func TestSync(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.Install(hosttest.Artifact{Module: hosttest.Build(t, other), TOML: otherTOML("1.0.0")})
	m := h.Services().Packs
	lock := m.Lock()
	text, err := lock.Format()
	if err != nil || len(lock.Packs) != 2 || len(lock.Packs[1].Proofs) != 1 || lock.Packs[1].Proofs[0].Key != h.Key.ID() {
		t.Fatalf("%s, %v", text, err)
	}
	last := h.Services().Journal.Last()
	if report, err := m.Sync(t.Context(), lock, pack.SyncOptions{Prune: true}); err != nil || report[0].Do != pack.SyncSame || report[1].Do != pack.SyncSame || h.Services().Journal.Last() != last {
		t.Fatalf("an equal host was changed: %s, %v", asJSON(t, report), err)
	}
	version(t, h, "1.1.0")
	if err := m.Remove(t.Context(), "test/other", pack.Options{}); err != nil {
		t.Fatal(err)
	}
	if report, err := m.Sync(t.Context(), lock, pack.SyncOptions{DryRun: true}); err != nil || report[0].Do != pack.SyncInstall || report[1].Do != pack.SyncReplace || infoOf(t, h).Version != "1.1.0" {
		t.Fatalf("dry run: %s, %v", asJSON(t, report), err)
	}
	if report, err := m.Sync(t.Context(), lock, pack.SyncOptions{}); err != nil || !report[0].Done || !report[1].Done {
		t.Fatalf("sync: %s, %v", asJSON(t, report), err)
	}
	if again, err := m.Lock().Format(); err != nil || string(again) != string(text) {
		t.Fatalf("the host is not equal:\n%s\n%s, %v", text, again, err)
	}

	t.Run("all are checked before the first is changed", func(t *testing.T) {
		if err := m.Remove(t.Context(), "test/other", pack.Options{}); err != nil {
			t.Fatal(err)
		}
		version(t, h, "1.2.0")
		for _, c := range []struct {
			name string
			do   func(*lockfile.Pack)
			want abi.Code
		}{
			{"a digest that is not there", func(p *lockfile.Pack) { p.Digest = "sha256:" + strings.Repeat("0", 64) }, abi.NotFound},
			{"a proof that is not there", func(p *lockfile.Pack) { p.Proofs[0].Bundle = "sha256:" + strings.Repeat("0", 64) }, abi.Untrusted},
			{"a proof by somebody else", func(p *lockfile.Pack) { p.Proofs[0].Key = "somebody" }, abi.Untrusted},
			{"another version's name", func(p *lockfile.Pack) { p.Version = "9.9.9" }, abi.Invalid},
		} {
			f, err := lockfile.Parse("arw.lock", text)
			if err != nil {
				t.Fatal(err)
			}
			c.do(&f.Packs[1]) // the second: the first would be installed before it
			report, err := m.Sync(t.Context(), f, pack.SyncOptions{})
			if abi.CodeOf(err) != c.want || report[1].Refused == nil || report[0].Done {
				t.Errorf("%s: %v, %s", c.name, err, asJSON(t, report))
			}
			absent(t, h, "test/other")
		}
	})
	t.Run("what was rolled back here is not synced", func(t *testing.T) {
		f := m.Lock()
		rollback(t, h, pack.RollbackOptions{})
		_, err := m.Sync(t.Context(), f, pack.SyncOptions{})
		wantCode(t, err, abi.Conflict)
	})
	t.Run("the registry is gone", func(t *testing.T) {
		if err := os.RemoveAll(strings.TrimPrefix(h.Location, "dir:")); err != nil {
			t.Fatal(err)
		}
		_, err := m.Sync(t.Context(), lock, pack.SyncOptions{})
		wantCode(t, err, abi.NotFound)
	})
}
