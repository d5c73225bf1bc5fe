package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// Socket is one WebSocket. Send and Receive may be used from two goroutines, each from one; Close MUST be called.
type Socket struct {
	g      *Guard
	conn   *websocket.Conn
	raw    net.Conn // below it
	cancel context.CancelFunc
	ctx    context.Context
	head   Response
	j      judged
	scrub  Scrubber // nil: nothing to take out of messages

	mu      sync.Mutex // guards the two
	out, in int64
	once    sync.Once
}

// Connect opens a WebSocket: scheme ws or wss, method GET. It is one row of the ledger for as long as it is open. A server that
// redirects is refused: a WebSocket's address is the one that was judged. Errors are Open's.
func (g *Guard) Connect(ctx context.Context, who Caller, authority Authority, req Request) (*Socket, error) {
	h := hop{kind: "websocket", caller: who, authority: authority, method: http.MethodGet, header: req.Header.Clone()}
	dest, err := netguard.Parse(req.URL)
	switch {
	case err != nil:
	case dest.Scheme != "ws" && dest.Scheme != "wss":
		err = &netguard.Refusal{Reason: netguard.BadScheme, Msg: "a WebSocket has the scheme ws or wss, not " + dest.Scheme}
	case req.Method != "" && req.Method != http.MethodGet || len(req.Body) > 0 || req.Stream:
		err = &netguard.Refusal{Reason: netguard.BadURL, Msg: "a WebSocket is opened with GET and without a body"}
	case strings.ContainsFunc(strings.Join(req.Protocols, ""), func(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }):
		err = &netguard.Refusal{Reason: netguard.BadHeader, Msg: "a protocol of a WebSocket is one word"}
	}
	if h.dest = dest; err != nil {
		row := h.newRow(g.rules.Load().posture)
		return nil, g.deny(ctx, &row, refusal("", err))
	}
	j, err := g.start(ctx, &h)
	if err != nil {
		return nil, err
	}
	s := &Socket{g: g, j: j}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := s.dial(&h, req); err != nil {
		s.settle(err)
		return nil, err
	}
	return s, nil
}

// dial shakes hands at the first pinned address that answers.
func (s *Socket) dial(h *hop, req Request) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.g.limits.Time)
	defer cancel()
	header, err := filled(ctx, h, req)
	if err != nil {
		return err
	}
	s.scrub = req.Scrub
	var last error
	for i, ip := range s.j.addresses[:min(len(s.j.addresses), maxTries)] {
		to := netip.AddrPortFrom(ip, h.dest.Port)
		t := &http.Transport{ // HTTP/1.1 and one connection: it becomes the socket's
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				raw, err := s.g.dial(ctx, network, to)
				s.raw = raw
				return raw, err
			},
			TLSClientConfig:   &tls.Config{RootCAs: s.g.cfg.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
			DisableKeepAlives: true, MaxResponseHeaderBytes: s.g.limits.Header,
		}
		conn, resp, err := websocket.Dial(ctx, h.dest.String(), &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
			HTTPHeader: header, Host: h.dest.Authority(), Subprotocols: req.Protocols,
		})
		if err == nil {
			conn.SetReadLimit(abi.MaxMessage)
			s.conn = conn
			s.head = Response{Status: resp.StatusCode, Header: resp.Header.Clone(), URL: h.dest.String(), Length: -1, Row: s.j.row.ID, Protocol: conn.Subprotocol()}
			s.j.row.Address = ip.String()
			return nil
		}
		last = err
		if resp != nil || s.ctx.Err() != nil || i == maxTries-1 {
			break
		}
	}
	text := last.Error()
	return abi.Errorf(abi.CodeOf(timeout(cmpErr(ctx.Err(), last), abi.Unavailable)), "open a WebSocket to %q: %s", h.dest.Host, text[:min(len(text), 300)])
}

// filled is the header of the handshake with its credentials. They go into the header only: the address of a socket is shown.
func filled(ctx context.Context, h *hop, req Request) (http.Header, error) {
	header := h.header.Clone()
	if req.Fill == nil {
		return header, nil
	}
	if header == nil {
		header = http.Header{}
	}
	u, err := url.Parse(h.dest.String())
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "open a WebSocket to %q: %w", h.dest.Host, err)
	}
	u.Scheme = map[string]string{"ws": "http", "wss": "https"}[u.Scheme]
	before := u.RawQuery
	if err := req.Fill(ctx, &http.Request{URL: u, Header: header}); err != nil {
		return nil, err
	}
	if u.RawQuery != before {
		return nil, abi.Errorf(abi.Unsupported, "open a WebSocket to %q: its secret goes into the query, which a socket's address does not take", h.dest.Host)
	}
	return header, nil
}

// closing is how long a WebSocket waits for the other side to close it too.
const closing = 250 * time.Millisecond

// Head is the answer to the handshake.
func (s *Socket) Head() Response { return s.head }

// count asks the lease for bytes.
func (s *Socket) count(ctx context.Context, into *int64, n int) error {
	s.mu.Lock()
	*into += int64(n)
	over := s.out+s.in > s.g.limits.Body
	s.mu.Unlock()
	if over {
		return abi.Errorf(abi.TooLarge, "use a WebSocket to %q: it moved more than %d bytes", s.j.row.Host, s.g.limits.Body)
	}
	if s.j.permit.Spend == nil {
		return nil
	}
	return s.j.permit.Spend(ctx, int64(n))
}

// Send gives one message and waits while the network is slow. Errors: TooLarge, those of the lease, those of the network.
func (s *Socket) Send(ctx context.Context, text bool, data []byte) error {
	if err := s.count(ctx, &s.out, len(data)); err != nil {
		s.settle(err)
		return err
	}
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	return s.explain(s.conn.Write(s.ctx, kind, data))
}

// Receive waits for one message; io.EOF when the other side has closed the socket in order.
func (s *Socket) Receive(ctx context.Context) (text bool, data []byte, err error) {
	kind, data, err := s.conn.Read(s.ctx)
	switch status := websocket.CloseStatus(err); {
	case err == nil:
	case status == websocket.StatusNormalClosure || status == websocket.StatusGoingAway || status == websocket.StatusNoStatusRcvd:
		s.settle(nil)
		return false, nil, io.EOF
	default:
		return false, nil, s.explain(err)
	}
	if s.scrub != nil {
		s.scrub.Exact(data)
	}
	if err := s.count(ctx, &s.in, len(data)); err != nil {
		s.settle(err)
		return false, nil, err
	}
	return kind == websocket.MessageText, data, nil
}

func (s *Socket) explain(err error) error {
	if err == nil {
		return nil
	}
	code := abi.CodeOf(timeout(cmpErr(s.ctx.Err(), err), abi.Unavailable))
	if errors.Is(err, websocket.ErrMessageTooBig) {
		code = abi.TooLarge
	}
	text := err.Error()
	out := abi.Errorf(code, "use a WebSocket to %q: %s", s.j.row.Host, text[:min(len(text), 300)])
	s.settle(out)
	return out
}

// Close ends the socket and writes the outcome.
func (s *Socket) Close() error {
	s.settle(nil)
	return nil
}

func (s *Socket) settle(err error) {
	s.once.Do(func() {
		if s.conn != nil {
			if err == nil { // in order, as far as the other side answers in time: nobody may hold a call up by its silence
				late := time.AfterFunc(closing, func() { _ = s.raw.Close() }) // the library itself would wait five seconds
				_ = s.conn.Close(websocket.StatusNormalClosure, "")
				late.Stop()
			}
			_ = s.conn.CloseNow()
		}
		s.mu.Lock()
		o := Outcome{Status: s.head.Status, Address: s.j.row.Address, Out: s.out, In: s.in, Code: abi.CodeOf(err).String(), Cost: s.j.price.of(1, s.out+s.in)}
		s.mu.Unlock()
		if err != nil {
			o.Error = err.Error()
		}
		s.cancel()
		s.g.settle(&s.j.row, o)
	})
}
