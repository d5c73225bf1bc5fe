package rewrite

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

var errShort = errors.New("ends in mid-item")

// reader walks bytes of the binary format. The first fault sticks: later reads return zero, so that callers check err
// once per item rather than once per byte.
type reader struct {
	buf []byte
	pos int
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.pos = len(r.buf)
}

func (r *reader) failf(format string, args ...any) { r.fail(fmt.Errorf(format, args...)) }

func (r *reader) more() bool { return r.err == nil && r.pos < len(r.buf) }

func (r *reader) byte() byte {
	if r.pos >= len(r.buf) {
		r.fail(errShort)
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

// bytes returns the next n bytes without copying them.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.buf)-r.pos {
		r.fail(errShort)
		return nil
	}
	b := r.buf[r.pos : r.pos+n]
	r.pos += n
	return b
}

// u32 reads an unsigned LEB128 of at most 32 bits; unused bits of a fifth byte must be zero, as the standard says.
func (r *reader) u32() uint32 {
	if r.pos < len(r.buf) && r.buf[r.pos] < 0x80 {
		r.pos++
		return uint32(r.buf[r.pos-1])
	}
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				r.failf("a number has more than 32 bits")
			}
			return uint32(v)
		}
	}
	r.failf("a number has more than 5 bytes")
	return 0
}

// signed reads a signed LEB128 of the given width (32, 33 or 64 bits).
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		if shift >= bits {
			r.failf("a signed number has too many bytes for %d bits", bits)
			return 0
		}
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if end := shift + 7; end < 64 {
				v = v << (64 - end) >> (64 - end)
			}
			if bits < 64 && v != v<<(64-bits)>>(64-bits) {
				r.failf("a signed number has more than %d bits", bits)
			}
			return v
		}
	}
}

// count reads a vector's length; each element has at least one byte, so that a lie cannot make us allocate.
func (r *reader) count() int {
	n := r.u32()
	if uint64(n) > uint64(len(r.buf)-r.pos) {
		r.failf("a list of %d items in %d bytes", n, len(r.buf)-r.pos)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	s := string(r.bytes(r.count()))
	if !utf8.ValidString(s) {
		r.failf("a name is not UTF-8")
	}
	return s
}
