//go:build !wasip1

package guest

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/arw-project/arw/abi"
)

// MemoryPart is one part of the output stream, as the caller got it.
type MemoryPart struct {
	Kind abi.FrameKind // FrameBytes or FrameJSON
	Body []byte
}

// Streamed are the bytes of the output stream, without its JSON parts.
func (m *Memory) Streamed() []byte {
	var all []byte
	for _, p := range m.Parts {
		if p.Kind == abi.FrameBytes {
			all = append(all, p.Body...)
		}
	}
	return all
}

func hostStreamRead(c *Call, handle uint32, out []byte) abi.Status {
	m := c.sys.Memory
	var n int
	s := m.answer("stream.read", func() (err error) {
		if x := m.exchanges[handle]; x != nil {
			if _, err := m.respond("stream.read", handle, x); err != nil {
				return err
			}
			n, _ = x.answer.Read(out[:min(len(out), abi.MaxPart)])
			return nil
		}
		if f := m.files[handle]; f != nil && !f.draft {
			n = copy(out[:min(len(out), abi.MaxPart)], f.data)
			f.data = f.data[n:]
			return nil
		}
		switch {
		case handle != abi.HandleInput || m.inClosed:
			return abi.Errorf(abi.Invalid, "stream.read: handle %d is not open for reading", handle)
		case m.Input == nil:
			return abi.Errorf(abi.NotFound, "stream.read: the caller streams nothing in")
		}
		if n, err = m.Input.Read(out[:min(len(out), abi.MaxPart)]); n > 0 || err == io.EOF {
			return nil
		}
		return err
	})
	if s.Code() != abi.OK {
		return s
	}
	return abi.MakeStatus(abi.OK, uint32(n))
}

func (m *Memory) part(function string, handle uint32, kind abi.FrameKind, body []byte) abi.Status {
	return m.answer(function, func() error {
		if x := m.exchanges[handle]; x != nil && x.head == nil && len(body) <= abi.MaxPart {
			x.sent.Write(body)
			return nil
		}
		if f := m.files[handle]; f != nil && f.draft && len(body) <= abi.MaxPart {
			f.data = append(f.data, body...)
			return nil
		}
		switch {
		case handle != abi.HandleOutput || m.outClosed:
			return abi.Errorf(abi.Invalid, "%s: handle %d is not open for writing", function, handle)
		case m.NoOutput:
			return abi.Errorf(abi.NotFound, "%s: the caller takes no stream", function)
		case len(body) > abi.MaxPart:
			return abi.Errorf(abi.TooLarge, "%s: a part of %d bytes, at most %d are allowed", function, len(body), abi.MaxPart)
		case kind == abi.FrameJSON && !json.Valid(body):
			return abi.Errorf(abi.Invalid, "%s: doc is not JSON", function)
		}
		m.Parts = append(m.Parts, MemoryPart{kind, slices.Clone(body)})
		return nil
	})
}

func hostStreamWrite(c *Call, handle uint32, data []byte) abi.Status {
	return c.sys.part("stream.write", handle, abi.FrameBytes, data)
}

func hostStreamSend(c *Call, handle uint32, doc []byte) abi.Status {
	return c.sys.part("stream.send", handle, abi.FrameJSON, doc)
}

func hostStreamClose(c *Call, handle uint32) abi.Status {
	m := c.sys.Memory
	return m.answer("stream.close", func() error {
		if m.exchanges[handle] != nil {
			delete(m.exchanges, handle)
			return nil
		}
		if f := m.files[handle]; f != nil {
			delete(m.files, handle)
			return f.close()
		}
		closed := map[uint32]*bool{abi.HandleInput: &m.inClosed, abi.HandleOutput: &m.outClosed}[handle]
		switch {
		case closed == nil || *closed:
			return abi.Errorf(abi.Invalid, "stream.close: handle %d is not open", handle)
		case handle == abi.HandleInput && m.Input == nil, handle == abi.HandleOutput && m.NoOutput:
			return abi.Errorf(abi.NotFound, "stream.close: handle %d is not attached", handle)
		}
		*closed = true
		return nil
	})
}
