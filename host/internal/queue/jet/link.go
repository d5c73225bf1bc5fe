package jet

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/arw-project/arw/abi"
)

// Server says how to reach one.
type Server struct {
	URLs []string // "tls://host:4222"; "nats://" is for this machine alone
	CA   string   // PEM file of the authority of the servers' certificates; empty means the system's
	Cert string   // PEM files of this host's certificate, for servers that ask for one
	Key  string
	// Credentials is a file with a user's JWT and key, as the NATS tools make it.
	Credentials string
	// Pipe makes a connection to a server inside this process, in the URLs' place.
	Pipe func() (net.Conn, error)
	Log  *slog.Logger
}

// Link is a connection that comes back by itself.
type Link struct {
	conn *nats.Conn

	mu   sync.Mutex
	hear func()
}

func (l *Link) told(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear = f
}

func (l *Link) back() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hear != nil {
		l.hear()
	}
}

// pipe lets the client use a server of this process.
type pipe func() (net.Conn, error)

func (p pipe) InProcessConn() (net.Conn, error) { return p() }

// Dial connects. Errors: Invalid for an address or a file, and for a plain one beyond this machine; Unavailable.
func Dial(ctx context.Context, s Server) (*Link, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	l := &Link{}
	opts := []nats.Option{
		nats.Name("arw"), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(callTimeout), nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(*nats.Conn) { s.Log.Info("the queue's server is reached again"); l.back() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.Log.Warn("the queue's server is lost; steps are kept and told later", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.Log.Warn("the queue's server", "error", err) }),
	}
	if s.Pipe != nil {
		opts = append(opts, nats.InProcessServer(pipe(s.Pipe)))
	} else {
		secure, err := s.secure()
		if err != nil {
			return nil, err
		}
		opts = append(opts, secure...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := nats.Connect(strings.Join(s.URLs, ","), opts...)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "reach the queue's server at %q: %w", s.URLs, err).
			WithHint("see that it runs, and that [queue.nats] has its address and certificates")
	}
	l.conn = conn
	return l, nil
}

// secure are the options of certificates and credentials. Nothing goes in clear beyond this machine.
func (s Server) secure() (opts []nats.Option, err error) {
	if len(s.URLs) == 0 {
		return nil, abi.Errorf(abi.Invalid, "reach the queue's server: no address was given").WithHint(`set urls = ["tls://host:4222"], or embedded = true, under [queue.nats]`)
	}
	for _, raw := range s.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls"}, u.Scheme) {
			return nil, abi.Errorf(abi.Invalid, "reach the queue's server: %q is no address", raw).WithHint("write it as tls://host:4222")
		}
		if u.User != nil {
			return nil, abi.Errorf(abi.Invalid, "reach the queue's server: an address holds no password").WithHint("give a credentials file")
		}
		ip := net.ParseIP(u.Hostname())
		if u.Scheme == "nats" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, abi.Errorf(abi.Denied, "reach the queue's server at %q: beyond this machine only with TLS", raw).WithHint("write it as tls://%s", u.Host)
		}
	}
	secured := strings.HasPrefix(s.URLs[0], "tls:")
	if secured {
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if s.CA != "" {
		opts = append(opts, nats.RootCAs(s.CA))
	}
	if s.Cert != "" || s.Key != "" {
		opts = append(opts, nats.ClientCert(s.Cert, s.Key))
	}
	if s.Credentials != "" {
		opts = append(opts, nats.UserCredentials(s.Credentials))
	}
	return opts, nil
}

// Close ends a link that no queue was opened on.
func (l *Link) Close() { l.conn.Close() }
