//go:build !wasip1

package guest

import (
	"bytes"
	"encoding/binary"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// MemoryRequest is one request that a tool sent.
type MemoryRequest struct {
	abi.HTTPRequest
	Body []byte
}

// memoryExchange is one request under way.
type memoryExchange struct {
	req    abi.HTTPRequest
	sent   bytes.Buffer
	head   *abi.HTTPResponse
	answer *bytes.Reader
	result *abi.InferResult // of a model's answer
}

func (m *Memory) exchange(function string, handle uint32) (*memoryExchange, error) {
	x := m.exchanges[handle]
	if x == nil {
		return nil, abi.Errorf(abi.Invalid, "%s: this call has no handle %d", function, handle)
	}
	return x, nil
}

// begin reads a request and gives it a handle.
func (m *Memory) begin(function string, raw []byte) (uint32, *memoryExchange, error) {
	x := &memoryExchange{}
	if err := codec.DecodeAny(raw, &x.req); err != nil {
		return 0, nil, abi.Errorf(abi.Invalid, "%s: req: %w", function, err)
	}
	if m.exchanges == nil {
		m.exchanges = map[uint32]*memoryExchange{}
	}
	if len(m.exchanges) >= abi.MaxHandles {
		return 0, nil, abi.Errorf(abi.Busy, "%s: %d handles are open; close one with stream.close", function, abi.MaxHandles)
	}
	m.lastHandle = max(m.lastHandle, abi.HandleOutput) + 1
	m.exchanges[m.lastHandle] = x
	return m.lastHandle, x, nil
}

// respond asks Fetch for the answer, once.
func (m *Memory) respond(function string, handle uint32, x *memoryExchange) ([]byte, error) {
	if x.head == nil {
		if m.Fetch == nil {
			return nil, abi.Errorf(abi.Denied, "%s: this test has no network; set Memory.Fetch", function)
		}
		sent := MemoryRequest{x.req, bytes.Clone(x.sent.Bytes())}
		m.Requests = append(m.Requests, sent)
		head, body, err := m.Fetch(sent)
		if err != nil {
			return nil, err
		}
		if head.Headers == nil {
			head.Headers = [][2]string{}
		}
		x.head, x.answer = &head, bytes.NewReader(body)
	}
	x.head.Handle = handle
	return codec.AppendAny(nil, *x.head)
}

func hostHTTPFetch(c *Call, req, body, out []byte) abi.Status {
	m := c.sys.Memory
	return m.lookup("http.fetch", out, func() ([]byte, error) {
		handle, x, err := m.begin("http.fetch", req)
		if err != nil {
			return nil, err
		}
		x.sent.Write(body)
		reply, err := m.respond("http.fetch", handle, x)
		if err != nil {
			delete(m.exchanges, handle)
		}
		return reply, err
	})
}

func hostHTTPOpen(c *Call, req, out []byte) abi.Status {
	m := c.sys.Memory
	return m.lookup("http.open", out, func() ([]byte, error) {
		handle, _, err := m.begin("http.open", req)
		return binary.LittleEndian.AppendUint32(nil, handle), err
	})
}

func hostHTTPResponse(c *Call, handle uint32, out []byte) abi.Status {
	m := c.sys.Memory
	return m.lookup("http.response", out, func() ([]byte, error) {
		x, err := m.exchange("http.response", handle)
		if err != nil {
			return nil, err
		}
		return m.respond("http.response", handle, x)
	})
}

func hostHTTPConnect(c *Call, _, out []byte) abi.Status {
	return c.sys.lookup("http.connect", out, func() ([]byte, error) {
		return nil, abi.Errorf(abi.Unsupported, "http.connect: a host in memory has no WebSockets; hand the tool's code an interface of your own")
	})
}

func hostHTTPSend(c *Call, handle, _ uint32, _ []byte) abi.Status {
	return c.sys.answer("http.send", func() error {
		return abi.Errorf(abi.Invalid, "http.send: this call has no handle %d", handle)
	})
}

func hostHTTPReceive(c *Call, handle uint32, out []byte) abi.Status {
	return c.sys.lookup("http.receive", out, func() ([]byte, error) {
		return nil, abi.Errorf(abi.Invalid, "http.receive: this call has no handle %d", handle)
	})
}
