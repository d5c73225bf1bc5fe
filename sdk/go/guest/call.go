package guest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Call is one call of a tool: the way to everything outside the guest. It is valid until the tool returns.
type Call struct {
	tool    string
	scratch [scratchSize]byte // where replies go that are usually small
	held    int               // writes that wait for a person
	sys     system            // a Memory natively; under wasip1 the host is one import away
}

// scratchSize is above most replies, and two pages or less for the host to set back.
const scratchSize = 4 << 10

// Name is the id of the tool that was called.
func (c *Call) Name() string { return c.tool }

// Now is the host's wall clock. Needs [capabilities.clock], as do time.Now and timers, whose clock is a fixed one without
// it.
func (c *Call) Now() (time.Time, error) {
	ns, err := c.clock(hostNow(c, c.scratch[:8]))
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, ns).UTC(), nil
}

// Elapsed is a clock that never steps back; only differences mean something. Needs [capabilities.clock].
func (c *Call) Elapsed() (time.Duration, error) {
	ns, err := c.clock(hostMonotonic(c, c.scratch[:8]))
	return time.Duration(ns), err
}

func (c *Call) clock(s abi.Status) (int64, error) {
	if err := c.check(s); err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint64(c.scratch[:8])), nil
}

// Random fills buf from the host's cryptographic source. Needs [capabilities.rand].
func (c *Call) Random(buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	return c.check(hostRandom(c, buf))
}

// check turns the status of a host function without a reply into an error.
func (c *Call) check(s abi.Status) error {
	if s.Code() == abi.OK {
		return nil
	}
	return c.failure(s)
}

// stored is check for a write that may be kept back until a person agrees.
func (c *Call) stored(s abi.Status) error {
	if s.Code() == abi.OK {
		c.held += int(s.Len())
	}
	return c.check(s)
}

// Held is how many writes of keys and read models of this call so far are kept back until a person agrees. They are no errors: a
// tool may say that they wait.
func (c *Call) Held() int { return c.held }

// failure collects the message that goes with a status.
func (c *Call) failure(s abi.Status) error {
	if s.Code() == abi.More || int(s.Code()) >= len(abi.Codes) {
		return abi.Errorf(abi.Internal, "the host answered with status %d, which fits nothing that was asked", uint32(s.Code()))
	}
	msg := s.Code().Info().Doc
	if n := s.Len(); n > 0 {
		buf := make([]byte, n)
		if t := hostTake(c, buf); t.Code() == abi.OK {
			msg = string(buf[:min(t.Len(), n)])
		}
	}
	return &abi.Error{Code: s.Code(), Msg: msg}
}

// fetch returns the reply that a host function wrote to scratch, or the larger one that waits. It belongs to the caller.
func (c *Call) fetch(s abi.Status) ([]byte, error) {
	switch s.Code() {
	case abi.OK:
		return bytes.Clone(c.scratch[:min(s.Len(), scratchSize)]), nil
	case abi.More:
		reply := make([]byte, s.Len())
		t := hostTake(c, reply)
		if t.Code() != abi.OK || t.Len() > s.Len() {
			return nil, abi.Errorf(abi.Internal, "the host announced %d bytes and then did not give them", s.Len())
		}
		return reply[:t.Len()], nil
	}
	return nil, c.failure(s)
}

// fetchJSON reads a reply of the host's own making into a value.
func fetchJSON[T any](c *Call, s abi.Status, as *codec.Codec[T]) (v T, err error) {
	reply, err := c.fetch(s)
	if err != nil {
		return v, err
	}
	if err = as.Decode(reply, &v); err != nil {
		return v, abi.Errorf(abi.Internal, "read the host's answer: %w", err)
	}
	return v, nil
}

// appendError writes err as an error frame. A hint follows the message, because a frame has no place of its own for it.
func appendError(dst []byte, err error) []byte {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return abi.AppendErrorFrame(dst, abi.ToolFailed, err.Error(), nil)
	}
	code, msg := e.Code, err.Error()
	if code == abi.OK || code == abi.More || int(code) >= len(abi.Codes) {
		code = abi.ToolFailed
	}
	if e.Hint != "" {
		msg += ": " + e.Hint
	}
	var detail json.RawMessage
	if e.Detail != nil {
		raw, err := codec.AppendAny(nil, e.Detail)
		if err != nil {
			msg += " (its detail is lost: " + err.Error() + ")"
		} else {
			detail = raw
		}
	}
	return abi.AppendErrorFrame(dst, code, msg, detail)
}
