package wasm

import (
	"errors"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
)

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
	return c.handleReply(a, 2, &opened{exchange: x})
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
