package wasm

import (
	"fmt"
	"math"
	"path"
	"strings"

	"github.com/arw-project/arw/abi"
)

// maxRead is the most that one fs.read gives, however large the guest's buffer is.
const maxRead = 1 << 20

type fsListReply struct {
	Entries []abi.FSEntry `json:"entries"`
	More    bool          `json:"more"`
}

// cleanPath makes a guest's path canonical, so that gate and folder see the same one.
func cleanPath(p string) (string, error) {
	if !strings.HasPrefix(p, "/") || strings.IndexByte(p, 0) >= 0 {
		return "", fmt.Errorf("path %q is not absolute", clean(p, 256))
	}
	return path.Clean(p), nil
}

// path reads a path argument and asks the gate for it in the given mode.
func (c *call) path(a []uint64, mode string, n int) (scope, name string, s abi.Status, ok bool) {
	raw, text := c.text(a, 0)
	if !text {
		return "", "", c.badText("path"), false
	}
	name, err := cleanPath(raw)
	if err != nil {
		return "", "", c.fail(abi.Invalid, c.inside+": "+err.Error()), false
	}
	if scope, err = c.use(abi.FS, mode+":"+name, n); err != nil {
		return "", "", c.refuse(err), false
	}
	return scope, name, statusOK, true
}

func fsList(c *call, a []uint64) abi.Status {
	var req abi.FSList
	if s, ok := c.request(a, &req); !ok {
		return s
	}
	var err error
	if req.Path, err = cleanPath(req.Path); err != nil {
		return c.fail(abi.Invalid, "fs.list: "+err.Error())
	}
	limit, ok := pageLimit(req.Limit)
	if !ok {
		return c.fail(abi.Invalid, fmt.Sprintf("fs.list: limit %d is not 0 to %d", req.Limit, listLimit))
	}
	req.Limit = limit
	scope, err := c.use(abi.FS, "read:"+req.Path, 0)
	if err != nil {
		return c.refuse(err)
	}
	entries, more, err := c.host.FS.List(c, scope, req)
	if err != nil {
		return c.refuse(err)
	}
	if entries == nil {
		entries = []abi.FSEntry{}
	}
	return c.replyJSON(a, 2, fsListReply{entries, more})
}

func fsStat(c *call, a []uint64) abi.Status {
	if _, fits := c.room(a, 2); !fits {
		return c.outside("out")
	}
	scope, name, s, ok := c.path(a, "read", 0)
	if !ok {
		return s
	}
	entry, err := c.host.FS.Stat(c, scope, name)
	if err != nil {
		return c.refuse(err)
	}
	return c.replyJSON(a, 2, entry)
}

func fsRead(c *call, a []uint64) abi.Status {
	out, fits := c.room(a, 4)
	if !fits {
		return c.outside("out")
	}
	off := uint64(uint32(a[3]))<<32 | uint64(uint32(a[2]))
	if off > math.MaxInt64 {
		return c.fail(abi.Invalid, fmt.Sprintf("fs.read: offset %d is too large", off))
	}
	scope, name, s, ok := c.path(a, "read", min(len(out), maxRead))
	if !ok {
		return s
	}
	buf := make([]byte, min(len(out), maxRead))
	n, err := c.host.FS.Read(c, scope, name, int64(off), buf)
	if err != nil {
		return c.refuse(err)
	}
	if n < 0 || n > len(buf) {
		return c.refuse(fmt.Errorf("read %d bytes into %d", n, len(buf)))
	}
	copy(out, buf[:n])
	c.pending = nil
	c.moved += int64(n)
	return abi.MakeStatus(abi.OK, uint32(n))
}

func fsWrite(c *call, a []uint64) abi.Status {
	data, fits := c.arg(a, 2)
	if !fits {
		return c.outside("data")
	}
	scope, name, s, ok := c.path(a, "write", len(data))
	if !ok {
		return s
	}
	if err := c.host.FS.Write(c, scope, name, data); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func fsOpen(c *call, a []uint64) abi.Status {
	return c.openFile(a, "read", func(scope, name string) (*opened, error) {
		f, err := c.host.FS.OpenFile(c, scope, name)
		return &opened{file: f, path: name}, err
	})
}

func fsCreate(c *call, a []uint64) abi.Status {
	return c.openFile(a, "write", func(scope, name string) (*opened, error) {
		d, err := c.host.FS.CreateFile(c, scope, name)
		return &opened{draft: d, path: name}, err
	})
}

// openFile gives a handle for a path that is leased in the given mode.
func (c *call) openFile(a []uint64, mode string, open func(scope, name string) (*opened, error)) abi.Status {
	if _, fits := c.room(a, 2); !fits {
		return c.outside("out")
	}
	if s, full := c.crowdedHandles(); full {
		return s
	}
	scope, name, s, ok := c.path(a, mode, 0)
	if !ok {
		return s
	}
	o, err := open(scope, name)
	if err != nil {
		return c.refuse(err)
	}
	return c.handleReply(a, 2, o)
}

func fsRemove(c *call, a []uint64) abi.Status {
	scope, name, s, ok := c.path(a, "write", 0)
	if !ok {
		return s
	}
	if err := c.host.FS.Remove(c, scope, name); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}
