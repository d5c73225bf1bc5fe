package wasm_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// FuzzHostFunctions calls every host function with any words for arguments: pointers and lengths out of range, wrapping,
// overlapping, misaligned. Whatever they are, the guest gets a status that docs/spec/abi.md has, nothing but the named
// buffers changes, and the call ends well.
func FuzzHostFunctions(f *testing.F) {
	for _, args := range [][6]uint32{
		{0, 0, 0, 0, 0, 0}, {roomAt, 1, windowAt, 64, 0, 0}, {1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1, 1<<32 - 1},
		{memSize, 0, memSize, 0, memSize, 0}, {memSize - 1, 2, windowAt, 8, windowAt, 8}, {windowAt, 64, windowAt + 1, 64, windowAt - 1, 64},
		{1 << 31, 1 << 31, 1 << 31, 1 << 31, 1 << 31, 1 << 31}, {memSize - 1, 1, memSize - 3, 3, memSize, 1},
	} {
		for i := range abi.Functions {
			f.Add(uint8(i), args[0], args[1], args[2], args[3], args[4], args[5])
		}
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		f.Fatal(err)
	}
	programs := make([]*wasm.Program, len(abi.Functions))
	for i, fn := range abi.Functions {
		if programs[i], err = e.Load(f.Context(), wasm.Spec{Name: "t/fuzz", Module: probe(fn)}); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, a0, a1, a2, a3, a4, a5 uint32) {
		i := int(which) % len(programs)
		var in []byte
		for _, a := range []uint32{a0, a1, a2, a3, a4, a5} {
			in = binary.LittleEndian.AppendUint32(in, a)
		}
		rec := &recorder{value: []byte("0123456789"), kind: abi.FrameJSON}
		r, err := programs[i].Call(t.Context(), wasm.Call{Tool: "t", Input: in, Effects: abi.OpenWorld, Gate: rec, Host: rec.host(), Limits: wasm.Limits{Gas: 1e9, Time: time.Minute}})
		if failing(abi.CodeOf(err)) {
			t.Fatalf("%s%v: %v", abi.Functions[i].Name, in, err)
		}
		if err != nil {
			return // the host wrote where the guest told it to: over the frame the guest was to answer with
		}
		if len(r.Body) < 16 {
			return // the same
		}
		status := abi.Status(binary.LittleEndian.Uint64(r.Body))
		if !known(status.Code()) {
			t.Fatalf("%s answers with code %d", abi.Functions[i].Name, status.Code())
		}
	})
}

// failing are the codes that would mean that the guest was not answered but ended.
func failing(c abi.Code) bool {
	switch c {
	case abi.Trap, abi.Exited, abi.Deadline, abi.GasExhausted, abi.MemoryExhausted, abi.DepthExceeded, abi.Internal:
		return true
	}
	return false
}

func known(c abi.Code) bool { return int(c) < len(abi.Codes) }
