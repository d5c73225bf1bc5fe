package host

import (
	"cmp"
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/quota"
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
	// Redact takes secrets out of what ledger and previews show; nil is the host's own rules and the values of its vault.
	Redact func([]byte) []byte
}

// openEgress makes the one way out.
func (h *Host) openEgress(ctx context.Context) (err error) {
	s, e := &h.parts, h.cfg.Egress
	if e.Redact == nil {
		e.Redact = s.Redact.At("egress").Bytes
	}
	s.Egress, err = egress.Open(ctx, h.db, s.Journal, s.View, egress.Config{
		Posture: egress.Posture(cmp.Or(e.Posture, string(egress.Public))), Resolver: e.Resolver, Dial: e.Dial, Own: e.Own, Roots: e.Roots, Redact: e.Redact, Judge: h.mayLeave, Meter: h.meterEgress, Deny: h.capsuleDenies, Log: h.cfg.Log,
	})
	if err == nil {
		h.onClose(s.Egress.Close)
	}
	return err
}

// meterEgress counts what programs and people send through the proxy.
func (h *Host) meterEgress(ctx context.Context, c egress.Caller, calls, bytes int64) error {
	actor := c.Actor
	if name, ok := strings.CutPrefix(actor, "process:"); ok {
		actor = "agent:" + name
	}
	return h.parts.Quotas.Take(ctx, string(abi.HTTP), &quota.Who{Actor: actor, Project: c.Project, Corr: c.Corr}, quota.Amount{Calls: calls, Bytes: bytes})
}

// mayLeave asks Cedar about a caller that is no pack, for whom a token speaks.
func (h *Host) mayLeave(_ context.Context, c egress.Caller, target string, d netguard.Dest) ([]string, error) {
	method, _, _ := strings.Cut(target, " ")
	actor := c.Actor
	if name, ok := strings.CutPrefix(actor, "process:"); ok {
		actor = "agent:" + name
	}
	got := h.parts.Policy.Decide(policy.Request{
		Action: policy.ActionEgress, Pack: policy.Pack{Name: "host/proxy"}, Actor: actor,
		Dest: &policy.Dest{Method: method, Scheme: d.Scheme, Host: d.Host, Domain: netguard.Registrable(d.Host), Port: int64(d.Port), Path: d.Path},
	})
	if got.Allowed {
		return got.Policies, nil
	}
	return got.Policies, abi.Errorf(abi.Denied, "send to %q as %q: %s", d.Host, c.Actor, got.Reason).WithDetail(egress.Denial{Reason: "policy", Why: got})
}
