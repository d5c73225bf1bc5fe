package pack_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

func TestEveryHostFunctionReachesTheRealThing(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	folder := t.TempDir()
	file := filepath.Join(folder, "a.txt")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Grant(sinkName, abi.FS, "read:"+folder, "write:"+folder)

	t.Run("keys outlive the call and the host", func(t *testing.T) {
		h.MustCall("sink.put", `{"key":"k","val":"v"}`)
		if got := h.MustCall("sink.get", `{"key":"k"}`); got != `{"got":"v"}` {
			t.Fatalf("got %s", got)
		}
		h.FailCall("sink.get", `{"key":"none"}`, abi.NotFound)
		h.Restart()
		if got := h.MustCall("sink.get", `{"key":"k"}`); got != `{"got":"v"}` {
			t.Fatalf("after a restart: %s", got)
		}
	})
	t.Run("events carry whose they are", func(t *testing.T) {
		a := h.Call("sink.emit", `{"kind":"sink.done","body":"{}"}`)
		rs := h.Events(journal.Filter{Prefixes: []string{"sink."}})
		if len(rs) != 1 || rs[0].Kind != "sink.done" || rs[0].Corr != a.Corr || rs[0].Action != a.ID || rs[0].Pack != sinkName || rs[0].Actor != "pack:"+sinkName {
			t.Fatalf("got %+v", rs)
		}
		h.FailCall("sink.emit", `{"kind":"sink.done","body":"3"}`, abi.Invalid)
		for _, kind := range []string{"leases.granted", "other.done", "sink", ""} {
			h.FailCall("sink.emit", fmt.Sprintf(`{"kind":%q,"body":"{}"}`, kind), abi.Denied)
		}
		if n := len(h.Events(journal.Filter{Prefixes: []string{"leases.granted"}, Pack: sinkName, Action: a.ID})); n != 0 {
			t.Fatalf("%d forged events", n)
		}
	})
	t.Run("read models are those of the manifest and fit their schema", func(t *testing.T) {
		if got := h.MustCall("sink.state", `{"name":"sink.model","n":"7"}`); got != `{"got":"{\"n\":7}"}` {
			t.Fatalf("got %s", got)
		}
		doc, err := h.Services().View.Get(t.Context(), "sink.model")
		if err != nil || string(doc.Body) != `{"n":7}` {
			t.Fatalf("view: %+v, %v", doc, err)
		}
		h.FailCall("sink.state", `{"name":"sink.model","n":"true"}`, abi.Invalid)
		h.FailCall("sink.state", `{"name":"sink.other","n":"1"}`, abi.Denied)
		h.FailCall("sink.state", `{"name":"packs","n":"1"}`, abi.Denied)
	})
	t.Run("files of leased folders", func(t *testing.T) {
		if got := h.MustCall("sink.read", fmt.Sprintf(`{"path":%q}`, file)); got != `{"got":"hello"}` {
			t.Fatalf("got %s", got)
		}
		if got := h.MustCall("sink.list", fmt.Sprintf(`{"path":%q}`, folder)); !strings.Contains(got, "a.txt") {
			t.Fatalf("got %s", got)
		}
		h.MustCall("sink.write", fmt.Sprintf(`{"path":%q,"data":"new"}`, filepath.Join(folder, "b.txt")))
		if b, err := os.ReadFile(filepath.Join(folder, "b.txt")); err != nil || string(b) != "new" {
			t.Fatalf("%s, %v", b, err)
		}
		outside := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(folder, "link")); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{outside, folder + "/../" + filepath.Base(filepath.Dir(outside)) + "/secret", folder + "/link", "a.txt"} {
			a := h.Call("sink.read", fmt.Sprintf(`{"path":%q}`, path))
			if a.State != action.Failed || strings.Contains(string(a.Output), "secret") {
				t.Fatalf("read %s: %+v", path, a)
			}
		}
	})
	t.Run("clock, dice and log", func(t *testing.T) {
		h.MustCall("sink.now", `{}`)
		if one, two := h.MustCall("sink.rand", `{}`), h.MustCall("sink.rand", `{}`); one == two {
			t.Fatalf("the dice fall the same way: %s", one)
		}
		h.MustCall("sink.log", `{"msg":"hi"}`)
	})
}

func TestToolsCallTools(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.FailCall("sink.call", `{"tool":"test/sink:sink.echo","input":"{}"}`, abi.Denied) // asked for, not granted yet
	h.Grant(sinkName, abi.Action, "test/sink:*")
	outer := h.Call("sink.call", `{"tool":"test/sink:sink.echo","input":"{'n':5}"}`)
	if outer.State != action.Completed || string(outer.Output) != `{"n":5}` {
		t.Fatalf("outer: %+v %+v", outer, outer.Failure)
	}
	p, err := h.Services().Actions.List(t.Context(), action.Filter{Parent: outer.ID})
	if err != nil || len(p.Items) != 1 || p.Items[0].Corr != outer.Corr || p.Items[0].Actor != "pack:"+sinkName {
		t.Fatalf("inner: %+v, %v", p, err)
	}
	h.FailCall("sink.call", `{"tool":"test/sink:sink.none","input":"{}"}`, abi.NotFound)
	h.FailCall("sink.call", `{"tool":"test/other:x","input":"{}"}`, abi.Denied)
	h.FailCall("sink.call", `{"tool":"test/sink:sink.put","input":"{'key':'a'}"}`, abi.Invalid)
}

func TestNestedCallsMayNotDoMoreThanTheirCaller(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"),
		"description = \"calls another tool and passes its reply on\"\neffects = \"writes\"", "description = \"calls another tool and passes its reply on\"\neffects = \"reads\"")})
	h.Grant(sinkName, abi.Action, "*/*:*")
	h.MustCall("sink.call", `{"tool":"test/sink:sink.echo","input":"{}"}`)
	h.FailCall("sink.call", `{"tool":"test/sink:sink.put","input":"{'key':'a','val':'b'}"}`, abi.Denied)
	h.FailCall("sink.get", `{"key":"a"}`, abi.NotFound)
}

func TestAGuestsWordsAreItsOwn(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	for code, want := range map[abi.Code]abi.Code{
		abi.NotFound: abi.NotFound, abi.Conflict: abi.Conflict, abi.ToolFailed: abi.ToolFailed,
		// These are the host's to say, and in this call it did not.
		abi.LeaseRevoked: abi.ToolFailed, abi.Denied: abi.ToolFailed, abi.Internal: abi.ToolFailed, abi.Unauthenticated: abi.ToolFailed,
	} {
		a := h.FailCall("sink.fail", fmt.Sprintf(`{"code":"%d"}`, code), want)
		if !strings.Contains(a.Failure.Message, "as told") {
			t.Errorf("%v: message %q", code, a.Failure.Message)
		}
	}
}

func TestAToolIsHeldToItsSchemas(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	a := h.FailCall("sink.lie", `{}`, abi.ToolFailed)
	if !strings.Contains(a.Failure.Message, "promised") {
		t.Errorf("message: %s", a.Failure.Message)
	}
	_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: []byte(`{"n":"x"}`)})
	wantCode(t, err, abi.Invalid)
	_, _, err = h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: []byte("{\"n\":\xff}")})
	wantCode(t, err, abi.Invalid)
	if b := h.Call("sink.bytes", `{}`); b.OutKind != abi.FrameBytes || string(b.Output) != "\xff\x00" {
		t.Errorf("bytes: %+v", b)
	}
}

func TestResolveKnowsEverySpelling(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	m := h.Services().Packs
	for _, kind := range []string{"sink.echo", "test/sink:sink.echo"} {
		c, err := m.Resolve(kind)
		if err != nil || c.ID != "sink.echo" || c.Pack != sinkName {
			t.Errorf("%s: %+v, %v", kind, c, err)
		}
	}
	for kind, want := range map[string]abi.Code{
		"": abi.NotFound, "sink.none": abi.NotFound, "test/sink:none": abi.NotFound, "test/none:sink.echo": abi.NotFound, "test/none": abi.NotFound,
		"test/sink": abi.Invalid, ":sink.echo": abi.NotFound, "sink.echo:": abi.NotFound,
	} {
		_, err := m.Resolve(kind)
		if abi.CodeOf(err) != want {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestSessionsKeepStateForOneActor(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	count := func(actor, session string) string {
		t.Helper()
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.count", Actor: actor, Session: session})
		if err != nil {
			t.Fatal(err)
		}
		return string(h.Wait(a.ID).Output)
	}
	for i, want := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
		if got := count("operator", "s"); got != want {
			t.Fatalf("call %d: got %s, want %s", i, got, want)
		}
	}
	for _, who := range [][2]string{{"agent:other", "s"}, {"operator", "t"}, {"operator", ""}, {"operator", ""}} {
		if got := count(who[0], who[1]); got != `{"n":1}` {
			t.Errorf("%v sees another's state: %s", who, got)
		}
	}
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Actor: "operator", Session: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if end := h.Wait(a.ID); end.State != action.Failed || end.Failure.Code != abi.Invalid {
		t.Fatalf("session on a fresh tool: %+v", end)
	}
}

func TestBadGuestsLeaveTheHostWell(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.FailCall("sink.trap", `{}`, abi.Trap)
	h.MustCall("sink.echo", `{}`)
	loop := h.Submit("sink.loop", `{}`)
	hosttest.Eventually(t, "the loop runs", func() bool { return infoOf(t, h).Calls == 1 })
	if a, err := h.Services().Actions.Cancel(t.Context(), loop.ID, "operator", "enough"); err != nil || a.State != action.Cancelled {
		t.Fatalf("cancel: %+v, %v", a, err)
	}
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.loop", Actor: "operator", Deadline: time.Now().Add(100 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if end := h.Wait(a.ID); end.State != action.Failed || end.Failure.Code != abi.Deadline {
		t.Fatalf("deadline: %+v %+v", end, end.Failure)
	}
	h.MustCall("sink.echo", `{}`)
}

func infoOf(t *testing.T, h *hosttest.Host) pack.Info {
	t.Helper()
	info, err := h.Services().Packs.Get(sinkName)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestCedarDecidesWhoCalls(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"site.cedar": `@id("test.no_agents_write")
@reason("agents may only look")
forbid (principal is Agent, action == Action::"call", resource) when { context.effects == "writes" };`}})
	call := func(actor string) action.Action {
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.put", Input: []byte(`{"key":"a","val":"b"}`), Actor: actor})
		if err != nil {
			t.Fatal(err)
		}
		return h.Wait(a.ID)
	}
	for range 2 { // the second answer comes from the cache
		for _, actor := range []string{"agent:x", "" /* an agent too */, "nonsense"} {
			end := call(actor)
			if end.State != action.Failed || end.Failure.Code != abi.Denied {
				t.Fatalf("%q: %+v %+v", actor, end, end.Failure)
			}
			rs := h.Events(journal.Filter{Prefixes: []string{"policy.denied"}, Action: end.ID})
			if len(rs) != 1 || rs[0].Corr != end.Corr {
				t.Fatalf("%q: journal %+v", actor, rs)
			}
		}
		if end := call("operator"); end.State != action.Completed {
			t.Fatalf("operator: %+v %+v", end, end.Failure)
		}
	}
}

func TestABrokenPackBreaksNobodyElse(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.Install(hosttest.Artifact{Module: hosttest.Build(t, other), TOML: otherTOML("1.0.0")})
	h.Stop()
	flip(t, filepath.Join(h.State, "cas"), int64(len(hosttest.Sink(t))))
	h.Start()
	hosttest.Eventually(t, "the background finds it", func() bool { return infoOf(t, h).State == pack.Broken })
	if info := infoOf(t, h); !strings.Contains(info.Reason, "sha256:") || len(info.Tools) != 20 {
		t.Errorf("info: %s", asJSON(t, info))
	}
	_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo"})
	wantCode(t, err, abi.Corrupt)
	if rs := h.Events(journal.Filter{Prefixes: []string{"pack.broken"}, Pack: sinkName}); len(rs) != 1 {
		t.Errorf("journal: %+v", rs)
	}
	h.MustCall("other.hello", `{}`)
	h.Install(hosttest.SinkPack(t)) // mends it
	h.MustCall("sink.echo", `{}`)
}

// other is a second pack, with as little in it as possible.
const other = `package main

import "unsafe"

func main() {}

var in, out []byte

//go:wasmexport arw_alloc
func alloc(n uint32) uint32 {
	in = make([]byte, max(n, 1))
	return uint32(uintptr(unsafe.Pointer(&in[0])))
}

//go:wasmexport arw_call
func call(tool, toolLen, ptr, n uint32) uint64 {
	out = append([]byte{0}, "\"hello\""...)
	return uint64(uintptr(unsafe.Pointer(&out[0])))<<32 | uint64(len(out))
}
`

func otherTOML(version string) string {
	return strings.ReplaceAll(`name = "test/other"
version = "VERSION"
description = "Says hello."
[module]
file = "other.wasm"
abi = "^1.0"
[[tools]]
id = "other.hello"
description = "says hello"
`, "VERSION", version)
}

func TestTrustThatWasWithdrawnStopsThePack(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.MustCall("sink.echo", `{}`)
	trust, err := os.ReadFile(filepath.Join(h.State, "trust.toml"))
	if err != nil {
		t.Fatal(err)
	}
	h.WriteState("trust.toml", "schema = 1\n")
	h.Restart()
	if info := infoOf(t, h); info.State != pack.Broken {
		t.Fatalf("info: %s", asJSON(t, info))
	}
	_, err = h.Services().Packs.Resolve("sink.echo")
	if code := abi.CodeOf(err); code != abi.Untrusted && code != abi.Unsigned {
		t.Fatalf("resolve: %v", err)
	}
	if ls := live(h, sinkName); len(ls) != 0 {
		t.Fatalf("leases: %s", asJSON(t, ls))
	}
	h.WriteState("trust.toml", string(trust))
	h.Restart()
	h.MustCall("sink.echo", `{}`)
	h.FailCall("sink.get", `{"key":"a"}`, abi.LeaseRevoked) // authority that was taken does not come back by itself
}

func TestAPackThatCedarForbidsLaterStops(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.WriteState("policy/ban.cedar", `@id("test.ban")
@reason("it is banned here")
forbid (principal == Pack::"test/sink", action == Action::"load", resource);`)
	h.Restart()
	if info := infoOf(t, h); info.State != pack.Broken || !strings.Contains(info.Reason, "banned here") {
		t.Fatalf("info: %s", asJSON(t, info))
	}
}

func TestCallsOfALazilyLoadedPack(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	h.Restart()
	done := make(chan string, 8)
	for range 8 {
		go func() {
			r, err := h.Services().Packs.Call(context.Background(), pack.Call{Pack: sinkName, Tool: "sink.echo", Input: []byte(`{"n":1}`), Actor: "operator"})
			done <- fmt.Sprint(string(r.Body), err)
		}()
	}
	for range 8 {
		if got := <-done; got != `{"n":1}<nil>` {
			t.Errorf("got %s", got)
		}
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"pack.loaded"}, Pack: sinkName}); len(rs) != 1 {
		t.Errorf("loaded %d times", len(rs))
	}
	_, err := h.Services().Packs.Call(t.Context(), pack.Call{Pack: sinkName, Tool: "sink.echo", Input: []byte(`{"n":"x"}`), Actor: "operator"})
	wantCode(t, err, abi.Invalid)
	_, err = h.Services().Packs.Call(t.Context(), pack.Call{Pack: "test/none", Tool: "sink.echo"})
	wantCode(t, err, abi.NotFound)
}

// The benchmark is a whole call through the manager: schemas, Cedar's cached answer, leases, a guest with fresh state.
func BenchmarkCall(b *testing.B) {
	h := hosttest.New(b, hosttest.Options{Config: func(c *host.Config) { c.Log = nil }})
	h.Install(hosttest.SinkPack(b))
	ctx, m := b.Context(), h.Services().Packs
	c := pack.Call{Pack: sinkName, Tool: "sink.echo", Input: []byte(`{"n":1}`), Actor: "operator", Checked: infoDigest(b, h)}
	b.ResetTimer()
	for range b.N {
		if _, err := m.Call(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
}

func infoDigest(t testing.TB, h *hosttest.Host) string {
	info, err := h.Services().Packs.Get(sinkName)
	if err != nil {
		t.Fatal(err)
	}
	return info.Digest
}
