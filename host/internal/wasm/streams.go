package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
)

// Source is what a call reads from a stream. Read waits until there is at least one byte, and is interrupted when ctx
// ends; io.EOF is the end. It must not touch buf after it returned. Close is called at most once, when the guest wants no more.
type Source interface {
	Read(ctx context.Context, buf []byte) (int, error)
	Close() error
}

// Sink takes the parts that a call gives out while it runs. Write is given bytes (abi.FrameBytes) or one JSON value
// (abi.FrameJSON) that are its own to keep, and waits while whoever takes them is slow. Close is called at most once,
// when the guest says that there are no more.
type Sink interface {
	Write(ctx context.Context, kind abi.FrameKind, part []byte) error
	Close() error
}

// streams are the handles of one call; they end with it.
type streams struct {
	in                  Source
	out                 Sink
	inClosed, outClosed bool
	left, limit         int64 // of what output streams may give
	buf                 []byte
}

// firstBuffer is what a read's own buffer has at first: most guests read in chunks of 64 KiB or less.
const firstBuffer = 64 << 10

// readable finds the source of a handle; a refusal otherwise.
func (c *call) readable(handle uint32) (Source, abi.Status) {
	s := &c.streams
	switch {
	case handle == abi.HandleOutput:
		return nil, c.fail(abi.Invalid, c.inside+": handle 1 is the output, which cannot be read")
	case handle != abi.HandleInput:
		return c.sourceOf(handle)
	case s.in == nil:
		return nil, c.fail(abi.NotFound, c.inside+": the caller streams nothing in")
	case s.inClosed:
		return nil, c.closedHandle(handle)
	}
	return s.in, statusOK
}

// writable finds the sink of a handle.
func (c *call) writable(handle uint32) (Sink, abi.Status) {
	s := &c.streams
	switch {
	case handle == abi.HandleInput:
		return nil, c.fail(abi.Invalid, c.inside+": handle 0 is the input, which cannot be written to")
	case handle != abi.HandleOutput:
		return nil, c.noHandle(handle)
	case s.out == nil:
		return nil, c.fail(abi.NotFound, c.inside+": the caller takes no stream")
	case s.outClosed:
		return nil, c.closedHandle(handle)
	}
	return s.out, statusOK
}

func (c *call) noHandle(handle uint32) abi.Status {
	return c.fail(abi.Invalid, fmt.Sprintf("%s: this call has no handle %d", c.inside, handle))
}

func (c *call) closedHandle(handle uint32) abi.Status {
	return c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d was closed before", c.inside, handle))
}

func streamRead(c *call, a []uint64) abi.Status {
	out, ok := c.room(a, 1)
	if !ok {
		return c.outside("out")
	}
	src, s := c.readable(uint32(a[0]))
	if src == nil {
		return s
	}
	if len(out) == 0 {
		return c.fail(abi.Invalid, "stream.read: out has no room, and 0 bytes would mean the end")
	}
	out = out[:min(len(out), abi.MaxPart)]
	if len(c.streams.buf) < len(out) {
		c.streams.buf = make([]byte, max(len(out), firstBuffer))
	}
	// Not into the guest's memory: a source that returned early because the call ended may still be writing.
	n, err := src.Read(c, c.streams.buf[:len(out)])
	switch {
	case n < 0 || n > len(out) || n == 0 && err == nil:
		return c.refuse(fmt.Errorf("a source read %d bytes into %d", n, len(out)))
	case n == 0 && !errors.Is(err, io.EOF):
		c.streams.buf = nil
		return c.refuse(err)
	}
	copy(out, c.streams.buf[:n])
	c.pending = nil
	c.moved += int64(n)
	return abi.MakeStatus(abi.OK, uint32(n))
}

func streamWrite(c *call, a []uint64) abi.Status {
	data, ok := c.view(a, 1)
	if !ok {
		return c.outside("data")
	}
	return c.give(uint32(a[0]), abi.FrameBytes, data)
}

func streamSend(c *call, a []uint64) abi.Status {
	doc, ok := c.view(a, 1)
	if !ok {
		return c.outside("doc")
	}
	return c.give(uint32(a[0]), abi.FrameJSON, doc)
}

// give passes one part on. Nothing of it is copied, or parsed, before the handle and the bounds allow it.
func (c *call) give(handle uint32, kind abi.FrameKind, part []byte) abi.Status {
	if handle > abi.HandleOutput {
		return c.writeHandle(handle, kind, part)
	}
	sink, s := c.writable(handle)
	if sink == nil {
		return s
	}
	switch n := int64(len(part)); {
	case n > abi.MaxPart:
		return c.fail(abi.TooLarge, fmt.Sprintf("%s: a part of %d bytes, at most %d are allowed; give it in pieces", c.inside, n, abi.MaxPart))
	case n > c.streams.left:
		return c.fail(abi.TooLarge, fmt.Sprintf("%s: the call may stream %d bytes out and has used %d; raise limits.stream in pack.toml",
			c.inside, c.streams.limit, c.streams.limit-c.streams.left))
	case kind == abi.FrameJSON && !json.Valid(part):
		return c.fail(abi.Invalid, c.inside+": doc is not JSON")
	case n == 0:
		return c.ok()
	}
	c.streams.left -= int64(len(part))
	if err := sink.Write(c, kind, bytes.Clone(part)); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func streamClose(c *call, a []uint64) abi.Status {
	handle := uint32(a[0])
	var err error
	switch s := &c.streams; {
	case handle == abi.HandleInput && s.in != nil && !s.inClosed:
		s.inClosed = true
		err = s.in.Close()
	case handle == abi.HandleOutput && s.out != nil && !s.outClosed:
		s.outClosed = true
		err = s.out.Close()
	case handle == abi.HandleInput && s.in == nil, handle == abi.HandleOutput && s.out == nil:
		return c.fail(abi.NotFound, fmt.Sprintf("stream.close: handle %d is not attached", handle))
	case handle > abi.HandleOutput:
		return c.closeHandle(handle)
	default:
		return c.closedHandle(handle)
	}
	if err != nil {
		return c.refuse(err)
	}
	return c.ok()
}
