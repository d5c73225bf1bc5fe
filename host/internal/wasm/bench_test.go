package wasm_test

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// BenchmarkCall compares a call through the engine, which starts every call from the same state, with the same module's
// function called on plain wazero, which keeps whatever state the last call left.
func BenchmarkCall(b *testing.B) {
	kv := &mapKV{m: map[string][]byte{"user:42": []byte("a value of some length, as it would be")}}
	host := wasm.Host{KV: kv}
	b.Run("kv/raw", func(b *testing.B) { rawCall(b, kvGuest(), kv, []byte("user:42")) })
	for _, tc := range []struct {
		name   string
		module []byte
		tool   string
		input  string
	}{
		{"kv/engine", kvGuest(), "get", "user:42"},
		{"echo64/engine", echoGuest(), "echo", string(make([]byte, 64))},
		{"go/echo", goGuest(b), "echo", "hello"},
		{"go/kv", goGuest(b), "get", "user:42"},
	} {
		b.Run(tc.name, func(b *testing.B) {
			p := load(b, open(b, wasm.Options{}), wasm.Spec{Name: "t/b", Module: tc.module})
			req := wasm.Call{Tool: tc.tool, Input: []byte(tc.input), Effects: abi.Writes, Gate: openGate{}, Host: host}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Call(ctx, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEcho1MB moves a megabyte in and out.
func BenchmarkEcho1MB(b *testing.B) {
	p := load(b, open(b, wasm.Options{}), wasm.Spec{Name: "t/b", Module: echoGuest()})
	req := wasm.Call{Tool: "echo", Input: make([]byte, 1<<20)}
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := p.Call(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// rawCall runs a guest of the ABI on wazero alone, with a host function that does the same work.
func rawCall(b *testing.B, module []byte, kv *mapKV, input []byte) {
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	get := api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
		key, _ := m.Memory().Read(uint32(s[0]), uint32(s[1]))
		v, _ := kv.Get(ctx, key)
		m.Memory().Write(uint32(s[2]), v)
		s[0] = uint64(len(v))
	})
	i := api.ValueTypeI32
	if _, err := rt.NewHostModuleBuilder("arw:kv").NewFunctionBuilder().
		WithGoModuleFunction(get, []api.ValueType{i, i, i, i}, []api.ValueType{api.ValueTypeI64}).Export("get").Instantiate(ctx); err != nil {
		b.Fatal(err)
	}
	mod, err := rt.Instantiate(ctx, module)
	if err != nil {
		b.Fatal(err)
	}
	fn := mod.ExportedFunction("arw_call")
	stack := make([]uint64, 4)
	for b.Loop() {
		mod.Memory().Write(4096, input)
		stack[0], stack[1], stack[2], stack[3] = 4096, 0, 4096, uint64(len(input))
		if err := fn.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
		ptr, n := abi.Unpack(stack[0])
		if out, ok := mod.Memory().Read(ptr, n); !ok || len(out) != 39 {
			b.Fatal(out, ok)
		}
	}
}

// BenchmarkInstalled is a new engine that finds a Go pack in its cache, up to the first reply.
func BenchmarkInstalled(b *testing.B) {
	dir, module := b.TempDir(), goGuest(b)
	for b.Loop() {
		e, err := wasm.Open(wasm.Options{CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		p, err := e.Load(b.Context(), wasm.Spec{Name: "t/b", Module: module})
		if err == nil {
			_, err = p.Call(b.Context(), wasm.Call{Tool: "echo", Input: []byte("x")})
		}
		if err != nil {
			b.Fatal(err)
		}
		p.Close(context.Background())
		e.Close()
	}
}
