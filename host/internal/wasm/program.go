package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// Spec says what to load.
type Spec struct {
	Name   string // for messages: "ns/name"
	Digest string // of the pack, for messages
	Module []byte
	// Tiered lets the interpreter answer while the compiler works, unless compiled code waits in the cache. Results and
	// gas are the same on both. Running calls and sessions end on the one they began on.
	Tiered bool
	// Interpret keeps the program on the interpreter for good.
	Interpret bool
	// Check is asked once, on the compiler's side, before a tiered program leaves the interpreter: what it finds wrong
	// keeps the program where it is, for good. nil: nothing is asked.
	Check func(ctx context.Context, compiled *Program) error
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
	engine   *Engine
	spec     Spec
	limits   Limits
	code     *artifact
	tier     atomic.Pointer[machine]
	mu       sync.Mutex // guards ended, and that tier and snap live until then
	ended    bool
	stop     context.CancelFunc // ends the compiler in the background
	settled  chan struct{}      // closed when the tier is final
	seed     [32]byte
	snap     *snapshot
	pool     *pool
	breaker  breaker
	stats    stats
	retire   int // calls that an instance serves
	closed   atomic.Bool
	closing  sync.Once
	closeErr error
}

// maxPages is the most memory an instance may have: one page less than there can be, which the rewriter needs.
const maxPages = 1<<16 - 1

// Load admits a module and makes it ready: rewrite, compile, instantiate, run _initialize and arw_init under the limits,
// and keep the state they leave. Errors: those of Inspect; Unsupported for a runtime this host does not have; TooLarge
// when the module starts with more memory than its limit; the codes of Call when its start fails; Busy or the context's
// own when it ends first.
func (e *Engine) Load(ctx context.Context, spec Spec) (*Program, error) {
	p := &Program{engine: e, spec: spec, limits: spec.Limits.or(DefaultLimits()), seed: sha256.Sum256(spec.Module), settled: make(chan struct{}), retire: retireAfter}
	if err := p.load(ctx); err != nil {
		p.release()
		return nil, abi.Errorf(abi.CodeOf(err), "load %q: %w", spec.Name, err).WithHint("%s", abi.HintOf(err))
	}
	return p, nil
}

func (p *Program) load(ctx context.Context) error {
	key := p.engine.cache.key(p.seed, p.pageLimit())
	if !p.interprets(key) || p.plugs() || !p.engine.kin.borrow(p, key) {
		if err := p.admit(key); err != nil {
			return err
		}
		m, err := p.start(ctx)
		if err != nil {
			return err
		}
		p.tier.Store(m)
	}
	p.pool = newPool(p)
	in, err := p.fresh(ctx)
	if err != nil {
		return err
	}
	if p.code.Fixed == "" && p.snap == nil {
		if p.snap, err = in.capture(); err != nil {
			in.close()
			return abi.Errorf(abi.Unavailable, "keep the first state: %w", err)
		}
	}
	p.pool.put(in)
	p.engine.share.add(p.pool)
	if !p.tier.Load().compiled && p.snap != nil && !p.code.Plugin {
		p.engine.kin.add(p)
	}
	p.climb()
	return nil
}

// pageLimit is the most memory an instance may have.
func (p *Program) pageLimit() uint32 { return uint32(min(p.limits.MemoryBytes/pageSize, maxPages)) }

// plugs says whether the module is to be one made for Extism.
func (p *Program) plugs() bool { return p.spec.Runtime == RuntimeExtism }

// interprets says whether the program begins on the interpreter.
func (p *Program) interprets(key string) bool {
	return p.engine.interpret || p.spec.Interpret || p.spec.Tiered && !p.engine.cache.warm(key)
}

// admit inspects and rewrites the module, or finds that done in the cache.
func (p *Program) admit(key string) error {
	pages := p.pageLimit()
	if p.code = p.engine.cache.get(key); p.code != nil && (p.spec.Runtime == "" || p.code.Plugin == (p.spec.Runtime == RuntimeExtism)) {
		return p.fits()
	}
	m, shape, err := inspect(p.spec.Module)
	if err != nil {
		return err
	}
	if p.spec.Runtime != "" && p.spec.Runtime != shape.Runtime {
		return abi.Errorf(abi.Incompatible, "the manifest says runtime = %q, the module was made for %q", p.spec.Runtime, shape.Runtime)
	}
	p.code = &artifact{key: key, Imports: shape.Imports, Min: m.Memory.Min, Cap: m.Cap(pages), Plugin: shape.Runtime == RuntimeExtism, Tools: shape.Tools}
	if err := p.fits(); err != nil {
		return err
	}
	o := rewrite.Options{Pages: p.code.Cap, Spare: true, TakeData: true}
	if p.code.Plugin {
		o.Mark, o.Rename = true, pluginImports
	}
	r, err := m.Rewrite(o)
	if err != nil {
		return abi.Errorf(abi.Invalid, "rewrite: %w", err)
	}
	if p.code.Plugin && slices.Contains(shape.Exports, "hs_init") {
		r.Fixed = "the SDK starts Haskell's runtime anew in every instance"
	}
	p.code.Globals, p.code.Start, p.code.Fixed, p.code.data, p.code.binary = r.Globals, r.Start, r.Fixed, r.Data, r.Binary
	p.engine.cache.put(p.code)
	return nil
}

func (p *Program) fits() error {
	if p.code.Min <= p.code.Cap {
		return nil
	}
	return abi.Errorf(abi.TooLarge, "it starts with %d KiB of memory, its limit is %d KiB", p.code.Min*64, p.code.Cap*64).
		WithHint("raise limits.memory in pack.toml")
}

// start makes the first machine.
func (p *Program) start(ctx context.Context) (*machine, error) {
	if p.interprets(p.code.key) {
		return p.engine.interpreted(ctx, p.code)
	}
	return p.engine.compiled(ctx, p.code, everyCore())
}

// climb starts the compiler behind a program that began on the interpreter.
func (p *Program) climb() {
	if p.engine.interpret || p.spec.Interpret || p.tier.Load().compiled {
		close(p.settled)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.engine.work.Go(func() {
		defer close(p.settled)
		defer cancel()
		if err := p.swap(ctx); err != nil && ctx.Err() == nil {
			p.engine.log.Error("a pack stays on the interpreter", "pack", p.spec.Name, "digest", p.spec.Digest, "error", err)
		}
	})
}

// swap compiles, asks Check, and lets every instance from here on be a compiled one.
func (p *Program) swap(ctx context.Context) error {
	m, err := p.engine.compiled(ctx, p.code, someCores())
	if err != nil {
		return err
	}
	if p.spec.Check != nil {
		err = p.tryOut(ctx, m)
	}
	p.mu.Lock()
	if err != nil || p.ended {
		p.mu.Unlock()
		m.leave()
		return err
	}
	old := p.tier.Swap(m)
	p.mu.Unlock()
	p.engine.kin.remove(p)
	p.pool.renew()
	old.leave()
	return nil
}

// tryOut lets Check use a program of its own on the new machine, with the same first state.
func (p *Program) tryOut(ctx context.Context, m *machine) error {
	trial := &Program{engine: p.engine, spec: p.spec, limits: p.limits, code: p.code, seed: p.seed, settled: p.settled, retire: p.retire}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return nil
	}
	trial.snap = p.snap.share()
	p.mu.Unlock()
	m.join()
	trial.tier.Store(m)
	trial.pool = newPool(trial)
	err := p.spec.Check(ctx, trial)
	return errors.Join(err, trial.Close(context.WithoutCancel(ctx)))
}

// Settle waits until the program runs on what it will run on for good. Errors: the context's.
func (p *Program) Settle(ctx context.Context) error {
	select {
	case <-p.settled:
		return nil
	case <-ctx.Done():
		return abi.Errorf(abi.CodeOf(ctx.Err()), "wait for the compiler: %w", ctx.Err())
	}
}

// fresh makes an instance in the state every call starts from: from the snapshot when there is one, else by running the
// module's start.
func (p *Program) fresh(ctx context.Context) (*instance, error) {
	in, err := p.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	if p.snap != nil {
		if !in.restore(p.snap) {
			in.close()
			return nil, abi.Errorf(abi.Internal, "a new instance cannot take the snapshot")
		}
		p.stats.instances.Add(1)
		return in, nil
	}
	c := &call{parent: ctx, in: in, kept: true, effects: abi.Pure, booting: true}
	c.due.Store(int64(p.engine.now() + p.limits.Time))
	in.begin(c, p.limits, p.code.Cap)
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
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.engine.kin.remove(p)
	if p.stop != nil {
		p.stop()
	}
	if p.pool != nil {
		p.engine.share.remove(p.pool)
	}
	if m := p.tier.Load(); m != nil {
		m.leave()
	}
	p.snap.drop()
}

// Keeps reports whether the program holds the state of a session.
func (p *Program) Keeps(session string) bool { return p.pool.keeps(session) }

// Stats of a program since it was loaded.
type Stats struct {
	Calls, Failures  uint64 // failures of the guest, not errors it answered with
	Instances        uint64 // made
	Restores         uint64 // set back to the snapshot
	Discards         uint64 // thrown away
	Interpreted      uint64 // of the calls, those that the interpreter answered
	Idle, Sessions   int    // instances kept now
	QuarantinedUntil time.Time
	Compiled         bool // false while the interpreter answers
}

type stats struct {
	calls, failures, instances, restores, discards, interpreted atomic.Uint64
}

// Stats reports.
func (p *Program) Stats() Stats {
	idle, sessions := p.pool.counts()
	return Stats{
		Calls: p.stats.calls.Load(), Failures: p.stats.failures.Load(), Instances: p.stats.instances.Load(),
		Restores: p.stats.restores.Load(), Discards: p.stats.discards.Load(), Interpreted: p.stats.interpreted.Load(),
		Idle: idle, Sessions: sessions, QuarantinedUntil: p.breaker.until(),
		Compiled: p.tier.Load().compiled,
	}
}
