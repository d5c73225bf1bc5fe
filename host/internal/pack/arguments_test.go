package pack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

// callEcho is the input of sink.call for a call of sink.echo with n.
func callEcho(n string) string {
	return fmt.Sprintf(`{"tool":"test/sink:sink.echo","input":"{'n':%s}"}`, n)
}

func TestALeaseOnAToolMayHaveConditionsOnItsArguments(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.Grant(sinkName, abi.Action, "test/sink:* where /n in 1..10")
	h.MustCall("sink.call", callEcho("7"))
	for _, bad := range []string{"11", "0", "7,'n':8", "7,'N':80"} {
		a := h.FailCall("sink.call", callEcho(bad), abi.Denied)
		if !strings.Contains(a.Failure.Message, "/n in 1..10") {
			t.Errorf("%s: the refusal does not tell the condition: %s", bad, a.Failure.Message)
		}
		for _, r := range h.Events(journal.Filter{Prefixes: []string{"leases.denied"}, Action: a.ID}) {
			if strings.Contains(string(r.Body), `'n'`) || strings.Contains(string(r.Body), `{\"n\"`) {
				t.Errorf("the journal tells the arguments: %s", r.Body)
			}
		}
	}
}

func TestAManifestMayAskForSomeArgumentsAlone(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Policies: map[string]string{"wait.cedar": fmt.Sprintf(asking, "5m")}})
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), `scope = ["*/*:*"]`, `scope = ["test/sink:* where /n in 1..10"]`)})
	_, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: sinkName, Capability: abi.Action, Scope: []string{"test/sink:*"}})
	wantCode(t, err, abi.Denied)
	// What the manifest does not ask for is refused without asking anybody, and the hint says so.
	a := h.FailCall("sink.call", callEcho("11"), abi.Denied)
	if !strings.Contains(a.Failure.Hint, "other arguments") {
		t.Errorf("hint: %q", a.Failure.Hint)
	}
	// What it asks for is asked of a person, who may give less.
	held := h.Submit("sink.call", callEcho("3"))
	p := pending(t, h, 1)[0]
	if len(p.Scope) != 1 || p.Scope[0] != "test/sink:* where /n in 1..10" {
		t.Errorf("the prompt proposes %q", p.Scope)
	}
	answer(t, h, p.ID, true, "15m", "test/sink:sink.echo where /n in [1,2,3]")
	if end := h.Wait(held.ID); end.State != action.Completed {
		t.Fatalf("%+v", end.Failure)
	}
	h.MustCall("sink.call", callEcho("2"))
	again := h.Submit("sink.call", callEcho("4"))
	answer(t, h, pending(t, h, 1)[0].ID, false, "")
	if end := h.Wait(again.ID); end.State != action.Failed || end.Failure.Code != abi.Denied {
		t.Fatalf("%+v", end)
	}
}

func TestALeaseOnFoldersByAStar(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	dir := t.TempDir()
	for _, who := range []string{"ann", "bob"} {
		if err := os.MkdirAll(filepath.Join(dir, who, "docs"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{who + "/docs/a.txt", who + "/private.txt"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Grant(sinkName, abi.FS, "read:"+dir+"/*/docs")
	read := func(name string) string { return fmt.Sprintf(`{"path":%q}`, filepath.Join(dir, name)) }
	h.MustCall("sink.read", read("ann/docs/a.txt"))
	h.MustCall("sink.read", read("bob/docs/a.txt"))
	h.FailCall("sink.read", read("bob/private.txt"), abi.Denied)
	if err := os.Symlink("../ann", filepath.Join(dir, "bob", "docs", "up")); err != nil {
		t.Fatal(err)
	}
	h.FailCall("sink.read", read("bob/docs/up/private.txt"), abi.Denied)
}

// TestEveryEndOfALeaseTakesEffectInMidCall: the call asks for the same use over and over; whatever ends the lease, the next use
// is refused with that word, and an event tells of the end. (Revocation has a test of its own.)
func TestEveryEndOfALeaseTakesEffectInMidCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		toml []string
		code abi.Code
		kind string
	}{
		"expired":   {[]string{"[capabilities.kv]\n", "[capabilities.kv]\nttl = \"1s\"\n"}, abi.LeaseExpired, "leases.expired"},
		"exhausted": {[]string{"[capabilities.kv]\n", "[capabilities.kv]\nbudget = { calls = 500 }\n"}, abi.BudgetExhausted, "leases.exhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hosttest.New(t, hosttest.Options{})
			h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), c.toml...)})
			l := leaseOf(t, h, abi.KV)
			end := h.FailCall("sink.wait", `{"key":"never"}`, c.code)
			if rs := h.Events(journal.Filter{Prefixes: []string{"leases.denied"}, Action: end.ID}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), l.ID) && !strings.Contains(string(rs[0].Body), c.code.String()) {
				t.Errorf("journal: %+v", rs)
			}
			hosttest.Eventually(t, "the end is told", func() bool {
				for _, r := range h.Events(journal.Filter{Prefixes: []string{c.kind}}) {
					if strings.Contains(string(r.Body), l.ID) {
						return true
					}
				}
				return false
			})
		})
	}
}

// TestARenewalTakesEffectInMidCall: a call outlives the time its lease had when it began, because somebody renewed it.
func TestARenewalTakesEffectInMidCall(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), "[capabilities.kv]\n", "[capabilities.kv]\nttl = \"2s\"\n")})
	l := leaseOf(t, h, abi.KV)
	waiting := h.Submit("sink.wait", `{"key":"late"}`)
	hosttest.Eventually(t, "the call is inside", func() bool { return infoOf(t, h).Calls == 1 })
	if _, err := h.Services().Leases.Renew(t.Context(), "cor_renew", l.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "its first time is over", func() bool { return time.Now().After(l.Expires.Add(100 * time.Millisecond)) })
	h.MustCall("sink.put", `{"key":"late","val":"x"}`)
	if end := h.Wait(waiting.ID); end.State != action.Completed {
		t.Fatalf("%+v", end.Failure)
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"leases.renewed"}, Corr: "cor_renew"}); len(rs) != 1 {
		t.Errorf("%d renewals journaled", len(rs))
	}
}
