package wasm

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// Spec says what to load.
type Spec struct {
	Name   string // for messages: "ns/name"
	Digest string // of the pack, for messages
	Module []byte
	// Runtime is RuntimeARW (also when empty) or RuntimeExtism.
	Runtime string
	// Limits bound loading and every call; zero fields mean DefaultLimits.
	Limits Limits
	// Instances is how many calls may run at once, sessions not counted; 0 means a few per core.
	Instances int
	// SessionIdle is how long an unused session keeps its state; 0 means five minutes.
	SessionIdle time.Duration
}

// Program is a loaded module, ready for calls.
type Program struct {
	engine    *Engine
	spec      Spec
	limits    Limits
	code      wazero.CompiledModule
	plugin    *plugin // in code's place for RuntimeExtism
	rewritten *rewrite.Result
	cap       uint32 // most pages
	seed      [32]byte
	snap      *snapshot
	pool      *pool
	breaker   breaker
	stats     stats
	closed    atomic.Bool
	closing   sync.Once
	closeErr  error
}

// maxPages is the most memory an instance may have: one page less than there can be, which the rewriter needs.
const maxPages = 1<<16 - 1

// Load admits a module and makes it ready: rewrite, compile, instantiate, run _initialize and arw_init under the limits,
// and keep the state they leave. Errors: those of Inspect; Unsupported for a runtime this host does not have; TooLarge
// when the module starts with more memory than its limit; the codes of Call when its start fails; Busy or the context's
// own when it ends first.
func (e *Engine) Load(ctx context.Context, spec Spec) (*Program, error) {
	p := &Program{engine: e, spec: spec, limits: spec.Limits.or(DefaultLimits()), seed: sha256.Sum256(spec.Module)}
	if err := p.load(ctx); err != nil {
		p.release()
		return nil, abi.Errorf(abi.CodeOf(err), "load %q: %w", spec.Name, err).WithHint("%s", abi.HintOf(err))
	}
	return p, nil
}

func (p *Program) load(ctx context.Context) error {
	m, shape, err := inspect(p.spec.Module)
	if err != nil {
		return err
	}
	if p.spec.Runtime != "" && p.spec.Runtime != shape.Runtime {
		return abi.Errorf(abi.Incompatible, "the manifest says runtime = %q, the module was made for %q", p.spec.Runtime, shape.Runtime)
	}
	p.cap = m.Cap(uint32(min(p.limits.MemoryBytes/pageSize, maxPages)))
	if m.Memory.Min > p.cap {
		return abi.Errorf(abi.TooLarge, "it starts with %d KiB of memory, its limit is %d KiB", m.Memory.Min*64, p.cap*64).
			WithHint("raise limits.memory in pack.toml")
	}
	o := rewrite.Options{Pages: p.cap, Spare: true, TakeData: true}
	if shape.Runtime == RuntimeExtism {
		o.Mark, o.Rename = true, pluginImports
	}
	p.rewritten, err = m.Rewrite(o)
	if err != nil {
		return abi.Errorf(abi.Invalid, "rewrite: %w", err)
	}
	if shape.Runtime == RuntimeExtism {
		err = p.compilePlugin(ctx, m)
	} else {
		p.code, err = p.engine.compile(ctx, p.rewritten.Binary)
	}
	if err != nil {
		if ctx.Err() != nil {
			return abi.Errorf(abi.CodeOf(ctx.Err()), "compile: %w", err)
		}
		return abi.Errorf(abi.Invalid, "compile: %w", err)
	}
	p.pool = newPool(p)
	in, err := p.fresh(ctx)
	if err != nil {
		return err
	}
	if p.rewritten.Fixed == "" {
		if p.snap, err = in.capture(); err != nil {
			in.close()
			return abi.Errorf(abi.Unavailable, "keep the first state: %w", err)
		}
	}
	p.pool.put(in)
	return nil
}

// fresh makes an instance in the state every call starts from: from the snapshot when there is one, else by running the
// module's start.
func (p *Program) fresh(ctx context.Context) (*instance, error) {
	in, err := p.instantiate(ctx)
	if err != nil {
		return nil, abi.Errorf(abi.Incompatible, "%w", err)
	}
	if p.snap != nil {
		if !in.restore(p.snap) {
			in.close()
			return nil, abi.Errorf(abi.Internal, "a new instance cannot take the snapshot")
		}
		p.stats.instances.Add(1)
		return in, nil
	}
	c := &call{parent: ctx, in: in, due: p.engine.now() + p.limits.Time, effects: abi.Pure, booting: true}
	in.begin(c, p.limits, p.cap)
	err = in.boot(c)
	if _, err = in.end(c, err); err != nil {
		in.close()
		return nil, err
	}
	p.stats.instances.Add(1)
	return in, nil
}

// Close waits for calls in flight, or for ctx, and ends the program; later calls fail with Unavailable.
func (p *Program) Close(ctx context.Context) error {
	p.closing.Do(func() {
		p.closed.Store(true)
		p.closeErr = p.pool.close(ctx)
		p.release()
	})
	return p.closeErr
}

func (p *Program) release() {
	if p.code != nil {
		_ = p.code.Close(context.Background()) // the engine reports nothing here
	}
	if p.plugin != nil {
		_ = p.plugin.compiled.Close(context.Background())
	}
	if p.snap != nil {
		p.snap.image.release()
		if p.snap.plugin != nil {
			p.snap.plugin.kernel.release()
		}
	}
}

// Stats of a program since it was loaded.
type Stats struct {
	Calls, Failures  uint64 // failures of the guest, not errors it answered with
	Instances        uint64 // made
	Restores         uint64 // set back to the snapshot
	Discards         uint64 // thrown away
	Idle, Sessions   int    // instances kept now
	QuarantinedUntil time.Time
}

type stats struct {
	calls, failures, instances, restores, discards atomic.Uint64
}

// Stats reports.
func (p *Program) Stats() Stats {
	idle, sessions := p.pool.counts()
	return Stats{
		Calls: p.stats.calls.Load(), Failures: p.stats.failures.Load(), Instances: p.stats.instances.Load(),
		Restores: p.stats.restores.Load(), Discards: p.stats.discards.Load(),
		Idle: idle, Sessions: sessions, QuarantinedUntil: p.breaker.until(),
	}
}
