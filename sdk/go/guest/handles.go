package guest

import (
	"encoding/binary"
	"io"

	"github.com/arw-project/arw/abi"
)

// OpenFile opens a file by handle: it is read from its beginning, and goes on being the file that was opened whatever takes
// its place meanwhile. 16 handles may be open in a call, requests among them; the end of the call closes the rest.
func (f FS) OpenFile(path string) (*File, error) {
	handle, err := f.c.handle(hostFSOpen(f.c, path, f.c.scratch[:]))
	if err != nil {
		return nil, err
	}
	return &File{handle, f.c}, nil
}

// File is an open file. The lease is asked at each Read: one that ends in the middle ends the reading.
type File struct {
	handle uint32
	c      *Call
}

// Read implements io.Reader; at most 1 MiB come at once.
func (f *File) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	st := hostStreamRead(f.c, f.handle, buf)
	if err := f.c.check(st); err != nil {
		return 0, err
	}
	n := int(min(st.Len(), uint32(len(buf))))
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close lets go of the file.
func (f *File) Close() error { return f.c.check(hostStreamClose(f.c, f.handle)) }

// Create begins a file of any size that takes the place of what is at path when it is committed; the lease must be for
// writing. What is not committed when the call ends, however it ends, is thrown away.
func (f FS) Create(path string) (*Draft, error) {
	handle, err := f.c.handle(hostFSCreate(f.c, path, f.c.scratch[:]))
	if err != nil {
		return nil, err
	}
	return &Draft{handle, f.c}, nil
}

// Draft is a file in the making.
type Draft struct {
	handle uint32
	c      *Call
}

// Write implements io.Writer; more than 1 MiB goes as several parts.
func (d *Draft) Write(data []byte) (n int, err error) { return d.c.writeParts(d.handle, data) }

// ReadFrom implements io.ReaderFrom, so that io.Copy takes chunks of the right size.
func (d *Draft) ReadFrom(r io.Reader) (int64, error) { return copyChunks(d, r) }

// Commit puts the file in its place, whole and durable. The draft is over in either case; there is no Close, so that one
// that is deferred cannot put half a file there.
func (d *Draft) Commit() error { return d.c.check(hostStreamClose(d.c, d.handle)) }

// handle reads the handle that a host function gave.
func (c *Call) handle(s abi.Status) (uint32, error) {
	reply, err := c.fetch(s)
	if err != nil {
		return 0, err
	}
	if len(reply) != 4 {
		return 0, abi.Errorf(abi.Internal, "the host gave a handle of %d bytes", len(reply))
	}
	return binary.LittleEndian.Uint32(reply), nil
}

// writeParts gives bytes to a handle in parts that the host takes.
func (c *Call) writeParts(handle uint32, data []byte) (n int, err error) {
	for len(data) > 0 {
		part := data[:min(len(data), abi.MaxPart)]
		if err := c.check(hostStreamWrite(c, handle, part)); err != nil {
			return n, err
		}
		n, data = n+len(part), data[len(part):]
	}
	return n, nil
}

// copyChunks reads to the end and writes, a chunk at a time.
func copyChunks(w io.Writer, r io.Reader) (n int64, err error) {
	buf := make([]byte, Chunk)
	for {
		m, rerr := r.Read(buf)
		k, werr := w.Write(buf[:m])
		n += int64(k)
		switch {
		case werr != nil:
			return n, werr
		case rerr == io.EOF:
			return n, nil
		case rerr != nil:
			return n, rerr
		}
	}
}
