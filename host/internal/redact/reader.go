package redact

import (
	"io"
	"slices"
)

// Reader gives what src gives with every exact value, in each of its forms, blacked out by as many asterisks, so that
// lengths stay true. It holds back no more than the beginning of something that may become a value, so a stream that is
// waited for arrives. Rules and entropy are not asked: they would change what is not secret.
func (r *Redactor) Reader(src io.Reader) io.Reader {
	if r == nil || !r.hasValues() {
		return src
	}
	return &reader{src: src, values: r.values.Load()}
}

// Exact is the text with its exact values blacked out by as many asterisks, in place; a value that is a number becomes
// another one, so that JSON stays JSON.
func (r *Redactor) Exact(text []byte) []byte {
	if v := r.values.Load(); v != nil {
		v.blacken(text)
	}
	return text
}

type reader struct {
	src    io.Reader
	values *values
	buf    []byte // read and not given
	ready  int    // bytes of buf that hold no part of a value to come
	err    error
}

// readChunk is how much is read at once when the caller's buffer is small.
const readChunk = 4 << 10

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.ready == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill(max(len(p), readChunk))
	}
	n := copy(p, r.buf[:r.ready])
	r.buf, r.ready = r.buf[n:], r.ready-n
	return n, nil
}

func (r *reader) fill(size int) {
	at := len(r.buf)
	r.buf = slices.Grow(r.buf, size)
	n, err := r.src.Read(r.buf[at : at+size])
	r.buf, r.err = r.buf[:at+n], err
	r.values.blacken(r.buf)
	r.ready = len(r.buf)
	if err == nil {
		r.ready -= r.values.begun(r.buf)
	}
}
