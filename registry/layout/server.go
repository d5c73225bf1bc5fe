package layout

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
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
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// server answers the distribution API.
type server struct {
	dir   *Dir
	opts  ServerOptions
	cross *http.CrossOriginProtection
}

// Handler serves the directory as the OCI distribution specification 1.1 has it, with push, pull, content discovery and
// content management, in sha256 and sha512, and with the catalogue that Docker's registry added. Blobs stream in both
// directions; a damaged one is cut off before its end. It may be mounted at the root of a server only, and sets the
// deadlines of its connections itself.
func (d *Dir) Handler(o ServerOptions) http.Handler {
	return &server{dir: d, opts: o.withDefaults(), cross: http.NewCrossOriginProtection()}
}

// Serve runs a server over Handler on a listener until ctx ends, and removes abandoned uploads meanwhile. It closes the
// listener and returns when the last request is done, or five seconds after ctx ended; nil then, the listener's error
// otherwise.
func (d *Dir) Serve(ctx context.Context, l net.Listener, o ServerOptions) error {
	o = o.withDefaults()
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
	for {
		select {
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
	w = &paced{ResponseWriter: w, control: http.NewResponseController(w), stall: s.opts.Stall}
	r.Body = &pacedBody{ReadCloser: r.Body, control: http.NewResponseController(w), stall: s.opts.Stall}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	x := &exchange{server: s, w: w, r: r}
	if err := s.admit(r); err != nil {
		if abi.CodeOf(err) == abi.Unauthenticated {
			w.Header().Set("WWW-Authenticate", `Basic realm="arw registry"`)
		}
		x.fail(err, "DENIED")
		return
	}
	x.route()
}

// admit refuses requests that come from a web page, under a strange name, or without the token.
func (s *server) admit(r *http.Request) error {
	if err := s.cross.Check(r); err != nil {
		return abi.Errorf(abi.Denied, "write to the registry: the request comes from a web page of another origin")
	}
	if !s.knows(r) {
		return abi.Errorf(abi.Denied, "ask the registry: it is not known as %q", r.Host).
			WithHint("use its address, or list the name in the server's hosts")
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if s.opts.Token == "" || (reads && !s.opts.Private) || s.authentic(r) {
		return nil
	}
	return abi.Errorf(abi.Unauthenticated, "write to the registry: the token is missing or wrong")
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
}

func (p *pacedBody) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		// The server listens on for the client leaving: a deadline left behind would look like that in a long hash.
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
