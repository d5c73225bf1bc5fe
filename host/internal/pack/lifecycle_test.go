package pack_test

import (
	"context"
	"fmt"
	"os"
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
	"github.com/arw-project/arw/signing"
)

// version publishes and installs the sink at a version, its manifest changed.
func version(t *testing.T, h *hosttest.Host, v string, oldnew ...string) *pack.Verdict {
	t.Helper()
	return h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML(v), oldnew...)})
}

func rollback(t *testing.T, h *hosttest.Host, o pack.RollbackOptions) *pack.Change {
	t.Helper()
	c, err := h.Services().Packs.Rollback(t.Context(), sinkName, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatWidensWaitsForAPerson(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	noClock := []string{"[capabilities.clock]\nreason = \"to know the time\"\n", "[capabilities.clock]\nreason = \"to know the time\"\noptional = true\nask = true\n"}
	narrowEvent := []string{`scope = ["sink."]`, `scope = ["sink.done"]`}
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), append(append([]string{
		"id = \"sink.put\"\ndescription = \"stores a value\"\neffects = \"writes\"", "id = \"sink.putx\"\ndescription = \"stores a value\"\neffects = \"writes\"",
		"limits = { gas = 10_000_000_000_000, time = \"5m\" }", "limits = { gas = 5_000_000, time = \"5m\" }",
		"scope = [\"sink.model\"]", "scope = [\"sink.model\"]\nttl = \"1h\"",
	}, noClock...), narrowEvent...)...)})
	v := version(t, h, "1.1.0")
	want := []string{"capability:clock", "capability:event", "capability:state", "tool:sink.put", "limits:sink.wait", "limits:sink.loop"}
	slices.Sort(want)
	got := slices.Clone(v.Held)
	slices.Sort(got)
	if !slices.Equal(got, want) || v.Diff.Class != pack.Wider {
		t.Fatalf("held %q, want %q\n%s", got, want, asJSON(t, v.Diff))
	}
	// What did not widen goes on; what did answers an error that names the command.
	h.MustCall("sink.echo", `{"n":1}`)
	a := h.FailCall("sink.put", `{"key":"a","val":"b"}`, abi.Denied)
	if want := "arw pack accept test/sink tool:sink.put"; a.Failure.Hint != want {
		t.Errorf("hint %q, want %q", a.Failure.Hint, want)
	}
	a = h.FailCall("sink.wait", `{"key":"never"}`, abi.GasExhausted)
	if !strings.Contains(a.Failure.Hint, "arw pack accept test/sink limits:sink.wait") {
		t.Errorf("hint %q", a.Failure.Hint)
	}
	if slices.ContainsFunc(live(h, sinkName), func(l lease.Lease) bool { return l.Capability == abi.Clock }) {
		t.Error("a lease on clock was given without anybody's word")
	}
	h.Restart() // it holds over a restart
	h.FailCall("sink.put", `{"key":"a","val":"b"}`, abi.Denied)

	m := h.Services().Packs
	if _, err := m.Accept(t.Context(), "", "operator", sinkName, "tool:sink.nothing"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("accept what is not held: %v", err)
	}
	if _, err := m.Accept(t.Context(), "", "operator", sinkName, "tool:sink.put"); err != nil {
		t.Fatal(err)
	}
	h.MustCall("sink.put", `{"key":"a","val":"b"}`)
	h.FailCall("sink.wait", `{"key":"never"}`, abi.GasExhausted)
	items, err := m.Accept(t.Context(), "cor_a", "operator", sinkName)
	if err != nil || len(items) == 0 || len(infoOf(t, h).Held) != 0 {
		t.Fatalf("accepted %s, %v; still held %s", asJSON(t, items), err, asJSON(t, infoOf(t, h).Held))
	}
	for _, c := range []abi.Capability{abi.Clock, abi.Event, abi.State} {
		if !slices.ContainsFunc(live(h, sinkName), func(l lease.Lease) bool { return l.Capability == c }) {
			t.Errorf("no lease on %s after it was accepted", c)
		}
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"pack.accepted"}, Corr: "cor_a"}); len(rs) != 5 {
		t.Errorf("%d acceptances in the journal", len(rs))
	}
}

func TestAPersonsGrantAcceptsACapability(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	version(t, h, "1.0.0", `scope = ["read:*", "write:*"]`, `scope = ["read:/srv"]`)
	v := version(t, h, "1.1.0", `scope = ["read:*", "write:*"]`, `scope = ["read:/srv", "read:/usr"]`)
	if !slices.Equal(v.Held, []string{"capability:fs"}) {
		t.Fatalf("held: %q", v.Held)
	}
	h.Grant(sinkName, abi.FS, "read:/srv")
	if len(infoOf(t, h).Held) == 0 {
		t.Fatal("a grant of what it had before accepts nothing")
	}
	h.Grant(sinkName, abi.FS, "read:/usr")
	if held := infoOf(t, h).Held; len(held) != 0 {
		t.Fatalf("held: %s", asJSON(t, held))
	}
}

func TestAnUpgradeDoesNotBringBackWhatAPersonTook(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	taken := leaseOf(t, h, abi.KV)
	if _, err := h.Services().Leases.Revoke(t.Context(), "", taken.ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	version(t, h, "1.1.0")
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked)
	h.Restart()
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked)
	rollback(t, h, pack.RollbackOptions{})
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked)
}

func TestABudgetIsOneOverUpgrades(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	budget := []string{"[capabilities.rand]\n", "[capabilities.rand]\nbudget = { calls = 3 }\n"}
	version(t, h, "1.0.0", budget...)
	h.MustCall("sink.rand", `{}`)
	version(t, h, "1.1.0", budget...)
	h.MustCall("sink.rand", `{}`)
	rollback(t, h, pack.RollbackOptions{})
	h.MustCall("sink.rand", `{}`)
	h.FailCall("sink.rand", `{}`, abi.BudgetExhausted)
	version(t, h, "1.2.0", budget...)
	h.FailCall("sink.rand", `{}`, abi.BudgetExhausted)
}

func TestADowngradeWantsAWord(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	version(t, h, "1.1.0")
	v, err := h.TryInstall("test/sink:1.0.0", pack.Options{})
	refused(t, h, v, err, "compare", abi.Conflict)
	if hint := abi.HintOf(err); !strings.Contains(hint, "--downgrade") || !strings.Contains(hint, "arw pack rollback test/sink") {
		t.Errorf("hint: %q", hint)
	}
	if _, err := h.TryInstall("test/sink:1.0.0", pack.Options{Downgrade: true}); err != nil || infoOf(t, h).Version != "1.0.0" {
		t.Fatalf("%v, %s", err, asJSON(t, infoOf(t, h)))
	}
}

func TestAnotherSignerWantsAWord(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	other, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	given := h.Grant(sinkName, abi.FS, "read:/")
	h.WriteState("keys/other.pub", string(other.PublicPEM()))
	h.WriteState("trust.toml", `schema = 1
[signer.test]
key = "keys/test.pub"
tlog = 0
[signer.other]
key = "keys/other.pub"
tlog = 0
[[rule]]
packs = "test/*"
signers = ["test", "other"]
threshold = 1
`)
	h.Restart()
	a := hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0"), Keys: []*signing.Key{other}}
	ref, _ := h.Publish(a)
	v, err := h.TryInstall(ref, pack.Options{})
	refused(t, h, v, err, "compare", abi.Conflict)
	if v.Signer == nil || v.Signer.After[0] != "key "+other.ID() || !strings.Contains(abi.HintOf(err), "--accept-signer") {
		t.Errorf("verdict %s, hint %q", asJSON(t, v.Signer), abi.HintOf(err))
	}
	if _, err := h.TryInstall(ref, pack.Options{AcceptSigner: true}); err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "what a person gave to others is taken back", func() bool {
		l, err := h.Services().Leases.Get(given.ID)
		return err == nil && l.State == lease.Revoked
	})
	h.MustCall("sink.echo", `{}`)
	rollback(t, h, pack.RollbackOptions{}) // and given again to those it was given to
	hosttest.Eventually(t, "only the version that is back holds leases", func() bool { return len(live(h, sinkName)) == 7 })
	h.MustCall("sink.list", `{"path":"/usr"}`)
}

// Rolling back needs no registry and gives the very version back, with what it held.
func TestRollbackIsExact(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.Grant(sinkName, abi.FS, "read:/")
	before, held := infoOf(t, h), len(live(h, sinkName))
	bad := version(t, h, "1.1.0", "[capabilities.kv]\nreason = \"to keep what it is told\"\n", "[capabilities.kv]\nreason = \"to keep what it is told\"\nttl = \"1h\"\n",
		`scope = ["read:*", "write:*"]`, `scope = ["write:/srv"]`)
	if err := os.RemoveAll(strings.TrimPrefix(h.Location, "dir:")); err != nil { // the registry is gone
		t.Fatal(err)
	}
	h.Restart()
	s := h.Services()
	if _, err := s.CAS.Sweep(t.Context(), s.Packs.Live, 0); err != nil {
		t.Fatal(err)
	}
	c := rollback(t, h, pack.RollbackOptions{Corr: "cor_b", Reason: "it is bad"})
	after := infoOf(t, h)
	before.Calls, after.Calls, after.Draining, before.Trial = 0, 0, 0, nil
	if asJSON(t, after) != asJSON(t, before) || c.Digest != before.Digest || c.From != bad.Digests.Manifest {
		t.Fatalf("before\n%s\nafter\n%s", asJSON(t, before), asJSON(t, after))
	}
	if n := len(live(h, sinkName)); n < held {
		t.Errorf("%d leases, before %d: %s", n, held, asJSON(t, live(h, sinkName)))
	}
	h.MustCall("sink.list", `{"path":"/usr"}`)
	if rs := h.Events(journal.Filter{Prefixes: []string{"pack.rolled_back"}, Corr: "cor_b"}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), "it is bad") {
		t.Fatalf("journal: %s", asJSON(t, rs))
	}
	h.Restart()
	if got := infoOf(t, h); got.Version != "1.0.0" {
		t.Fatalf("after a restart: %s", asJSON(t, got))
	}
	_, err := s.Packs.Rollback(t.Context(), sinkName, pack.RollbackOptions{})
	if err == nil {
		t.Fatal("there is nothing left to go back to that was not rolled back itself")
	}
}

func TestWhatWasRolledBackIsHeldBack(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	version(t, h, "1.1.0")
	rollback(t, h, pack.RollbackOptions{})
	v, err := h.TryInstall("test/sink:1.1.0", pack.Options{})
	refused(t, h, v, err, "compare", abi.Conflict)
	if !strings.Contains(abi.HintOf(err), "--again") {
		t.Errorf("hint: %q", abi.HintOf(err))
	}
	_, err = h.Services().Packs.Rollback(t.Context(), sinkName, pack.RollbackOptions{})
	wantCode(t, err, abi.NotFound)
	if _, err := h.TryInstall("test/sink:1.1.0", pack.Options{Again: true}); err != nil {
		t.Fatal(err)
	}
	rollback(t, h, pack.RollbackOptions{})
	rollback(t, h, pack.RollbackOptions{Version: "1.1.0"}) // naming it is saying so
	if got := infoOf(t, h); got.Version != "1.1.0" {
		t.Fatalf("info: %s", asJSON(t, got))
	}
}

func TestRollbackRefuses(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	m := h.Services().Packs
	for _, c := range []struct {
		name, pack string
		o          pack.RollbackOptions
	}{
		{"nothing was replaced", sinkName, pack.RollbackOptions{}},
		{"not installed", "test/none", pack.RollbackOptions{}},
		{"never there", sinkName, pack.RollbackOptions{Version: "9.9.9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := m.Rollback(t.Context(), c.pack, c.o)
			wantCode(t, err, abi.NotFound)
			if abi.HintOf(err) == "" {
				t.Error("no hint")
			}
		})
	}
	version(t, h, "1.1.0")
	h.WriteState("trust.toml", "schema = 1\n[signer.test]\nkey = \"keys/test.pub\"\ntlog = 0\n[[rule]]\npacks = \"else/*\"\nsigners = [\"test\"]\nthreshold = 1\n")
	h.Restart()
	_, err := h.Services().Packs.Rollback(t.Context(), sinkName, pack.RollbackOptions{})
	if err == nil {
		t.Fatal("a version that nobody trusts any more came back")
	}
}

func TestHistoryIsKeptWithinBounds(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Config: func(c *host.Config) { c.Upgrade.Keep = 2 }})
	for i := range 4 {
		version(t, h, fmt.Sprintf("1.%d.0", i+1))
	}
	changes, err := h.Services().Packs.History(t.Context(), sinkName, 0)
	if err != nil || len(changes) != 5 {
		t.Fatalf("%s, %v", asJSON(t, changes), err)
	}
	var kept []string
	for _, c := range changes {
		if c.Kept {
			kept = append(kept, c.Version)
		}
	}
	if !slices.Equal(kept, []string{"1.3.0", "1.2.0"}) || !changes[0].Current || changes[0].Verdict.Signers[0] != "test" || changes[0].By != "operator" {
		t.Fatalf("kept %q, newest %s", kept, asJSON(t, changes[0]))
	}
	hosttest.Eventually(t, "old versions are closed", func() bool { return infoOf(t, h).Draining == 0 })
	s := h.Services()
	if _, err := s.CAS.Sweep(t.Context(), s.Packs.Live, 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Packs.Rollback(t.Context(), sinkName, pack.RollbackOptions{Version: "1.1.0"})
	wantCode(t, err, abi.NotFound)
	rollback(t, h, pack.RollbackOptions{Version: "1.2.0"})
}

// slow is a clock that goes only when told to.
type slow struct{ at atomic.Int64 }

func (c *slow) now() time.Time           { return time.Unix(0, c.at.Load()) }
func (c *slow) forward(by time.Duration) { c.at.Add(int64(by)) }

func guarded(t *testing.T, g pack.Guard) (*hosttest.Host, *slow) {
	t.Helper()
	c := &slow{}
	c.at.Store(time.Now().UnixNano())
	return installed(t, hosttest.Options{Config: func(cfg *host.Config) { cfg.Upgrade.Guard, cfg.Upgrade.Now = g, c.now }}), c
}

func TestABadVersionIsRolledBackByItself(t *testing.T) {
	t.Parallel()
	h, _ := guarded(t, pack.Guard{Window: time.Minute, Failures: 3})
	version(t, h, "1.1.0")
	for range 2 {
		h.FailCall("sink.trap", `{}`, abi.Trap)
	}
	if got := infoOf(t, h); got.Version != "1.1.0" || got.Trial == nil || got.Trial.Failures != 2 {
		t.Fatalf("two of three: %s", asJSON(t, got))
	}
	h.FailCall("sink.trap", `{}`, abi.Trap)
	hosttest.Eventually(t, "it is rolled back", func() bool { return infoOf(t, h).Version == "1.0.0" })
	rs := h.Events(journal.Filter{Prefixes: []string{"pack.rolled_back"}})
	if len(rs) != 1 || rs[0].Actor != "host" || !strings.Contains(string(rs[0].Body), "3 of its first 3 calls failed") {
		t.Fatalf("journal: %s", asJSON(t, rs))
	}
	// It never swings: the old one is not watched, and the new one is held back.
	for range 4 {
		if a := h.Call("sink.trap", `{}`); a.State != action.Failed {
			t.Fatalf("%+v", a)
		}
	}
	if got := infoOf(t, h); got.Version != "1.0.0" || got.Trial != nil {
		t.Fatalf("it swings: %s", asJSON(t, got))
	}
	v, err := h.TryInstall("test/sink:1.1.0", pack.Options{})
	refused(t, h, v, err, "compare", abi.Conflict)
	if !strings.Contains(err.Error(), "3 of its first 3 calls failed") {
		t.Errorf("the refusal does not say why: %v", err)
	}
}

func TestDenialsRollBackToo(t *testing.T) {
	t.Parallel()
	h, _ := guarded(t, pack.Guard{Window: time.Minute, Denials: 2})
	version(t, h, "1.1.0")
	for range 2 {
		h.FailCall("sink.list", `{"path":"/nowhere"}`, abi.Denied)
	}
	hosttest.Eventually(t, "it is rolled back", func() bool { return infoOf(t, h).Version == "1.0.0" })
}

func TestAVersionThatLastsIsLeftAlone(t *testing.T) {
	t.Parallel()
	t.Run("the window is over", func(t *testing.T) {
		h, clock := guarded(t, pack.Guard{Window: time.Minute, Failures: 1})
		version(t, h, "1.1.0")
		clock.forward(61 * time.Second)
		h.FailCall("sink.trap", `{}`, abi.Trap)
		if got := infoOf(t, h); got.Version != "1.1.0" || got.Trial != nil {
			t.Fatalf("info: %s", asJSON(t, got))
		}
	})
	t.Run("enough calls", func(t *testing.T) {
		h, _ := guarded(t, pack.Guard{Calls: 2, Failures: 1})
		version(t, h, "1.1.0")
		h.MustCall("sink.echo", `{}`)
		h.MustCall("sink.echo", `{}`)
		h.FailCall("sink.trap", `{}`, abi.Trap)
		if got := infoOf(t, h); got.Version != "1.1.0" {
			t.Fatalf("info: %s", asJSON(t, got))
		}
	})
	t.Run("what a tool answers is no failure", func(t *testing.T) {
		h, _ := guarded(t, pack.Guard{Failures: 1, Denials: -1})
		version(t, h, "1.1.0")
		h.FailCall("sink.get", `{"key":"none"}`, abi.NotFound)
		if got := infoOf(t, h); got.Version != "1.1.0" || got.Trial.Failures != 0 {
			t.Fatalf("info: %s", asJSON(t, got))
		}
	})
}

func TestSuspension(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	m := h.Services().Packs
	waiting := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "a call is inside", func() bool { return infoOf(t, h).Calls == 1 })
	if err := m.Suspend(t.Context(), sinkName, pack.Suspension{Reason: "it looks odd", By: "operator"}, "cor_s"); err != nil {
		t.Fatal(err)
	}
	end := h.Wait(waiting.ID)
	if end.State != action.Failed || end.Failure.Code != abi.Denied || !strings.Contains(end.Failure.Message, "it looks odd") {
		t.Fatalf("the call inside: %+v %+v", end, end.Failure)
	}
	check := func() {
		t.Helper()
		_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: []byte(`{}`)})
		if abi.CodeOf(err) != abi.Denied || !strings.Contains(abi.HintOf(err), "arw pack resume test/sink") {
			t.Fatalf("a new call: %v, hint %q", err, abi.HintOf(err))
		}
		if got := infoOf(t, h); got.State != pack.Halted || got.Reason != "it looks odd" || got.Suspension.By != "operator" {
			t.Fatalf("info: %s", asJSON(t, got))
		}
	}
	check()
	h.Restart()
	check()
	version(t, h, "1.1.0") // it is the pack that is suspended
	check()
	rollback(t, h, pack.RollbackOptions{})
	check()
	m = h.Services().Packs
	if err := m.Resume(t.Context(), sinkName, "operator", "it was me", ""); err != nil {
		t.Fatal(err)
	}
	h.MustCall("sink.echo", `{}`)
	wantCode(t, m.Resume(t.Context(), sinkName, "operator", "", ""), abi.Conflict)
	wantCode(t, m.Suspend(t.Context(), "test/none", pack.Suspension{}, ""), abi.NotFound)
	for kind, n := range map[string]int{"pack.suspended": 1, "pack.resumed": 1} {
		if rs := h.Events(journal.Filter{Prefixes: []string{kind}}); len(rs) != n {
			t.Errorf("%s: %s", kind, asJSON(t, rs))
		}
	}
	h.Restart()
	h.MustCall("sink.echo", `{}`)
}

// index is a source of revocations as a test wants it.
type index struct {
	mu  sync.Mutex
	bad map[string]string
}

func (x *index) Revoked(_, digest string) (pack.Revocation, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	why, bad := x.bad[digest]
	return pack.Revocation{Reason: why, Source: "index"}, bad
}

func (x *index) set(digest, why string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if why == "" {
		delete(x.bad, digest)
		return
	}
	x.bad[digest] = why
}

func TestARevokedPackStops(t *testing.T) {
	t.Parallel()
	x := &index{bad: map[string]string{}}
	h := installed(t, hosttest.Options{Config: func(c *host.Config) { c.Revocations = x }})
	m, first := h.Services().Packs, infoOf(t, h).Digest
	x.set(first, "it steals")
	if err := m.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := infoOf(t, h)
	if got.State != pack.Halted || !got.Suspension.Revoked || !strings.Contains(got.Reason, "it steals") {
		t.Fatalf("info: %s", asJSON(t, got))
	}
	err := m.Resume(t.Context(), sinkName, "operator", "I like it", "")
	wantCode(t, err, abi.Denied)
	v, err := h.TryInstall("test/sink:1.0.0", pack.Options{})
	refused(t, h, v, err, "verify", abi.Denied)
	version(t, h, "1.1.0") // another version runs
	h.MustCall("sink.echo", `{}`)
	_, err = m.Rollback(t.Context(), sinkName, pack.RollbackOptions{})
	wantCode(t, err, abi.Denied)
	// The revocation is gone: nothing resumes by itself.
	x.set(first, "")
	rollback(t, h, pack.RollbackOptions{})
	if got := infoOf(t, h); got.State != pack.Halted {
		t.Fatalf("info: %s", asJSON(t, got))
	}
	if err := m.Resume(t.Context(), sinkName, "operator", "the index changed its mind", ""); err != nil {
		t.Fatal(err)
	}
	h.MustCall("sink.echo", `{}`)
	x.set(first, "after all") // found out at the start, too
	h.Restart()
	if got := infoOf(t, h); got.State != pack.Halted {
		t.Fatalf("info: %s", asJSON(t, got))
	}
}

func TestPreviewChangesNothing(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	ref, digest := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.1.0"), `optional = true`, "")})
	told := func() int { // a read model may be published meanwhile
		return len(h.Events(journal.Filter{Prefixes: []string{"pack.", "leases.", "policy.", "secrets.", "logic."}}))
	}
	before := told()
	p, err := h.Services().Packs.Preview(t.Context(), ref, pack.Options{})
	if err != nil || p.From.Version != "1.0.0" || p.To.Digest != digest || !strings.HasSuffix(p.Ref, "@"+digest) || p.Same || p.Downgrade {
		t.Fatalf("%s, %v", asJSON(t, p), err)
	}
	if told() != before || infoOf(t, h).Version != "1.0.0" {
		t.Fatal("it left a trace")
	}
	if p, err := h.Services().Packs.Preview(t.Context(), "test/sink:1.0.0", pack.Options{}); err != nil || !p.Same || p.Diff != nil {
		t.Fatalf("%s, %v", asJSON(t, p), err)
	}
	if _, err := h.Services().Packs.Preview(context.Background(), "test/none:1.0.0", pack.Options{}); abi.CodeOf(err) != abi.NotFound {
		t.Fatalf("%v", err)
	}
}
