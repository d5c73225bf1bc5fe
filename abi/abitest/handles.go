package abitest

import (
	"context"
	"io"
	"slices"

	"github.com/arw-project/arw/abi"
)

// File is a file of the world that is read by handle.
type File struct{ left []byte }

// OpenFile opens a file.
func (f FS) OpenFile(_ context.Context, _, path string) (*File, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	data, ok := f.w.files[path]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "there is no file %q", path)
	}
	return &File{data}, nil
}

// Read reads on.
func (f *File) Read(_ context.Context, buf []byte) (int, error) {
	n := copy(buf, f.left)
	if f.left = f.left[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close ends it.
func (*File) Close() error { return nil }

// Draft is a file of the world in the making.
type Draft struct {
	f    FS
	path string
	data []byte
}

// CreateFile begins a file.
func (f FS) CreateFile(_ context.Context, _, path string) (*Draft, error) {
	return &Draft{f: f, path: path}, nil
}

// Write adds bytes.
func (d *Draft) Write(_ context.Context, part []byte) error {
	d.data = append(d.data, part...)
	return nil
}

// Commit puts the file in its place.
func (d *Draft) Commit(ctx context.Context) error {
	return d.f.Write(ctx, "", d.path, slices.Clone(d.data))
}

// Close ends it.
func (*Draft) Close() error { return nil }
