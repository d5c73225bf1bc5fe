// Package wasm runs packs: it admits a module, bounds it, and calls its tools. Its promise: whatever a guest does, the
// host goes on, the next call is fine, every call starts from the same state unless it asked for a session, and nothing
// outside the guest's memory happens without the Gate's consent.
//
// It is the only package that knows wazero and the Extism SDK. An Engine and its Programs are safe for concurrent use.
package wasm

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/arw-project/arw/abi"
)

// Options of an engine.
type Options struct {
	// CacheDir keeps compiled code between runs. Whoever can write to it can run code in this process, so it is made
	// with mode 0700 and must not be shared. Empty: nothing is kept.
	CacheDir string
	// Compiles bounds how many modules compile at once; 0 means 1. Each uses every core.
	Compiles int
	// Log receives faults of the host that a guest must not see, and what a guest prints while it is loaded. nil: nowhere.
	Log *slog.Logger
	// Interpret runs every program on the interpreter: slow, but a second opinion on the compiler.
	Interpret bool
}

// Engine compiles and runs modules.
type Engine struct {
	log      *slog.Logger
	rt       wazero.Runtime
	config   wazero.RuntimeConfig
	cache    wazero.CompilationCache
	compiles chan struct{}
	base     time.Time // when the engine's clock was 0
}

// now reads the engine's clock, at half the price of time.Now.
func (e *Engine) now() time.Duration { return time.Since(e.base) }

// Open makes an engine, and its cache directory when that is missing. Errors: Invalid when the directory cannot be used.
func Open(o Options) (*Engine, error) {
	e := &Engine{log: o.Log, compiles: make(chan struct{}, max(1, o.Compiles)), base: time.Now()}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	cfg := wazero.NewRuntimeConfig()
	if o.Interpret {
		cfg = wazero.NewRuntimeConfigInterpreter()
	}
	if o.CacheDir != "" && !o.Interpret {
		if err := os.MkdirAll(o.CacheDir, 0o700); err != nil {
			return nil, abi.Errorf(abi.Invalid, "open engine cache %q: %w", o.CacheDir, err)
		}
		cache, err := wazero.NewCompilationCacheWithDir(o.CacheDir)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "open engine cache %q: %w", o.CacheDir, err)
		}
		e.cache = cache
		cfg = cfg.WithCompilationCache(cache)
	}
	ctx := context.Background()
	e.config = cfg.WithDebugInfoEnabled(false).WithCoreFeatures(api.CoreFeaturesV2)
	e.rt = wazero.NewRuntimeWithConfig(ctx, e.config)
	if err := e.link(ctx); err != nil {
		e.Close()
		return nil, abi.Errorf(abi.Internal, "open engine: %w", err)
	}
	return e, nil
}

// Close ends the engine. Programs that were not closed fail from here on; calls in flight must have ended.
func (e *Engine) Close() error {
	ctx := context.Background()
	err := e.rt.Close(ctx)
	if e.cache != nil {
		if cerr := e.cache.Close(ctx); err == nil {
			err = cerr
		}
	}
	return err
}

// compile waits for its turn, then compiles.
func (e *Engine) compile(ctx context.Context, bin []byte) (wazero.CompiledModule, error) {
	select {
	case e.compiles <- struct{}{}:
		defer func() { <-e.compiles }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return e.rt.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), bin)
}

// link makes the host modules that guests import from.
func (e *Engine) link(ctx context.Context) error {
	byModule := map[string][]hostFunc{}
	for _, f := range hostFuncs() {
		module := abi.ModulePrefix + string(f.Capability)
		byModule[module] = append(byModule[module], f)
	}
	for module, funcs := range byModule {
		b := e.rt.NewHostModuleBuilder(module)
		for _, f := range funcs {
			params := make([]api.ValueType, len(f.Params))
			for i := range params {
				params[i] = api.ValueTypeI32
			}
			b.NewFunctionBuilder().WithGoModuleFunction(e.wrap(f), params, []api.ValueType{api.ValueTypeI64}).
				WithName(f.Name).Export(f.Name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	return e.linkWASI(ctx)
}

// Limits bound a program and each call of it; a zero field means the default, and a call can only lower what the
// program was loaded with in memory.
type Limits struct {
	MemoryBytes int64
	Gas         uint64
	Time        time.Duration
	Input       int64
	Output      int64
	Depth       uint32 // nested calls inside the guest
	Streamed    int64  // bytes of output streams
}

// DefaultLimits are what a zero field stands for.
func DefaultLimits() Limits {
	return Limits{MemoryBytes: 64 << 20, Gas: 2e9, Time: 10 * time.Second, Input: 8 << 20, Output: 8 << 20, Depth: 16 << 10, Streamed: 1 << 30}
}

// or fills zero fields from d.
func (l Limits) or(d Limits) Limits {
	if l.MemoryBytes <= 0 {
		l.MemoryBytes = d.MemoryBytes
	}
	if l.Gas == 0 {
		l.Gas = d.Gas
	}
	if l.Time <= 0 {
		l.Time = d.Time
	}
	if l.Input <= 0 {
		l.Input = d.Input
	}
	if l.Output <= 0 {
		l.Output = d.Output
	}
	if l.Depth == 0 {
		l.Depth = d.Depth
	}
	if l.Streamed <= 0 {
		l.Streamed = d.Streamed
	}
	return l
}
