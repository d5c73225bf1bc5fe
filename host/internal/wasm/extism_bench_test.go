package wasm_test

import (
	"context"
	"fmt"
	"testing"

	extism "github.com/extism/go-sdk"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// BenchmarkExtism calls the same plugin through this host, which starts every call from the same state under gas, depth,
// leases and limits, and through the bare Extism SDK: once on an instance that keeps whatever the last call left, once
// on a new instance for every call, which is what fresh state costs there.
func BenchmarkExtism(b *testing.B) {
	for _, tc := range []struct{ name, tool, input string }{{"echo64", "echo", fmt.Sprintf("%064d", 1)}, {"echo1K", "echo", fmt.Sprintf("%01024d", 1)}, {"count", "countUp", ""}} {
		b.Run(tc.name+"/host", func(b *testing.B) {
			p := load(b, open(b, wasm.Options{}), wasm.Spec{Name: "t/b", Module: extismGuest(b)})
			req := wasm.Call{Tool: tc.tool, Input: []byte(tc.input), Effects: abi.Writes, Gate: openGate{}}
			for b.Loop() {
				if _, err := p.Call(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(tc.name+"/sdk", func(b *testing.B) {
			p, err := bareExtism(b).Instance(b.Context(), extism.PluginInstanceConfig{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, _, err := p.Call(tc.tool, []byte(tc.input)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(tc.name+"/sdk-fresh", func(b *testing.B) {
			c := bareExtism(b)
			for b.Loop() {
				p, err := c.Instance(b.Context(), extism.PluginInstanceConfig{})
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := p.Call(tc.tool, []byte(tc.input)); err != nil {
					b.Fatal(err)
				}
				if err := p.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bareExtism compiles the guest as the SDK's documentation says, with the host functions it imports doing nothing.
func bareExtism(b *testing.B) *extism.CompiledPlugin {
	var funcs []extism.HostFunction
	for name, params := range map[string]int{"kv_get": 1, "kv_put": 2, "clock_now": 0, "rand_bytes": 1, "fs_read": 3, "action_call": 2, "log_write": 2, "stream_read": 2, "stream_write": 2} {
		types := make([]extism.ValueType, params)
		for i := range types {
			types[i] = extism.ValueTypeI64
		}
		nothing := func(_ context.Context, _ *extism.CurrentPlugin, stack []uint64) { stack[0] = 0 }
		funcs = append(funcs, extism.NewHostFunctionWithStack("arw_"+name, nothing, types, []extism.ValueType{extism.ValueTypeI64}))
	}
	c, err := extism.NewCompiledPlugin(b.Context(), extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: extismGuest(b)}}},
		extism.PluginConfig{EnableWasi: true}, funcs)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
