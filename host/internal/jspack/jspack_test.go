package jspack_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/jspack"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/sdk/javascript"
)

// engine is the JavaScript engine where "sdk/toolchains.sh javascript" puts it; without it a test is skipped.
func engine(tb testing.TB) []byte {
	tb.Helper()
	place := os.Getenv("ARW_TOOLCHAINS")
	if place == "" {
		place = filepath.Join("..", "..", "..", ".toolchains")
	}
	bin, err := os.ReadFile(filepath.Join(place, "javascript", "node_modules", javascript.EnginePackage, javascript.EngineFile))
	if err != nil {
		tb.Skip("the JavaScript engine is not installed: sh sdk/toolchains.sh javascript")
	}
	return bin
}

// program loads a pack of one script and a helper.
func program(tb testing.TB, main string, caps ...abi.Capability) *wasm.Program {
	tb.Helper()
	bin, err := jspack.Build(engine(tb), map[string]string{jspack.Main: main, "other.js": "export const hello = (n) => `Hello, ${n}!`;"}, "", caps)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	p, err := e.Load(tb.Context(), wasm.Spec{Name: "t/js", Module: bin})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

const script = `
import { hello } from "./other.js";
import { ToolError, abort, kv, randomBytes } from "arw";
let calls = 0;
export function named(input) { return { was: input }; }
export default {
  "greet": ({ name }) => ({ text: hello(name) }),
  "bytes": () => new Uint8Array([1, 2, 255]),
  "fails": () => { throw new ToolError("conflict", "no ☃", { a: 1 }); },
  "odd": () => { throw new ToolError("no such code", "m"); },
  "throws": () => undefined.x,
  "string": () => { throw "a string"; },
  "rejects": async () => { await null; throw new ToolError("busy", "later"); },
  "waits": async (x) => { for (let i = 0; i < 3; i++) await i; return x; },
  "never": () => new Promise(() => {}),
  "deep": () => { const f = (n) => 1 + f(n + 1); return f(0); },
  "catches": () => { const f = (n) => 1 + f(n + 1); try { return f(0); } catch (e) { return e.name; } },
  "spins": () => { for (;;); },
  "aborts": () => abort("on purpose"),
  "count": () => ++calls,
  "wide": (v) => v,
  "circle": () => { const a = {}; a.a = a; return a; },
  "kv": () => kv.getText("k"),
  "rand": () => randomBytes(3),
  "math": () => Math.random(),
  "date": () => new Date(),
  "hidden": () => typeof globalThis.__arw,
  "utf8": (s) => new TextDecoder().decode(new TextEncoder().encode(s)),
  "undefined": () => undefined,
};
`

func TestScript(t *testing.T) {
	p := program(t, script, abi.KV)
	tests := []struct {
		tool, in, want string
		code           abi.Code
	}{
		{"greet", `{"name":"Zoë ☃"}`, `{"text":"Hello, Zoë ☃!"}`, 0},
		{"named", `[1]`, `{"was":[1]}`, 0},
		{"bytes", ``, "\x01\x02\xff", 0},
		{"fails", ``, "no ☃", abi.Conflict},
		{"odd", ``, "m", abi.ToolFailed},
		{"throws", ``, "TypeError: cannot read property 'x' of undefined at throws (main.js:", abi.ToolFailed},
		{"string", ``, "a string", abi.ToolFailed},
		{"rejects", ``, "later", abi.Busy},
		{"waits", `{"x":1}`, `{"x":1}`, 0},
		{"never", ``, "promise that nothing will settle", abi.ToolFailed},
		{"deep", ``, "nest too deep", abi.DepthExceeded},
		{"catches", ``, `"RangeError"`, 0},
		{"spins", ``, "gas", abi.GasExhausted},
		{"aborts", ``, "panic: on purpose", abi.Trap},
		{"count", ``, `1`, 0},
		{"count", ``, `1`, 0},
		{"wide", `[9007199254740993,1,"9007199254740993",-9007199254740993]`, `[9007199254740993,1,"9007199254740993",-9007199254740993]`, 0},
		{"circle", ``, "circular", abi.ToolFailed},
		{"kv", ``, "nobody granted it", abi.Denied},
		{"rand", ``, "add [capabilities.rand]", abi.Denied},
		{"date", ``, `"2020-01-01T00:00:00.000Z"`, 0},
		{"hidden", ``, `"undefined"`, 0},
		{"utf8", `"a\u0000ü𝄞"`, `"a\u0000ü𝄞"`, 0},
		{"undefined", ``, `null`, 0},
		{"nothing", ``, `no tool "nothing"`, abi.NotFound},
		{"greet", `{"na`, "not JSON", abi.Invalid},
		{"_describe", ``, `{"sdk":"javascript","tools":[{"id":"named"},{"id":"greet"},{"id":"bytes"},{"id":"fails"},{"id":"odd"},{"id":"throws"},{"id":"string"},{"id":"rejects"},{"id":"waits"},{"id":"never"},{"id":"deep"},{"id":"catches"},{"id":"spins"},{"id":"aborts"},{"id":"count"},{"id":"wide"},{"id":"circle"},{"id":"kv"},{"id":"rand"},{"id":"math"},{"id":"date"},{"id":"hidden"},{"id":"utf8"},{"id":"undefined"}]}`, 0},
	}
	for _, tc := range tests {
		r, err := p.Call(t.Context(), wasm.Call{Tool: tc.tool, Input: []byte(tc.in), Effects: abi.Reads, Limits: wasm.Limits{Gas: 50_000_000}})
		if err != nil {
			r.Body = []byte(err.Error())
		}
		if abi.CodeOf(err) != tc.code || !strings.Contains(string(r.Body), tc.want) || err == nil && string(r.Body) != tc.want {
			t.Errorf("%s(%s) = %d %q (%v)", tc.tool, tc.in, r.Kind, r.Body, abi.CodeOf(err))
		}
	}
}

// source gives its parts, one a read; sink keeps what it gets.
type source struct{ parts []string }

func (s *source) Read(_ context.Context, buf []byte) (int, error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(buf, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}
func (*source) Close() error { return nil }

type sink struct{ got []string }

func (s *sink) Write(_ context.Context, kind abi.FrameKind, part []byte) error {
	s.got = append(s.got, fmt.Sprintf("%d:%s", kind, part))
	return nil
}
func (*sink) Close() error { return nil }

func TestStreams(t *testing.T) {
	p := program(t, `
import { decode, input, output } from "arw";
export function upper() {
  let n = 0;
  for (const part of input) {
    output.write(decode(part).toUpperCase());
    output.send({ n: (n += part.length) });
  }
  output.close();
  return n;
}`)
	out := &sink{}
	r, err := p.Call(t.Context(), wasm.Call{Tool: "upper", In: &source{[]string{"abc", "de"}}, Out: out})
	if got := strings.Join(out.got, " "); err != nil || string(r.Body) != "5" || got != `1:ABC 0:{"n":3} 1:DE 0:{"n":5}` {
		t.Errorf("%s, and it gave %s (%v)", r.Body, got, err)
	}
	if _, err := p.Call(t.Context(), wasm.Call{Tool: "upper"}); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("without a stream: %v", err)
	}
}

// TestRandomness: what the script seeds once would be the same in every call, since every call starts from one state.
func TestRandomness(t *testing.T) {
	p := program(t, script)
	seen := func(effects abi.Effect) map[string]bool {
		out := map[string]bool{}
		for range 3 {
			r, err := p.Call(t.Context(), wasm.Call{Tool: "math", Effects: effects})
			if err != nil {
				t.Fatal(err)
			}
			out[string(r.Body)] = true
		}
		return out
	}
	if got := seen(abi.Reads); len(got) != 3 {
		t.Errorf("calls repeat their randomness: %v", got)
	}
	if got := seen(abi.Pure); len(got) != 1 {
		t.Errorf("a pure tool is not the same every time: %v", got)
	}
}

// TestBrokenScripts: what goes wrong while a script starts is told when the pack is loaded.
func TestBrokenScripts(t *testing.T) {
	bin := engine(t)
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, tc := range map[string]struct{ script, says string }{
		"syntax":  {"export default {", "SyntaxError"},
		"throws":  {"throw new Error('at start')", "at start"},
		"missing": {`import "./none.js"`, "none.js"},
		"forever": {"await new Promise(() => {})", "trapped"},
	} {
		t.Run(name, func(t *testing.T) {
			module, err := jspack.Build(bin, map[string]string{jspack.Main: tc.script}, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = e.Load(t.Context(), wasm.Spec{Name: "t/js", Module: module}); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestImports: a module can ask for what pack.toml asks for, and for nothing else; and the same scripts give the same bytes.
func TestImports(t *testing.T) {
	bin := engine(t)
	scripts := map[string]string{jspack.Main: script, "other.js": "export const hello = String"}
	one, err := jspack.Build(bin, scripts, "", []abi.Capability{abi.Log})
	if err != nil {
		t.Fatal(err)
	}
	shape, err := wasm.Inspect(one)
	if err != nil || len(shape.Capabilities) != 1 || shape.Capabilities[0] != abi.Log {
		t.Errorf("it reaches %v: %v", shape.Capabilities, err)
	}
	if two, err := jspack.Build(bin, scripts, "", []abi.Capability{abi.Log}); err != nil || !bytes.Equal(one, two) {
		t.Errorf("the bytes differ: %v", err)
	}
}

func TestBuildRefuses(t *testing.T) {
	if _, err := jspack.Build([]byte("another engine"), nil, "", nil); abi.CodeOf(err) != abi.Incompatible || !strings.Contains(abi.HintOf(err), javascript.EngineVersion) {
		t.Errorf("another engine: %v", err)
	}
	if _, err := jspack.Build(engine(t), nil, "", nil); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("no script: %v", err)
	}
}

func TestScripts(t *testing.T) {
	got, err := jspack.Scripts(fstest.MapFS{
		"main.js": {Data: []byte("1")}, "b.js": {Data: []byte("2")}, "main.test.js": {}, "pack.toml": {}, "node_modules/x/x.js": {}, ".arw-sdk/arw.js": {},
	})
	if err != nil || len(got) != 2 || got["main.js"] != "1" || got["b.js"] != "2" {
		t.Errorf("%v %v", got, err)
	}
}

// BenchmarkScript is one call in fresh state, whole path.
func BenchmarkScript(b *testing.B) {
	p := program(b, script)
	for b.Loop() {
		if _, err := p.Call(b.Context(), wasm.Call{Tool: "greet", Input: []byte(`{"name":"Ada"}`)}); err != nil {
			b.Fatal(err)
		}
	}
}
