package guest

import (
	"io"
	"iter"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// FS is the folders that a person leased to the pack. Paths are absolute, as the person knows them. Needs
// [capabilities.fs] and a lease for the folder.
type FS struct{ c *Call }

// FS gives the leased folders.
func (c *Call) FS() FS { return FS{c} }

type fsListReply struct {
	Entries []abi.FSEntry `json:"entries"`
	More    bool          `json:"more"`
}

var (
	fsListJSON      = codec.For[abi.FSList]()
	fsListReplyJSON = codec.For[fsListReply]()
	fsEntryJSON     = codec.For[abi.FSEntry]()
)

// List gives the entries below a folder in byte order of their paths, and whether there are more behind the last. Links
// are listed and not entered.
func (f FS) List(req abi.FSList) (entries []abi.FSEntry, more bool, err error) {
	raw, err := fsListJSON.Append(nil, &req)
	if err != nil {
		return nil, false, err
	}
	reply, err := fetchJSON(f.c, hostFSList(f.c, raw, f.c.scratch[:]), fsListReplyJSON)
	return reply.Entries, reply.More, err
}

// Walk gives every file and folder below dir that stands behind after ("" for all), at any depth, in byte order of the
// paths, a thousand per host call. It ends at the first error.
func (f FS) Walk(dir, after string) iter.Seq2[abi.FSEntry, error] {
	return func(yield func(abi.FSEntry, error) bool) {
		for more := true; more; {
			entries, rest, err := f.List(abi.FSList{Path: dir, Recursive: true, After: after})
			if err != nil {
				yield(abi.FSEntry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
				after = e.Path
			}
			more = rest && len(entries) > 0
		}
	}
}

// Stat describes a file or folder; not_found when there is none.
func (f FS) Stat(path string) (abi.FSEntry, error) {
	return fetchJSON(f.c, hostFSStat(f.c, path, f.c.scratch[:]), fsEntryJSON)
}

// ReadAt reads into buf from an offset, perhaps less than fits; 0 bytes and no error is the end of the file.
func (f FS) ReadAt(path string, buf []byte, offset int64) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	s := hostFSRead(f.c, path, offset, buf)
	if err := f.c.check(s); err != nil {
		return 0, err
	}
	return int(min(s.Len(), uint32(len(buf)))), nil
}

// firstRead is what ReadFile asks for at first: most files are smaller, and the end is then seen with one call more.
const firstRead = 16 << 10

// ReadFile reads a whole file into memory, which must have room for it: ask Stat first where that is not sure.
func (f FS) ReadFile(path string) ([]byte, error) {
	out := make([]byte, 0, firstRead)
	for {
		n, err := f.ReadAt(path, out[len(out):cap(out)], int64(len(out)))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return out, nil
		}
		if out = out[:len(out)+n]; len(out) == cap(out) {
			out = slices.Grow(out, len(out))
		}
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
func (f FS) Write(path string, data []byte) error { return f.c.check(hostFSWrite(f.c, path, data)) }

// Remove removes a file or an empty folder; the lease must be for writing.
func (f FS) Remove(path string) error { return f.c.check(hostFSRemove(f.c, path)) }
