package rehearse

import (
	"bytes"
	"context"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// openFile is a file of a world that is read by handle: as it was when it was opened.
type openFile struct {
	*world
	name string
	left []byte
}

// OpenFile implements wasm.FS.
func (f folders) OpenFile(_ context.Context, _, name string) (wasm.File, error) {
	err := f.did("fs.open", name, name, func() (string, error) {
		e, err := f.find("read", name)
		if err == nil && e.Mode != "file" {
			err = abi.Errorf(abi.Unsupported, "read %q: it is a folder, not a file", name)
		}
		return "", err
	})
	if err != nil {
		return nil, err
	}
	return &openFile{f.world, name, f.files[name]}, nil
}

// Read implements wasm.File.
func (o *openFile) Read(_ context.Context, buf []byte) (n int, err error) {
	err = o.did("stream.read", o.name, o.name, func() (string, error) {
		n = copy(buf, o.left)
		o.left = o.left[n:]
		return count(n, "byte", false), nil
	})
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// Close implements wasm.File.
func (o *openFile) Close() error { return nil }

// draft is a file of a world in the making.
type draft struct {
	folders
	name string
	data []byte
}

// CreateFile implements wasm.FS.
func (f folders) CreateFile(_ context.Context, _, name string) (wasm.Draft, error) {
	err := f.did("fs.create", name, name, func() (string, error) { return "", f.writable(name) })
	if err != nil {
		return nil, err
	}
	return &draft{folders: f, name: name}, nil
}

// writable refuses what a file cannot take the place of.
func (f folders) writable(name string) error {
	if e, ok := f.entry(name); ok && e.Mode != "file" {
		return abi.Errorf(abi.Unsupported, "write %q: it is a folder, not a file", name)
	}
	return nil
}

// Write implements wasm.Draft.
func (d *draft) Write(_ context.Context, part []byte) error {
	return d.did("stream.write", d.name, d.name+" "+show(part), func() (string, error) {
		d.data = append(d.data, part...)
		return "", nil
	})
}

// Commit implements wasm.Draft.
func (d *draft) Commit(context.Context) error {
	return d.did("stream.close", d.name, d.name, func() (string, error) {
		if err := d.writable(d.name); err != nil {
			return "", err
		}
		d.files[d.name] = bytes.Clone(d.data)
		return count(len(d.data), "byte", false), nil
	})
}

// Close implements wasm.Draft.
func (d *draft) Close() error { return nil }
