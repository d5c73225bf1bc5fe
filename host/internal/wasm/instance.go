package wasm

import (
	"context"
	"errors"
	"fmt"
	"strconv"

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
	spent    bool  // its state is not the snapshot's and cannot become it again
	current  *call // the call that uses it
	plug     *pluginState
}

// snapshot is the state every call starts from.
type snapshot struct {
	image   *image
	globals []uint64
	inPtr   uint32
	inCap   uint32
	plugin  *pluginSnapshot
}

var moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions()

// instantiate makes an instance whose state is the module's, before any of its code ran.
func (p *Program) instantiate(ctx context.Context) (*instance, error) {
	in := &instance{p: p, mem: &linear{}}
	in.mem.tick = in.tick
	if p.snap != nil {
		in.mem.image = p.snap.image
	}
	var err error
	if p.plugin != nil {
		err = p.instantiatePlugin(ctx, in)
	} else {
		in.mod, err = p.engine.rt.InstantiateModule(experimental.WithMemoryAllocator(ctx, in.mem), p.code, moduleConfig)
	}
	if err != nil {
		return nil, fmt.Errorf("instantiate: %w", err)
	}
	mod := in.mod
	if in.mem.err != nil {
		in.close()
		return nil, abi.Errorf(abi.Unavailable, "no memory for an instance: %w", in.mem.err)
	}
	global := func(name string) api.MutableGlobal {
		g, _ := mod.ExportedGlobal(name).(api.MutableGlobal)
		return g
	}
	in.gas, in.limit, in.depth = global(rewrite.ExportGas), global(rewrite.ExportLimit), global(rewrite.ExportDepth)
	in.pages, in.why = global(rewrite.ExportPages), global(rewrite.ExportWhy)
	for _, i := range p.rewritten.Globals {
		in.globals = append(in.globals, global(rewrite.ExportGlobal+strconv.FormatUint(uint64(i), 10)))
	}
	in.fnCall, in.fnAlloc = mod.ExportedFunction(abi.ExportCall), mod.ExportedFunction(abi.ExportAlloc)
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
		return
	}
	_ = in.mod.Close(context.Background()) // nothing of ours can fail in it
}

// boot runs what the module wants run once: data, start function, _initialize, arw_init, and room for requests.
func (in *instance) boot(c *call) error {
	for _, d := range in.p.rewritten.Data {
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
	errNoMemory = errors.New("the memory is as large as it may get")
)

// capture takes the snapshot.
func (in *instance) capture() (*snapshot, error) {
	s := &snapshot{image: newImage(in.mem.buf).survey(), inPtr: in.inPtr, inCap: in.inCap}
	for _, g := range in.globals {
		s.globals = append(s.globals, g.Get())
	}
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

// restore sets the instance back to the snapshot; false when it cannot be.
func (in *instance) restore(s *snapshot) bool {
	if len(in.mem.buf) != len(s.image.bytes) && !in.mem.resize(len(s.image.bytes), in.mod.Memory()) {
		return false
	}
	in.mem.restore()
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
