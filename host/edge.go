package host

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// Edge is how the API is reached. The zero value is loopback without TLS and no socket.
type Edge struct {
	// Names are what a request may call this host beside the names of loopback; anything else is refused, because a web
	// page can make a browser call us by a name of its own.
	Names []string
	// NeedToken asks everyone for a token, also whoever is at this machine.
	NeedToken bool
	// Socket also serves the operator on operator.sock of the state directory.
	Socket bool
	// Cert and Key are PEM files of the certificate; ClientCA, when set, is whose certificates clients must have. All are
	// read again when they change.
	Cert, Key, ClientCA string
}

// SocketName is the operator's socket in the state directory.
const SocketName = "operator.sock"

// Listen opens the API's address. Beyond loopback it wants TLS, and tokens of everyone. Errors: Invalid, Denied, Unavailable.
func (e *Edge) Listen(address string) (net.Listener, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "listen on %q: %w", address, err).WithHint("write it as 127.0.0.1:8091")
	}
	ip := net.ParseIP(name)
	if beyond := name != "localhost" && (ip == nil || !ip.IsLoopback()); beyond {
		switch {
		case e.Cert == "" || e.Key == "":
			return nil, abi.Errorf(abi.Denied, "listen on %q: that is not this machine alone, and there is no TLS", address).
				WithHint("set tls.cert and tls.key in arw.toml, or listen on 127.0.0.1 and put a proxy with TLS before it")
		case len(e.Names) == 0:
			return nil, abi.Errorf(abi.Denied, "listen on %q: nobody could call it, for it has no name", address).WithHint(`set names = ["host.example"] in arw.toml`)
		}
		e.NeedToken = true
	}
	var with *tls.Config
	if e.Cert != "" || e.Key != "" || e.ClientCA != "" {
		if with, err = e.tls(); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "listen on %q: %w", address, err).
			WithHint("another program has the port: end it, or choose another with --listen")
	}
	if with != nil {
		return tls.NewListener(ln, with), nil
	}
	return ln, nil
}

func (e *Edge) tls() (*tls.Config, error) {
	k := &keyring{cert: e.Cert, key: e.Key, ca: e.ClientCA}
	if _, err := k.current(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: k.current}, nil
}

// keyring is a certificate, its key and a list of authorities in files. A change counts from the next connection on; one
// that cannot be read leaves the last good ones in force.
type keyring struct {
	cert, key, ca string

	mu    sync.Mutex
	stamp string
	good  *tls.Config
}

func (k *keyring) current(*tls.ClientHelloInfo) (*tls.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	stamp := stampOf(k.cert, k.key, k.ca)
	if k.good != nil && stamp == k.stamp {
		return k.good, nil
	}
	next, err := k.load()
	if err != nil {
		if k.good != nil {
			return k.good, nil
		}
		return nil, err
	}
	k.good, k.stamp = next, stamp
	return next, nil
}

// stampOf changes when one of the files does.
func stampOf(paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			b.WriteString(info.ModTime().Format(time.RFC3339Nano) + " " + info.Name() + "\n")
		}
	}
	return b.String()
}

func (k *keyring) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read the certificate %q and its key: %w", k.cert, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if k.ca != "" {
		raw, err := os.ReadFile(k.ca)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read the authorities of clients %q: %w", k.ca, err)
		}
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !c.ClientCAs.AppendCertsFromPEM(raw) {
			return nil, abi.Errorf(abi.Invalid, "read the authorities of clients %q: there is no certificate in it", k.ca)
		}
	}
	return c, nil
}

// socket opens the operator's socket.
func (h *Host) socket() (net.Listener, error) {
	return listenSocket(filepath.Join(h.cfg.StateDir, SocketName))
}
