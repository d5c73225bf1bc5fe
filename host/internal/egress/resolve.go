package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// names resolves each name once and keeps the answer for a while: what was judged is what is dialled, and a name that
// changes its mind within the time is not asked again.
type names struct {
	g        *Guard
	resolver Resolver

	mu       sync.Mutex // guards the rest
	pins     map[string]pin
	own      *netguard.Addresses
	ownUntil time.Time
	ownList  []netip.Addr
}

type pin struct {
	addresses []netip.Addr
	until     time.Time
}

// maxPins bounds the memory of names; a full one forgets those that are over, then all.
const maxPins = 4096

func newNames(g *Guard) *names {
	n := &names{g: g, resolver: g.cfg.Resolver, pins: map[string]pin{}}
	if n.resolver == nil {
		// Never the C library's: it reads "2130706433" as an address, which Go's does not.
		n.resolver = &net.Resolver{PreferGo: true}
	}
	return n
}

// addresses judges by what this host's own addresses are now; they are read again every ten seconds.
func (g *Guard) addresses() *netguard.Addresses {
	n := g.names
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.own == nil || now.After(n.ownUntil) {
		ask := g.cfg.Own
		if ask == nil {
			ask = ownAddresses
		}
		if list := ask(); n.own == nil || !slices.Equal(list, n.ownList) {
			n.own, n.ownList = netguard.NewAddresses(list), list
		}
		n.ownUntil = now.Add(10 * time.Second)
	}
	return n.own
}

func ownAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the table still refuses loopback and private ranges
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}

// pinned is the answer that is kept for a name, if any.
func (n *names) pinned(host string) ([]netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.pins[host]
	if !ok || time.Now().After(p.until) {
		return nil, false
	}
	return p.addresses, true
}

// lookup asks the resolver and keeps the answer. Errors are NotFound and Unavailable.
func (n *names) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := n.resolver.LookupNetIP(ctx, "ip", host+".")
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return nil, abi.Errorf(abi.NotFound, "resolve %q: there is no such name", host)
		}
		return nil, abi.Errorf(abi.CodeOf(timeout(err, abi.Unavailable)), "resolve %q: %w", host, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { // IPv4 first: it is what most networks can reach
		switch {
		case a.Is4() == b.Is4():
			return 0
		case a.Is4():
			return -1
		}
		return 1
	})
	if found = slices.Compact(found); len(found) == 0 {
		return nil, abi.Errorf(abi.NotFound, "resolve %q: it has no address", host)
	}
	return found, nil
}

// keep remembers an answer that was judged to be good.
func (n *names) keep(host string, found []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.pins[host]; len(n.pins) >= maxPins && !known {
		now := time.Now()
		for name, p := range n.pins {
			if now.After(p.until) {
				delete(n.pins, name)
			}
		}
		if len(n.pins) >= maxPins {
			clear(n.pins)
		}
	}
	n.pins[host] = pin{found, time.Now().Add(n.g.limits.Pin)}
}

// timeout gives a deadline its own code and everything else the one that is given.
func timeout(err error, or abi.Code) error {
	var t interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return abi.Errorf(abi.Cancelled, "%w", err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &t) && t.Timeout():
		return abi.Errorf(abi.Deadline, "%w", err)
	}
	return abi.Errorf(or, "%w", err)
}
