package egress

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// pool keeps connections open for the next request of the same caller to the same origin at the same address, and to no
// other: a connection stands for the address that was judged.
type pool struct {
	g *Guard

	mu         sync.Mutex // guards the rest
	transports map[lane]*kept
	closed     bool
}

type lane struct {
	caller, origin string
	address        netip.AddrPort
}

type kept struct {
	transport *http.Transport
	used      time.Time
}

// maxLanes bounds what is kept open.
const maxLanes = 256

func newPool(g *Guard) *pool { return &pool{g: g, transports: map[lane]*kept{}} }

// get is the transport of a lane.
func (p *pool) get(l lane) *http.Transport {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if k := p.transports[l]; k != nil {
		k.used = now
		return k.transport
	}
	if len(p.transports) >= maxLanes {
		oldest := lane{}
		for key, k := range p.transports {
			if o := p.transports[oldest]; o == nil || k.used.Before(o.used) {
				oldest = key
			}
		}
		p.transports[oldest].transport.CloseIdleConnections()
		delete(p.transports, oldest)
	}
	t := p.transport(l.address)
	if !p.closed {
		p.transports[l] = &kept{t, now}
	} else {
		t.DisableKeepAlives = true
	}
	return t
}

// transport speaks HTTP/1.1 and 2 to one address, whatever the name says. It follows no proxy of the environment and unpacks
// nothing, so that bytes are counted and given as they came.
func (p *pool) transport(to netip.AddrPort) *http.Transport {
	l := p.g.limits
	return &http.Transport{
		DialContext:         func(ctx context.Context, network, _ string) (net.Conn, error) { return p.g.dial(ctx, network, to) },
		TLSClientConfig:     &tls.Config{RootCAs: p.g.cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: l.Dial, ForceAttemptHTTP2: true, DisableCompression: true,
		MaxIdleConns: 4, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 32, IdleConnTimeout: l.Idle, MaxResponseHeaderBytes: l.Header,
		ExpectContinueTimeout: time.Second,
	}
}

// dial opens a connection to an address that was judged, and judges it once more where the socket is made.
func (g *Guard) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Dial)
	defer cancel()
	if g.cfg.Dial != nil {
		return g.cfg.Dial(ctx, network, to.String())
	}
	d := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		got, err := netip.ParseAddrPort(address)
		if err != nil || got.Addr().Unmap() != to.Addr().Unmap() || got.Port() != to.Port() {
			return abi.Errorf(abi.Internal, "dial %s: the socket would lead to %s", to, address)
		}
		return nil
	}}
	return d.DialContext(ctx, network, to.String())
}

// drop closes what is kept and unused; what is in use ends with its request.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l, k := range p.transports {
		k.transport.CloseIdleConnections()
		delete(p.transports, l)
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}

func laneOf(c Caller, d netguard.Dest, ip netip.Addr) lane {
	return lane{c.pool(), d.Scheme + "://" + d.Host + ":" + strconv.Itoa(int(d.Port)), netip.AddrPortFrom(ip, d.Port)}
}
