package wasm

import (
	"github.com/tetratelabs/wazero/experimental"
)

// linear is the memory of one instance. It implements the engine's allocator for that one instance, and can be set
// back to an earlier size, which WebAssembly itself cannot.
type linear struct {
	buf    []byte // what the guest sees
	room   []byte // buf and what lies behind it
	dirty  int    // bytes of room that may not be zero
	shrink int    // size that the next Reallocate returns, whatever it is asked for; -1: none
	most   uint64
}

// Allocate implements experimental.MemoryAllocator.
func (l *linear) Allocate(_, most uint64) experimental.LinearMemory {
	l.most, l.shrink = most, -1
	return l
}

// Reallocate implements experimental.LinearMemory.
func (l *linear) Reallocate(size uint64) []byte {
	if l.shrink >= 0 {
		l.buf = l.room[:l.shrink:l.shrink]
		l.shrink = -1
		return l.buf
	}
	if size > l.most {
		return nil
	}
	n := int(size)
	if n > len(l.room) {
		l.grow(n)
	}
	if from := len(l.buf); from < n {
		clear(l.room[from:max(from, min(n, l.dirty))])
	}
	l.dirty = max(l.dirty, n)
	l.buf = l.room[:n:n]
	return l.buf
}

// grow makes room for n bytes.
func (l *linear) grow(n int) {
	room := make([]byte, n)
	copy(room, l.buf)
	l.room, l.dirty = room, len(l.buf)
}

// Free implements experimental.LinearMemory.
func (l *linear) Free() { l.buf, l.room = nil, nil }
