//go:build !linux || !(amd64 || arm64)

package wasm

import "bytes"

// backing is nothing here: the image lives on the heap alone.
type backing struct{}

func newImage(buf []byte) *image { return &image{bytes: bytes.Clone(buf)} }

func (i *image) release() {}

// room is memory on the heap.
type room struct {
	buf  []byte
	most int
}

func (r *room) reserve(most int) error {
	r.most = most
	return nil
}

func (r *room) bytes() []byte { return r.buf }

func (r *room) commit(n int) error {
	if n > r.most {
		return errNoMemory
	}
	if n > len(r.buf) {
		buf := make([]byte, n)
		copy(buf, r.buf)
		r.buf = buf
	}
	return nil
}

// attach fills the room with the image.
func (r *room) attach(img *image) error {
	if err := r.commit(len(img.bytes)); err != nil {
		return err
	}
	copy(r.buf, img.bytes)
	return nil
}

// changed cannot tell here; everything is compared.
func (r *room) changed(*image, func(from, to int)) bool { return false }

func (r *room) drop(int, int) bool { return false }

func (r *room) release() { r.buf = nil }
