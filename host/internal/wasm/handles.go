package wasm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/arw-project/arw/abi"
)

// firstHandle is the first that functions give; below are the call's own streams.
const firstHandle = abi.HandleOutput + 1

// opened is what a handle stands for: one of the five.
type opened struct {
	exchange Exchange
	socket   Socket
	answer   Answer
	file     File
	draft    Draft
	path     string // of a file or draft, for the gate
}

// handles are those of one call. A number is given once, so that a guest's stale one never means something else.
type handles struct {
	open map[uint32]*opened
	last uint32
}

func (c *call) newHandle(o *opened) uint32 {
	h := &c.handles
	if h.open == nil {
		h.open, h.last = map[uint32]*opened{}, firstHandle-1
	}
	h.last++
	h.open[h.last] = o
	return h.last
}

// handleReply gives a new handle to the guest, as 4 bytes.
func (c *call) handleReply(a []uint64, out int, o *opened) abi.Status {
	return c.reply(a, out, binary.LittleEndian.AppendUint32(nil, c.newHandle(o)))
}

// crowdedHandles refuses a handle too many before anything happens.
func (c *call) crowdedHandles() (abi.Status, bool) {
	if len(c.handles.open) < abi.MaxHandles {
		return 0, false
	}
	return c.fail(abi.Busy, fmt.Sprintf("%s: %d handles are open; close one with stream.close", c.inside, abi.MaxHandles)), true
}

// hangUp closes what the guest left open; a draft that it did not close is thrown away.
func (c *call) hangUp() {
	for handle, o := range c.handles.open {
		delete(c.handles.open, handle)
		_ = o.close() // its outcome is written where it is made
	}
}

func (o *opened) close() error {
	switch {
	case o.socket != nil:
		return o.socket.Close()
	case o.answer != nil:
		return o.answer.Close()
	case o.file != nil:
		return o.file.Close()
	case o.draft != nil:
		return o.draft.Close()
	}
	return o.exchange.Close()
}

// what names the kind of a handle, and how it is used.
func (o *opened) what() string {
	switch {
	case o.socket != nil:
		return "a WebSocket; use http.send and http.receive"
	case o.answer != nil:
		return "an answer of a model, which can only be read"
	case o.file != nil:
		return "a file that is read; use stream.read"
	case o.draft != nil:
		return "a file that is written; use stream.write"
	}
	return "a request"
}

// handle finds what a handle stands for; a refusal otherwise.
func (c *call) handle(handle uint32) (*opened, abi.Status) {
	o := c.handles.open[handle]
	switch {
	case o == nil && handle >= firstHandle && handle <= c.handles.last:
		return nil, c.closedHandle(handle)
	case o == nil:
		return nil, c.noHandle(handle)
	}
	return o, statusOK
}

func (c *call) otherHandle(handle uint32, o *opened) abi.Status {
	return c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d is %s", c.inside, handle, o.what()))
}

// exchangeOf finds the exchange of a handle; a refusal otherwise.
func (c *call) exchangeOf(handle uint32) (Exchange, abi.Status) {
	o, s := c.handle(handle)
	if o == nil {
		return nil, s
	}
	if o.exchange == nil {
		return nil, c.otherHandle(handle, o)
	}
	return o.exchange, statusOK
}

func (c *call) socketOf(handle uint32) (Socket, abi.Status) {
	o, s := c.handle(handle)
	if o == nil {
		return nil, s
	}
	if o.socket == nil {
		return nil, c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d is no WebSocket", c.inside, handle))
	}
	return o.socket, statusOK
}

// sourceOf is what a handle that a function gave is read from.
func (c *call) sourceOf(handle uint32) (Source, abi.Status) {
	o, s := c.handle(handle)
	switch {
	case o == nil:
		return nil, s
	case o.file != nil:
		return leased{c, o}, statusOK
	case o.answer != nil:
		return reading{o.answer}, statusOK
	case o.exchange != nil:
		return reading{o.exchange}, statusOK
	}
	return nil, c.otherHandle(handle, o)
}

// leased reads a file under the lease that there is at the moment of reading, for its length.
type leased struct {
	c *call
	o *opened
}

// Read implements Source.
func (l leased) Read(ctx context.Context, buf []byte) (int, error) {
	if _, err := l.c.use(abi.FS, "read:"+l.o.path, len(buf)); err != nil {
		return 0, err
	}
	return l.o.file.Read(ctx, buf)
}

// Close implements Source.
func (l leased) Close() error { return nil }

// writeHandle passes a part on to what a function opened: a request's body, or a file in the making.
func (c *call) writeHandle(handle uint32, kind abi.FrameKind, part []byte) abi.Status {
	o, s := c.handle(handle)
	switch {
	case o == nil:
		return s
	case o.exchange == nil && o.draft == nil:
		return c.otherHandle(handle, o)
	case len(part) > abi.MaxPart:
		return c.fail(abi.TooLarge, fmt.Sprintf("%s: a part of %d bytes, at most %d are allowed; give it in pieces", c.inside, len(part), abi.MaxPart))
	case kind == abi.FrameJSON && !json.Valid(part):
		return c.fail(abi.Invalid, c.inside+": doc is not JSON")
	case len(part) == 0:
		return c.ok()
	}
	own := append([]byte(nil), part...)
	var err error
	if o.exchange != nil {
		err = o.exchange.Write(c, own)
	} else if _, err = c.use(abi.FS, "write:"+o.path, len(own)); err == nil {
		err = o.draft.Write(c, own)
	}
	if err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

// closeHandle ends the guest's use of what a function opened. A draft becomes the file, or the guest hears why not; it is
// gone in either case.
func (c *call) closeHandle(handle uint32) abi.Status {
	o, s := c.handle(handle)
	if o == nil {
		return s
	}
	delete(c.handles.open, handle)
	var err error
	if o.draft != nil {
		if _, err = c.use(abi.FS, "write:"+o.path, 0); err == nil {
			err = o.draft.Commit(c)
		}
	}
	if e := o.close(); err == nil {
		err = e
	}
	if err != nil {
		return c.refuse(err)
	}
	return c.ok()
}
