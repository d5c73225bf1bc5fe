package hosttest

import (
	"context"
	"crypto/x509"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/host"
)

//go:embed testdata/courier/main.go
var courier string

//go:embed testdata/courier/pack.toml
var courierTOML string

// CourierTOML is the manifest of the pack Courier.
func CourierTOML() string { return courierTOML }

// Courier is a pack that sends things over the network.
func Courier(t testing.TB) Artifact {
	t.Helper()
	return Artifact{TOML: courierTOML, Module: Build(t, courier)}
}

// Net is a network in memory for hosts under test: names lead to addresses, addresses to servers of the test.
type Net struct {
	roots *x509.CertPool

	mu      sync.Mutex // guards the rest
	names   map[string]netip.Addr
	servers map[netip.AddrPort]string
	dialled []string
}

// NewNet makes an empty network.
func NewNet() *Net {
	return &Net{roots: x509.NewCertPool(), names: map[string]netip.Addr{}, servers: map[netip.AddrPort]string{}}
}

// Config makes a host use the network; for Options.Config.
func (n *Net) Config(c *host.Config) {
	c.Egress.Resolver, c.Egress.Dial, c.Egress.Roots = n, n.dial, n.roots
}

// Name lets a name lead to an address.
func (n *Net) Name(name, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = netip.MustParseAddr(address)
}

// Serve puts a server with TLS at an address, and a name in front of it. The certificate is for example.com and the names
// directly below it.
func (n *Net) Serve(t testing.TB, name, address string, h http.Handler) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	n.Name(name, address)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.roots.AddCert(s.Certificate())
	n.servers[netip.AddrPortFrom(netip.MustParseAddr(address), 443)] = s.Listener.Addr().String()
}

// LookupNetIP implements the host's resolver.
func (n *Net) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ip, ok := n.names[strings.TrimSuffix(name, ".")]; ok {
		return []netip.Addr{ip}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (n *Net) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, address)
	to, ok := n.servers[netip.MustParseAddrPort(address)]
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

// Dialled are the addresses that were dialled.
func (n *Net) Dialled() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.dialled...)
}
