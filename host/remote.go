package host

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/openai"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/manifests/reach"
)

// maxAsk bounds what one request sends to somebody else's model, in bytes.
const maxAsk = 16 << 20

// remote is a model on somebody else's server, for one request: every byte goes through the guard as the one who asks, to the
// profile's place alone, and the secret is filled in where nobody sees it.
func (i inference) remote(by journal.Event, m serve.Model, p supervise.Profile) (infer.Model, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "reach model %q: %w", m.Name, err)
	}
	scope, err := reach.Parse("POST " + strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "reach model %q: %w", m.Name, err)
	}
	// What it can is said, not tried: trying costs money.
	can := &infer.Can{Generate: !p.Embed, Chat: !p.Embed, Schema: !p.Embed, Embed: p.Embed}
	return openai.Open(context.Background(), openai.Config{
		Base: p.URL, Model: p.Model, Dialect: openai.Remote, Can: can, Context: p.Context,
		Transport: &leaving{i: i, by: by, secret: p.Secret, scope: scope},
	})
}

// leaving sends requests of the host's own client through the guard.
type leaving struct {
	i      inference
	by     journal.Event
	secret string
	scope  reach.Entry
}

// RoundTrip implements http.RoundTripper. Redirects are answers: a model that moved is the operator's to follow.
func (l *leaving) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxAsk+1)); err != nil {
			return nil, err
		}
		if len(body) > maxAsk {
			return nil, abi.Errorf(abi.TooLarge, "send to %q: a request of more than %d bytes", r.URL.Host, maxAsk)
		}
	}
	req := egress.Request{Method: r.Method, URL: r.URL.String(), Header: r.Header, Body: body, Manual: true, Scrub: l.i.redact}
	if l.secret != "" {
		who := vault.User{Corr: l.by.Corr, Actor: l.by.Actor, Project: l.by.Project, Pack: l.by.Pack, Action: l.by.Action}
		req.Fill = func(ctx context.Context, out *http.Request) error { return l.i.vault.Fill(ctx, who, l.secret, out) }
	}
	ctx := r.Context()
	x, err := l.i.egress.Open(ctx, l.caller(), l, req)
	if err != nil {
		return nil, err
	}
	head, err := x.Response(ctx)
	if err != nil {
		_ = x.Close()
		return nil, err
	}
	return &http.Response{StatusCode: head.Status, Header: head.Header, ContentLength: head.Length, Request: r, Body: exchanged{ctx, x}, ProtoMajor: 1, ProtoMinor: 1}, nil
}

func (l *leaving) caller() egress.Caller {
	return egress.Caller{Actor: l.by.Actor, Pack: l.by.Pack, Action: l.by.Action, Corr: l.by.Corr, Project: l.by.Project}
}

// Permit implements egress.Authority: the operator's profile is the lease, then Cedar is asked about the one who asks.
func (l *leaving) Permit(ctx context.Context, target string, d netguard.Dest, _ int64) (egress.Permission, error) {
	t, ok := reach.ParseTarget(target)
	if !ok || !l.scope.Covers(&t) {
		return egress.Permission{}, abi.Errorf(abi.Denied, "send to %q: it is not where the profile's model is", d.Host).WithDetail(egress.Denial{Reason: "lease"})
	}
	policies, err := l.i.judge(ctx, l.caller(), target, d)
	return egress.Permission{Lease: "runtimes.toml", Scope: l.scope.String(), Policies: policies, Spend: func(context.Context, int64) error { return nil }}, err
}

// Would implements egress.Authority.
func (l *leaving) Would(ctx context.Context, target string, d netguard.Dest, n int64) (egress.Permission, error) {
	return l.Permit(ctx, target, d, n)
}

// preview tells what a request to a remote model would send, what would be said about it and what it could cost; nothing is sent.
func (i inference) preview(ctx context.Context, by journal.Event, m serve.Model, a *serve.Ask) (any, error) {
	out := map[string]any{"model": m.Name, "remote": m.Remote, "most_usd_micros": m.Price().Of(a.Request.MostTokens())}
	if !m.Remote {
		return out, nil
	}
	far, err := i.remote(by, m, i.Profiles()[m.Profile])
	if err != nil {
		return nil, err
	}
	path, body, err := far.(*openai.Client).Words(&a.Request)
	if err != nil {
		return nil, err
	}
	p := i.Profiles()[m.Profile]
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, err
	}
	scope, err := reach.Parse("POST " + strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"))
	if err != nil {
		return nil, err
	}
	l := &leaving{i: i, by: by, secret: p.Secret, scope: scope}
	out["egress"] = i.egress.Preview(ctx, l.caller(), l, egress.Request{
		Method: http.MethodPost, URL: strings.TrimSuffix(p.URL, "/") + path, Body: bytes.Clone(body), Header: http.Header{"Content-Type": {"application/json"}}, Manual: true,
	})
	out["secret"] = p.Secret
	return out, nil
}
