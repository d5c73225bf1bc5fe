package guest

import (
	"encoding/json"
	"io"

	"github.com/arw-project/arw/abi"
)

// FS is the folders that a person leased to the pack. Paths are absolute, as the person knows them. Needs
// [capabilities.fs] and a lease for the folder.
type FS struct{ sys system }

// FS gives the leased folders.
func (c *Call) FS() FS { return FS{c.sys} }

// chunk is how much one read asks for: large enough that the host call does not matter, small enough to be no burden.
const chunk = 64 << 10

// List gives the entries below a folder in byte order of their paths, and whether there are more behind the last.
func (f FS) List(req abi.FSList) (entries []abi.FSEntry, more bool, err error) {
	raw, err := json.Marshal(req)
	if err != nil {
		return nil, false, err
	}
	if raw, err = f.sys.fsList(raw); err != nil {
		return nil, false, err
	}
	var list struct {
		Entries []abi.FSEntry `json:"entries"`
		More    bool          `json:"more"`
	}
	err = decode(raw, &list)
	return list.Entries, list.More, err
}

// Stat describes a file or folder.
func (f FS) Stat(path string) (e abi.FSEntry, err error) {
	raw, err := f.sys.fsStat(path)
	if err != nil {
		return e, err
	}
	err = decode(raw, &e)
	return e, err
}

// ReadAt reads into buf from an offset; 0 bytes and no error is the end of the file.
func (f FS) ReadAt(path string, buf []byte, offset int64) (int, error) {
	return f.sys.fsRead(path, offset, buf)
}

// ReadFile reads a whole file into memory.
func (f FS) ReadFile(path string) ([]byte, error) {
	var out []byte
	buf := make([]byte, chunk)
	for {
		n, err := f.sys.fsRead(path, int64(len(out)), buf)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return out, nil
		}
		out = append(out, buf[:n]...)
	}
}

// Open gives a reader over a file; nothing is held open between reads.
func (f FS) Open(path string) io.Reader { return &file{f: f, path: path} }

type file struct {
	f      FS
	path   string
	offset int64
}

// Read implements io.Reader.
func (r *file) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	n, err := r.f.ReadAt(r.path, buf, r.offset)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	r.offset += int64(n)
	return n, nil
}

// Write replaces a file atomically; the lease must be for writing.
func (f FS) Write(path string, data []byte) error { return f.sys.fsWrite(path, data) }

// Remove removes a file or an empty folder; the lease must be for writing.
func (f FS) Remove(path string) error { return f.sys.fsRemove(path) }
