package host_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

func TestFirstOpenLaysOutTheState(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	h, err := host.Open(t.Context(), host.Config{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{".": 0o700, "operator.token": 0o600, "arw.db": 0o600, "policy": 0o700, "cas": 0o700} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %o", name, info, err, mode)
		}
	}
	token, err := os.ReadFile(filepath.Join(dir, "operator.token"))
	if err != nil || len(bytes.TrimSpace(token)) != 43 {
		t.Fatalf("token %q, %v", token, err)
	}
	is := h.Services().Operator
	if !is(strings.TrimSpace(string(token))) || is("") || is(string(token)+"x") || is("operator") {
		t.Error("the token's check is wrong")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	h, err = host.Open(t.Context(), host.Config{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if again, err := os.ReadFile(filepath.Join(dir, "operator.token")); err != nil || string(again) != string(token) {
		t.Errorf("the token changed: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, text string
		mode             os.FileMode
		code             abi.Code
		says             []string
	}{
		{"a broken policy", "policy/site.cedar", "@id(\"a\")\npermit (principal, action, resource) whan { true };", 0o600, abi.Invalid, []string{"site.cedar:2"}},
		{"a policy outside the schema", "policy/site.cedar", "@id(\"a\")\npermit (principal, action == Action::\"fly\", resource);", 0o600, abi.Invalid, []string{"site.cedar:", "fly"}},
		{"a broken trust policy", "trust.toml", "schema = 1\n[[rule]]\npack = \"a/*\"\n", 0o600, abi.Invalid, []string{"trust.toml:"}},
		{"a trust policy that names a missing key", "trust.toml", "schema = 1\n[signer.a]\nkey = \"keys/a.pub\"\ntlog = 0\n[[rule]]\npacks = \"a/*\"\nsigners = [\"a\"]\nthreshold = 1\n", 0o600, abi.Invalid, []string{"keys/a.pub"}},
		{"a token others can read", "operator.token", strings.Repeat("x", 43), 0o644, abi.Invalid, []string{"0644"}},
		{"a short token", "operator.token", "x", 0o600, abi.Invalid, []string{"operator.token"}},
		{"a damaged database", "arw.db", strings.Repeat("not a database. ", 100), 0o600, abi.Corrupt, []string{"arw.db"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, filepath.FromSlash(c.file))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := host.Open(t.Context(), host.Config{StateDir: dir})
			if abi.CodeOf(err) != c.code {
				t.Fatalf("got %v (%v), want %v", err, abi.CodeOf(err), c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			h, err := host.Open(t.Context(), host.Config{StateDir: dir}) // nothing was left open or locked
			if err != nil {
				t.Fatal(err)
			}
			h.Close()
		})
	}
	_, err := host.Open(t.Context(), host.Config{})
	if abi.CodeOf(err) != abi.Invalid {
		t.Errorf("no directory: %v", err)
	}
}

func TestTwoHostsOnOneState(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	_, err := host.Open(t.Context(), h.Config())
	if abi.CodeOf(err) != abi.Conflict {
		t.Fatalf("got %v", err)
	}
	h.Install(hosttest.SinkPack(t))
	h.MustCall("sink.echo", `{}`)
}

func TestWithoutATrustPolicyNobodyIsTrusted(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	ref, _ := h.Publish(hosttest.SinkPack(t))
	h.Stop()
	if err := os.Remove(filepath.Join(h.State, "trust.toml")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := h.Config()
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	bare, err := host.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if !strings.Contains(log.String(), "arw trust add") {
		t.Errorf("log: %s", log.String())
	}
	_, err = bare.Services().Packs.Install(t.Context(), ref, pack.Options{})
	if code := abi.CodeOf(err); code != abi.Untrusted && code != abi.Unsigned {
		t.Fatalf("got %v", err)
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	first := h.Call("sink.put", `{"key":"k","val":"v"}`)
	h.Restart()
	if got := h.MustCall("sink.get", `{"key":"k"}`); got != `{"got":"v"}` {
		t.Fatalf("got %s", got)
	}
	again, err := h.Services().Actions.Get(t.Context(), first.ID)
	if err != nil || again.State != action.Completed {
		t.Fatalf("got %+v, %v", again, err)
	}
	if n := len(h.Events(journal.Filter{Prefixes: []string{"service.start"}})); n != 2 {
		t.Errorf("%d starts journaled", n)
	}
	if n := len(h.Events(journal.Filter{Prefixes: []string{"service.stop"}})); n != 1 {
		t.Errorf("%d stops journaled", n)
	}
	if _, err := h.Services().Journal.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// One undertaking has one corr id, from the submission through the guest's events to the end.
func TestEverythingOfAnActionHasItsCorrID(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{
		Kind: "sink.emit", Input: []byte(`{"kind":"sink.done","body":"{}"}`), Actor: "operator", Corr: "cor_one", Project: "p",
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Wait(a.ID)
	var kinds []string
	for _, r := range h.Events(journal.Filter{Corr: "cor_one"}) {
		kinds = append(kinds, r.Kind)
		if r.Project != "p" || r.Action != a.ID || r.Pack != "test/sink" {
			t.Errorf("%s: %+v", r.Kind, r)
		}
	}
	if got := strings.Join(kinds, " "); got != "actions.submitted actions.running project.created sink.done actions.completed" {
		t.Fatalf("got %s", got)
	}
}

// The host is killed while a guest runs; the action has a truthful end, and the host goes on.
func TestKillInMidCall(t *testing.T) {
	if state := os.Getenv("ARW_TEST_KILL_STATE"); state != "" {
		callAndDie(t, host.Config{StateDir: state, CacheDir: os.Getenv("ARW_TEST_KILL_CACHE")})
		return
	}
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	h.Stop()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillInMidCall$")
	cmd.Env = append(os.Environ(), "ARW_TEST_KILL_STATE="+h.State, "ARW_TEST_KILL_CACHE="+h.Config().CacheDir)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child was to be killed: %v\n%s", err, out)
	}
	h.Start()
	p, err := h.Services().Actions.List(t.Context(), action.Filter{Kind: "sink.loop"})
	if err != nil || len(p.Items) != 1 || p.Items[0].State.Final() { // the tool is pure, so it runs again
		t.Fatalf("got %+v, %v", p, err)
	}
	h.MustCall("sink.echo", `{}`)
	hosttest.Eventually(t, "the second attempt runs", func() bool {
		a, err := h.Services().Actions.Get(t.Context(), p.Items[0].ID)
		return err == nil && a.State == action.Running && a.Attempt == 2
	})
	if a, err := h.Services().Actions.Cancel(t.Context(), p.Items[0].ID, "operator", ""); err != nil || a.State != action.Cancelled {
		t.Fatalf("got %+v, %v", a, err)
	}
}

func callAndDie(t *testing.T, cfg host.Config) {
	h := hosttest.Open(t, cfg)
	go h.Run(context.Background())
	if _, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.loop", Actor: "operator"}); err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "the guest runs", func() bool {
		info, err := h.Services().Packs.Get("test/sink")
		return err == nil && info.Calls == 1 && info.State == pack.Ready
	})
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Not parallel: it counts goroutines.
func TestCloseLeavesNothing(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	h.MustCall("sink.echo", `{}`)
	h.Stop()
	hosttest.Eventually(t, "no goroutine of the host is left", func() bool { return !strings.Contains(stacks(), "arw/host") })
	for range 3 {
		h.Start()
		h.MustCall("sink.put", `{"key":"a","val":"b"}`)
		h.Stop()
	}
	hosttest.Eventually(t, "no goroutine of the host is left", func() bool { return !strings.Contains(stacks(), "arw/host") })
}

// stacks are all goroutines but those of tests.
func stacks() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var ours []string
	for s := range strings.SplitSeq(string(buf), "\n\n") {
		if !strings.Contains(s, "testing.tRunner") && !strings.Contains(s, "testing.(*T)") {
			ours = append(ours, s)
		}
	}
	return strings.Join(ours, "\n\n")
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h, err := host.Open(t.Context(), host.Config{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx); err != nil {
		t.Fatal(err)
	}
}
