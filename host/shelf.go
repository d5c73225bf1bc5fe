package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/host/internal/journal"
)

// The kinds of actions about model files.
const (
	modelsPull  = "models.pull"
	modelsSweep = "models.sweep"
)

// The kinds of events about them, whose bodies are api.ModelFile.
const (
	kindModelComing = "models.pull.progress"
	kindModelHere   = "models.pulled"
	kindModelFailed = "models.pull.failed"
	kindModelGone   = "models.swept"
)

// shelfTool describes a kind models.*.
func (i inference) shelfTool(kind string) (action.Tool, bool) {
	switch kind {
	case modelsPull:
		return action.Tool{Kind: kind, Pack: inferPack, Effects: abi.OpenWorld, Validate: func(in []byte) error {
			_, err := readPull(in)
			return err
		}}, true
	case modelsSweep:
		return action.Tool{Kind: kind, Pack: inferPack, Effects: abi.Writes, Validate: func([]byte) error { return nil }}, true
	}
	return action.Tool{}, false
}

// shelfRun is for the operator and for people: what a host loads is not for agents to choose.
func (i inference) shelfRun(ctx context.Context, job action.Job) (action.Result, error) {
	a := job.Action
	if actor := cmp.Or(a.Actor, anyone); actor != "operator" && !strings.HasPrefix(actor, "person:") {
		return action.Result{}, abi.Errorf(abi.Denied, "%s as %q: only the operator and people say which model files the host keeps", a.Kind, actor)
	}
	var out any
	var err error
	if a.Kind == modelsPull {
		out, err = i.pull(ctx, a)
	} else {
		var gone []shelf.Manifest
		gone, err = i.sweepModels(ctx, 0)
		out = map[string]any{"removed": append([]shelf.Manifest{}, gone...), "bytes": i.shelf.Used()}
	}
	if err != nil {
		return action.Result{}, err
	}
	body, err := json.Marshal(out)
	return action.Result{Kind: abi.FrameJSON, Body: body}, err
}

func readPull(input []byte) (p api.PullModel, err error) {
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, abi.Errorf(abi.Invalid, "%s: %v", modelsPull, err)
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return p, abi.Errorf(abi.Invalid, `%s: "url" %.200q is no address of a file: it begins with https:// and names nobody`, modelsPull, p.URL)
	}
	if p.Name == "" || p.Digest == "" || p.Profile == "" {
		return p, abi.Errorf(abi.Invalid, `%s: "name", "digest" and "profile" are needed: a file is known by its digest before it is fetched`, modelsPull)
	}
	return p, serve.CheckName(p.Name)
}

// pulls is how long a download may take; after that its token ends, and so does it.
const pulls = 24 * time.Hour

// pull brings a model file here, through the guard and under a token that reaches the named places alone, and names it in
// models.toml.
func (i inference) pull(ctx context.Context, a action.Action) (any, error) {
	p, err := readPull(a.Input)
	if err != nil {
		return nil, err
	}
	if _, ok := i.Profiles()[p.Profile]; !ok {
		return nil, abi.Errorf(abi.Invalid, "%s: runtimes.toml has no profile %.80q", modelsPull, p.Profile)
	}
	if slices.ContainsFunc(i.List(), func(m serve.Model) bool { return m.Name == p.Name }) {
		return nil, abi.Errorf(abi.Conflict, "%s: there is a model %q", modelsPull, p.Name)
	}
	u, _ := url.Parse(p.URL) // it was read before
	place := u.Scheme + "://" + u.Host
	cause := egress.Cause{Actor: cmp.Or(a.Actor, anyone), Corr: a.Corr}
	t, secret, err := i.egress.Issue(ctx, cause, egress.Token{
		Actor: "process:models", Project: a.Project, Scope: append([]string{"GET " + place}, p.Also...), Expires: time.Now().Add(pulls), Reason: "bring the model " + p.Name,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = i.egress.Revoke(context.WithoutCancel(ctx), cause, t.ID) }() // it ends by itself, too
	who, authority, err := i.egress.As(secret, cause, a.ID)
	if err != nil {
		return nil, err
	}
	told := api.ModelFile{Name: p.Name, Digest: p.Digest, Source: place + u.Path}
	m, err := i.shelf.Pull(ctx, i.fetch(who, authority), shelf.Want{
		URL: p.URL, Manifest: shelf.Manifest{Digest: p.Digest, License: p.License, Source: cmp.Or(p.Source, place+u.Path)},
		Progress: func(done, total int64) {
			told.Done, told.Total = done, total
			i.tell(ctx, a, kindModelComing, told)
		},
	})
	if err == nil {
		_, err = serve.Add(ctx, i.dir, serve.Model{Name: p.Name, File: i.shelf.Path(m.Digest), Digest: m.Digest, Profile: p.Profile, License: m.License, Source: m.Source})
	}
	if err == nil && p.Default {
		err = serve.SetDefault(i.dir, p.Name)
	}
	if err != nil {
		told.Code = abi.CodeOf(err).String()
		i.tell(ctx, a, kindModelFailed, told)
		return nil, err
	}
	told.Done, told.Total = m.Size, m.Size
	i.tell(ctx, a, kindModelHere, told)
	return map[string]any{"name": p.Name, "file": m}, nil
}

// fetch asks through the guard.
func (i inference) fetch(who egress.Caller, authority egress.Authority) shelf.Fetch {
	return func(ctx context.Context, url string, header http.Header) (*http.Response, error) {
		x, err := i.egress.Open(ctx, who, authority, egress.Request{URL: url, Header: header})
		if err != nil {
			return nil, err
		}
		head, err := x.Response(ctx)
		if err != nil {
			_ = x.Close()
			return nil, err
		}
		return &http.Response{StatusCode: head.Status, Header: head.Header, ContentLength: head.Length, Body: exchanged{ctx, x}}, nil
	}
}

// exchanged is the body of an answer; closing it settles its row of the ledger.
type exchanged struct {
	ctx context.Context
	x   *egress.Exchange
}

func (b exchanged) Read(p []byte) (int, error) { return b.x.Read(b.ctx, p) }
func (b exchanged) Close() error               { return b.x.Close() }

// tell journals how a file fares. A journal that cannot be written ends the action anyway.
func (i inference) tell(ctx context.Context, a action.Action, kind string, body api.ModelFile) {
	_, _ = i.journal.Append(context.WithoutCancel(ctx), journal.Event{Kind: kind, Corr: a.Corr, Actor: cmp.Or(a.Actor, anyone), Project: a.Project, Action: a.ID, Body: body})
}

// sweepModels removes files that models.toml does not name and no runtime uses.
func (i inference) sweepModels(ctx context.Context, grace time.Duration) ([]shelf.Manifest, error) {
	if i.Fault() != nil {
		return nil, nil // what the file would name is unknown
	}
	named := map[string]bool{}
	for _, m := range i.List() {
		named[m.Digest] = true
	}
	gone, err := i.shelf.Sweep(func(digest string) bool {
		sup := i.runtimes.now()
		return named[digest] || sup != nil && sup.Uses(digest)
	}, grace)
	for _, m := range gone {
		i.tell(ctx, action.Action{Actor: "host"}, kindModelGone, api.ModelFile{Digest: m.Digest, Source: m.Source, Total: m.Size})
	}
	return gone, err
}
