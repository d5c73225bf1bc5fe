package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/arw-project/arw/abi"
)

// maxRedirects is more than any registry needs to reach its store.
const maxRedirects = 5

// newClient builds the HTTP client of one registry. From the outside in: redirects are judged, broken requests that changed
// nothing are repeated, silence ends a request, and connections go only where the registry may send us.
func newClient(host string, o Options) (*http.Client, *http.Transport) {
	g := &guard{host: host}
	base := &http.Transport{
		Proxy:                  o.Proxy,
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if o.Proxy != nil {
		g.proxied = true
	}
	var rt http.RoundTripper = &watch{base: base, stall: o.Stall}
	if o.Deny != nil {
		rt = &denier{rt, o.Deny}
	}
	if o.Retries > 0 {
		rt = &retry.Transport{Base: rt, Policy: func() retry.Policy {
			return &retry.GenericPolicy{Retryable: worthRepeating, Backoff: retry.DefaultBackoff,
				MinWait: 200 * time.Millisecond, MaxWait: 3 * time.Second, MaxRetry: o.Retries}
		}}
	}
	return &http.Client{Transport: rt, CheckRedirect: checkRedirect}, base
}

// worthRepeating allows another attempt at a request that the registry had no time for. A body is repeated only where the
// caller can produce it again; appending a chunk twice is refused by its offset.
func worthRepeating(resp *http.Response, err error) (bool, error) {
	if err != nil {
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF), nil
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, nil
	}
	return false, nil
}

// pause waits before attempt try+1 at a transfer.
func pause(ctx context.Context, try int) error {
	wait := time.Duration(1<<min(try, 4)) * 100 * time.Millisecond
	select {
	case <-time.After(wait + rand.N(wait/2)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkRedirect follows a registry to where it keeps its blobs and nowhere odd.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	var why string
	switch {
	case len(via) > maxRedirects:
		why = fmt.Sprintf("more than %d times", maxRedirects)
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		why = "to another protocol"
	case from.Scheme == "https" && req.URL.Scheme != "https":
		why = "from https to http"
	case req.URL.User != nil:
		why = "to a URL with credentials in it"
	case req.URL.Host != from.Host && req.Method != http.MethodGet && req.Method != http.MethodHead:
		why = "something that is being written"
	default:
		return nil
	}
	return abi.Errorf(abi.Denied, "it redirects %s: %q", why, req.URL.Redacted()).
		WithHint("the registry is misconfigured or not what it claims to be; use another")
}

// guard dials. The registry's own host may be anywhere; what it sends us to (a redirect, a token service) must not lie
// further inside than the registry itself: a public one has no business with the private network, and nobody with
// link-local addresses, where clouds keep their secrets.
type guard struct {
	host    string
	proxied bool         // connections go to the proxy, which judges for itself
	depth   atomic.Int32 // of the registry's address: how far inside it lies
}

func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return g.judge(addr, address)
	}
	return d.DialContext(ctx, network, addr)
}

// judge allows a connection to a host at the address its name has led to.
func (g *guard) judge(addr, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	depth := depthOf(ap.Addr().Unmap())
	switch {
	case g.isOwn(addr):
		g.depth.Store(depth)
	case !g.proxied && depth > g.depth.Load():
		return abi.Errorf(abi.Denied, "it sends us to %q, which is %s", addr, depthNames[depth]).
			WithHint("the registry is misconfigured or not what it claims to be; use another")
	}
	return nil
}

func (g *guard) isOwn(addr string) bool {
	if strings.EqualFold(addr, g.host) {
		return true
	}
	host, port, err := net.SplitHostPort(addr)
	return err == nil && (port == "443" || port == "80") && strings.EqualFold(host, strings.Trim(g.host, "[]"))
}

var depthNames = [...]string{"public", "in a private network", "this machine", "a link-local or broadcast address"}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func depthOf(a netip.Addr) int32 {
	switch {
	case a.IsLoopback():
		return 2
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), !a.IsValid():
		return 3
	case a.IsPrivate(), sharedSpace.Contains(a):
		return 1
	}
	return 0
}

// stalled is the end of a request on which nothing moved.
type stalled struct{ after time.Duration }

func (s *stalled) Error() string { return fmt.Sprintf("nothing moved for %s", s.after) }

// denier asks whether a request may leave.
type denier struct {
	base http.RoundTripper
	deny func(target string) error
}

func (d *denier) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := d.deny(req.Method + " " + req.URL.Redacted()); err != nil {
		return nil, err
	}
	return d.base.RoundTrip(req)
}

// watch ends a request on which no byte moves in either direction for a while, be it in the answer's head or body.
type watch struct {
	base  http.RoundTripper
	stall time.Duration
}

func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	dog := &watchdog{ctx: ctx, cancel: cancel, stall: w.stall}
	dog.timer = time.AfterFunc(w.stall, func() { cancel(&stalled{w.stall}) })
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{req.Body, dog, false}
		if again := req.GetBody; again != nil {
			req.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				if err != nil {
					return nil, err
				}
				return &watched{body, dog, false}, nil
			}
		}
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		err = dog.reason(err)
		dog.stop()
		return nil, err
	}
	dog.timer.Reset(w.stall)
	resp.Body = &watched{resp.Body, dog, true}
	return resp, nil
}

type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func (d *watchdog) stop() {
	d.timer.Stop()
	d.cancel(nil)
}

// reason replaces the error of a cancelled request by why it was.
func (d *watchdog) reason(err error) error {
	if s, ok := errors.AsType[*stalled](context.Cause(d.ctx)); ok {
		return s
	}
	return err
}

// watched is a body that keeps its watchdog quiet by moving.
type watched struct {
	io.ReadCloser
	dog  *watchdog
	last bool // the answer's body: its end is the request's
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.dog.timer.Reset(b.dog.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.dog.reason(err)
	}
	return n, err
}

func (b *watched) Close() error {
	err := b.ReadCloser.Close()
	if b.last {
		b.dog.stop()
	}
	return err
}
