package pack

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/wasm"
)

// network is what a call sees of the network: the host's guard, with the pack's leases and Cedar as its authority.
type network world

func (n *network) caller() egress.Caller {
	return egress.Caller{Actor: "pack:" + n.c.Pack, Pack: n.c.Pack, Digest: n.v.row.Digest, Tool: n.t.ID, Action: n.c.Action, Corr: n.c.Corr, Project: n.c.Project}
}

// Permit implements egress.Authority: a lease must cover the hop, then Cedar must allow it.
func (n *network) Permit(ctx context.Context, target string, d netguard.Dest, bytes int64) (egress.Permission, error) {
	w := (*world)(n)
	if halted := n.v.halted.Load(); halted != nil {
		w.deny(ctx, abi.HTTP, target, halted)
		return egress.Permission{}, halted
	}
	scope, id, err := "", "", w.railed(abi.HTTP, target)
	if err == nil {
		err = w.mayUse(ctx, abi.HTTP, target)
	}
	var p egress.Permission
	var judged error // Cedar has said and told why
	if err == nil {
		scope, id, err = w.take(ctx, abi.HTTP, use{target: target, n: bytes, also: func() error {
			p, judged = n.decide(ctx, target, d)
			return judged
		}})
	}
	if judged != nil {
		return p, judged
	}
	if err != nil {
		err = w.beyond(abi.HTTP, use{target: target}, err)
		w.deny(ctx, abi.HTTP, target, err)
		return egress.Permission{}, err
	}
	p.Lease, p.Scope = id, scope
	p.Spend = func(ctx context.Context, more int64) error {
		if halted := n.v.halted.Load(); halted != nil {
			return halted
		}
		if err := w.railed(abi.HTTP, target); err != nil {
			return err
		}
		if err := w.seat().Spend(ctx, abi.HTTP, target, more); err != nil {
			return err
		}
		return n.m.Quotas.Take(ctx, string(abi.HTTP), &w.account, quota.Amount{Bytes: more})
	}
	return p, nil
}

// Would implements egress.Authority.
func (n *network) Would(ctx context.Context, target string, d netguard.Dest, bytes int64) (egress.Permission, error) {
	if err := (*world)(n).railed(abi.HTTP, target); err != nil {
		return egress.Permission{}, err
	}
	scope, id, err := (*world)(n).seat().Would(abi.HTTP, target, bytes)
	if err != nil {
		return egress.Permission{}, (*world)(n).beyond(abi.HTTP, use{target: target}, err)
	}
	p, err := n.decide(nil, target, d)
	p.Lease, p.Scope = id, scope
	return p, err
}

// decide asks Cedar. With a context a refusal is journaled.
func (n *network) decide(ctx context.Context, target string, d netguard.Dest) (egress.Permission, error) {
	method, _, _ := strings.Cut(target, " ")
	got := n.m.Policy.Decide(policy.Request{
		Action: policy.ActionEgress, Pack: n.v.who, Context: facts(n.v.row.Verdict),
		Dest: &policy.Dest{Method: method, Scheme: d.Scheme, Host: d.Host, Domain: netguard.Registrable(d.Host), Port: int64(d.Port), Path: d.Path},
	})
	p := egress.Permission{Policies: got.Policies}
	if got.Allowed {
		return p, nil
	}
	err := denied(got, "send to %q", d.Host)
	if ctx != nil {
		(*world)(n).said(err)
		n.m.note(ctx, "policy.denied", n.c, map[string]any{"action": policy.ActionEgress, "tool": n.t.ID, "target": target, "decision": got})
	}
	return p, err.WithDetail(egress.Denial{Reason: "policy", Why: got})
}

// Open implements wasm.HTTP.
func (n *network) Open(ctx context.Context, req abi.HTTPRequest, body []byte, stream bool) (wasm.Exchange, error) {
	out := requestOf(req)
	out.Body, out.Stream = body, stream
	n.credentials(req, &out)
	x, err := n.m.Egress.Open(ctx, n.caller(), n, out)
	if err != nil {
		(*world)(n).said(err)
		return nil, err
	}
	(*world)(n).saw(placeOf(req.URL))
	return exchange{x, (*world)(n)}, nil
}

// placeOf is where a URL leads, without what it says there.
func placeOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the network"
	}
	return u.Scheme + "://" + u.Host
}

// requestOf is a guest's request as the guard reads it.
func requestOf(req abi.HTTPRequest) egress.Request {
	out := egress.Request{
		Method: req.Method, URL: req.URL, Header: http.Header{}, Manual: req.Redirect == "manual", Max: req.MaxBytes,
		Timeout: time.Duration(min(req.TimeoutMS, 1<<40)) * time.Millisecond, Protocols: req.Protocols,
	}
	for _, h := range req.Headers {
		out.Header.Add(h[0], h[1])
	}
	return out
}

// maxSecrets is how many secrets one request may carry.
const maxSecrets = 4

// credentials lets the vault fill the named secrets in, when a lease covers each and it is meant for where the request goes.
func (n *network) credentials(req abi.HTTPRequest, out *egress.Request) {
	out.Scrub = n.m.Redact // also of an answer to a request without one: it may repeat what an earlier one brought there
	if len(req.Secrets) == 0 {
		return
	}
	w := (*world)(n)
	out.Fill = func(ctx context.Context, r *http.Request) error {
		if len(req.Secrets) > maxSecrets {
			return abi.Errorf(abi.Invalid, "send %d secrets: at most %d go into one request", len(req.Secrets), maxSecrets)
		}
		for _, name := range req.Secrets {
			if !slices.Contains(n.v.caps, abi.Secret) || n.m.Vault == nil {
				return abi.Errorf(abi.Denied, "send secret %q: [capabilities.secret] is not in pack.toml", name).
					WithHint("add [capabilities.secret] with scope = [%q] and reason = \"…\"", name)
			}
			if _, err := (*gate)(n).Use(ctx, abi.Secret, name, 0); err != nil {
				return err
			}
			if err := n.m.Vault.Fill(ctx, (*secrets)(n).user(), name, r); err != nil {
				w.deny(ctx, abi.Secret, name, err)
				return err
			}
		}
		return nil
	}
}

// exchange is one request of a guest.
type exchange struct {
	*egress.Exchange
	w *world
}

// Response implements wasm.Exchange.
func (x exchange) Response(ctx context.Context) (abi.HTTPResponse, error) {
	r, err := x.Exchange.Response(ctx)
	if err != nil {
		x.w.said(err)
	}
	return headOf(r), err
}

// Write implements wasm.Exchange.
func (x exchange) Write(ctx context.Context, part []byte) error {
	return x.heard(x.Exchange.Write(ctx, part))
}

// Read implements wasm.Exchange.
func (x exchange) Read(ctx context.Context, buf []byte) (int, error) {
	n, err := x.Exchange.Read(ctx, buf)
	return n, x.heard(err)
}

// heard remembers what the host refused, so that the guest may pass it on.
func (x exchange) heard(err error) error {
	if err != nil && err != io.EOF {
		x.w.said(err)
	}
	return err
}

func headOf(r egress.Response) abi.HTTPResponse {
	return abi.HTTPResponse{Status: r.Status, URL: r.URL, Length: r.Length, Ledger: r.Row, Headers: pairs(r.Header), Protocol: r.Protocol}
}

// pairs are headers by name, so that the same answer is the same text.
func pairs(h http.Header) [][2]string {
	out := [][2]string{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, [2]string{name, strings.ToValidUTF8(v, "\uFFFD")})
		}
	}
	return out
}

// Foresee tells what a tool of a pack would send, and what would be said about it; nothing is counted, resolved, stored or sent.
func (m *Manager) Foresee(ctx context.Context, packName, tool string, req abi.HTTPRequest, body []byte) (egress.Preview, error) {
	if packName == "" {
		out := requestOf(req)
		out.Body = body
		return m.Egress.Preview(ctx, egress.Caller{}, nobody{}, out), nil
	}
	s := m.index.Load().packs[packName]
	if s == nil || s.current() == nil {
		return egress.Preview{}, notInstalled(packName)
	}
	v := s.current()
	t := v.tools[tool]
	if t == nil && tool != "" {
		return egress.Preview{}, abi.Errorf(abi.NotFound, "preview for %q: the pack %q has no such tool", tool, packName)
	}
	if t == nil {
		for _, t = range v.tools {
			break
		}
	}
	n := (*network)(&world{m: m, v: v, t: t, c: &Call{Pack: packName, Tool: tool}})
	out := requestOf(req)
	out.Body = body
	return m.Egress.Preview(ctx, n.caller(), n, out), nil
}

// nobody asks what the host says about a destination, whoever would send.
type nobody struct{}

// Permit implements egress.Authority; nothing can be sent as nobody.
func (nobody) Permit(context.Context, string, netguard.Dest, int64) (egress.Permission, error) {
	return egress.Permission{}, abi.Errorf(abi.Denied, "send: there is nobody to send for")
}

// Would implements egress.Authority.
func (nobody) Would(context.Context, string, netguard.Dest, int64) (egress.Permission, error) {
	return egress.Permission{}, nil
}

// socket is one WebSocket of a guest.
type socket struct {
	*egress.Socket
	w *world
}

// Connect implements wasm.HTTP.
func (n *network) Connect(ctx context.Context, req abi.HTTPRequest) (wasm.Socket, error) {
	out := requestOf(req)
	n.credentials(req, &out)
	s, err := n.m.Egress.Connect(ctx, n.caller(), n, out)
	if err != nil {
		(*world)(n).said(err)
		return nil, err
	}
	(*world)(n).saw(placeOf(req.URL))
	return socket{s, (*world)(n)}, nil
}

// Head implements wasm.Socket.
func (s socket) Head() abi.HTTPResponse { return headOf(s.Socket.Head()) }

// Send implements wasm.Socket.
func (s socket) Send(ctx context.Context, kind int, data []byte) error {
	return exchange{w: s.w}.heard(s.Socket.Send(ctx, kind == abi.MessageText, data))
}

// Receive implements wasm.Socket.
func (s socket) Receive(ctx context.Context) (int, []byte, error) {
	text, data, err := s.Socket.Receive(ctx)
	kind := abi.MessageBytes
	if text {
		kind = abi.MessageText
	}
	return kind, data, exchange{w: s.w}.heard(err)
}
