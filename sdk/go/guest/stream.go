package guest

import (
	"encoding/json"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Chunk is how much of a stream a guest should move at once: below it the crossing costs more than the bytes, above it
// only memory is lost.
const Chunk = 64 << 10

// Input is what the caller streams in while the call runs, whatever its size: an io.Reader that waits for bytes and ends
// with io.EOF. Its first Read is not_found when the caller streams nothing in. It needs no capability; the manifest says
// streams = ["input"] for the tool.
func (c *Call) Input() *Input { return &Input{c} }

// Input is a call's input stream. It is valid until the tool returns.
type Input struct{ c *Call }

// Read implements io.Reader; at most 1 MiB come at once.
func (s *Input) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	st := hostStreamRead(s.c, abi.HandleInput, buf)
	if err := s.c.check(st); err != nil {
		return 0, err
	}
	n := int(min(st.Len(), uint32(len(buf))))
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close tells the caller that the rest is not wanted; later reads are invalid.
func (s *Input) Close() error { return s.c.check(hostStreamClose(s.c, abi.HandleInput)) }

// Output is what the caller takes while the call runs. Each Write and Send waits while the caller is slow, and fails with
// cancelled when it has gone away. It is not_found when the caller takes no stream. It needs no capability; the manifest
// says streams = ["output"] for the tool.
func (c *Call) Output() *Output { return &Output{c} }

// Output is a call's output stream. It is valid until the tool returns; the tool's own reply ends the call as always.
type Output struct{ c *Call }

// Write implements io.Writer; more than 1 MiB goes as several parts.
func (s *Output) Write(data []byte) (n int, err error) {
	return s.c.writeParts(abi.HandleOutput, data)
}

// ReadFrom implements io.ReaderFrom, so that io.Copy takes chunks of the right size.
func (s *Output) ReadFrom(r io.Reader) (n int64, err error) { return copyChunks(s, r) }

// Send gives one JSON value as a part of its own: progress, or a result before the last one.
func (s *Output) Send(v any) error {
	raw, err := codec.AppendAny(nil, v)
	if err != nil {
		return err
	}
	return s.SendRaw(raw)
}

// SendRaw is Send for a value that is JSON already.
func (s *Output) SendRaw(doc json.RawMessage) error {
	return s.c.check(hostStreamSend(s.c, abi.HandleOutput, doc))
}

// Close tells the caller that no more parts come; later writes are invalid.
func (s *Output) Close() error { return s.c.check(hostStreamClose(s.c, abi.HandleOutput)) }
