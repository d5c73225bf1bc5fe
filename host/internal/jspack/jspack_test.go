package jspack_test

import (
	"os"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/jspack"
	"github.com/arw-project/arw/host/internal/wasm"
)

func TestTmp(t *testing.T) {
	eng, err := os.ReadFile("/tmp/sx/package/quickjs.wasm")
	if err != nil {
		t.Skip()
	}
	bin, err := jspack.Build(eng, map[string]string{"main.js": `
import { other } from "./other.js";
import { ToolError, kv } from "arw";
export default {
  "hello.greet": (input) => ({ greeting: other(input.name) }),
  "fail": () => { throw new ToolError("conflict", "no way ☃", {a:1}); },
  "throws": () => { undefined.x },
  "async": async (x) => { await null; return x },
  "never": () => new Promise(() => {}),
  "kv": (k) => kv.getText(k) ?? "none",
  "rand": () => Math.random(),
  "deep": () => { let d=0; const f = (n) => { d=n; return 1 + f(n+1)}; try { return f(0) } catch(e) { return d+" "+e } },
  "date": () => new Date(),
  "spin": () => { for(;;); },
};
`, "other.js": "export const other = (n) => `Hello, ${n}!`;"}, "", []abi.Capability{abi.Log, abi.KV})
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile("/tmp/sx/out.wasm", bin, 0o644)
	e, _ := wasm.Open(wasm.Options{CacheDir: "/tmp/sx/cache"})
	p, err := e.Load(t.Context(), wasm.Spec{Name: "t/js", Module: bin})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"hello.greet", `{"name":"Zoë ☃"}`}, {"fail", ""}, {"throws", ""}, {"async", `[1]`}, {"never", ""}, {"kv", `"a"`}, {"rand", ""}, {"rand", ""}, {"deep", ""}, {"date", ""}, {"nothing", ""}, {"hello.greet", `{"na`}, {"spin", ""}, {"async", `{"x":"y"}`}} {
		r, err := p.Call(t.Context(), wasm.Call{Tool: c[0], Input: []byte(c[1]), Effects: abi.Reads})
		t.Logf("%s: %d %s %v %+v", c[0], r.Kind, r.Body, err, r.Usage)
	}
}
