package wasm

import (
	"context"
	"encoding/binary"
	"errors"

	extism "github.com/extism/go-sdk"
)

// Guests move every byte of input and output by host calls of at most eight. The SDK makes each of them a call into
// another module; here they read and write that module's memory themselves, which is what it would have done.

var errOutside = errors.New("an address lies outside Extism's memory")

// extismAccess are those functions.
func extismAccess() map[string]extism.HostFunctionStackCallback {
	load8 := func(at []byte, stack []uint64) { stack[0] = uint64(at[0]) }
	load64 := func(at []byte, stack []uint64) { stack[0] = binary.LittleEndian.Uint64(at) }
	store8 := func(at []byte, stack []uint64) { at[0] = byte(stack[1]) }
	store64 := func(at []byte, stack []uint64) { binary.LittleEndian.PutUint64(at, stack[1]) }
	return map[string]extism.HostFunctionStackCallback{
		"load_u8": access(1, load8), "load_u64": access(8, load64), "store_u8": access(1, store8), "store_u64": access(8, store64),
		"input_load_u8": ofInput(access(1, load8)), "input_load_u64": ofInput(access(8, load64)),
	}
}

// access does something with n bytes of the kernel's memory at the address on the stack. As in the SDK, a single byte
// outside is 0 and goes nowhere, and eight end the call.
func access(n uint64, do func(at []byte, stack []uint64)) extism.HostFunctionStackCallback {
	return func(ctx context.Context, _ *extism.CurrentPlugin, stack []uint64) {
		mem := callOf(ctx).in.plug.kernel.buf
		switch at := stack[0]; {
		case at < uint64(len(mem)) && n <= uint64(len(mem))-at:
			do(mem[at:at+n], stack)
		case n == 1:
			stack[0] = 0
		default:
			panic(errOutside)
		}
	}
}

// ofInput makes the address one within the input.
func ofInput(f extism.HostFunctionStackCallback) extism.HostFunctionStackCallback {
	return func(ctx context.Context, p *extism.CurrentPlugin, stack []uint64) {
		from, _ := ctx.Value(extism.InputOffsetKey("inputOffset")).(uint64)
		if stack[0] > 1<<32 {
			panic(errOutside)
		}
		stack[0] += from
		f(ctx, p, stack)
	}
}
