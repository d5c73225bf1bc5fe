//go:build wasip1

package guest

import (
	"runtime"
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

// arwInit registers the tools and clears away what start-up left behind, so that the state every call starts from is
// small and its next collection far.
//
//go:wasmexport arw_init
func arwInit() {
	mainMain()
	runtime.GC()
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
	name := guestBytes(tool, toolLen)
	reply = serve(&current, unsafe.String(unsafe.SliceData(name), len(name)), guestBytes(in, inLen), reply[:0])
	return abi.Pack(uint32(uintptr(unsafe.Pointer(unsafe.SliceData(reply)))), uint32(len(reply)))
}

// guestBytes is a view of this guest's own memory.
func guestBytes(ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), n)
}
