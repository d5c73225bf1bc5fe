//go:build wasip1

package guest

import (
	"runtime"
	"slices"
	"unsafe"

	"github.com/arw-project/arw/abi"
)

// mainMain is the program's main. A reactor's _initialize does not run it, so arw_init does: the tools are registered
// before the host takes the state that every call starts from.
//
//go:linkname mainMain main.main
func mainMain()

// What the host holds of ours between calls: it writes requests to one buffer and reads replies from the other. The
// variables keep them reachable for the collector.
var (
	request []byte
	reply   = make([]byte, 0, scratchSize)
	current Call
)

// maxKept is the largest reply buffer that is kept for the next call of a session.
const maxKept = 1 << 20

// arwInit registers the tools and prepares the state that every call starts from: nothing left to collect, and room at
// hand for small things, so that no call has to look for it first.
//
//go:wasmexport arw_init
func arwInit() {
	mainMain()
	runtime.GC()
	warm()
}

// warm has the allocator open a span for each small size, with and without pointers. The first allocation of a size costs
// ten times the next ones; here it is paid once, before the snapshot.
func warm() {
	for size := 8; size <= 1024; size += 8 {
		sink, sinkPointers = make([]byte, size), make([]*byte, size/8)
	}
	sink, sinkPointers = nil, nil
}

var (
	sink         []byte
	sinkPointers []*byte
)

// reused gives the same variables each time, emptied: a module serves one call at a time, and the tool gets copies.
func reused[T any]() func() *T {
	v := new(T)
	return func() *T {
		var zero T
		*v = zero
		return v
	}
}

// arena is where inputs are copied to, one behind the other, so that a small one allocates nothing. It is never written
// twice: a session's tools may keep strings of their input.
var arena = make([]byte, 0, arenaSize)

const arenaSize = 8 << 10

// keep copies what a value of the call may share.
func keep(raw []byte) []byte {
	if len(raw) > arenaSize/4 {
		return slices.Clone(raw)
	}
	if len(raw) > cap(arena)-len(arena) {
		arena = make([]byte, 0, arenaSize)
	}
	start := len(arena)
	arena = append(arena, raw...)
	return arena[start:len(arena):len(arena)]
}

//go:wasmexport arw_alloc
func arwAlloc(size uint32) uint32 {
	if uint32(len(request)) < size || len(request) == 0 {
		request = make([]byte, max(size, scratchSize))
	}
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(request))))
}

//go:wasmexport arw_call
func arwCall(tool, toolLen, in, inLen uint32) uint64 {
	if cap(reply) > maxKept {
		reply = make([]byte, 0, scratchSize)
	}
	id := requested(tool, toolLen)
	reply = serve(&current, unsafe.String(unsafe.SliceData(id), len(id)), requested(in, inLen), reply[:0])
	return abi.Pack(uint32(uintptr(unsafe.Pointer(unsafe.SliceData(reply)))), uint32(len(reply)))
}

// requested is what the host wrote at ptr, which lies in the room it was given; anything else panics, which is a trap.
func requested(ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	start := ptr - uint32(uintptr(unsafe.Pointer(unsafe.SliceData(request))))
	return request[start : uint64(start)+uint64(n)]
}
