//go:build !wasip1

package guest

import (
	"encoding/binary"
	"os"

	"github.com/arw-project/arw/abi"
)

// memoryFile is a file that is open by handle: what is left to read, or what was written so far.
type memoryFile struct {
	path  string
	draft bool
	data  []byte
}

func (f *memoryFile) close() error {
	if !f.draft {
		return nil
	}
	return osError("write", f.path, os.WriteFile(f.path, f.data, 0o644))
}

// newHandle gives the next number of the call, as 4 bytes.
func (m *Memory) newHandle(f *memoryFile) []byte {
	if m.files == nil {
		m.files = map[uint32]*memoryFile{}
	}
	m.lastHandle = max(m.lastHandle, abi.HandleOutput) + 1
	m.files[m.lastHandle] = f
	return binary.LittleEndian.AppendUint32(nil, m.lastHandle)
}

// room refuses a handle too many.
func (m *Memory) room(function string) error {
	if len(m.files)+len(m.exchanges) >= abi.MaxHandles {
		return abi.Errorf(abi.Busy, "%s: %d handles are open", function, abi.MaxHandles)
	}
	return nil
}

func hostFSOpen(c *Call, path string, out []byte) abi.Status {
	return c.sys.lookup("fs.open", out, func() ([]byte, error) {
		if err := c.sys.room("fs.open"); err != nil {
			return nil, err
		}
		if err := c.sys.leased("fs.open", path); err != nil {
			return nil, err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, osError("read", path, err)
		}
		return c.sys.newHandle(&memoryFile{path: path, data: data}), nil
	})
}

func hostFSCreate(c *Call, path string, out []byte) abi.Status {
	return c.sys.lookup("fs.create", out, func() ([]byte, error) {
		if err := c.sys.room("fs.create"); err != nil {
			return nil, err
		}
		if err := c.sys.leased("fs.create", path); err != nil {
			return nil, err
		}
		return c.sys.newHandle(&memoryFile{path: path, draft: true}), nil
	})
}
