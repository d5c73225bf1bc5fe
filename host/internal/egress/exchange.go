package egress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// Request is what a caller wants to send.
type Request struct {
	Method    string // GET when empty
	URL       string
	Header    http.Header
	Body      []byte        // the whole body, unless Stream
	Stream    bool          // the body follows by Exchange.Write
	Manual    bool          // an answer that redirects is given as it is; otherwise redirects are followed, each judged anew
	Max       int64         // bytes of the answer's body; 0, and anything above it, is the guard's own limit
	Protocols []string      // of a WebSocket
	Timeout   time.Duration // until the answer's head; 0, and anything above it, is the guard's own limit
	// Fill, when set, puts credentials into a request that is judged and about to be sent, and again after each redirect: then
	// a refusal with Denied only leaves them out, since they were meant for where the caller sent it. Row and caller never see
	// them, and Scrub takes them out of the answer.
	Fill  func(ctx context.Context, r *http.Request) error
	Scrub Scrubber
}

// Scrubber takes known secrets out of an answer without changing its length.
type Scrubber interface {
	Reader(src io.Reader) io.Reader
	Exact(text []byte) []byte
}

// Response is the head of an answer.
type Response struct {
	Status   int
	Header   http.Header
	URL      string // that answered, after redirects
	Length   int64  // of the body as announced; -1 when it is not
	Row      string // of the ledger
	Protocol string // of a WebSocket
}

// Exchange is one request and its answer under way. It belongs to one goroutine; Close ends it and MUST be called.
type Exchange struct {
	g      *Guard
	ctx    context.Context
	cancel context.CancelFunc
	req    Request
	hop    hop
	j      judged
	out    *upload
	result chan answered // of a streamed request

	reused bool
	addr   string
	resp   *http.Response
	in     int64
	once   sync.Once
}

type answered struct {
	resp *http.Response
	err  error
}

// Open judges a request and, when its body is streamed, begins to send it. ctx bounds the whole exchange. Errors are those of a
// refusal (Denied and the words of leases, with Denial in their detail), Invalid, NotFound for a name, and those of the network.
func (g *Guard) Open(ctx context.Context, who Caller, authority Authority, req Request) (*Exchange, error) {
	x := &Exchange{g: g, req: req}
	x.ctx, x.cancel = context.WithCancel(ctx)
	if err := x.open(who, authority); err != nil {
		x.cancel()
		return nil, err
	}
	return x, nil
}

func (x *Exchange) open(who Caller, authority Authority) error {
	g := x.g
	x.hop = hop{kind: "http", caller: who, authority: authority, method: x.req.Method, header: x.req.Header.Clone(), announced: int64(len(x.req.Body))}
	if x.hop.method == "" {
		x.hop.method = http.MethodGet
	}
	if x.hop.header == nil {
		x.hop.header = http.Header{}
	}
	if x.req.Stream {
		x.hop.announced = -1
	} else if len(x.req.Body) > 0 {
		x.hop.payload = digest(x.req.Body)
	}
	dest, err := netguard.Parse(x.req.URL)
	if err == nil {
		err = x.checkForm(dest)
	}
	if x.hop.dest = dest; err != nil {
		row := x.hop.newRow(g.rules.Load().posture)
		return g.deny(x.ctx, &row, refusal("", err))
	}
	if x.j, err = g.start(x.ctx, &x.hop); err != nil {
		return err
	}
	x.out = &upload{x: x, left: g.limits.Body, sum: sha256.New()}
	if x.req.Stream {
		x.stream()
	}
	return nil
}

// checkForm refuses what is no request for one answer.
func (x *Exchange) checkForm(d netguard.Dest) error {
	m := x.hop.method
	switch {
	case d.Scheme != "http" && d.Scheme != "https":
		return &netguard.Refusal{Reason: netguard.BadScheme, Msg: "a request for an answer has the scheme http or https, not " + d.Scheme}
	case len(m) > 32 || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" || m == http.MethodConnect || m == http.MethodTrace || m == "TRACK":
		return &netguard.Refusal{Reason: netguard.BadURL, Msg: "there is no method " + strings.ToValidUTF8(m[:min(len(m), 40)], "")}
	case int64(len(x.req.Body)) > x.g.limits.Body:
		return &netguard.Refusal{Reason: netguard.BadURL, Msg: "the body is too large"}
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// stream starts the request; its body is what Write gives.
func (x *Exchange) stream() {
	r, w := io.Pipe()
	x.out.pipe = w
	x.result = make(chan answered, 1)
	go func() {
		resp, err := x.send(io.NopCloser(r))
		_ = r.CloseWithError(io.ErrClosedPipe) // whoever still writes learns that nobody reads
		x.result <- answered{resp, err}
	}()
}

// Write sends bytes of a streamed body and waits while the network is slow. Errors: Invalid when the body is not streamed or over,
// TooLarge, those of the lease, those of the network.
func (x *Exchange) Write(ctx context.Context, part []byte) error {
	if x.out.pipe == nil {
		return abi.Errorf(abi.Invalid, "write to a request: its body is not streamed, or was ended")
	}
	if err := x.out.count(ctx, part); err != nil {
		return err
	}
	if _, err := x.out.pipe.Write(part); err != nil {
		return abi.Errorf(abi.CodeOf(timeout(cmpErr(x.ctx.Err(), err), abi.Unavailable)), "write to a request: nobody takes the rest of its body")
	}
	return nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Response ends the request's body and waits for the answer's head, following redirects. A second call gives the same head.
func (x *Exchange) Response(ctx context.Context) (Response, error) {
	if x.resp == nil {
		if err := x.await(); err != nil {
			x.settle(err)
			return Response{Row: x.j.row.ID}, err
		}
	}
	r := Response{Status: x.resp.StatusCode, Header: x.resp.Header.Clone(), URL: x.hop.dest.String(), Length: x.resp.ContentLength, Row: x.j.row.ID}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Alt-Svc"} {
		r.Header.Del(name)
	}
	return r, nil
}

func (x *Exchange) await() error {
	if x.out.pipe != nil {
		_ = x.out.pipe.Close()
		x.out.pipe = nil
	}
	wait := x.g.limits.Time
	if x.req.Timeout > 0 {
		wait = min(wait, x.req.Timeout)
	}
	late := time.AfterFunc(wait, x.cancel)
	defer late.Stop()
	for redirects := 0; ; redirects++ {
		resp, err := x.answer()
		if err != nil {
			if x.ctx.Err() != nil && !late.Stop() {
				return abi.Errorf(abi.Deadline, "ask %q: no answer within %s", x.hop.dest.Host, wait)
			}
			return err
		}
		again, err := x.redirect(resp, redirects)
		if err != nil {
			return err
		}
		if !again {
			x.scrubbed(resp)
			x.resp = resp
			return nil
		}
	}
}

// answer is one answer to the hop as it stands.
func (x *Exchange) answer() (*http.Response, error) {
	var got answered
	if x.result != nil {
		got = <-x.result
		x.result = nil
	} else {
		var body io.ReadCloser
		if len(x.req.Body) > 0 {
			x.out.sent(x.req.Body)
			body = io.NopCloser(bytes.NewReader(x.req.Body))
		}
		got.resp, got.err = x.send(body)
	}
	if got.err != nil {
		return nil, x.explain(got.err)
	}
	return got.resp, nil
}

// send makes one request at the first pinned address that answers the call.
func (x *Exchange) send(body io.ReadCloser) (*http.Response, error) {
	var last error
	for i, ip := range x.j.addresses {
		req, err := x.request(body)
		if err != nil {
			return nil, err
		}
		connected := false
		trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { x.reused, connected = c.Reused, true }}
		x.addr = ip.String()
		resp, err := x.g.pool.get(laneOf(x.hop.caller, x.hop.dest, ip)).RoundTrip(req.WithContext(httptrace.WithClientTrace(x.ctx, trace)))
		if err == nil {
			return resp, nil
		}
		last = err
		// Only what never had a connection may be tried again elsewhere.
		if connected || x.ctx.Err() != nil || x.req.Stream || i == maxTries-1 {
			break
		}
		if body != nil {
			body = io.NopCloser(bytes.NewReader(x.req.Body))
		}
	}
	return nil, last
}

// maxTries is how many addresses of a name are tried.
const maxTries = 3

func (x *Exchange) explain(err error) error {
	if cause := x.out.failed; cause != nil {
		return cause
	}
	var house *abi.Error
	if errors.As(err, &house) {
		return house
	}
	text := err.Error()
	if len(text) > 300 {
		text = text[:300]
	}
	return abi.Errorf(abi.CodeOf(timeout(cmpErr(x.ctx.Err(), err), abi.Unavailable)), "ask %q: %s", x.hop.dest.Host, text)
}

func (x *Exchange) request(body io.ReadCloser) (*http.Request, error) {
	u, err := url.Parse(x.hop.dest.String())
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "ask %q: %w", x.hop.dest.Host, err)
	}
	req := &http.Request{Method: x.hop.method, URL: u, Host: x.hop.dest.Authority(), Header: x.hop.header.Clone(), Body: body, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if body != nil && x.hop.announced > 0 {
		req.ContentLength = x.hop.announced
	} else if body != nil {
		req.ContentLength = -1
	}
	if _, set := req.Header["User-Agent"]; !set {
		req.Header.Set("User-Agent", "arw")
	}
	if x.req.Fill != nil {
		err := x.req.Fill(x.ctx, req)
		if err != nil && (x.hop.parent == "" || abi.CodeOf(err) != abi.Denied) {
			return nil, err
		}
	}
	return req, nil
}

// scrubbed hides from the caller what a server sends back of the secrets that it was sent.
func (x *Exchange) scrubbed(resp *http.Response) {
	if x.req.Fill == nil || x.req.Scrub == nil {
		return
	}
	scrubHeader(resp.Header, x.req.Scrub)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{x.req.Scrub.Reader(resp.Body), resp.Body}
}

func scrubHeader(h http.Header, s Scrubber) {
	for _, values := range h {
		for i, v := range values {
			values[i] = string(s.Exact([]byte(v)))
		}
	}
}

// redirect turns the exchange to where an answer points; false when the answer is the caller's.
func (x *Exchange) redirect(resp *http.Response, already int) (bool, error) {
	location := resp.Header.Get("Location")
	keeps := resp.StatusCode == 307 || resp.StatusCode == 308
	if x.req.Manual || location == "" || !keeps && resp.StatusCode != 301 && resp.StatusCode != 302 && resp.StatusCode != 303 {
		return false, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	_ = resp.Body.Close()
	x.g.settle(&x.j.row, x.outcome(nil, resp.StatusCode, location))
	x.once = sync.Once{}
	next := x.hop
	next.parent, next.header = x.j.row.ID, x.hop.header.Clone()
	dest, err := x.hop.dest.Redirect(location)
	if err == nil {
		err = checkScheme(dest)
	}
	switch {
	case err != nil:
		err = refusal(x.hop.dest.Host, err)
	case already == x.g.limits.Redirects:
		err = denied("redirects", "ask %q: it redirects more than %d times", x.hop.dest.Host, already)
	case keeps && x.req.Stream:
		err = abi.Errorf(abi.Unsupported, "ask %q: it wants the streamed body again at %q", x.hop.dest.Host, dest.Host).
			WithHint("send it there, or give the body as a whole")
	}
	if err != nil {
		x.j.row.Parent, x.j.row.ID = next.parent, ""
		x.once.Do(func() {})
		return false, x.g.deny(x.ctx, &x.j.row, err)
	}
	if dest.Origin() != x.hop.dest.Origin() {
		for name := range next.header {
			if netguard.Credential(name) {
				next.header.Del(name)
			}
		}
	}
	next.dest = dest
	if !keeps && x.hop.method != http.MethodHead {
		next.method, next.announced, next.payload, x.req.Body, x.req.Stream = http.MethodGet, 0, "", nil, false
		for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Location", "Digest", "Content-Digest"} {
			next.header.Del(name)
		}
	}
	x.hop = next
	x.out = &upload{x: x, left: x.g.limits.Body, sum: sha256.New()}
	if x.j, err = x.g.start(x.ctx, &x.hop); err != nil {
		x.once.Do(func() {})
	}
	return err == nil, err
}

func checkScheme(d netguard.Dest) error {
	if d.Scheme == "http" || d.Scheme == "https" {
		return nil
	}
	return &netguard.Refusal{Reason: netguard.BadScheme, Msg: "the redirect leads to the scheme " + d.Scheme}
}

// Read gives bytes of the answer's body; io.EOF is its end. Errors: TooLarge, those of the lease, those of the network.
func (x *Exchange) Read(ctx context.Context, buf []byte) (int, error) {
	if x.resp == nil {
		if _, err := x.Response(ctx); err != nil {
			return 0, err
		}
	}
	most := x.g.limits.Body
	if x.req.Max > 0 {
		most = min(most, x.req.Max)
	}
	n, err := x.resp.Body.Read(buf)
	if n > 0 {
		x.in += int64(n)
		if x.in > most {
			err = abi.Errorf(abi.TooLarge, "read the answer of %q: its body has more than %d bytes", x.hop.dest.Host, most)
			x.settle(err)
			return 0, err
		}
		if x.j.permit.Spend != nil {
			if spent := x.j.permit.Spend(ctx, int64(n)); spent != nil {
				x.settle(spent)
				return 0, spent
			}
		}
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		x.settle(nil)
		return 0, io.EOF
	}
	if err == nil {
		return 0, nil
	}
	err = x.explain(err)
	x.settle(err)
	return 0, err
}

// Close ends the exchange, wherever it is, and writes the outcome. What the caller left unread counts as not wanted.
func (x *Exchange) Close() error {
	if x.out.pipe != nil {
		_ = x.out.pipe.CloseWithError(errors.New("the caller gave up"))
	}
	var err error
	if x.resp == nil {
		err = abi.Errorf(abi.Cancelled, "the caller wanted no answer")
	}
	x.settle(err)
	return nil
}

func (x *Exchange) outcome(err error, status int, redirect string) Outcome {
	o := Outcome{Status: status, Address: x.addr, Out: x.out.size, In: x.in, Code: abi.CodeOf(err).String(), Reused: x.reused, Redirect: redirect}
	if err != nil {
		o.Error = err.Error()
	}
	if x.out.size > 0 {
		o.Payload = "sha256:" + hex.EncodeToString(x.out.sum.Sum(nil))
	}
	if u, bad := url.Parse(redirect); bad == nil && redirect != "" {
		u.RawQuery, u.Fragment = "", ""
		o.Redirect = x.g.redact(u.String())
	}
	o.Cost = x.j.price.of(1, o.Out+o.In)
	return o
}

// settle writes the outcome once and lets go of everything.
func (x *Exchange) settle(err error) {
	x.once.Do(func() {
		if x.result != nil { // streaming: the sender ends with the context
			x.cancel()
			if got := <-x.result; got.resp != nil {
				_ = got.resp.Body.Close()
			}
			x.result = nil
		}
		status := 0
		if x.resp != nil {
			status = x.resp.StatusCode
			if err != nil {
				x.cancel()
			}
			_ = x.resp.Body.Close()
		}
		x.g.settle(&x.j.row, x.outcome(err, status, ""))
	})
	x.cancel()
}

// upload counts what is sent.
type upload struct {
	x      *Exchange
	pipe   *io.PipeWriter
	left   int64
	size   int64
	sum    hash.Hash
	failed error
}

func (u *upload) sent(b []byte) {
	u.size += int64(len(b))
	u.sum.Write(b)
}

// count asks for bytes of a streamed body before they are sent.
func (u *upload) count(ctx context.Context, part []byte) error {
	if u.left -= int64(len(part)); u.left < 0 {
		u.failed = abi.Errorf(abi.TooLarge, "write to a request: its body has more than %d bytes", u.x.g.limits.Body)
		return u.failed
	}
	if spend := u.x.j.permit.Spend; spend != nil {
		if err := spend(ctx, int64(len(part))); err != nil {
			u.failed = err
			return err
		}
	}
	u.sent(part)
	return nil
}
