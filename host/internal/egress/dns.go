package egress

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/dnsguard"
	"github.com/arw-project/arw/host/internal/netguard"
)

// ServeDNS answers names to programs of this machine as the guard sees them: what the posture and the scopes allow, with judged
// addresses that are pinned for the guard too. Every question that goes to the resolver is a row of the ledger. It returns nil when
// ctx ends.
func (g *Guard) ServeDNS(ctx context.Context, pc net.PacketConn, ln net.Listener) error {
	return dnsguard.New(g.answer, dnsguard.Options{TTL: min(g.limits.Pin, 30*time.Second)}).Serve(ctx, pc, ln)
}

// answer resolves one name for a program that asks the loopback resolver.
func (g *Guard) answer(ctx context.Context, who, name string) ([]netip.Addr, error) {
	host, ip, err := netguard.ParseHost(name)
	d := netguard.Dest{Scheme: "https", Host: host, Port: 443, Path: "/"}
	h := hop{kind: "dns", caller: Caller{Actor: who}, dest: d}
	j := judged{row: Row{Kind: "dns", Decision: "allow", Caller: h.caller, Posture: g.rules.Load().posture, Host: name}}
	switch {
	case err != nil || ip.IsValid():
		err = denied(string(netguard.SpecialName), "resolve %q: it is no name of a public place", name)
	default:
		err = g.mayAsk(ctx, &h)
	}
	if err != nil {
		g.alarm(h.caller, g.odd.Refused(time.Now(), who, name, refusedAs(err)))
		return nil, g.deny(ctx, &j.row, err)
	}
	if err := g.resolve(ctx, &h, &j); err != nil {
		return nil, err
	}
	return j.addresses, nil
}

func refusedAs(err error) dnsguard.Reason {
	if reasonOf(err) == string(netguard.Resolver) {
		return dnsguard.DoH
	}
	return dnsguard.Denied
}

// mayAsk says whether the host's stance lets a name be asked for at all.
func (g *Guard) mayAsk(ctx context.Context, h *hop) error {
	if g.cfg.Deny != nil {
		if err := g.cfg.Deny(ctx, h.caller, h.dest.Host); err != nil {
			return abi.Errorf(abi.CodeOf(err), "resolve %q: %w", h.dest.Host, err).WithHint("%s", abi.HintOf(err)).WithDetail(Denial{Reason: whyCapsule})
		}
	}
	r := g.rules.Load()
	s := r.find(h.dest, time.Now())
	switch {
	case r.posture == Off:
		return denied(whyPosture, "resolve %q: egress is off on this host", h.dest.Host)
	case netguard.IsResolver(h.dest.Host):
		return denied(string(netguard.Resolver), "resolve %q: it answers DNS over HTTPS", h.dest.Host)
	case s != nil && s.Deny:
		return denied(whyScope, "resolve %q: the operator's scope %q denies it", h.dest.Host, s.ID)
	case s == nil && r.posture == Allowlist:
		return denied(whyAllow, "resolve %q: no scope names it, and the posture is allowlist", h.dest.Host)
	}
	return nil
}

// checkOdd refuses a question for a name that looks like a way to carry data out, unless somebody named the destination: an
// operator's scope, or a lease that names the host itself.
func (g *Guard) checkOdd(h *hop, j *judged, odd dnsguard.Reason) error {
	switch odd {
	case dnsguard.Entropy, dnsguard.Long, dnsguard.Fanout:
	default:
		return nil
	}
	if named(j.permit.Scope) || g.rules.Load().find(h.dest, time.Now()) != nil {
		return nil
	}
	return abi.Errorf(abi.Denied, "resolve %q: such names (%s) can carry data out", h.dest.Host, odd).WithDetail(Denial{Reason: "dns_odd"}).
		WithHint("a lease that names the host, or an operator's scope, lets it through")
}
