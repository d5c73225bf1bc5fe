package host

import (
	"cmp"
	"context"
	"crypto/x509"
	"net"
	"net/netip"

	"github.com/arw-project/arw/host/internal/egress"
)

// Egress is how the host reaches the network; the zero value is the system's network in the posture public. Posture is what a
// host begins with that was never told otherwise. The rest is for tests and unusual houses: who answers for names, who dials an
// address that was judged, which addresses are the host's own, and which certificates are believed.
type Egress struct {
	Posture  string
	Resolver interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Own   func() []netip.Addr
	Roots *x509.CertPool
	// Redact takes secrets out of what ledger and previews show; nil leaves them in.
	Redact func([]byte) []byte
}

// openEgress makes the one way out.
func (h *Host) openEgress(ctx context.Context) (err error) {
	s, e := &h.parts, h.cfg.Egress
	s.Egress, err = egress.Open(ctx, h.db, s.Journal, s.View, egress.Config{
		Posture: egress.Posture(cmp.Or(e.Posture, string(egress.Public))), Resolver: e.Resolver, Dial: e.Dial, Own: e.Own, Roots: e.Roots, Redact: e.Redact, Log: h.cfg.Log,
	})
	if err == nil {
		h.onClose(s.Egress.Close)
	}
	return err
}
