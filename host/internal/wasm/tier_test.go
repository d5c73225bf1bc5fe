package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// TestTiers: a tiered program answers at once, and the same with the same gas once the compiler is done.
func TestTiers(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{CacheDir: t.TempDir()})
	hold, checked := make(chan struct{}), 0
	p := load(t, e, wasm.Spec{Name: "t/tiers", Module: goGuest(t), Tiered: true, Check: func(ctx context.Context, c *wasm.Program) error {
		<-hold
		checked++
		r, err := c.Call(ctx, wasm.Call{Tool: "count"})
		if string(r.Body) != "101" || !c.Stats().Compiled {
			t.Errorf("the trial: %q %v %+v", r.Body, err, c.Stats())
		}
		return err
	}})
	kv := &mapKV{m: map[string][]byte{"a": []byte("1")}}
	ask := func(session string) (out []wasm.Reply) {
		for _, tool := range []string{"count", "get", "goroutines", "panic", "exit", "echo"} {
			r, err := p.Call(t.Context(), wasm.Call{Tool: tool, Input: []byte("a"), Session: session, Effects: abi.Writes, Gate: openGate{}, Host: wasm.Host{KV: kv}})
			if err != nil {
				r.Body = []byte(abi.CodeOf(err).String())
			}
			out = append(out, r)
		}
		return out
	}
	first := ask("")
	for range 2 {
		if _, err := p.Call(t.Context(), wasm.Call{Tool: "count", Session: "s"}); err != nil {
			t.Fatal(err)
		}
	}
	if p.Stats().Compiled {
		t.Error("the compiler was not waited for")
	}
	close(hold)
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := ask("")
	for i := range first {
		if !bytes.Equal(first[i].Body, second[i].Body) || first[i].Usage.Gas != second[i].Usage.Gas {
			t.Errorf("call %d: %q with gas %d, then %q with %d", i, first[i].Body, first[i].Usage.Gas, second[i].Body, second[i].Usage.Gas)
		}
	}
	if r, err := p.Call(t.Context(), wasm.Call{Tool: "count", Session: "s"}); err != nil || string(r.Body) != "103" {
		t.Errorf("the session did not live through the swap: %q %v", r.Body, err)
	}
	if !p.Stats().Compiled || checked != 1 {
		t.Errorf("compiled %t, checked %d times", p.Stats().Compiled, checked)
	}
}

// TestTiersOnTheirWayOut: calls that end badly, too deep ones among them, end alike on both, with the same gas.
func TestTiersOnTheirWayOut(t *testing.T) {
	t.Parallel()
	recursion := func(code ...[]byte) []byte {
		return hostile(func(m *module) [][]byte {
			self := uint64(m.nImports)
			m.fn("", "i", "i", "", cat(code...), get(0), i32c(1), add32, callf(self))
			return [][]byte{i32c(0), callf(self), drop}
		})
	}
	for _, tc := range []struct {
		name   string
		module []byte
		code   abi.Code
	}{
		{"too deep", recursion(), abi.DepthExceeded},
		{"as deep as may be", recursion(get(0), i32c(16000), eq32, iff(get(0), ret)), abi.OK},
		{"memory", plain(loop(i32c(1), growMem, i32c(-1), op(0x47), brif(0)), unreachable), abi.MemoryExhausted},
		{"a trap", plain(i32c(-1), load8(0), drop), abi.Trap},
		{"gas", plain(loop(br(0))), abi.GasExhausted},
	} {
		var replies [2]wasm.Reply
		for i, interpret := range []bool{false, true} {
			p := load(t, open(t, wasm.Options{Interpret: interpret}), wasm.Spec{Name: "t/out", Module: tc.module, Limits: wasm.Limits{MemoryBytes: 4 << 20, Time: time.Minute}})
			var err error
			replies[i], err = p.Call(t.Context(), wasm.Call{Tool: "bad", Limits: wasm.Limits{Gas: 2e6}})
			if abi.CodeOf(err) != tc.code {
				t.Errorf("%s, interpreted %t: %v, want %s", tc.name, interpret, err, tc.code)
			}
		}
		if a, b := replies[0].Usage.Gas, replies[1].Usage.Gas; a != b {
			t.Errorf("%s: gas %d compiled, %d interpreted", tc.name, a, b)
		}
	}
}

// TestCheckKeepsTheInterpreter: what Check finds wrong with compiled code is never served.
func TestCheckKeepsTheInterpreter(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	e := open(t, wasm.Options{CacheDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	p := load(t, e, wasm.Spec{Name: "t/wrong", Module: echoGuest(), Tiered: true, Check: func(context.Context, *wasm.Program) error { return errors.New("two engines disagree") }})
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := p.Call(t.Context(), wasm.Call{Tool: "echo", Input: []byte("x")})
	if err != nil || string(r.Body) != "x" || p.Stats().Compiled {
		t.Errorf("%q %v, compiled %t", r.Body, err, p.Stats().Compiled)
	}
	if !strings.Contains(log.String(), "two engines disagree") || !strings.Contains(log.String(), "t/wrong") {
		t.Errorf("the log says %q", log.String())
	}
}

// TestCloseWhileCompiling: a program that goes before its compiler is done leaves nothing behind.
func TestCloseWhileCompiling(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{CacheDir: t.TempDir()})
	for range 3 {
		p, err := e.Load(t.Context(), wasm.Spec{Name: "t/gone", Module: goGuest(t), Tiered: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if n, mem := e.Live(); n != 0 || mem != 0 {
		t.Errorf("%d instances and %d bytes are left", n, mem)
	}
}

// TestCache: the second engine finds the work of the first, and whatever happened to the files, a load works: damage is
// told in the log and made good.
func TestCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(t *testing.T, compiledAtOnce bool) string {
		t.Helper()
		var log bytes.Buffer
		e := open(t, wasm.Options{CacheDir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		p := load(t, e, wasm.Spec{Name: "t/cache", Module: kvGuest(), Tiered: true})
		if got := p.Stats().Compiled; got != compiledAtOnce {
			t.Errorf("compiled at once: %t, want %t", got, compiledAtOnce)
		}
		if err := p.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := p.Call(t.Context(), wasm.Call{Tool: "t", Input: []byte("k"), Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: &mapKV{m: map[string][]byte{"k": []byte("v")}}}})
		if err != nil || string(r.Body) != "v" || !p.Stats().Compiled {
			t.Errorf("%q %v %+v", r.Body, err, p.Stats())
		}
		return log.String()
	}
	if log := run(t, false); log != "" {
		t.Errorf("the first load says %s", log)
	}
	if log := run(t, true); log != "" {
		t.Errorf("the second load says %s", log)
	}
	files := func(t *testing.T, pattern string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %q %v", pattern, found, err)
		}
		return found
	}
	edit := func(pattern string, f func(data []byte) []byte) func(t *testing.T) {
		return func(t *testing.T) {
			for _, name := range files(t, pattern) {
				data, err := os.ReadFile(name)
				if err == nil {
					err = os.WriteFile(name, f(data), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 0x10; return b }
	}
	none := func([]byte) []byte { return nil }
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T)
		says   string
		warm   bool // whether compiled code was found all the same
	}{
		{"module, last byte", edit("*/module", flip(-1)), "a cached module is made again", false},
		{"module, head", edit("*/module", flip(6)), "a cached module is made again", false},
		{"module, empty", edit("*/module", none), "a cached module is made again", false},
		{"module, half", edit("*/module", half), "a cached module is made again", false},
		{"code, an offset", edit("*/code-*/*/*", flip(24)), "cached code is compiled again", true},
		{"code, last byte", edit("*/code-*/*/*", flip(-1)), "cached code is compiled again", true},
		{"code, half", edit("*/code-*/*/*", half), "cached code is compiled again", true},
		{"code, empty", edit("*/code-*/*/*", none), "cached code is compiled again", true},
		{"seal", edit("*/seal", flip(0)), "cached code is compiled again", true},
		{"no seal", func(t *testing.T) { os.Remove(files(t, "*/seal")[0]) }, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.damage(t)
			log := run(t, tc.warm)
			if !strings.Contains(log, tc.says) || tc.says == "" && log != "" {
				t.Errorf("the log says %q, want %q", log, tc.says)
			}
			if log := run(t, true); log != "" {
				t.Errorf("after that the log says %q", log)
			}
		})
	}
}

// TestCacheOfOtherVersions: entries that this rewriter did not make go; what is not ours stays.
func TestCacheOfOtherVersions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, foreign := filepath.Join(dir, strings.Repeat("a", 64)+"-1024-r0-0.9"), filepath.Join(dir, "keep-this")
	for _, d := range []string{old, foreign} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	open(t, wasm.Options{CacheDir: dir})
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an entry of another version is still there: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}
