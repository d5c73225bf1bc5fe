package wasm

import "bytes"

// heapImage is an image without a file.
func heapImage(buf []byte) *image { return &image{bytes: bytes.Clone(buf), fd: -1} }

// heapRoom is memory on the heap: what every system has, and the only kind on most of them.
type heapRoom struct {
	buf  []byte
	most int
}

func (r *heapRoom) reserve(most int) error {
	r.most = most
	return nil
}

func (r *heapRoom) bytes() []byte { return r.buf }

func (r *heapRoom) commit(n int) error {
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
func (r *heapRoom) attach(img *image) error {
	if err := r.commit(len(img.bytes)); err != nil {
		return err
	}
	copy(r.buf, img.bytes)
	return nil
}

// changed cannot tell here; everything is compared.
func (r *heapRoom) changed(*image, func(from, to int)) bool { return false }

func (r *heapRoom) drop(int, int) bool { return false }

func (r *heapRoom) release() { r.buf = nil }
