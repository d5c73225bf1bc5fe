//go:build !wasip1

package guest

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Memory is a host for tests of a pack's own code: what a call stores is kept in maps, and everything it did can be
// looked at. The zero value works; set Deny to see how a tool takes a refusal. It is not for concurrent use.
type Memory struct {
	Keys    map[string][]byte
	States  map[string]json.RawMessage
	Events  []MemoryEvent
	Lines   []string // what was logged
	Folders []string // leased for reading and writing
	Clock   time.Time
	// Deny, when set, is asked before every host function ("kv.put") and may refuse it with an error.
	Deny func(function string) error
	// Tools answer calls of other tools.
	Tools map[string]func(in []byte) ([]byte, error)
	// Secrets are the values behind names: a MAC's key as it is, an ed25519 key's seed as the digest of the bytes.
	Secrets map[string][]byte
	// Config are the documents of the configuration, by name.
	Config map[string]json.RawMessage
	// Unpack stands for the host's unpacking; nil refuses.
	Unpack func(abi.ArchiveUnpack) (abi.ArchiveUnpacked, error)
	// Input is what the caller streams in; nil: nothing. NoOutput is a caller that takes no stream.
	Input    io.Reader
	NoOutput bool
	Parts    []MemoryPart // what was streamed out
	// Fetch answers requests over the network; nil: there is none. Requests are those that were sent.
	Fetch    func(req MemoryRequest) (head abi.HTTPResponse, body []byte, err error)
	Requests []MemoryRequest
	// Models answer Infer.
	Models MemoryModels
	// Calls counts the host functions that were used, by name.
	Calls map[string]int

	pending             []byte // a reply or message that take collects
	inClosed, outClosed bool
	exchanges           map[uint32]*memoryExchange
	files               map[uint32]*memoryFile
	lastHandle          uint32
}

// MemoryEvent is one event that was emitted.
type MemoryEvent struct {
	Kind string
	Body json.RawMessage
}

// reused gives new variables each time: tests may run calls at once.
func reused[T any]() func() *T { return func() *T { return new(T) } }

// keep copies what a value of the call may share.
func keep(raw []byte) []byte { return slices.Clone(raw) }

// system is the host of a call.
type system struct{ *Memory }

// Call gives a call against this host, for calling a tool's function directly.
func (m *Memory) Call() *Call {
	m.inClosed, m.outClosed, m.exchanges, m.files, m.lastHandle = false, false, nil, nil, 0 // handles belong to their call
	return &Call{tool: "test", sys: system{m}}
}

// Run calls a registered tool as the host would, frames and all. Output is nil when the tool failed.
func (m *Memory) Run(tool string, in []byte) (out []byte, err error) {
	_, out, err = abi.ParseFrame(serve(m.Call(), tool, in, nil))
	return out, err
}

// Ask is Run for a tool of JSON: it writes the input and reads the output.
func Ask[Out any](m *Memory, tool string, in any) (out Out, err error) {
	raw, err := codec.AppendAny(nil, in)
	if err != nil {
		return out, err
	}
	if raw, err = m.Run(tool, raw); err != nil {
		return out, err
	}
	return out, codec.DecodeAny(raw, &out)
}

// use counts a host function and asks Deny.
func (m *Memory) use(function string) error {
	if m.Calls == nil {
		m.Calls = map[string]int{}
	}
	m.Calls[function]++
	if m.Deny == nil {
		return nil
	}
	return m.Deny(function)
}

// reply gives data the way the ABI does: into out, or kept for take when it does not fit; an error leaves its message.
func (m *Memory) reply(out, data []byte, err error) abi.Status {
	m.pending = nil
	if err != nil {
		m.pending = []byte(err.Error())
		return abi.MakeStatus(abi.CodeOf(err), uint32(len(m.pending)))
	}
	if len(data) > len(out) {
		m.pending = data
		return abi.MakeStatus(abi.More, uint32(len(data)))
	}
	return abi.MakeStatus(abi.OK, uint32(copy(out, data)))
}

// answer runs a host function without a reply.
func (m *Memory) answer(function string, run func() error) abi.Status {
	err := m.use(function)
	if err == nil && run != nil {
		err = run()
	}
	return m.reply(nil, nil, err)
}

// lookup runs a host function with a reply.
func (m *Memory) lookup(function string, out []byte, run func() ([]byte, error)) abi.Status {
	err := m.use(function)
	var data []byte
	if err == nil {
		data, err = run()
	}
	return m.reply(out, data, err)
}

func hostTake(c *Call, out []byte) abi.Status {
	m := c.sys
	switch {
	case m.pending == nil:
		return abi.MakeStatus(abi.NotFound, 0)
	case len(out) < len(m.pending):
		return abi.MakeStatus(abi.More, uint32(len(m.pending)))
	}
	n := copy(out, m.pending)
	m.pending = nil
	return abi.MakeStatus(abi.OK, uint32(n))
}

func hostLog(c *Call, _ uint32, msg string) abi.Status {
	return c.sys.answer("log.write", func() error {
		c.sys.Lines = append(c.sys.Lines, strings.Clone(msg))
		return nil
	})
}

func hostKVGet(c *Call, key string, out []byte) abi.Status {
	return c.sys.lookup("kv.get", out, func() ([]byte, error) {
		val, ok := c.sys.Keys[key]
		if !ok {
			return nil, abi.Errorf(abi.NotFound, "read key %q: there is none", key)
		}
		return val, nil
	})
}

func (m *Memory) put(key, val []byte) {
	if m.Keys == nil {
		m.Keys = map[string][]byte{}
	}
	m.Keys[string(key)] = slices.Clone(val)
}

func hostKVPut(c *Call, key string, val []byte) abi.Status {
	return c.sys.answer("kv.put", func() error {
		c.sys.put([]byte(key), val)
		return nil
	})
}

func hostKVDelete(c *Call, key string) abi.Status {
	return c.sys.answer("kv.delete", func() error {
		delete(c.sys.Keys, key)
		return nil
	})
}

func hostKVList(c *Call, raw, out []byte) abi.Status {
	return c.sys.lookup("kv.list", out, func() ([]byte, error) {
		var req kvListRequest
		if err := json.Unmarshal(raw, &req); err != nil {
			return nil, abi.Errorf(abi.Invalid, "list keys: %w", err)
		}
		reply := kvListReply{Keys: []Key{}}
		for _, k := range slices.Sorted(maps.Keys(c.sys.Keys)) {
			if strings.HasPrefix(k, req.Prefix) && k > req.After {
				reply.Keys = append(reply.Keys, Key{k, len(c.sys.Keys[k])})
			}
		}
		reply.Keys, reply.More = page(reply.Keys, req.Limit)
		return json.Marshal(reply)
	})
}

// page cuts a list to its limit.
func page[T any](all []T, limit int) ([]T, bool) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	return all[:min(limit, len(all))], len(all) > limit
}

func hostKVBatch(c *Call, ops []byte) abi.Status {
	return c.sys.answer("kv.batch", func() error {
		text := func() []byte {
			n := 4 + binary.LittleEndian.Uint32(ops)
			part := ops[4:n]
			ops = ops[n:]
			return part
		}
		for len(ops) > 0 {
			kind := ops[0]
			ops = ops[1:]
			if key := text(); kind == 2 {
				delete(c.sys.Keys, string(key))
			} else {
				c.sys.put(key, text())
			}
		}
		return nil
	})
}

func hostEmit(c *Call, kind string, body []byte) abi.Status {
	return c.sys.answer("event.emit", func() error {
		c.sys.Events = append(c.sys.Events, MemoryEvent{strings.Clone(kind), slices.Clone(body)})
		return nil
	})
}

func hostStateGet(c *Call, id string, out []byte) abi.Status {
	return c.sys.lookup("state.get", out, func() ([]byte, error) {
		doc, ok := c.sys.States[id]
		if !ok {
			return nil, abi.Errorf(abi.NotFound, "read state %q: it was never written", id)
		}
		return doc, nil
	})
}

func hostConfig(c *Call, name string, out []byte) abi.Status {
	return c.sys.lookup("config.get", out, func() ([]byte, error) {
		doc, ok := c.sys.Config[name]
		if !ok {
			return nil, abi.Errorf(abi.NotFound, "find document %q: there is none of that name", name)
		}
		return doc, nil
	})
}

func hostStatePut(c *Call, id string, doc []byte) abi.Status {
	return c.sys.answer("state.put", func() error {
		if c.sys.States == nil {
			c.sys.States = map[string]json.RawMessage{}
		}
		c.sys.States[strings.Clone(id)] = slices.Clone(doc)
		return nil
	})
}

func (m *Memory) time() []byte {
	at := m.Clock
	if at.IsZero() {
		at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(at.UnixNano()))
}

func hostNow(c *Call, out []byte) abi.Status {
	return c.sys.lookup("clock.now", out, func() ([]byte, error) { return c.sys.time(), nil })
}

func hostMonotonic(c *Call, out []byte) abi.Status {
	return c.sys.lookup("clock.monotonic", out, func() ([]byte, error) { return c.sys.time(), nil })
}

func hostRandom(c *Call, out []byte) abi.Status {
	return c.sys.answer("rand.bytes", func() error {
		_, err := rand.Read(out)
		return err
	})
}

func hostAction(c *Call, tool string, in, out []byte) abi.Status {
	return c.sys.lookup("action.call", out, func() ([]byte, error) {
		run, ok := c.sys.Tools[tool]
		if !ok {
			return nil, abi.Errorf(abi.NotFound, "call tool %q: there is none", tool)
		}
		body, err := run(in)
		if err != nil {
			return appendError(nil, err), nil
		}
		return abi.AppendFrame(nil, abi.FrameJSON, body), nil
	})
}
