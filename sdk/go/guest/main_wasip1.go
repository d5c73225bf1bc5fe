//go:build wasip1

package guest

import (
	"unsafe"
)

// mainMain is the program's main. A reactor's _initialize does not run it, so arw_init does: the tools are registered
// before the host takes the state that every call starts from.
//
//go:linkname mainMain main.main
func mainMain()

// buffer is where the host writes requests; it lives as long as the host may use it.
var buffer []byte

// reply keeps the last frame reachable until the host has read it.
var reply []byte

//go:wasmexport arw_init
func arwInit() { mainMain() }

//go:wasmexport arw_alloc
func arwAlloc(size uint32) uint32 {
	if uint32(len(buffer)) < size || len(buffer) == 0 {
		buffer = make([]byte, max(size, 4096))
	}
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(buffer))))
}

//go:wasmexport arw_call
func arwCall(tool, toolLen, in, inLen uint32) uint64 {
	c := &Call{tool: string(guestBytes(tool, toolLen)), sys: imports{}}
	reply = dispatch(c, guestBytes(in, inLen))
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(reply))))<<32 | uint64(uint32(len(reply)))
}

// guestBytes is a view of this guest's own memory.
func guestBytes(ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), n)
}
