//go:build !wasip1

package guest

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/arw-project/arw/abi"
)

// leased refuses a path outside of Folders. It goes by the words of the path: links are the real host's business.
func (m *Memory) leased(function, path string) error {
	for _, f := range m.Folders {
		if rel, err := filepath.Rel(f, path); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return abi.Errorf(abi.Denied, "%s %q: no leased folder holds it", function, path)
}

func entry(path string, info fs.FileInfo) abi.FSEntry {
	mode := "other"
	switch {
	case info.IsDir():
		mode = "dir"
	case info.Mode().IsRegular():
		mode = "file"
	case info.Mode()&fs.ModeSymlink != 0:
		mode = "symlink"
	}
	return abi.FSEntry{Path: path, Size: info.Size(), Mode: mode, MTimeMS: info.ModTime().UnixMilli()}
}

func osError(what, path string, err error) error {
	code := abi.Invalid
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		code = abi.NotFound
	}
	return abi.Errorf(code, "%s %q: %w", what, path, err)
}

func hostFSList(c *Call, raw, out []byte) abi.Status {
	return c.sys.lookup("fs.list", out, func() ([]byte, error) {
		var req abi.FSList
		if err := json.Unmarshal(raw, &req); err != nil {
			return nil, abi.Errorf(abi.Invalid, "list folder: %w", err)
		}
		if err := c.sys.leased("fs.list", req.Path); err != nil {
			return nil, err
		}
		reply := fsListReply{Entries: []abi.FSEntry{}}
		all, err := list(req)
		if err != nil {
			return nil, osError("list", req.Path, err)
		}
		reply.Entries, reply.More = page(all, req.Limit)
		return json.Marshal(reply)
	})
}

func list(req abi.FSList) (entries []abi.FSEntry, err error) {
	err = filepath.WalkDir(req.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != req.Path && path > req.After {
			info, err := d.Info()
			if err != nil {
				return err
			}
			entries = append(entries, entry(path, info))
		}
		if d.IsDir() && path != req.Path && !req.Recursive {
			return fs.SkipDir
		}
		return nil
	})
	slices.SortFunc(entries, func(a, b abi.FSEntry) int { return cmp.Compare(a.Path, b.Path) })
	return entries, err
}

func hostFSStat(c *Call, path string, out []byte) abi.Status {
	return c.sys.lookup("fs.stat", out, func() ([]byte, error) {
		if err := c.sys.leased("fs.stat", path); err != nil {
			return nil, err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return nil, osError("stat", path, err)
		}
		return json.Marshal(entry(path, info))
	})
}

func hostFSRead(c *Call, path string, offset int64, out []byte) abi.Status {
	n := 0
	s := c.sys.answer("fs.read", func() error {
		if err := c.sys.leased("fs.read", path); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return osError("read", path, err)
		}
		defer f.Close()
		if n, err = f.ReadAt(out, offset); err == io.EOF {
			err = nil
		}
		return osError("read", path, err)
	})
	if s.Code() != abi.OK {
		return s
	}
	return abi.MakeStatus(abi.OK, uint32(n))
}

func hostFSWrite(c *Call, path string, data []byte) abi.Status {
	return c.sys.answer("fs.write", func() error {
		if err := c.sys.leased("fs.write", path); err != nil {
			return err
		}
		return osError("write", path, os.WriteFile(path, data, 0o644))
	})
}

func hostFSRemove(c *Call, path string) abi.Status {
	return c.sys.answer("fs.remove", func() error {
		if err := c.sys.leased("fs.remove", path); err != nil {
			return err
		}
		return osError("remove", path, os.Remove(path))
	})
}
