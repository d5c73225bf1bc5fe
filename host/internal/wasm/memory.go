package wasm

import (
	"bytes"

	"github.com/tetratelabs/wazero/experimental"
)

const (
	pageSize = 64 << 10 // of WebAssembly
	osPage   = 4 << 10  // the unit in which memory is compared and copied; every host's page is a multiple of it
)

// keepTail is how much memory behind the snapshot an instance keeps for its next growth.
const keepTail = 4 << 20

// image is the memory of the snapshot. It never changes; release it when no instance uses it.
type image struct {
	bytes []byte
	zero  []bool // for each osPage, whether it is all zero: comparing with one zero page spares the cache
	fd    int    // the file that holds the bytes; -1: they are on the heap
}

// room is where a memory lies and grows.
type room interface {
	reserve(most int) error  // once, first
	commit(n int) error      // makes the first n bytes usable; new ones are zero
	bytes() []byte           // what is usable
	attach(img *image) error // puts the image at the beginning
	drop(from, to int) bool  // gives memory back, which then reads as zero; false when it cannot
	release()                // gives everything back
	// changed tells the ranges of the image that may have been written; false when it cannot say.
	changed(img *image, tell func(from, to int)) bool
}

// survey fills zero.
func (i *image) survey() *image {
	for at := 0; at+osPage <= len(i.bytes); at += osPage {
		i.zero = append(i.zero, bytes.Equal(i.bytes[at:at+osPage], zeroPage[:]))
	}
	return i
}

var zeroPage [osPage]byte

// compareAll is the size up to which comparing everything is cheaper than asking the kernel what was written (see
// BenchmarkRestore: 2.1 µs against 2.8 at this size, 6.2 against 3.1 at twice as much).
const compareAll = 128 << 10

// linear is the memory of one instance. It implements the engine's allocator for that one instance, and can be set
// back to the image, size included, which WebAssembly itself cannot.
type linear struct {
	image  *image // nil until there is a snapshot
	buf    []byte // what the guest sees
	room   room   // buf and what lies behind it
	dirty  int    // bytes of room that may not be zero
	shrink int    // size that the next Reallocate returns, whatever it is asked for; -1: none
	most   uint64 // what the module declares, one page more than it may have
	tick   func() // called when the guest asks for exactly that much, which is how it asks for gas
	err    error  // why the first Reallocate failed: the engine cannot be told

	back    func(from, to int) // setBack
	share   func(n int64) bool // asks the engine's share for n more bytes
	counted int64              // what it granted
	crowded bool               // it refused
}

func newLinear(portable bool, share func(n int64) bool, tick func()) *linear {
	l := &linear{room: newRoom(portable), share: share, tick: tick}
	l.back = l.setBack
	return l
}

// Allocate implements experimental.MemoryAllocator.
func (l *linear) Allocate(_, most uint64) experimental.LinearMemory {
	l.shrink, l.most = -1, most
	l.err = l.room.reserve(int(most))
	return l
}

// Reallocate implements experimental.LinearMemory. The first one of an instance with an image gives the image.
func (l *linear) Reallocate(size uint64) []byte {
	if size == l.most && l.buf != nil && l.shrink < 0 {
		l.tick()
		return nil
	}
	n, first := int(size), l.buf == nil
	switch {
	case l.shrink >= 0:
		n, l.shrink = l.shrink, -1
	case l.buf == nil && l.image != nil && l.err == nil:
		n = max(n, len(l.image.bytes))
		if l.err = l.room.attach(l.image); l.err == nil {
			l.buf, l.dirty = l.room.bytes()[:len(l.image.bytes)], len(l.image.bytes)
		}
	}
	if l.err == nil {
		l.err = l.count(n)
	}
	if l.err == nil {
		l.err = l.room.commit(n)
	}
	if l.err != nil {
		return l.refuse(n, first)
	}
	mem := l.room.bytes()
	if from := len(l.buf); from < n {
		clear(mem[from:max(from, min(n, l.dirty))])
	}
	l.dirty = max(l.dirty, n)
	l.buf = mem[:n:n]
	return l.buf
}

// count settles with the share that the memory is n bytes.
func (l *linear) count(n int) error {
	if more := int64(n) - l.counted; more != 0 {
		if !l.share(more) {
			l.crowded = true
			return errCrowded
		}
		l.counted += more
	}
	return nil
}

// refuse answers a growth with nil, which the guest sees as -1, and a first request, which cannot fail, with memory that
// nobody will use: Program.instantiate looks at err.
func (l *linear) refuse(n int, first bool) []byte {
	if !first {
		l.err = nil
		return nil
	}
	return make([]byte, n)
}

// Free implements experimental.LinearMemory.
func (l *linear) Free() {
	l.room.release()
	l.buf = nil
}

// adopt makes img, which equals the memory as it is, the state to go back to.
func (l *linear) adopt(img *image) error {
	if err := l.room.attach(img); err != nil {
		return err
	}
	l.image = img
	l.buf = l.room.bytes()[:len(l.buf):len(l.buf)]
	return nil
}

// restore sets the image's bytes back; the size is right already. Only pages that changed are written. A new memory's pages
// have not been read yet: comparing them would map every one of them for nothing, so the kernel is asked whatever the size.
func (l *linear) restore(isNew bool) {
	n := len(l.image.bytes)
	if n <= compareAll && !isNew || !l.room.changed(l.image, l.back) {
		l.setBack(0, n)
	}
	if l.dirty > n+keepTail && l.room.drop(n+keepTail, l.dirty) {
		l.dirty = n + keepTail
	}
}

// setBack copies the pages between from and to that differ.
func (l *linear) setBack(from, to int) {
	for at := from; at < to; at += osPage {
		was := zeroPage[:]
		if !l.image.zero[at/osPage] {
			was = l.image.bytes[at : at+osPage]
		}
		if is := l.buf[at : at+osPage]; !bytes.Equal(is, was) {
			copy(is, was)
		}
	}
}
