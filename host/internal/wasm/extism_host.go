package wasm

import (
	"context"
	"math"
	"strings"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// callKey finds the call among what the SDK wraps around its context.
type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// pluginFuncs are the host functions that a module imports, as the SDK wants them: the ABI's, those of Extism's own that
// this host answers, and WASI's.
func pluginFuncs(imports []Import) []extism.HostFunction {
	ours := map[string]hostFunc{}
	for _, f := range hostFuncs() {
		ours["arw_"+string(f.Capability)+"_"+f.Name] = f
	}
	wasi, seen := wasiFuncs(), map[Import]bool{}
	var out []extism.HostFunction
	for _, im := range imports {
		module, name := pluginImports(rewrite.Import{Module: im.Module, Name: im.Name})
		if seen[Import{module, name}] {
			continue
		}
		seen[Import{module, name}] = true
		var run extism.HostFunctionStackCallback
		switch {
		case module == wasiModule:
			fn := wasiFunction(name, wasi)
			run = func(ctx context.Context, _ *extism.CurrentPlugin, stack []uint64) { fn(callOf(ctx), nil, stack) }
		case module == extismUser && strings.HasPrefix(name, rewrite.Reserved):
			run = extismOurs()[im.Name]
		case module == extismUser:
			run = pluginFunc(ours[name])
		default:
			continue // the SDK's own
		}
		sig, _ := importType(rewrite.Import{Module: im.Module, Name: im.Name}, RuntimeExtism) // it was admitted with this one
		f := extism.NewHostFunctionWithStack(name, run, []byte(sig.params), []byte(sig.results))
		f.SetNamespace(module)
		out = append(out, f)
	}
	return out
}

// pluginFunc lets an Extism guest use a function of the ABI: blocks become ranges of the kernel's memory, and status and
// reply one block that holds a reply frame.
func pluginFunc(f hostFunc) extism.HostFunctionStackCallback {
	args, out := extismShape(f.Func)
	run := wrapHost(f)
	words := max(len(f.Params), 1)
	return func(ctx context.Context, p *extism.CurrentPlugin, stack []uint64) {
		c := callOf(ctx)
		b := blocks{c: c, ctx: ctx, p: p}
		a, ok := b.args(args, stack, make([]uint64, 0, words))
		room := uint64(0)
		if ok && out >= 0 && fills(f.Func) {
			room, ok = b.room(a[out])
			a[out], a[out+1] = room+1, a[out] // the byte before is the frame's kind
		} else if out >= 0 {
			a = append(a, 0, 0)
		}
		if !ok {
			stack[0] = b.frame(abi.AppendErrorFrame(nil, abi.Invalid, string(f.Capability)+"."+f.Name+": an argument is no memory block, or more than 1 MiB are asked for", nil))
			return
		}
		c.blocks = c.in.plug.kernel
		run(c, nil, a)
		c.blocks = nil
		stack[0] = b.answer(f, abi.Status(a[0]), room)
	}
}

// blocks turns between the kernel's blocks and ranges of its memory.
type blocks struct {
	c   *call
	ctx context.Context
	p   *extism.CurrentPlugin
}

// args spreads the guest's arguments out as the ABI has them. A number that stands for a buffer stays one until there is room.
func (b *blocks) args(shape []extismArg, stack, a []uint64) ([]uint64, bool) {
	for i, arg := range shape {
		v := stack[i]
		switch {
		case arg.block:
			n, ok := b.c.in.blockLen(b.ctx, b.p, v)
			if !ok {
				return nil, false
			}
			a = append(a, v, uint64(n))
		case arg.words == 2 && arg.name != "n":
			a = append(a, uint64(uint32(v)), v>>32)
		case arg.words == 2:
			a = append(a, v, 0)
		default:
			a = append(a, uint64(uint32(min(v, math.MaxUint32))))
		}
	}
	return a, true
}

// room makes a block for n bytes and a frame's kind.
func (b *blocks) room(n uint64) (uint64, bool) {
	if n > maxRead {
		return 0, false
	}
	at, err := b.p.AllocWithContext(b.ctx, n+1)
	return at, err == nil && at != 0
}

// answer makes the block that a host function returns. room is the block that was filled, if any.
func (b *blocks) answer(f hostFunc, s abi.Status, room uint64) uint64 {
	c := b.c
	switch code := s.Code(); {
	case code == abi.OK && room != 0:
		c.pending = nil
		return b.trim(room, s.Len())
	case code == abi.OK, code == abi.More:
		reply := c.pending
		c.pending = nil
		if f.Capability == abi.Action {
			return b.frame(reply) // a reply frame already
		}
		return b.frame(abi.AppendFrame(nil, abi.FrameBytes, reply))
	default:
		msg := c.pending
		c.pending = nil
		return b.frame(abi.AppendErrorFrame(nil, code, string(msg), nil))
	}
}

// trim answers with the first n bytes behind the kind of a block that was made for more.
func (b *blocks) trim(room uint64, n uint32) uint64 {
	mem := b.c.in.plug.kernel.buf
	mem[room] = byte(abi.FrameBytes)
	if have, ok := b.c.in.blockLen(b.ctx, b.p, room); ok && have == n+1 {
		return room
	}
	short := append([]byte(nil), mem[room:room+1+uint64(n)]...)
	_ = b.p.FreeWithContext(b.ctx, room) // at worst the block stays until the call ends
	return b.frame(short)
}

// frame puts a frame into a new block; 0 when Extism's memory is full.
func (b *blocks) frame(frame []byte) uint64 {
	at, err := b.p.AllocWithContext(b.ctx, uint64(len(frame)))
	mem := b.c.in.plug.kernel.buf
	if err != nil || at == 0 || at+uint64(len(frame)) > uint64(len(mem)) {
		return 0
	}
	copy(mem[at:], frame)
	b.c.moved += int64(len(frame))
	b.c.charge()
	return at
}

// extismOurs are the functions of Extism's runtime that this host answers in the SDK's place: logging goes through the log
// capability, requests through the http capability, and bytes are moved at once.
func extismOurs() map[string]extism.HostFunctionStackCallback {
	ours := extismAccess()
	ours["log_trace"], ours["log_debug"], ours["log_info"] = extismLog(0), extismLog(0), extismLog(1)
	ours["log_warn"], ours["log_error"] = extismLog(2), extismLog(3)
	ours["get_log_level"], ours["http_request"] = extismLogLevel, extismHTTP
	ours["http_status_code"], ours["http_headers"] = extismStatus, extismHeaders
	return ours
}

// extismLog writes a line. Extism's logging has no result, so a lease that does not cover it makes the line vanish.
func extismLog(level int) extism.HostFunctionStackCallback {
	return func(ctx context.Context, p *extism.CurrentPlugin, stack []uint64) {
		c := callOf(ctx)
		n, ok := c.in.blockLen(ctx, p, stack[0])
		if ok {
			c.blocks = c.in.plug.kernel
			msg, fits := c.bytes(uint32(stack[0]), n)
			c.blocks = nil
			if c.printed += len(msg); fits && c.printed <= maxPrinted {
				c.moved += int64(len(msg))
				c.extismLogged(level, clean(string(msg), maxLine))
			}
			c.charge()
		}
		_ = p.FreeWithContext(ctx, stack[0]) // the SDK does so, and guests rely on it
	}
}

// extismLogLevel is the lowest level a guest needs to log at: all, or none when nothing would be kept.
func extismLogLevel(ctx context.Context, _ *extism.CurrentPlugin, stack []uint64) {
	c := callOf(ctx)
	kept := c.ambientAnswer(extismKept, 0, 1, nil, func() []byte {
		if c.host.Log == nil {
			return []byte{0}
		}
		return []byte{1}
	})
	stack[0] = api.EncodeI32(0)
	if len(kept) != 1 || kept[0] == 0 {
		stack[0] = api.EncodeI32(math.MaxInt32)
	}
}

// What a record calls the questions of Extism's logging.
const (
	extismKept   = "extism.log_kept" // whether lines are kept
	extismPrints = "extism.log"      // one line, at a level
)

// extismLogged logs a line; while the module starts it goes to the host's own log, as what it prints does.
func (c *call) extismLogged(level int, line string) {
	if c.booting {
		c.in.p.engine.log.Debug("guest logged while loading", "pack", c.in.p.spec.Name, "line", line)
		return
	}
	c.logLine(extismPrints, uint64(level), level, line)
}
