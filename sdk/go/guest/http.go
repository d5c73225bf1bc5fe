package guest

import (
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// HTTP is the network, behind the host's guard. Needs [capabilities.http] with a scope, effects = "open_world", and a lease for each
// place a request goes to, redirects included. Every request is a row of the host's ledger before it is sent.
type HTTP struct{ c *Call }

// HTTP gives the network.
func (c *Call) HTTP() HTTP { return HTTP{c} }

var (
	httpRequestJSON  = codec.For[abi.HTTPRequest]()
	httpResponseJSON = codec.For[abi.HTTPResponse]()
)

// Fetch sends a request whose body is all here and waits for the answer's head. The answer's body comes from the Response, which
// must be closed; a tool may have 16 of them open.
func (h HTTP) Fetch(req abi.HTTPRequest, body []byte) (*Response, error) {
	raw, err := httpRequestJSON.Append(nil, &req)
	if err != nil {
		return nil, err
	}
	head, err := fetchJSON(h.c, hostHTTPFetch(h.c, raw, body, h.c.scratch[:]), httpResponseJSON)
	if err != nil {
		return nil, err
	}
	return &Response{head, h.c}, nil
}

// Get is Fetch of a URL with GET.
func (h HTTP) Get(url string) (*Response, error) { return h.Fetch(abi.HTTPRequest{URL: url}, nil) }

// Open begins a request whose body is written to the Upload.
func (h HTTP) Open(req abi.HTTPRequest) (*Upload, error) {
	raw, err := httpRequestJSON.Append(nil, &req)
	if err != nil {
		return nil, err
	}
	handle, err := h.c.handle(hostHTTPOpen(h.c, raw, h.c.scratch[:]))
	if err != nil {
		return nil, err
	}
	return &Upload{handle, h.c}, nil
}

// Response is the head of an answer and, as an io.Reader, its body.
type Response struct {
	abi.HTTPResponse
	c *Call
}

// Header is the first value of a header, by its canonical name; empty when there is none.
func (r *Response) Header(name string) string {
	for _, h := range r.Headers {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}

// Read implements io.Reader; at most 1 MiB come at once.
func (r *Response) Read(buf []byte) (int, error) { return readHandle(r.c, r.Handle, buf) }

// readHandle reads what a handle gives.
func readHandle(c *Call, handle uint32, buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	st := hostStreamRead(c, handle, buf)
	if err := c.check(st); err != nil {
		return 0, err
	}
	n := int(min(st.Len(), uint32(len(buf))))
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close ends the exchange; what was not read is not wanted. The end of the call closes what is left open.
func (r *Response) Close() error { return r.c.check(hostStreamClose(r.c, r.Handle)) }

// Upload is the body of a request under way.
type Upload struct {
	handle uint32
	c      *Call
}

// Write implements io.Writer; more than 1 MiB goes as several parts. It waits while the network is slow.
func (u *Upload) Write(data []byte) (n int, err error) { return u.c.writeParts(u.handle, data) }

// Response ends the body and waits for the answer's head.
func (u *Upload) Response() (*Response, error) {
	head, err := fetchJSON(u.c, hostHTTPResponse(u.c, u.handle, u.c.scratch[:]), httpResponseJSON)
	if err != nil {
		return nil, err
	}
	return &Response{head, u.c}, nil
}

// Close gives the request up, unless Response was called: then the Response is what is to be closed.
func (u *Upload) Close() error { return u.c.check(hostStreamClose(u.c, u.handle)) }

// Connect opens a WebSocket; the scheme is ws or wss.
func (h HTTP) Connect(req abi.HTTPRequest) (*Socket, error) {
	raw, err := httpRequestJSON.Append(nil, &req)
	if err != nil {
		return nil, err
	}
	head, err := fetchJSON(h.c, hostHTTPConnect(h.c, raw, h.c.scratch[:]), httpResponseJSON)
	if err != nil {
		return nil, err
	}
	return &Socket{head, h.c}, nil
}

// Socket is one WebSocket and the head of the answer that opened it.
type Socket struct {
	abi.HTTPResponse
	c *Call
}

// SendText sends one message of text, at most 1 MiB.
func (s *Socket) SendText(msg string) error {
	return s.c.check(hostHTTPSend(s.c, s.Handle, abi.MessageText, []byte(msg)))
}

// SendBytes sends one message of bytes, at most 1 MiB.
func (s *Socket) SendBytes(msg []byte) error {
	return s.c.check(hostHTTPSend(s.c, s.Handle, abi.MessageBytes, msg))
}

// Receive waits for one message; io.EOF when the other side has closed the socket.
func (s *Socket) Receive() (msg []byte, text bool, err error) {
	reply, err := s.c.fetch(hostHTTPReceive(s.c, s.Handle, s.c.scratch[:]))
	switch {
	case err != nil:
		return nil, false, err
	case len(reply) == 0:
		return nil, false, io.EOF
	}
	return reply[1:], reply[0] == abi.MessageText, nil
}

// Close ends the socket.
func (s *Socket) Close() error { return s.c.check(hostStreamClose(s.c, s.Handle)) }
