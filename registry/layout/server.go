package layout

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
)

// ServerOptions say who may do what through Handler and Serve. The zero value is right for loopback: everybody on this
// machine reads and writes.
type ServerOptions struct {
	// Token is what a request must bring as bearer token or basic password to write; empty = nothing.
	Token string
	// Private asks for the token for reading too.
	Private bool
	// Access says who may read and write what, instead of Token and Private; nil = those two do.
	Access *Access
	// Upstream makes the server a mirror: it takes nothing from clients, gets what it does not have from there, and serves
	// what it has when that does not answer.
	Upstream Upstream
	// TLS is how Serve speaks https; nil = http, which it does on loopback alone.
	TLS *tls.Config
	// Rate is how many requests a second each address may make, and Burst how many at once after a rest; 0 = no limit.
	Rate, Burst float64
	// Sweep is how often Serve removes blobs that no manifest stands on and that are older than Grace; 0 = never.
	Sweep, Grace time.Duration // Grace: 0 = 24 hours
	// FixedVersions refuses to point a tag that is a semantic version to another manifest.
	FixedVersions bool
	// Hosts are the names the registry may be asked by, with or without port. On a loopback address the names of this
	// machine are always among them and no others unless listed, so that a web page cannot reach it under a name of its
	// own; elsewhere an empty list allows all.
	Hosts []string

	MaxBlob int64         // bytes; 0 = 8 GiB
	Stall   time.Duration // a connection on which nothing moves for that long is closed; 0 = 30 seconds
	Expiry  time.Duration // an upload nobody writes to for that long is removed by Serve; 0 = 24 hours
	Log     *slog.Logger  // what went wrong on this side; nil = nowhere
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.MaxBlob == 0 {
		o.MaxBlob = 8 << 30
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	if o.Expiry == 0 {
		o.Expiry = 24 * time.Hour
	}
	if o.Grace == 0 {
		o.Grace = 24 * time.Hour
	}
	if o.Burst == 0 {
		o.Burst = max(1, 4*o.Rate)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// server answers the distribution API.
type server struct {
	dir    *Dir
	opts   ServerOptions
	cross  *http.CrossOriginProtection
	limit  *limiter // nil = none
	tokens *tokenService
	counts *counts
}

// Handler serves the directory as the OCI distribution specification 1.1 has it, with push, pull, content discovery and
// content management, in sha256 and sha512, and with the catalogue that Docker's registry added. Blobs stream in both
// directions; a damaged one is cut off before its end. It may be mounted at the root of a server only, and sets the
// deadlines of its connections itself.
func (d *Dir) Handler(o ServerOptions) http.Handler {
	s := &server{dir: d, opts: o.withDefaults(), cross: http.NewCrossOriginProtection(), counts: &counts{}, tokens: newTokenService()}
	if o.Rate > 0 {
		s.limit = &limiter{rate: o.Rate, burst: s.opts.Burst, now: time.Now}
	}
	return s
}

// Serve runs a server over Handler on a listener until ctx ends, and removes abandoned uploads meanwhile. It closes the
// listener and returns when the last request is done, or five seconds after ctx ended; nil then, the listener's error
// otherwise.
func (d *Dir) Serve(ctx context.Context, l net.Listener, o ServerOptions) error {
	o = o.withDefaults()
	if err := o.fit(l.Addr()); err != nil {
		l.Close()
		return err
	}
	if o.TLS != nil {
		l = tls.NewListener(l, o.TLS)
	}
	srv := &http.Server{
		Handler:           d.Handler(o),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	tick := time.NewTicker(max(o.Expiry/4, time.Second))
	defer tick.Stop()
	var sweep <-chan time.Time
	if o.Sweep > 0 {
		t := time.NewTicker(o.Sweep)
		defer t.Stop()
		sweep = t.C
	}
	for {
		select {
		case <-sweep:
			if n, err := d.Sweep(ctx, o.Grace); err != nil && ctx.Err() == nil {
				o.Log.Warn("sweep blobs", "err", err)
			} else if n > 0 {
				o.Log.Info("swept blobs", "removed", n)
			}
		case <-tick.C:
			if _, err := d.Expire(ctx, o.Expiry); err != nil && ctx.Err() == nil {
				o.Log.Warn("expire uploads", "err", err)
			}
		case err := <-failed:
			return fault(err, "serve registry %q", d.path)
		case <-ctx.Done():
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if srv.Shutdown(grace) != nil {
				srv.Close()
			}
			<-failed
			return nil
		}
	}
}

// fit refuses to serve beyond this machine what anybody could then change, or overhear.
func (o *ServerOptions) fit(at net.Addr) error {
	ap, err := netip.ParseAddrPort(at.String())
	if err == nil && ap.Addr().Unmap().IsLoopback() || at.Network() == "unix" {
		return nil
	}
	if o.TLS == nil || o.Access == nil && o.Token == "" {
		return abi.Errorf(abi.Denied, "serve a registry on %q: that is not this machine alone, and it has no certificate or no access file", at).
			WithHint("listen on 127.0.0.1, or give --tls-cert, --tls-key and --access")
	}
	return nil
}

// exchange is one request and its answer.
type exchange struct {
	*server
	w    http.ResponseWriter
	r    *http.Request
	repo *Repo
	arg  string // what follows the kind in the path: a digest, a tag, an upload's id
}

// ServeHTTP finds who asks for what.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &counted{ResponseWriter: &paced{ResponseWriter: w, control: http.NewResponseController(w), stall: s.opts.Stall}, c: s.counts}
	r.Body = &pacedBody{ReadCloser: r.Body, control: http.NewResponseController(w), stall: s.opts.Stall, in: &s.counts.in}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	x := &exchange{server: s, w: w, r: r}
	if err := s.admit(r); err != nil {
		x.fail(err, "DENIED")
		return
	}
	if s.limit != nil {
		if wait, ok := s.limit.allow(r); !ok {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
			x.failAs(http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many requests from this address")
			return
		}
	}
	x.route()
}

// admit refuses requests that come from a web page or under a strange name.
func (s *server) admit(r *http.Request) error {
	if err := s.cross.Check(r); err != nil {
		return abi.Errorf(abi.Denied, "write to the registry: the request comes from a web page of another origin")
	}
	if !s.knows(r) {
		return abi.Errorf(abi.Denied, "ask the registry: it is not known as %q", r.Host).
			WithHint("use its address, or list the name in the server's hosts")
	}
	return nil
}

func (s *server) knows(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if slices.Contains(s.opts.Hosts, r.Host) || slices.Contains(s.opts.Hosts, host) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return len(s.opts.Hosts) == 0
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return len(s.opts.Hosts) == 0
	}
	return isLoopback(host)
}

// isLoopback reports whether a host, with or without port, is a name or address of this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (err == nil && addr.Unmap().IsLoopback())
}

// authentic compares in constant time.
func (s *server) authentic(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if _, given, ok = r.BasicAuth(); !ok {
			return false
		}
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.opts.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// paced gives every write to the connection its own deadline.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

func (p *paced) extend() { _ = p.control.SetWriteDeadline(time.Now().Add(p.stall)) }

func (p *paced) WriteHeader(status int) {
	p.extend()
	p.ResponseWriter.WriteHeader(status)
}

func (p *paced) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// pacedBody gives every read from the connection its own deadline.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
	in      *atomic.Int64
}

func (p *pacedBody) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.ReadCloser.Read(b)
	p.in.Add(int64(n))
	if errors.Is(err, io.EOF) {
		// The server listens on for the client leaving: a deadline left behind would look like that in a long hash.
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
