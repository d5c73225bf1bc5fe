package wasm

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
)

// firstHandle is the first that functions give; below are the call's own streams.
const firstHandle = abi.HandleOutput + 1

// opened is what a handle of http or infer stands for: one of the three.
type opened struct {
	exchange Exchange
	socket   Socket
	answer   Answer
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

// crowded refuses a handle too many before anything is sent.
func (c *call) crowdedHandles() (abi.Status, bool) {
	if len(c.handles.open) < abi.MaxHandles {
		return 0, false
	}
	return c.fail(abi.Busy, fmt.Sprintf("%s: %d handles are open; close one with stream.close", c.inside, abi.MaxHandles)), true
}

// hangUp closes what the guest left open.
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
	}
	return o.exchange.Close()
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

// exchangeOf finds the exchange of a handle; a refusal otherwise.
func (c *call) exchangeOf(handle uint32) (Exchange, abi.Status) {
	o, s := c.handle(handle)
	switch {
	case o == nil:
		return nil, s
	case o.socket != nil:
		return nil, c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d is a WebSocket; use http.send and http.receive", c.inside, handle))
	case o.exchange == nil:
		return nil, c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d is an answer of a model, which can only be read", c.inside, handle))
	}
	return o.exchange, statusOK
}

func (c *call) socketOf(handle uint32) (Socket, abi.Status) {
	o, s := c.handle(handle)
	switch {
	case o == nil:
		return nil, s
	case o.socket == nil:
		return nil, c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d is no WebSocket", c.inside, handle))
	}
	return o.socket, statusOK
}

// httpRequest reads the request of arguments 0 and 1; the out buffer is at i.
func (c *call) httpRequest(a []uint64, i int) (req abi.HTTPRequest, s abi.Status, ok bool) {
	s, ok = c.requestOut(a, i, &req)
	switch {
	case !ok:
	case req.Redirect != "" && req.Redirect != "follow" && req.Redirect != "manual":
		s, ok = c.fail(abi.Invalid, c.inside+`: redirect is not "follow" or "manual"`), false
	case req.TimeoutMS < 0 || req.MaxBytes < 0:
		s, ok = c.fail(abi.Invalid, c.inside+": a bound is negative"), false
	}
	return req, s, ok
}

func httpFetch(c *call, a []uint64) abi.Status {
	body, fits := c.arg(a, 2)
	if !fits {
		return c.outside("body")
	}
	req, s, ok := c.httpRequest(a, 4)
	if !ok {
		return s
	}
	if s, full := c.crowdedHandles(); full {
		return s
	}
	x, err := c.host.HTTP.Open(c, req, body, false)
	if err != nil {
		return c.refuse(err)
	}
	head, err := x.Response(c)
	if err != nil {
		_ = x.Close()
		return c.refuse(err)
	}
	head.Handle = c.newHandle(&opened{exchange: x})
	return c.replyJSON(a, 4, head)
}

func httpOpen(c *call, a []uint64) abi.Status {
	req, s, ok := c.httpRequest(a, 2)
	if !ok {
		return s
	}
	if s, full := c.crowdedHandles(); full {
		return s
	}
	x, err := c.host.HTTP.Open(c, req, nil, true)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 2, binary.LittleEndian.AppendUint32(nil, c.newHandle(&opened{exchange: x})))
}

func httpResponse(c *call, a []uint64) abi.Status {
	if _, fits := c.room(a, 1); !fits {
		return c.outside("out")
	}
	x, s := c.exchangeOf(uint32(a[0]))
	if x == nil {
		return s
	}
	head, err := x.Response(c)
	if err != nil {
		return c.refuse(err)
	}
	head.Handle = uint32(a[0])
	return c.replyJSON(a, 1, head)
}

func httpConnect(c *call, a []uint64) abi.Status {
	req, s, ok := c.httpRequest(a, 2)
	if !ok {
		return s
	}
	if s, full := c.crowdedHandles(); full {
		return s
	}
	sock, err := c.host.HTTP.Connect(c, req)
	if err != nil {
		return c.refuse(err)
	}
	head := sock.Head()
	head.Handle = c.newHandle(&opened{socket: sock})
	return c.replyJSON(a, 2, head)
}

func httpSend(c *call, a []uint64) abi.Status {
	data, ok := c.arg(a, 2)
	if !ok {
		return c.outside("data")
	}
	sock, s := c.socketOf(uint32(a[0]))
	if sock == nil {
		return s
	}
	kind := int(uint32(a[1]))
	switch {
	case kind != abi.MessageText && kind != abi.MessageBytes:
		return c.fail(abi.Invalid, fmt.Sprintf("http.send: kind %d is not 1 (text) or 2 (bytes)", kind))
	case len(data) > abi.MaxMessage:
		return c.fail(abi.TooLarge, fmt.Sprintf("http.send: a message of %d bytes, at most %d are allowed", len(data), abi.MaxMessage))
	}
	if err := sock.Send(c, kind, data); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func httpReceive(c *call, a []uint64) abi.Status {
	if _, fits := c.room(a, 1); !fits {
		return c.outside("out")
	}
	sock, s := c.socketOf(uint32(a[0]))
	if sock == nil {
		return s
	}
	kind, data, err := sock.Receive(c)
	switch {
	case errors.Is(err, io.EOF):
		return c.reply(a, 1, nil)
	case err != nil:
		return c.refuse(err)
	}
	return c.reply(a, 1, append([]byte{byte(kind)}, data...))
}

// writeBody passes a part of a request's body on.
func (c *call) writeBody(handle uint32, kind abi.FrameKind, part []byte) abi.Status {
	x, s := c.exchangeOf(handle)
	switch {
	case x == nil:
		return s
	case len(part) > abi.MaxPart:
		return c.fail(abi.TooLarge, fmt.Sprintf("%s: a part of %d bytes, at most %d are allowed; give it in pieces", c.inside, len(part), abi.MaxPart))
	case kind == abi.FrameJSON && !json.Valid(part):
		return c.fail(abi.Invalid, c.inside+": doc is not JSON")
	case len(part) == 0:
		return c.ok()
	}
	if err := x.Write(c, append([]byte(nil), part...)); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}
