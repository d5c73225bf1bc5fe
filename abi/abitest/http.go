package abitest

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/arw-project/arw/abi"
)

// HTTP is the world's network: web.example.com answers with what it was asked (/echo), with 300,000 bytes (/big), and talks back
// over a WebSocket (/chat); there are no other names.
type HTTP struct{ w *World }

// HTTP gives the part of that name.
func (w *World) HTTP() HTTP { return HTTP{w} }

func (h HTTP) allowed(req abi.HTTPRequest, scheme string) (path string, err error) {
	if name, ok := h.w.refused[abi.HTTP]; ok {
		code, _ := abi.CodeByName(name)
		return "", abi.Errorf(code, "the lease for %s is over", abi.HTTP)
	}
	path, ok := strings.CutPrefix(req.URL, scheme+"://web.example.com")
	if !ok {
		return "", abi.Errorf(abi.NotFound, "there is no name in %q", req.URL)
	}
	return path, nil
}

// Open begins a request.
func (h HTTP) Open(_ context.Context, req abi.HTTPRequest, body []byte, _ bool) (*Exchange, error) {
	path, err := h.allowed(req, "https")
	if err != nil {
		return nil, err
	}
	if req.Method == "" {
		req.Method = "GET"
	}
	return &Exchange{req: req, path: path, sent: body}, nil
}

// Exchange is one request of a world.
type Exchange struct {
	req  abi.HTTPRequest
	path string
	sent []byte
	left *bytes.Reader
}

// Write takes a part of the body.
func (x *Exchange) Write(_ context.Context, part []byte) error {
	x.sent = append(x.sent, part...)
	return nil
}

// Response ends the body and answers.
func (x *Exchange) Response(context.Context) (abi.HTTPResponse, error) {
	head := abi.HTTPResponse{Status: 200, URL: x.req.URL, Headers: [][2]string{{"Content-Type", "text/plain"}, {"X-Method", x.req.Method}}, Length: -1, Ledger: "egr_1"}
	switch x.path {
	case "/echo":
		said := x.req.Method
		for _, h := range x.req.Headers {
			said += " " + h[0] + "=" + h[1]
		}
		for _, name := range x.req.Secrets {
			said += " secret=" + name
		}
		head.Status, x.left = 201, bytes.NewReader([]byte(said+" "+string(x.sent)))
	case "/big":
		x.left = bytes.NewReader([]byte(strings.Repeat("0123456789", 30_000)))
	default:
		head.Status, x.left = 404, bytes.NewReader(nil)
	}
	return head, nil
}

// Read gives the answer's body.
func (x *Exchange) Read(ctx context.Context, buf []byte) (int, error) {
	if x.left == nil {
		if _, err := x.Response(ctx); err != nil {
			return 0, err
		}
	}
	return x.left.Read(buf)
}

// Close ends it.
func (x *Exchange) Close() error { return nil }

// Connect opens a WebSocket.
func (h HTTP) Connect(_ context.Context, req abi.HTTPRequest) (*Socket, error) {
	if _, err := h.allowed(req, "wss"); err != nil {
		return nil, err
	}
	return &Socket{url: req.URL}, nil
}

// Socket says back what it hears, each message once, and then closes.
type Socket struct {
	url  string
	kind int
	said []byte
}

// Head is the answer to the handshake.
func (s *Socket) Head() abi.HTTPResponse {
	return abi.HTTPResponse{Status: 101, URL: s.url, Headers: [][2]string{}, Length: -1}
}

// Send takes a message.
func (s *Socket) Send(_ context.Context, kind int, data []byte) error {
	s.kind, s.said = kind, append([]byte("heard "), data...)
	return nil
}

// Receive gives it back.
func (s *Socket) Receive(context.Context) (int, []byte, error) {
	if s.said == nil {
		return 0, nil, io.EOF
	}
	said := s.said
	s.said = nil
	return s.kind, said, nil
}

// Close ends it.
func (s *Socket) Close() error { return nil }
