package main

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// raw is a module on the plain engine, with host functions that only do the work: no gas, no lease, no bounds on time or
// memory, and whatever state the last call left.
type raw struct {
	rt   wazero.Runtime
	code wazero.CompiledModule
	rawGuest
}

type rawGuest struct {
	mod       api.Module
	alloc, fn api.Function
	at, room  uint32
	stack     [4]uint64
}

func openRaw(ctx context.Context, bin []byte, cfg wazero.RuntimeConfig) (*raw, error) {
	r := &raw{rt: wazero.NewRuntimeWithConfig(ctx, cfg)}
	i := api.ValueTypeI32
	get := api.GoModuleFunc(func(_ context.Context, m api.Module, s []uint64) {
		key, _ := m.Memory().Read(uint32(s[0]), uint32(s[1]))
		v := table[string(key)]
		m.Memory().WriteString(uint32(s[2]), v)
		s[0] = uint64(len(v))
	})
	nothing := api.GoModuleFunc(func(_ context.Context, _ api.Module, s []uint64) { s[0] = 4 << 32 })
	wasi_snapshot_preview1.MustInstantiate(ctx, r.rt)
	kv := r.rt.NewHostModuleBuilder("arw:kv")
	kv.NewFunctionBuilder().WithGoModuleFunction(get, []api.ValueType{i, i, i, i}, []api.ValueType{api.ValueTypeI64}).Export("get")
	kv.NewFunctionBuilder().WithGoModuleFunction(nothing, []api.ValueType{i, i, i, i}, []api.ValueType{api.ValueTypeI64}).Export("put")
	if _, err := kv.Instantiate(ctx); err != nil {
		return nil, err
	}
	if _, err := r.rt.NewHostModuleBuilder("arw:io").NewFunctionBuilder().
		WithGoModuleFunction(nothing, []api.ValueType{i, i}, []api.ValueType{api.ValueTypeI64}).Export("take").Instantiate(ctx); err != nil {
		return nil, err
	}
	var err error
	if r.code, err = r.rt.CompileModule(ctx, bin); err != nil {
		return nil, err
	}
	return r, r.fresh(ctx)
}

// fresh makes another instance.
func (r *raw) fresh(ctx context.Context) error {
	mod, err := r.rt.InstantiateModule(ctx, r.code, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize", "arw_init"))
	if err != nil {
		return err
	}
	r.rawGuest = rawGuest{mod: mod, alloc: mod.ExportedFunction("arw_alloc"), fn: mod.ExportedFunction("arw_call")}
	return nil
}

// call is one call of the ABI.
func (g *rawGuest) call(ctx context.Context, tool, in, want string) error {
	if n := uint32(len(tool) + len(in)); n > g.room {
		g.stack[0] = uint64(n)
		if err := g.alloc.CallWithStack(ctx, g.stack[:1]); err != nil {
			return err
		}
		g.at, g.room = uint32(g.stack[0]), n
	}
	m := g.mod.Memory()
	m.WriteString(g.at, tool)
	m.WriteString(g.at+uint32(len(tool)), in)
	g.stack = [4]uint64{uint64(g.at), uint64(len(tool)), uint64(g.at) + uint64(len(tool)), uint64(len(in))}
	if err := g.fn.CallWithStack(ctx, g.stack[:]); err != nil {
		return err
	}
	out, ok := m.Read(uint32(g.stack[0]>>32), uint32(g.stack[0]))
	if !ok || len(out) == 0 || want != "" && string(out[1:]) != want {
		return fmt.Errorf("answered %q", out)
	}
	if body := make([]byte, len(out)-1); copy(body, out[1:]) < len(want) {
		return fmt.Errorf("short")
	}
	return nil
}
