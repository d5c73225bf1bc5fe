package wasm

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/arw-project/arw/abi"
)

// machine is one program's code in a runtime of its own: what one program does to its runtime no other one feels, and a
// damaged cache entry costs that program alone. It ends when the program and its instances have let go of it.
type machine struct {
	rt       wazero.Runtime
	kept     wazero.CompilationCache // nil when nothing is kept on disk
	code     wazero.CompiledModule
	plugin   *extism.CompiledPlugin // in place of rt and code for a module made for Extism
	compiled bool                   // not interpreted
	users    atomic.Int64           // instances, and one for the program
}

// interpreted makes the machine that is ready soon.
func (e *Engine) interpreted(ctx context.Context, a *artifact) (*machine, error) {
	deepen()
	return e.machine(ctx, a, &machine{}, wazero.NewRuntimeConfigInterpreter(), 1)
}

// compiled makes the machine that is fast. It waits for its turn, since a compiler takes every core it is given. The
// code is taken from, and left in, the cache.
func (e *Engine) compiled(ctx context.Context, a *artifact, workers int) (*machine, error) {
	select {
	case e.compiles <- struct{}{}:
		defer func() { <-e.compiles }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer e.cache.lock(a.key)()
	m := &machine{compiled: true}
	cfg := wazero.NewRuntimeConfigCompiler()
	dir, warm := e.cache.code(a.key)
	if dir != "" {
		kept, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			e.log.Warn("compiled code cannot be kept", "dir", dir, "error", err)
		} else {
			m.kept, cfg = kept, cfg.WithCompilationCache(kept)
		}
	}
	m, err := e.machine(ctx, a, m, cfg, workers)
	if err == nil && m.kept != nil && !warm {
		e.cache.seal(a.key, dir)
	}
	return m, err
}

func (e *Engine) machine(ctx context.Context, a *artifact, m *machine, cfg wazero.RuntimeConfig, workers int) (*machine, error) {
	m.users.Store(1)
	cfg = cfg.WithDebugInfoEnabled(false).WithCoreFeatures(api.CoreFeaturesV2)
	if a.Plugin {
		return compilePlugin(ctx, a, m, cfg, workers)
	}
	m.rt = wazero.NewRuntimeWithConfig(ctx, cfg)
	err := link(ctx, m.rt, a.Imports)
	if err == nil {
		m.code, err = m.rt.CompileModule(experimental.WithCompilationWorkers(ctx, workers), a.binary)
	}
	return m.made(ctx, err)
}

// made is a machine, or why there is none.
func (m *machine) made(ctx context.Context, err error) (*machine, error) {
	if err == nil {
		return m, nil
	}
	m.leave()
	if ctx.Err() != nil {
		return nil, abi.Errorf(abi.CodeOf(ctx.Err()), "compile: %w", ctx.Err())
	}
	return nil, abi.Errorf(abi.Invalid, "compile: %w", err)
}

// everyCore is the most workers a compiler can use.
func everyCore() int { return runtime.GOMAXPROCS(0) }

// someCores leaves room for the calls that go on beside a compiler.
func someCores() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// join counts a user; false when the machine has ended.
func (m *machine) join() bool {
	for {
		n := m.users.Load()
		if n == 0 {
			return false
		}
		if m.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave uncounts a user; the last one ends the machine.
func (m *machine) leave() {
	if m.users.Add(-1) > 0 {
		return
	}
	ctx := context.Background()
	if m.plugin != nil {
		_ = m.plugin.Close(ctx) // its runtime
	}
	if m.rt != nil {
		_ = m.rt.Close(ctx) // nothing of ours can fail in it
	}
	if m.kept != nil {
		_ = m.kept.Close(ctx)
	}
}

// link makes what a module imports, and nothing else.
func link(ctx context.Context, rt wazero.Runtime, imports []Import) error {
	byModule := map[string][]hostFunc{}
	for _, f := range hostFuncs() {
		module := abi.ModulePrefix + string(f.Capability)
		if slices.Contains(imports, Import{module, f.Name}) {
			byModule[module] = append(byModule[module], f)
		}
	}
	for module, funcs := range byModule {
		b := rt.NewHostModuleBuilder(module)
		for _, f := range funcs {
			params := []byte(strings.Repeat(i32, len(f.Params)))
			b.NewFunctionBuilder().WithGoModuleFunction(wrapHost(f), params, []api.ValueType{api.ValueTypeI64}).
				WithName(f.Name).Export(f.Name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	return linkWASI(ctx, rt, imports)
}
