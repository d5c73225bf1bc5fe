package egress

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// hop is one request to one destination.
type hop struct {
	kind      string
	caller    Caller
	authority Authority
	method    string
	dest      netguard.Dest
	header    http.Header
	announced int64
	payload   string
	parent    string
}

// judged is a hop that may go.
type judged struct {
	row       Row
	permit    Permission
	addresses []netip.Addr
	price     Price
}

func (h *hop) target() string { return h.method + " " + h.dest.Target() }

func (h *hop) newRow(p Posture) Row {
	return Row{
		Kind: h.kind, Decision: "allow", Caller: h.caller, Posture: p, Method: h.method, Scheme: h.dest.Scheme, Host: h.dest.Host,
		Port: h.dest.Port, Path: h.dest.Path, Announced: h.announced, Payload: h.payload, Parent: h.parent,
	}
}

// Reasons of the guard beside those of package netguard.
const (
	whyPosture = "posture"
	whyScope   = "scope" // an operator's scope denies it
	whyAllow   = "allowlist"
	whyCapsule = "capsule"
	whyLease   = "lease"
	whyPolicy  = "policy"
	whyDNS     = "dns"
	whyPort    = "port"
	whyOK      = "ok"
)

// judge decides everything that can be decided without asking a resolver. dry counts nothing against a lease.
func (g *Guard) judge(ctx context.Context, h *hop, dry bool) (judged, error) {
	r := g.rules.Load()
	j := judged{row: h.newRow(r.posture)}
	if r.posture == Off {
		return j, denied(whyPosture, "send to %q: egress is off on this host", h.dest.Host).WithHint("the operator can open it: arw egress posture public")
	}
	if err := g.checkRequest(h); err != nil {
		return j, err
	}
	if g.cfg.Deny != nil {
		if err := g.cfg.Deny(ctx, h.caller, h.target()); err != nil {
			return j, abi.Errorf(abi.CodeOf(err), "send to %q: %w", h.dest.Host, err).WithHint("%s", abi.HintOf(err)).WithDetail(Denial{Reason: whyCapsule})
		}
	}
	s := r.find(h.dest, time.Now())
	switch {
	case s != nil && s.Deny:
		j.row.Rule = s.ID
		return j, denied(whyScope, "send to %q: the operator's scope %q denies it", h.dest.Host, s.ID).WithHint("arw egress posture lists the scopes")
	case s == nil && r.posture == Allowlist:
		return j, denied(whyAllow, "send to %q: no scope names it, and the posture is allowlist", h.dest.Host).
			WithHint("the operator can add one: arw egress scope set ID --host %s", h.dest.Host)
	case s == nil && netguard.NeverPort(h.dest.Port):
		return j, denied(whyPort, "send to %q: on port %d no web server listens", h.dest.Host, h.dest.Port)
	case s != nil:
		j.row.Rule, j.price = s.ID, s.Price
	}
	j.row.Cost = j.price.of(1, max(h.announced, 0))
	ask := h.authority.Permit
	if dry {
		ask = h.authority.Would
	}
	var err error
	j.permit, err = ask(ctx, h.target(), h.dest, max(h.announced, 0))
	j.row.Lease, j.row.Scope, j.row.Policies = j.permit.Lease, j.permit.Scope, j.permit.Policies
	if err != nil {
		return j, err
	}
	if h.dest.IP.IsValid() {
		j.addresses = []netip.Addr{h.dest.IP}
		return j, g.checkAddresses(h.dest, j.addresses)
	}
	return j, nil
}

// checkRequest holds a request to what a guest may send, and keeps it from asking somebody else's resolver.
func (g *Guard) checkRequest(h *hop) error {
	for name, values := range h.header {
		for _, v := range values {
			if err := netguard.CheckHeader(name, v); err != nil {
				return refusal(h.dest.Host, err)
			}
		}
	}
	if err := netguard.CheckResolver(h.dest, h.header); err != nil {
		return refusal(h.dest.Host, err)
	}
	return nil
}

// checkAddresses refuses a destination one of whose addresses is no public place: who can put one bad address among good ones
// would only have to wait for it to be chosen. A scope opens what it names.
func (g *Guard) checkAddresses(d netguard.Dest, found []netip.Addr) error {
	table := g.addresses()
	s := g.rules.Load().find(d, time.Now())
	for _, ip := range found {
		what := table.Judge(ip)
		if what.OK() || s != nil && !s.Deny && what.Class.Openable() && s.opens(ip) {
			continue
		}
		if what.Class == netguard.Self && s != nil && !s.Deny && s.opensAlone(ip) {
			continue
		}
		return denied(string(netguard.Special), "send to %q: it leads to %s (%s)", d.Host, ip, what.What).
			WithHint("the operator can open a range for a named host: arw egress scope set ID --host %s --cidr RANGE", d.Host)
	}
	return nil
}

// resolve finds and judges the addresses of a name, at most once in the time of a pin. The question is egress itself, so it has a row.
func (g *Guard) resolve(ctx context.Context, h *hop, j *judged) error {
	if len(j.addresses) > 0 {
		return nil
	}
	if found, ok := g.names.pinned(h.dest.Host); ok {
		j.addresses = found
		return g.checkAddresses(h.dest, found) // own addresses and scopes may have changed
	}
	if err := g.asking(h, j); err != nil {
		return err
	}
	asked := j.row
	asked.Kind, asked.Reason, asked.Announced, asked.Payload, asked.Path, asked.Cost = "dns", whyOK, 0, "", "", 0
	if err := g.append(ctx, &asked); err != nil {
		return err
	}
	found, err := g.names.lookup(ctx, h.dest.Host)
	if err == nil {
		err = g.checkAddresses(h.dest, found)
		g.answered(h, err)
		if err == nil {
			g.names.keep(h.dest.Host, found)
		}
	} else {
		g.unanswered(h, err)
		err = because(whyDNS, err)
	}
	o := Outcome{Code: abi.CodeOf(err).String()}
	if err != nil {
		o.Error = err.Error()
	}
	if len(found) > 0 {
		o.Address = found[0].String()
	}
	g.settle(&asked, o)
	j.addresses = found
	return err
}

// start judges a hop, resolves it and writes its row. After it, bytes may leave. A refusal has a row too.
func (g *Guard) start(ctx context.Context, h *hop) (judged, error) {
	j, err := g.judge(ctx, h, false)
	if err == nil {
		err = g.resolve(ctx, h, &j)
	}
	if err != nil {
		return j, g.deny(ctx, &j.row, err)
	}
	j.row.Reason, j.row.Address = whyOK, j.addresses[0].String()
	return j, g.append(ctx, &j.row)
}

// deny writes the row of a refusal and returns it, with the row's id.
func (g *Guard) deny(ctx context.Context, r *Row, err error) error {
	r.Decision, r.Reason, r.Message, r.State = "deny", reasonOf(err), err.Error(), StateDenied
	if lost := g.append(ctx, r); lost != nil {
		g.log.ErrorContext(ctx, "write the egress ledger", "corr_id", r.Caller.Corr, "action", r.Caller.Action, "error", lost)
	}
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return err
	}
	out := *e
	if d, ok := out.Detail.(Denial); ok {
		d.Row = r.ID
		out.Detail = d
	}
	return &out
}

// refusal is what package netguard refuses, in the words of the house.
func refusal(host string, err error) error {
	r, ok := errors.AsType[*netguard.Refusal](err)
	if !ok {
		return err
	}
	if host == "" {
		return denied(string(r.Reason), "send: %s", r.Msg)
	}
	return denied(string(r.Reason), "send to %q: %s", host, r.Msg)
}

// because gives an error that has none a reason.
func because(reason string, err error) error {
	return abi.Errorf(abi.CodeOf(err), "%w", err).WithHint("%s", abi.HintOf(err)).WithDetail(Denial{Reason: reason})
}

func reasonOf(err error) string {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return abi.Internal.String()
	}
	if d, ok := e.Detail.(Denial); ok {
		return d.Reason
	}
	switch e.Code {
	case abi.LeaseExpired, abi.LeaseRevoked, abi.BudgetExhausted:
		return e.Code.String()
	case abi.Denied:
		return whyLease
	}
	return e.Code.String()
}

// of is the price of calls and bytes.
func (p Price) of(calls, bytes int64) int64 { return p.Call*calls + p.MiB*(bytes>>10)/1024 }
