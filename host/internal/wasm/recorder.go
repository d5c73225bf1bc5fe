package wasm

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Recorder keeps what one call sees. Give it to Call.Record; once Program.Call has returned, Bytes is the record. It is
// for one call.
type Recorder struct {
	head  RecordHead
	limit int64
	buf   []byte
	size  int64 // of buf; above limit, when it was thrown away
	calls int
	ended bool
}

// DefaultRecordLimit bounds a record where nobody said otherwise.
const DefaultRecordLimit = 64 << 20

// NewRecorder makes a recorder; the engine fills in what it knows of the head. A limit of 0 is DefaultRecordLimit. A call
// goes on when its record grows above the limit: what it did is done, only the record is lost.
func NewRecorder(head RecordHead, limit int64) *Recorder {
	if limit <= 0 {
		limit = DefaultRecordLimit
	}
	return &Recorder{head: head, limit: limit}
}

// Bytes is the record, for the caller to keep. Errors: TooLarge when it grew above the limit; Invalid before the call ended.
func (r *Recorder) Bytes() ([]byte, error) {
	switch {
	case !r.ended:
		return nil, abi.Errorf(abi.Invalid, "record a call: it did not run")
	case r.size > r.limit:
		return nil, abi.Errorf(abi.TooLarge, "record a call: its record grew to %d bytes, the limit is %d", r.size, r.limit).
			WithHint("call it without recording, or with a smaller input; bytes that a tool reads are all kept")
	}
	return r.buf, nil
}

// Calls is how many host calls were recorded.
func (r *Recorder) Calls() int { return r.calls }

func (r *Recorder) begin(c *call, l Limits, input []byte) {
	r.head.Version, r.head.ABI, r.head.Tool, r.head.Effects, r.head.Limits = 1, abi.Version, c.tool, c.effects.String(), l
	r.head.Module = "sha256:" + hexOf(c.in.p.seed[:])
	r.add(func(to []byte) []byte { return appendHead(to, r.head, input) })
}

// add appends one part. Past the limit nothing is kept: memory must not grow with what will be thrown away.
func (r *Recorder) add(write func(to []byte) []byte) {
	if r.size > r.limit {
		return
	}
	r.buf = write(r.buf)
	if r.size = int64(len(r.buf)); r.size > r.limit {
		r.buf = nil
	}
}

func (r *Recorder) note(h HostCall) {
	r.calls++
	r.add(func(to []byte) []byte { return appendCall(to, h) })
}

func (r *Recorder) end(c *call, reply Reply, err error) {
	r.ended = true
	r.add(func(to []byte) []byte { return appendEnd(to, endOf(c, reply, err), reply.Body) })
}

// endOf says how a call ended.
func endOf(c *call, reply Reply, err error) RecordEnd {
	e := RecordEnd{
		Kind: reply.Kind, Code: abi.CodeOf(err).String(), Gas: reply.Usage.Gas, HostCalls: reply.Usage.HostCalls,
		MemoryBytes: reply.Usage.MemoryBytes, Stopped: c.stopped != nil,
	}
	if err != nil {
		e.Message = err.Error()
	}
	if a, ok := errors.AsType[*abi.Error](err); ok && a.Detail != nil {
		e.Detail, _ = json.Marshal(a.Detail) // by contract it marshals
	}
	return e
}

// question reads from the guest's memory what it asks: pairs of parameters named x and x_len are inputs, out and out_cap
// the room for the answer, the others plain numbers.
func (c *call) question(f *hostFunc, a []uint64) HostCall {
	h := HostCall{Name: string(f.Capability) + "." + f.Name, Room: -1}
	for i := 0; i < len(f.Params); i++ {
		name, next := f.Params[i], ""
		if i+1 < len(f.Params) {
			next = f.Params[i+1]
		}
		switch next {
		case name + "_len":
			b, ok := c.bytes(uint32(a[i]), uint32(a[i+1]))
			h.In = append(h.In, given(b, ok, int64(uint32(a[i+1]))))
			i++
		case name + "_cap":
			h.Room = int64(uint32(a[i+1]))
			i++
		default:
			h.Args = append(h.Args, uint64(uint32(a[i])))
		}
	}
	return h
}

// outAt is the index of the parameter out; -1 when there is none.
func outAt(f *hostFunc) int {
	for i, name := range f.Params {
		if strings.HasSuffix(name, "_cap") {
			return i - 1
		}
	}
	return -1
}

// answer completes a question with what the function did.
func (c *call) answer(h HostCall, f *hostFunc, out uint32, s abi.Status) HostCall {
	h.Code, h.Moved = s.Code(), c.moved
	switch {
	case h.Code == abi.OK && outAt(f) >= 0:
		b, _ := c.bytes(out, s.Len())
		h.Data = b
	case h.Code != abi.OK:
		h.Data = c.pending // the whole reply of more, or the message
	}
	return h
}

// taped runs a host function under a recorder or a player, if the call has one.
func (c *call) taped(f *hostFunc, a []uint64, run func() abi.Status) abi.Status {
	if f.Capability == abi.IO || c.recorder == nil && c.player == nil {
		return run() // io.take gives what is owed already
	}
	h := c.question(f, a)
	if c.player != nil {
		return c.player.hostCall(c, f, a, h)
	}
	out := uint32(0)
	if i := outAt(f); i >= 0 {
		out = uint32(a[i])
	}
	s := run()
	c.recorder.note(c.answer(h, f, out, s))
	return s
}

// The questions that WASI puts to the host on a guest's behalf. Everything else in it is the same in every run.
const (
	wasiLease  = "wasi.lease"  // whether the clock (0) or randomness (1) is the host's
	wasiClock  = "wasi.clock"  // the time of a clock
	wasiRand   = "wasi.random" // random bytes
	wasiSleep  = "wasi.sleep"  // nanoseconds
	wasiPrints = "wasi.print"  // one line of stdout (0) or stderr (1)
)

// ambientAnswer asks the world one of the questions above, or the record instead.
func (c *call) ambientAnswer(name string, arg uint64, room int, in []byte, ask func() []byte) []byte {
	if c.recorder == nil && c.player == nil {
		return ask()
	}
	h := HostCall{Name: name, Args: []uint64{arg}, Room: int64(room)}
	if in != nil {
		h.In = []Given{given(in, true, int64(len(in)))}
	}
	if c.player != nil {
		return c.player.ambient(c, h)
	}
	h.Data = ask()
	c.recorder.note(h)
	return h.Data
}

func le8(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }
