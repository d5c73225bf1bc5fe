package wasm_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

var extismGuestOnce = sync.OnceValues(func() ([]byte, error) { return buildGuest("./testdata/extism") })

func buildGuest(source string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, source)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return msg, err
	}
	return os.ReadFile(out)
}

func extismGuest(tb testing.TB) []byte {
	tb.Helper()
	bin, err := extismGuestOnce()
	if err != nil {
		tb.Fatalf("build the Extism guest: %v\n%s", err, bin)
	}
	return bin
}

// lines is a Log that remembers.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(_ context.Context, level int, msg string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(rune('0'+level))+msg)
	return nil
}

// witness is a Gate that hears refusals.
type witness struct {
	openGate
	refused []string
}

func (w *witness) Refused(_ context.Context, c abi.Capability, _ error) {
	w.refused = append(w.refused, string(c))
}

func TestExtism(t *testing.T) {
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "test/extism", Module: extismGuest(t), Runtime: wasm.RuntimeExtism})
	big := strings.Repeat("é", 20_000)
	tests := []struct {
		tool, in, want string
		kind           abi.FrameKind
		code           abi.Code
		says           string
	}{
		{"echo", "hello", "hello", abi.FrameBytes, 0, ""},
		{"echo", "", "", abi.FrameBytes, 0, ""},
		{"echo", `{"a":[1]}`, `{"a":[1]}`, abi.FrameJSON, 0, ""},
		{"echo", big, big, abi.FrameBytes, 0, ""},
		{"countUp", "", "101", abi.FrameJSON, 0, ""},
		{"count-up", "", "101", abi.FrameJSON, 0, ""}, // and the state of the call before is gone
		{"leftovers", "", "0", abi.FrameJSON, 0, ""},
		{"leftovers", "", "0", abi.FrameJSON, 0, ""},
		{"vars", "x", "|x", abi.FrameBytes, 0, ""},
		{"vars", "y", "|y", abi.FrameBytes, 0, ""},
		{"configured", "", "0", abi.FrameJSON, 0, ""},
		{"fails", "broken", "", abi.FrameError, abi.ToolFailed, "it is broken"},
		{"fails_silently", "", "", abi.FrameError, abi.ToolFailed, "returned 7"},
		{"nothing", "", "", abi.FrameError, abi.NotFound, "does not export"},
		{"takes", "", "", abi.FrameError, abi.NotFound, "does not export"},
		{"initialize", "", "", abi.FrameError, abi.NotFound, "does not export"},
		{"http", "", "", abi.FrameError, abi.Denied, `effects = "open_world"`},
		{"fetches", `{"url":"https://x/","method":"post","headers":{"a":"b"}}`, `200 {"a":"b"} the answer`, abi.FrameBytes, 0, ""},
		{"fetches", `{`, "", abi.FrameError, abi.Invalid, "not JSON"},
		{"logs", "a line", "0", abi.FrameJSON, 0, ""},
		{"get", "a", "\x011", abi.FrameBytes, 0, ""},
		{"get", "none", "", abi.FrameBytes, 0, "no key"},
		{"put", "x=y", "\x01", abi.FrameBytes, 0, ""},
		{"get", "x", "\x01y", abi.FrameBytes, 0, ""},
		{"now", "", "01" + "02ca9a3b00000000", abi.FrameBytes, 0, ""},
		{"random", "", "\x01rrrrr", abi.FrameBytes, 0, ""},
		{"file", "/a", "\x01bytes", abi.FrameBytes, 0, ""},
		{"file", "relative", "", abi.FrameBytes, 0, "absolute"},
		{"action", "in", "\x00out", abi.FrameBytes, 0, ""},
		{"writes_log", "", "", abi.FrameBytes, 0, "level 9"},
		{"bad_block", "", "", abi.FrameBytes, 0, "no memory block"},
		{"wasi", "", "2020-01-01T00:00:00Z", abi.FrameBytes, 0, ""},
		{"traps", "", "", 0, abi.Trap, "nil pointer"},
		{"panics", "", "", 0, abi.Trap, "boom"},
		{"far", "", "", 0, abi.Trap, "outside Extism's memory"},
		{"far_byte", "", "0", abi.FrameJSON, 0, ""},
		{"echo", "still here", "still here", abi.FrameBytes, 0, ""},
		{"spins", "", "", 0, abi.GasExhausted, "gas"},
		{"recurses", "", "", 0, abi.DepthExceeded, "deep"},
		{"grows", "", "", 0, abi.MemoryExhausted, "memory"},
		{"countUp", "", "101", abi.FrameJSON, 0, ""},
	}
	log := &lines{}
	gate := &witness{}
	host := wasm.Host{
		Log: log, KV: &mapKV{m: map[string][]byte{"a": []byte("1")}}, FS: recFS{&recorder{value: []byte("bytes")}},
		Clock: recClock{&recorder{}}, Rand: recRand{&recorder{}}, Action: recAction{&recorder{value: []byte("out")}}, HTTP: recHTTP{&recorder{value: []byte("the answer")}},
	}
	for _, tc := range tests {
		req := wasm.Call{Tool: tc.tool, Input: []byte(tc.in), Effects: abi.Writes, Gate: gate, Host: host, Limits: wasm.Limits{Gas: 5e8, Time: 5 * time.Minute}} // no matter how slow the machine is
		if tc.tool == "fetches" {
			req.Effects = abi.OpenWorld
		}
		if tc.tool == "wasi" {
			req.Host.Clock, req.Host.Rand = nil, nil
		}
		r, err := p.Call(t.Context(), req)
		said := ""
		if err != nil {
			said = err.Error()
		} else if tc.says != "" {
			said = string(r.Body)
		}
		if abi.CodeOf(err) != tc.code || r.Kind != tc.kind || !strings.Contains(said, tc.says) || tc.says == "" && string(r.Body) != tc.want {
			t.Errorf("%s(%.20q) = %d %.60q, %v", tc.tool, tc.in, r.Kind, r.Body, err)
		}
		if strings.Contains(said, "go-sdk") || strings.Contains(said, "wazero") || strings.Contains(said, "extism_") {
			t.Errorf("%s: the message shows the host's insides: %s", tc.tool, said)
		}
		if r.Usage.Gas == 0 && tc.code != abi.NotFound {
			t.Errorf("%s used no gas", tc.tool)
		}
	}
	if got := strings.Join(log.all, ";"); !strings.HasPrefix(got, "1a line;1printed;2panic") {
		t.Errorf("the log has %q", got)
	}
	if got := strings.Join(gate.refused, ";"); got != "http" {
		t.Errorf("the witness heard %q", got)
	}
	if s := p.Stats(); s.Restores < 10 {
		t.Errorf("instances are not used again: %+v", s)
	}
}

// TestExtismIsDeniedLikeOthers: what holds for a guest of the ABI holds for a plugin.
func TestExtismIsDeniedLikeOthers(t *testing.T) {
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "test/extism", Module: extismGuest(t)})
	kv := &mapKV{m: map[string][]byte{}}
	tests := []struct {
		name string
		req  wasm.Call
		says string
	}{
		{"effect", wasm.Call{Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: kv}}, `set effects = "writes"`},
		{"grant", wasm.Call{Effects: abi.Writes, Gate: openGate{}}, "[capabilities.kv] is not in pack.toml"},
		{"lease", wasm.Call{Effects: abi.Writes, Host: wasm.Host{KV: kv}}, "no lease covers"},
		{"refused", wasm.Call{Effects: abi.Writes, Gate: &recorder{refuse: abi.Errorf(abi.LeaseRevoked, "gone")}, Host: wasm.Host{KV: kv}}, "gone"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tc.req.Tool, tc.req.Input = "put", []byte("k=v")
			r, err := p.Call(t.Context(), tc.req)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = abi.ParseFrame(r.Body); err == nil || !strings.Contains(err.Error(), tc.says) || len(kv.m) > 0 {
				t.Errorf("the plugin saw %v", err)
			}
		})
	}
}

// TestExtismLimits: deadline, cancellation, memory and sizes end a plugin's call and not the plugin.
func TestExtismLimits(t *testing.T) {
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "test/extism", Module: extismGuest(t), Limits: wasm.Limits{Gas: 1 << 50, MemoryBytes: 16 << 20}})
	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	tests := []struct {
		name string
		ctx  context.Context
		req  wasm.Call
		code abi.Code
	}{
		{"deadline", t.Context(), wasm.Call{Tool: "spins", Limits: wasm.Limits{Time: 30 * time.Millisecond}}, abi.Deadline},
		{"cancelled", cancelled, wasm.Call{Tool: "spins"}, abi.Cancelled},
		{"gas", t.Context(), wasm.Call{Tool: "echo", Input: make([]byte, 1000), Limits: wasm.Limits{Gas: 10_000}}, abi.GasExhausted},
		{"output", t.Context(), wasm.Call{Tool: "echo", Input: make([]byte, 1000), Limits: wasm.Limits{Output: 1000}}, abi.TooLarge},
		{"input", t.Context(), wasm.Call{Tool: "echo", Input: make([]byte, 1000), Limits: wasm.Limits{Input: 999}}, abi.TooLarge},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			if _, err := p.Call(tc.ctx, tc.req); abi.CodeOf(err) != tc.code {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if r, err := p.Call(t.Context(), wasm.Call{Tool: "countUp"}); err != nil || string(r.Body) != "101" {
				t.Errorf("the next call: %q %v", r.Body, err)
			}
		})
	}
	r, err := p.Call(t.Context(), wasm.Call{Tool: "fills_blocks"})
	if n := string(r.Body); err != nil || len(n) != 2 || n > "18" {
		t.Errorf("Extism's memory held %q blocks of 1 MiB: %v", n, err)
	}
	if r, err := p.Call(t.Context(), wasm.Call{Tool: "leftovers"}); err != nil || string(r.Body) != "0" {
		t.Errorf("after it grew: %q %v", r.Body, err)
	}
}

// TestExtismStreams: a plugin reads and writes streams like any guest.
func TestExtismStreams(t *testing.T) {
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "test/extism", Module: extismGuest(t)})
	in, out := &chunks{left: []string{"abcdef", "gh"}}, &parts{}
	r, err := p.Call(t.Context(), wasm.Call{Tool: "pump", In: in, Out: out})
	if err != nil || string(r.Body) != "8" {
		t.Errorf("%q %v", r.Body, err)
	}
	if got := strings.Join(out.got, " "); got != "1:ABCD 1:EF 1:GH" {
		t.Errorf("it gave %s", got)
	}
	if r, err := p.Call(t.Context(), wasm.Call{Tool: "pump"}); err != nil || r.Body[0] != '0' || !strings.Contains(string(r.Body), "stream") {
		t.Errorf("without a stream: %q %v", r.Body, err)
	}
}

// TestExtismSession: a session keeps the plugin's state and its variables, and nobody else sees them.
func TestExtismSession(t *testing.T) {
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "test/extism", Module: extismGuest(t)})
	for _, step := range []struct{ session, tool, want string }{
		{"a", "countUp", "101"}, {"a", "countUp", "102"}, {"b", "countUp", "101"}, {"", "countUp", "101"}, {"a", "vars", "|v"}, {"a", "vars", "v|v"}, {"b", "vars", "|v"},
	} {
		r, err := p.Call(t.Context(), wasm.Call{Tool: step.tool, Session: step.session, Input: []byte("v")})
		if err != nil || string(r.Body) != step.want {
			t.Errorf("%+v: %q %v", step, r.Body, err)
		}
	}
}

// TestExtismReplay: a recorded call of a plugin is replayed to the bit, with nothing of the world behind it, on the
// interpreter as well.
func TestExtismReplay(t *testing.T) {
	spec := wasm.Spec{Name: "t/p", Module: extismGuest(t)}
	p, second := load(t, open(t, wasm.Options{}), spec), load(t, open(t, wasm.Options{Interpret: true}), spec)
	for _, tc := range []struct {
		tool, in string
		code     abi.Code
	}{
		{"echo", "hello", 0}, {"get", "k", 0}, {"get", "none", 0}, {"put", "a=b", 0}, {"logs", "a line", 0}, {"now", "", 0}, {"random", "", 0},
		{"wasi", "", 0}, {"vars", "v", 0}, {"http", "", abi.Denied}, {"fetches", `{"url":"https://x/"}`, 0}, {"fails", "x", abi.ToolFailed}, {"traps", "", abi.Trap},
	} {
		kv := &mapKV{m: map[string][]byte{"k": []byte("v")}}
		rec, reply, err := recorded(t, p, wasm.Call{Tool: tc.tool, Input: []byte(tc.in), Effects: effectsOf(tc.tool), Gate: openGate{}, Host: withHTTP(realHost(kv))})
		if abi.CodeOf(err) != tc.code {
			t.Fatalf("%s: %v", tc.tool, err)
		}
		for name, again := range map[string]*wasm.Program{"the same": p, "the interpreter": second} {
			got, err := again.Replay(t.Context(), rec, false, 0, wasm.Limits{})
			if err != nil || !got.Equal || got.Divergence != nil || got.End.Gas != reply.Usage.Gas {
				t.Errorf("%s on %s: %+v %v", tc.tool, name, got, err)
			}
		}
	}
}

// TestExtismGas: the count is the same in every run, also in a new instance.
func TestExtismGas(t *testing.T) {
	e := open(t, wasm.Options{})
	var gas []uint64
	for range 2 {
		p := load(t, e, wasm.Spec{Name: "test/extism", Module: extismGuest(t)})
		for range 2 {
			r, err := p.Call(t.Context(), wasm.Call{Tool: "echo", Input: []byte("some input")})
			if err != nil {
				t.Fatal(err)
			}
			gas = append(gas, r.Usage.Gas)
		}
	}
	for _, g := range gas {
		if g != gas[0] {
			t.Fatalf("gas differs: %v", gas)
		}
	}
}

func TestExtismRefusesAtAdmission(t *testing.T) {
	e := open(t, wasm.Options{})
	guest := func(edit func(*module)) []byte {
		m := &module{}
		m.mem(1, -1)
		edit(m)
		m.fn("run", "", "i", "", i32c(0))
		return m.build()
	}
	tests := []struct {
		name   string
		module []byte
		says   string
	}{
		{"unknown env", guest(func(m *module) { m.imp("extism:host/env", "exec", "l", "l") }), `"extism:host/env.exec", which this host does not have`},
		{"env signature", guest(func(m *module) { m.imp("extism:host/env", "alloc", "i", "i") }), "another signature than (i64) -> (i64)"},
		{"unknown user", guest(func(m *module) { m.imp("extism:host/user", "arw_egress_dial", "l", "l") }), "which this host does not have"},
		{"io", guest(func(m *module) { m.imp("extism:host/user", "arw_io_take", "l", "l") }), "which this host does not have"},
		{"user signature", guest(func(m *module) { m.imp("extism:host/user", "arw_kv_get", "iiii", "l") }), "another signature than (i64) -> (i64)"},
		{"our own name", guest(func(m *module) { m.imp("extism:host/user", "arw:http_request", "ll", "l") }), "which this host does not have"},
		{"ABI import", guest(func(m *module) {
			m.imp("extism:host/env", "alloc", "l", "l")
			m.imp("arw:kv", "get", "iiii", "l")
		}), ""},
		{"reserved export", guest(func(m *module) {
			m.imp("extism:host/env", "alloc", "l", "l")
			m.fn("arw:mark", "", "", "")
		}), "reserved"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := e.Load(t.Context(), wasm.Spec{Name: "t/p", Module: tc.module, Runtime: wasm.RuntimeExtism})
			if abi.CodeOf(err) != abi.Incompatible || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// effectsOf is what a tool of the guest declares.
func effectsOf(tool string) abi.Effect {
	if tool == "fetches" {
		return abi.OpenWorld
	}
	return abi.Writes
}

// withHTTP gives a host a network that answers.
func withHTTP(h wasm.Host) wasm.Host {
	h.HTTP = recHTTP{&recorder{value: []byte("the answer")}}
	return h
}
