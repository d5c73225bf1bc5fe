package egress

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// idleTunnel ends a tunnel in which nothing moves.
const idleTunnel = 5 * time.Minute

// ServeProxy answers programs that speak through the host: CONNECT for tunnels and plain requests with a whole URL, both from
// whoever shows a token, under the same guard as everybody else. It listens on loopback only, closes ln and returns nil when ctx ends.
func (g *Guard) ServeProxy(ctx context.Context, ln net.Listener) error {
	if at, err := netip.ParseAddrPort(ln.Addr().String()); err != nil || !at.Addr().IsLoopback() {
		_ = ln.Close()
		return abi.Errorf(abi.Denied, "serve the egress proxy on %s: that is not this machine alone", ln.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &http.Server{
		Handler: &proxy{g: g, ctx: ctx, busy: make(chan struct{}, g.limits.Tunnels)}, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: int(g.limits.Header),
		ErrorLog: log.New(io.Discard, "", 0), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(ln) }()
	select {
	case err := <-failed:
		return abi.Errorf(abi.Unavailable, "serve the egress proxy on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	cancel()
	_ = s.Close() // connections of the proxy are cut: nobody may send after the host said it stopped
	<-failed
	return nil
}

type proxy struct {
	g    *Guard
	ctx  context.Context // of the server: hijacked connections end with it
	busy chan struct{}   // full when as many plain requests run as may
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, authority, err := p.caller(r)
	switch {
	case err != nil:
		w.Header().Set("Proxy-Authenticate", `Basic realm="arw egress"`)
		p.refuse(w, err)
	case r.Method == http.MethodConnect:
		p.connect(w, r, who, authority)
	case r.URL.IsAbs():
		p.forward(w, r, who, authority)
	default:
		p.refuse(w, abi.Errorf(abi.Invalid, "%s %.100s: this is a proxy; ask for a whole URL, or CONNECT", r.Method, r.URL.Path))
	}
}

// caller finds out on whose behalf a request comes.
func (p *proxy) caller(r *http.Request) (Caller, Authority, error) {
	secret, ok := proxySecret(r.Header.Get("Proxy-Authorization"))
	if !ok {
		return Caller{}, nil, abi.Errorf(abi.Unauthenticated, "speak through the proxy: it wants a token").WithHint("the operator issues one: arw egress token issue")
	}
	t, err := p.g.authenticate(secret)
	if err != nil {
		return Caller{}, nil, err
	}
	c := Caller{Actor: t.Actor, Project: t.Project, Corr: name(r.Header.Get("X-Arw-Corr"))}
	return c, bearer{p.g, t, c}, nil
}

// name is a correlation id that the journal can hold; nothing else is taken from a header.
func name(s string) string {
	if len(s) > 128 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return s
}

// proxySecret reads the token out of "Basic …" (as the password, whatever the user) or "Bearer …".
func proxySecret(header string) (string, bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest, rest != ""
	case "basic":
		raw, err := base64.StdEncoding.DecodeString(rest)
		_, password, ok := strings.Cut(string(raw), ":")
		return password, err == nil && ok && password != ""
	}
	return "", false
}

// bearer is a token as an Authority: its own scope first, then the policies of the host.
type bearer struct {
	g *Guard
	*token
	caller Caller
}

// Permit implements Authority.
func (b bearer) Permit(ctx context.Context, target string, d netguard.Dest, n int64) (Permission, error) {
	p, err := b.token.Permit(ctx, target, d, n)
	if err == nil {
		p.Policies, err = b.policies(ctx, target, d)
	}
	if meter := b.g.cfg.Meter; meter != nil && err == nil {
		err = meter(ctx, b.caller, 1, n)
		spend := p.Spend
		p.Spend = func(ctx context.Context, more int64) error {
			if err := spend(ctx, more); err != nil {
				return err
			}
			return meter(ctx, b.caller, 0, more)
		}
	}
	return p, err
}

// Would implements Authority.
func (b bearer) Would(ctx context.Context, target string, d netguard.Dest, n int64) (Permission, error) {
	p, err := b.token.Would(ctx, target, d, n)
	if err == nil {
		p.Policies, err = b.policies(ctx, target, d)
	}
	return p, err
}

func (b bearer) policies(ctx context.Context, target string, d netguard.Dest) ([]string, error) {
	if b.g.cfg.Judge == nil {
		return nil, nil
	}
	return b.g.cfg.Judge(ctx, b.caller, target, d)
}

// refuse answers with a problem in one line: clients of proxies show the body at best.
func (p *proxy) refuse(w http.ResponseWriter, err error) {
	status := abi.CodeOf(err).Info().Status
	switch abi.CodeOf(err) {
	case abi.Unauthenticated, abi.LeaseExpired, abi.LeaseRevoked:
		status = http.StatusProxyAuthRequired
		if abi.CodeOf(err) != abi.Unauthenticated {
			status = http.StatusForbidden
		}
	case abi.NotFound, abi.Unavailable:
		status = http.StatusBadGateway
	}
	w.Header().Set("X-Arw-Reason", reasonOf(err))
	w.Header().Set("Connection", "close")
	http.Error(w, abi.CodeOf(err).String()+": "+strings.ReplaceAll(err.Error(), "\n", " "), status)
}

// connect opens a tunnel and gives the connection to it.
func (p *proxy) connect(w http.ResponseWriter, r *http.Request, who Caller, authority Authority) {
	t, err := p.g.Tunnel(r.Context(), who, authority, r.Host)
	if err != nil {
		p.refuse(w, err)
		return
	}
	h, ok := w.(http.Hijacker)
	if !ok {
		_ = t.Close()
		p.refuse(w, abi.Errorf(abi.Unsupported, "open a tunnel over this version of HTTP"))
		return
	}
	client, rw, err := h.Hijack()
	if err != nil {
		_ = t.Close()
		return
	}
	early := make([]byte, rw.Reader.Buffered())
	_, _ = io.ReadFull(rw.Reader, early) // it has them
	_ = client.SetDeadline(time.Time{})
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\nX-Arw-Ledger: "+t.Row()+"\r\n\r\n"); err != nil {
		_, _ = client.Close(), t.Close()
		return
	}
	_ = t.Splice(p.ctx, client, early, idleTunnel) // its outcome is in the ledger
}

// hopHeaders belong to the connection with the proxy.
var hopHeaders = []string{"Connection", "Expect", "Forwarded", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Via", "X-Arw-Corr", "X-Arw-Project", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Content-Length", "Host"}

// forward makes a plain request. Redirects are the client's to follow: each comes back here.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request, who Caller, authority Authority) {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	default:
		p.refuse(w, abi.Errorf(abi.Busy, "forward a request: %d are under way", cap(p.busy)))
		return
	}
	req := Request{Method: r.Method, URL: r.URL.String(), Header: r.Header.Clone(), Manual: true, Stream: r.ContentLength != 0}
	for word := range strings.SplitSeq(r.Header.Get("Connection"), ",") {
		req.Header.Del(strings.TrimSpace(word))
	}
	for name := range req.Header {
		if slices.Contains(hopHeaders, name) || strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "Proxy-") {
			req.Header.Del(name)
		}
	}
	x, err := p.g.Open(r.Context(), who, authority, req)
	if err != nil {
		p.refuse(w, err)
		return
	}
	defer x.Close()
	if req.Stream {
		if err := pump(r.Context(), x, r.Body); err != nil {
			p.refuse(w, err)
			return
		}
	}
	resp, err := x.Response(r.Context())
	if err != nil {
		p.refuse(w, err)
		return
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.Header().Set("X-Arw-Ledger", resp.Row)
	w.WriteHeader(resp.Status)
	flush := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := x.Read(r.Context(), buf)
		if _, lost := w.Write(buf[:n]); lost != nil {
			return
		}
		_ = flush.Flush()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				panic(http.ErrAbortHandler) // the client must not take half an answer for a whole one
			}
			return
		}
	}
}

// pump sends a body in pieces.
func pump(ctx context.Context, x *Exchange, body io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if err := x.Write(ctx, append([]byte(nil), buf[:n]...)); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return abi.Errorf(abi.Cancelled, "forward a request: its body ended early")
		}
	}
}
