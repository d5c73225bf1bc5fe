package wasm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/arw-project/arw/abi"
)

// Record is all that one call saw of the world outside its guest, and how it ended: with it the call runs again without
// that world. docs/spec/replay.md specifies its bytes.
type Record struct {
	Head  RecordHead
	Input []byte
	Calls []HostCall
	End   RecordEnd
	Reply []byte // the body of the reply frame
}

// RecordHead says what was called.
type RecordHead struct {
	Version  int       `json:"version"` // of the format
	Pack     string    `json:"pack"`
	Release  string    `json:"pack_version"`
	Digest   string    `json:"pack_digest"`
	Module   string    `json:"module"` // "sha256:…" of the module's bytes
	ABI      string    `json:"abi"`
	Tool     string    `json:"tool"`
	Effects  string    `json:"effects"`
	Limits   Limits    `json:"limits"` // those in force
	Action   string    `json:"action,omitempty"`
	Recorded time.Time `json:"recorded"`
}

// RecordEnd says how the call ended. Code is "ok", or that of the error.
type RecordEnd struct {
	Kind        abi.FrameKind   `json:"kind"`
	Code        string          `json:"code"`
	Message     string          `json:"message,omitempty"`
	Detail      json.RawMessage `json:"detail,omitempty"`
	Gas         uint64          `json:"gas"`
	HostCalls   int             `json:"host_calls"`
	MemoryBytes int64           `json:"memory_bytes"`
	Stopped     bool            `json:"stopped,omitempty"` // from outside: the time was over or the caller went away
}

// HostCall is one question that a guest put to the world, and the answer. Pointers are no part of it: another version of
// a pack has its buffers elsewhere and may still ask the same.
type HostCall struct {
	Name  string   // "kv.get"; "wasi.clock" and the like for what WASI takes from the host
	Args  []uint64 // those that are neither pointers nor lengths of the ranges below
	In    []Given
	Room  int64 // of the out buffer; -1 when the function has none
	Code  abi.Code
	Data  []byte // the reply, or the message of a refusal
	Moved int64  // bytes that were charged for
}

// Given is what a guest passed in: the bytes where they are few, else their SHA-256.
type Given struct {
	Len     int64
	Bytes   []byte // nil unless all are here
	Sum     [32]byte
	Outside bool // the range did not lie in memory
}

// keepGiven is the longest input that is kept as it is. What a guest gives out needs only to be compared.
const keepGiven = 1 << 10

func given(b []byte, inside bool, n int64) Given {
	g := Given{Len: n, Outside: !inside}
	switch {
	case !inside:
	case n <= keepGiven:
		g.Bytes = append(make([]byte, 0, len(b)), b...)
	default:
		g.Sum = sha256.Sum256(b)
	}
	return g
}

// String is the input as a person may see it.
func (g Given) String() string {
	switch {
	case g.Outside:
		return fmt.Sprintf("%d bytes outside memory", g.Len)
	case g.Bytes == nil:
		return fmt.Sprintf("%d bytes sha256:%s", g.Len, hex.EncodeToString(g.Sum[:6]))
	}
	return fmt.Sprintf("%q", clean(string(g.Bytes), 200))
}

// Question is the call without its answer, in words.
func (h HostCall) Question() string {
	text := h.Name
	for _, a := range h.Args {
		text += fmt.Sprintf(" %d", a)
	}
	for _, g := range h.In {
		text += " " + g.String()
	}
	return text
}

// key tells questions apart.
func (h HostCall) key() string {
	b := []byte(h.Name)
	for _, a := range h.Args {
		b = binary.AppendUvarint(append(b, 0), a)
	}
	for _, g := range h.In {
		b = appendGiven(b, g)
	}
	return string(b)
}

// recordMagic begins every record.
const recordMagic = "arw-record-1\n"

const (
	tagCall = 1
	tagEnd  = 2
)

const (
	givenBytes   = 0
	givenSum     = 1
	givenOutside = 2
)

func appendGiven(b []byte, g Given) []byte {
	switch {
	case g.Outside:
		return binary.AppendUvarint(append(b, givenOutside), uint64(g.Len))
	case g.Bytes == nil && g.Len > 0:
		return append(binary.AppendUvarint(append(b, givenSum), uint64(g.Len)), g.Sum[:]...)
	}
	return appendBytes(append(b, givenBytes), g.Bytes)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

func appendCall(b []byte, h HostCall) []byte {
	b = appendBytes(append(b, tagCall), []byte(h.Name))
	b = append(b, byte(len(h.Args)))
	for _, a := range h.Args {
		b = binary.AppendUvarint(b, a)
	}
	b = append(b, byte(len(h.In)))
	for _, g := range h.In {
		b = appendGiven(b, g)
	}
	b = binary.AppendUvarint(b, uint64(h.Room+1))
	b = binary.AppendUvarint(b, uint64(h.Code))
	b = binary.AppendUvarint(b, uint64(h.Moved))
	return appendBytes(b, h.Data)
}

func appendHead(b []byte, head RecordHead, input []byte) []byte {
	raw, _ := json.Marshal(head) // strings, numbers and a time
	return appendBytes(appendBytes(append(b, recordMagic...), raw), input)
}

func appendEnd(b []byte, end RecordEnd, reply []byte) []byte {
	raw, _ := json.Marshal(end) // the detail was checked to be JSON
	return appendBytes(appendBytes(append(b, tagEnd), raw), reply)
}

// Bytes is the record as it is stored.
func (r *Record) Bytes() []byte {
	b := appendHead(nil, r.Head, r.Input)
	for _, h := range r.Calls {
		b = appendCall(b, h)
	}
	return appendEnd(b, r.End, r.Reply)
}

// ParseRecord reads a record; Corrupt when it is none, cut short or has something behind its end. The record shares raw's
// memory.
func ParseRecord(raw []byte) (*Record, error) {
	r := &Record{}
	c := cursor{left: raw}
	if !bytes.HasPrefix(raw, []byte(recordMagic)) {
		return nil, abi.Errorf(abi.Corrupt, "read a record: it does not begin with %q", recordMagic)
	}
	c.left = raw[len(recordMagic):]
	c.json("head", &r.Head)
	r.Input = c.bytes()
	if c.err == nil && r.Head.Version != 1 {
		return nil, abi.Errorf(abi.Unsupported, "read a record: format version %d, this host reads 1", r.Head.Version)
	}
	for c.err == nil {
		switch tag := c.byte(); {
		case c.err != nil:
		case tag == tagCall:
			r.Calls = append(r.Calls, c.call())
		case tag == tagEnd:
			c.json("end", &r.End)
			r.Reply = c.bytes()
			if c.err == nil && len(c.left) > 0 {
				c.fail("%d bytes follow its end", len(c.left))
			}
			if c.err == nil {
				return r, nil
			}
		default:
			c.fail("a part begins with %d", tag)
		}
	}
	return nil, abi.Errorf(abi.Corrupt, "read a record: at byte %d of %d: %w", len(raw)-len(c.left), len(raw), c.err)
}

// cursor reads the parts; the first error stays.
type cursor struct {
	left []byte
	err  error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *cursor) take(n uint64) []byte {
	if c.err == nil && n > uint64(len(c.left)) {
		c.fail("%d bytes are announced, %d follow", n, len(c.left))
	}
	if c.err != nil {
		return nil
	}
	b := c.left[:n:n]
	c.left = c.left[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.left)
	if c.err == nil && n <= 0 {
		c.fail("a number is cut short or too large")
	}
	if c.err == nil && n > 1 && v>>(7*(n-1)) == 0 {
		c.fail("a number is longer than it need be") // one record, one spelling
	}
	if c.err != nil {
		return 0
	}
	c.left = c.left[n:]
	return v
}

// size is a number that must fit the lengths of this format.
func (c *cursor) size() int64 {
	v := c.uint()
	if v > 1<<40 {
		c.fail("a length of %d", v)
		return 0
	}
	return int64(v)
}

func (c *cursor) bytes() []byte { return c.take(c.uint()) }

func (c *cursor) json(what string, into any) {
	raw := c.bytes()
	if c.err != nil {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		c.fail("its %s: %w", what, err)
		return
	}
	if again, err := json.Marshal(into); err != nil || !bytes.Equal(again, raw) {
		c.fail("its %s is not written as this format writes it", what)
	}
}

func (c *cursor) call() (h HostCall) {
	h.Name = string(c.bytes())
	for range c.byte() {
		h.Args = append(h.Args, c.uint())
	}
	for range c.byte() {
		h.In = append(h.In, c.given())
	}
	h.Room = c.size() - 1
	h.Code = abi.Code(c.size())
	h.Moved = c.size()
	h.Data = c.bytes()
	if c.err == nil && int(h.Code) >= len(abi.Codes) {
		c.fail("code %d is not of ABI %s", h.Code, abi.Version)
	}
	return h
}

func (c *cursor) given() (g Given) {
	switch tag := c.byte(); tag {
	case givenBytes:
		g.Bytes = c.bytes()
		g.Len = int64(len(g.Bytes))
		if g.Len > keepGiven {
			c.fail("%d bytes of an input are kept, at most %d are", g.Len, keepGiven)
		}
	case givenSum:
		g.Len = c.size()
		copy(g.Sum[:], c.take(32))
		if g.Len <= keepGiven {
			c.fail("an input of %d bytes is kept as a digest", g.Len)
		}
	case givenOutside:
		g.Len, g.Outside = c.size(), true
	default:
		c.fail("an input of kind %d", tag)
	}
	return g
}
