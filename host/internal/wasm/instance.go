package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// inputRoom is what the host asks of arw_alloc before the snapshot; larger requests ask again within the call.
const inputRoom = 4 << 10

// instance is one instantiated module. One call uses it at a time.
type instance struct {
	p        *Program
	machine  *machine
	mod      api.Module
	mem      *linear
	fnCall   api.Function
	fnAlloc  api.Function
	gas      api.MutableGlobal
	limit    api.MutableGlobal
	depth    api.MutableGlobal
	pages    api.MutableGlobal
	why      api.MutableGlobal
	globals  []api.MutableGlobal // those the module writes
	inPtr    uint32              // where requests go
	inCap    uint32
	stack    [4]uint64
	pagesNow uint32
	calls    int   // it has served
	spent    bool  // its state is not the snapshot's and cannot become it again
	current  *call // the call that uses it
	plug     *pluginState
}

// snapshot is the state every call starts from.
type snapshot struct {
	users   atomic.Int64
	image   *image
	globals []uint64
	inPtr   uint32
	inCap   uint32
	plugin  *pluginSnapshot
}

// retireAfter is how many calls an instance serves: what the engine itself might pile up for one ends there.
const retireAfter = 1 << 20

// keepable says whether the instance may serve another call once it is set back.
func (in *instance) keepable() bool {
	return !in.spent && in.p.snap != nil && in.calls < in.p.retire && in.machine == in.p.tier.Load()
}

// The engine would seed a source of randomness for every instance; our WASI does not use it.
var moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader)

// instantiate makes an instance whose state is the module's, before any of its code ran.
func (p *Program) instantiate(ctx context.Context) (*instance, error) {
	if err := p.engine.share.take(p.pool); err != nil {
		return nil, err
	}
	m := p.join()
	in := &instance{p: p, machine: m}
	in.mem = newLinear(p.engine.portable, func(n int64) bool { return p.engine.share.grow(p.pool, n) }, in.tick)
	if p.snap != nil {
		in.mem.image = p.snap.image
	}
	if m == nil {
		in.gone()
		return nil, abi.Errorf(abi.Unavailable, "the pack was unloaded")
	}
	var err error
	if m.plugin != nil {
		err = in.instantiatePlugin(ctx)
	} else {
		in.mod, err = m.rt.InstantiateModule(experimental.WithMemoryAllocator(ctx, in.mem), m.code, moduleConfig)
	}
	if err != nil {
		in.gone()
		return nil, abi.Errorf(abi.Incompatible, "instantiate: %w", err)
	}
	mod := in.mod
	if in.mem.err != nil {
		err := in.mem.err
		crowded := in.mem.crowded
		in.close()
		if crowded {
			return nil, abi.Errorf(abi.Busy, "%w", err).WithHint("try again when other calls have ended")
		}
		return nil, abi.Errorf(abi.Unavailable, "no memory for an instance: %w", err)
	}
	global := func(name string) api.MutableGlobal {
		g, _ := mod.ExportedGlobal(name).(api.MutableGlobal)
		return g
	}
	in.gas, in.limit, in.depth = global(rewrite.ExportGas), global(rewrite.ExportLimit), global(rewrite.ExportDepth)
	in.pages, in.why = global(rewrite.ExportPages), global(rewrite.ExportWhy)
	for _, i := range p.code.Globals {
		in.globals = append(in.globals, global(rewrite.ExportGlobal+strconv.FormatUint(uint64(i), 10)))
	}
	in.fnCall = mod.ExportedFunction(abi.ExportCall)
	return in, nil
}

// tick passes the memory's question for more allowance to the call.
func (in *instance) tick() {
	if in.current != nil {
		in.current.tick()
	}
}

func (in *instance) close() {
	if in.plug != nil {
		_ = in.plug.sdk.Close(context.Background()) // the module as well
	} else {
		_ = in.mod.Close(context.Background()) // nothing of ours can fail in it
	}
	in.gone()
}

// gone gives back what an instance counts for.
func (in *instance) gone() {
	in.p.engine.share.give(in.p.pool, in.mem.counted)
	in.mem.counted = 0
	if in.plug != nil {
		in.p.engine.share.grow(in.p.pool, -in.plug.kernel.counted)
		in.plug.kernel.counted = 0
	}
	if in.machine != nil {
		in.machine.leave()
	}
}

// join is the machine that new instances are made on; nil when the program has ended.
func (p *Program) join() *machine {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || !p.tier.Load().join() {
		return nil
	}
	return p.tier.Load()
}

// boot runs what the module wants run once: data, start function, _initialize, arw_init, and room for requests.
func (in *instance) boot(c *call) error {
	for _, d := range in.p.code.data {
		if uint64(d.Offset)+uint64(len(d.Bytes)) > uint64(len(in.mem.buf)) {
			return abi.Errorf(abi.Incompatible, "a data segment lies outside memory")
		}
		copy(in.mem.buf[d.Offset:], d.Bytes)
	}
	if in.plug != nil {
		return in.bootPlugin(c)
	}
	for _, name := range []string{rewrite.ExportStart, abi.ExportInitialize, abi.ExportInit} {
		if fn := in.mod.ExportedFunction(name); fn != nil {
			if err := in.run(c, fn, 0); err != nil {
				return err
			}
		}
	}
	return in.alloc(c, inputRoom)
}

// run calls a function of the guest with the arguments in in.stack.
func (in *instance) run(c *call, fn api.Function, n int) error {
	return fn.CallWithStack(c, in.stack[:max(n, 1)])
}

// alloc asks the guest for room for a request; whatever room there was before is no longer used.
func (in *instance) alloc(c *call, n uint32) error {
	in.stack[0] = uint64(n)
	if in.fnAlloc == nil { // an instance that starts from a snapshot needs it for a large request only, and it has a stack of its own
		in.fnAlloc = in.mod.ExportedFunction(abi.ExportAlloc)
	}
	if err := in.run(c, in.fnAlloc, 1); err != nil {
		return err
	}
	ptr := uint32(in.stack[0])
	if ptr == 0 || uint64(ptr)+uint64(n) > uint64(len(in.mem.buf)) {
		return errNoRoom
	}
	in.inPtr, in.inCap = ptr, n
	return nil
}

var (
	errNoRoom   = errors.New("the guest gives no room for the request")
	errCrowded  = errors.New("the pack has its share of the host's memory for guests")
	errNoMemory = errors.New("the memory is as large as it may get")
)

// capture takes the snapshot.
func (in *instance) capture() (*snapshot, error) {
	s := &snapshot{image: newImage(in.mem.buf, in.p.engine.portable).survey(), inPtr: in.inPtr, inCap: in.inCap}
	for _, g := range in.globals {
		s.globals = append(s.globals, g.Get())
	}
	s.users.Store(1)
	size := len(in.mem.buf)
	if err := in.mem.adopt(s.image); err != nil {
		s.image.release()
		return nil, err
	}
	if !in.mem.resize(size, in.mod.Memory()) { // the engine takes note of where the memory is now
		return nil, errNoMemory
	}
	if in.plug != nil {
		return s, in.capturePlugin(s)
	}
	return s, nil
}

// share counts one more program that starts from the snapshot.
func (s *snapshot) share() *snapshot {
	if s != nil {
		s.users.Add(1)
	}
	return s
}

// drop uncounts one; the last lets the image go.
func (s *snapshot) drop() {
	if s != nil && s.users.Add(-1) == 0 {
		s.image.release()
		if s.plugin != nil {
			s.plugin.kernel.release()
		}
	}
}

// restore sets the instance back to the snapshot; false when it cannot be.
func (in *instance) restore(s *snapshot) bool {
	if len(in.mem.buf) != len(s.image.bytes) && !in.mem.resize(len(s.image.bytes), in.mod.Memory()) {
		return false
	}
	in.mem.restore(in.calls == 0)
	for i, g := range in.globals {
		g.Set(s.globals[i])
	}
	in.inPtr, in.inCap = s.inPtr, s.inCap
	return in.plug == nil || in.restorePlugin(s.plugin)
}

// resize sets a grown memory back. The engine takes whatever slice the allocator returns, and the rewritten module
// declares one page more than the guest may have, so that there is always a page to ask for.
func (l *linear) resize(n int, mem api.Memory) bool {
	l.shrink = n
	_, ok := mem.Grow(1)
	l.shrink = -1
	return ok && len(l.buf) == n
}
