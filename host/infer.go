package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
)

// inferPack stands where an action names its pack: models belong to the host.
const inferPack = "arw/infer"

// inferPreview tells what a request would send and cost.
const inferPreview = "infer.preview"

// The kinds of events, whose bodies are api.InferEvent.
const (
	kindInferDone    = "infer.done"
	kindInferFailed  = "infer.failed"
	kindInferRefused = "infer.refused"
)

// inference is how models are asked.
type inference struct {
	*serve.Service
	runtimes *runtimes
	shelf    *shelf.Shelf
	dir      string // of the state
	policy   *policy.Live
	journal  *journal.Journal
	quotas   *quota.Book
	egress   *egress.Guard
	vault    *vault.Vault
	redact   *redact.Redactor
	judge    func(ctx context.Context, c egress.Caller, target string, d netguard.Dest) ([]string, error)
}

// openInfer reads which models there are. The runtimes' folder is touched only when one is needed, or runtimes were left in it.
func (h *Host) openInfer(ctx context.Context) (err error) {
	dir := filepath.Join(h.cfg.StateDir, "run")
	i := &h.infer
	i.policy, i.journal, i.egress, i.dir = h.parts.Policy, h.parts.Journal, h.parts.Egress, h.cfg.StateDir
	i.vault, i.redact, i.judge = h.parts.Vault, h.parts.Redact, h.mayLeave
	i.runtimes = &runtimes{opened: make(chan struct{}), cfg: supervise.Config{Dir: dir, Prompts: filepath.Join(h.cfg.StateDir, "prompts"), Log: h.cfg.Log, Changed: h.runtimeChanged(ctx)}}
	h.onClose(i.runtimes.close)
	if _, left := os.Stat(dir); left == nil {
		if _, err := i.runtimes.get(); err != nil {
			return err
		}
	}
	i.quotas = h.parts.Quotas
	if i.shelf, err = shelf.Open(filepath.Join(h.cfg.StateDir, "models"), h.cfg.Limits.Models); err != nil {
		return err
	}
	h.parts.Shelf, h.parts.Runtimes = i.shelf, i.runtimes.now
	i.Service, err = serve.Open(h.cfg.StateDir, i.runtimes, h.cfg.Models)
	h.parts.Models = i.Service
	return err
}

// runtimes is the supervisor, opened when it is first needed: most hosts of tests and of packs alone never do.
type runtimes struct {
	cfg    supervise.Config
	opened chan struct{} // closed when sup is there

	mu     sync.Mutex
	sup    *supervise.Supervisor
	closed bool
}

func (r *runtimes) get() (*supervise.Supervisor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, abi.Errorf(abi.Unavailable, "start a runtime: the host is stopping")
	}
	if r.sup != nil {
		return r.sup, nil
	}
	sup, err := supervise.Open(r.cfg)
	if err == nil {
		r.sup = sup
		close(r.opened)
	}
	return sup, err
}

// Lend implements serve.Lender.
func (r *runtimes) Lend(ctx context.Context, want supervise.Want) (*supervise.Loan, error) {
	sup, err := r.get()
	if err != nil {
		return nil, err
	}
	return sup.Lend(ctx, want)
}

// now is the supervisor if there is one yet.
func (r *runtimes) now() *supervise.Supervisor {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sup
}

func (r *runtimes) close() error {
	r.mu.Lock()
	sup := r.sup
	r.closed = true
	r.mu.Unlock()
	if sup == nil {
		return nil
	}
	return sup.Close()
}

// runtimeChanged keeps the document "runtimes": every runtime that was asked for since the start, by id.
func (h *Host) runtimeChanged(ctx context.Context) func(supervise.Status) {
	ctx = context.WithoutCancel(ctx)
	known := map[string]supervise.Status{} // Changed is called by one at a time
	return func(st supervise.Status) {
		known[st.ID] = st
		doc, err := json.Marshal(map[string]any{"runtimes": known})
		if err == nil {
			_, err = h.parts.View.Put(ctx, view.Cause{Actor: "host"}, "runtimes", doc)
		}
		if err != nil {
			h.cfg.Log.Error("show runtimes", "error", err)
		}
	}
}

// runtimes is the supervisor's clockwork.
func (h *Host) runtimes(ctx context.Context) error {
	select {
	case <-h.infer.runtimes.opened:
		return h.infer.runtimes.now().Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// tool describes a kind infer.*.
func (i inference) tool(kind string) (action.Tool, bool) {
	kind = strings.TrimPrefix(kind, inferPack+":")
	if t, ok := i.shelfTool(kind); ok {
		return t, true
	}
	if t, ok := i.runtimeTool(kind); ok {
		return t, true
	}
	if kind == inferPreview {
		return action.Tool{Kind: kind, Pack: inferPack, Effects: abi.Reads, Validate: func(in []byte) error {
			_, err := serve.Check(serve.Generate, in)
			return err
		}}, true
	}
	if !slices.Contains(serve.Kinds, kind) {
		return action.Tool{}, false
	}
	t := action.Tool{Kind: kind, Pack: inferPack, Effects: abi.Reads, Validate: func(input []byte) error {
		_, err := serve.Check(kind, input)
		return err
	}}
	if kind == serve.Generate {
		t.Streams = []string{"output"}
	}
	return t, true
}

// run asks a model. Prompt caches are kept apart by project. A pack's call ends here: its way to a model needs a lease of its
// own, which an action's does not stand for.
func (i inference) run(ctx context.Context, job action.Job) (action.Result, error) {
	a := job.Action
	if a.Parent != "" {
		return action.Result{}, abi.Errorf(abi.Denied, "call %q: a pack cannot reach models through actions", a.Kind)
	}
	if _, ok := i.shelfTool(a.Kind); ok {
		return i.shelfRun(ctx, job)
	}
	if _, ok := i.runtimeTool(a.Kind); ok {
		return i.runtimeRun(ctx, a)
	}
	if a.Kind == inferPreview {
		return i.foresee(ctx, a)
	}
	var out func(string) error
	if s := job.Streams; s != nil && s.Out != nil {
		out = func(text string) error { return s.Out.Write(ctx, abi.FrameBytes, []byte(text)) }
	}
	by := journal.Event{Corr: a.Corr, Actor: cmp.Or(a.Actor, anyone), Project: a.Project, Action: a.ID}
	who := quota.Who{Actor: by.Actor, Project: a.Project, Corr: a.Corr}
	o, err := i.Ask(ctx, by, serve.Call{
		Kind: a.Kind, Input: a.Input, Scope: "project\x00" + a.Project, Out: out,
		May: func(m serve.Model) (infer.Budget, error) { return i.may(ctx, a, m) },
		Spend: func(tokens, money int64) error {
			return i.quotas.Spend(context.WithoutCancel(ctx), "infer", &who, quota.Amount{Tokens: tokens, Money: money})
		},
	})
	if err != nil {
		return action.Result{}, err
	}
	return action.Result{Kind: abi.FrameJSON, Body: o.Body}, nil
}

// Ask implements pack.Models: it runs a request and journals what came of it. by says who asks.
func (i inference) Ask(ctx context.Context, by journal.Event, c serve.Call) (serve.Outcome, error) {
	start := time.Now()
	c.Remote = func(_ context.Context, m serve.Model, p supervise.Profile) (infer.Model, error) {
		return i.remote(by, m, p)
	}
	o, err := i.Run(ctx, c)
	if c.Kind != serve.Models {
		// A caller that left does not make what was used unused; and what cannot be accounted for is not handed out.
		err = errors.Join(err, i.account(context.WithoutCancel(ctx), by, c.Kind, o, err, time.Since(start)))
	}
	return o, err
}

// foresee answers infer.preview: the input is that of infer.generate.
func (i inference) foresee(ctx context.Context, a action.Action) (action.Result, error) {
	ask, err := serve.Check(serve.Generate, a.Input)
	if err != nil {
		return action.Result{}, err
	}
	m, err := i.Find(ask.Model)
	if err == nil {
		_, err = i.may(ctx, a, m)
	}
	if err != nil {
		return action.Result{}, err
	}
	out, err := i.preview(ctx, journal.Event{Corr: a.Corr, Actor: cmp.Or(a.Actor, anyone), Project: a.Project, Action: a.ID}, m, ask)
	if err != nil {
		return action.Result{}, err
	}
	body, err := json.Marshal(out)
	return action.Result{Kind: abi.FrameJSON, Body: body}, err
}

// may asks Cedar whether the actor may ask the model. The narrowest budget of the deciding policies bounds the one request.
func (i inference) may(ctx context.Context, a action.Action, m serve.Model) (infer.Budget, error) {
	actor := cmp.Or(a.Actor, anyone)
	got := i.policy.Decide(policy.Request{
		Action: policy.ActionInfer, Pack: policy.Pack{Name: inferPack}, Actor: actor, Model: m.Name, Project: a.Project,
	})
	if !got.Allowed {
		e := abi.Errorf(abi.Denied, "ask model %q as %q: %s", m.Name, actor, got.Reason).WithDetail(got)
		return infer.Budget{}, fmt.Errorf("%w: %w", serve.ErrRefused, e)
	}
	who := quota.Who{Actor: actor, Project: a.Project, Corr: a.Corr}
	if err := i.quotas.Take(ctx, "infer", &who, quota.Amount{Calls: 1}); err != nil {
		return infer.Budget{}, fmt.Errorf("%w: %w", serve.ErrRefused, err)
	}
	return infer.Budget{Tokens: got.Budget.Tokens, Money: got.Budget.Money}, nil
}

// account journals what a request came to; the document "usage" adds these up.
func (i inference) account(ctx context.Context, by journal.Event, asked string, o serve.Outcome, failed error, took time.Duration) error {
	body := api.InferEvent{
		Kind: asked, Model: o.Model.Name, Engine: o.Engine.Name, EngineKind: string(o.Engine.Kind),
		Prompt: o.Usage.Prompt, Cached: o.Usage.Cached, Output: o.Usage.Output, Doubtful: o.Usage.Doubtful,
		MS: took.Milliseconds(), Money: o.Cost,
	}
	by.Kind = kindInferDone
	if failed != nil {
		by.Kind, body.Code = kindInferFailed, abi.CodeOf(failed).String()
	}
	if errors.Is(failed, serve.ErrRefused) {
		by.Kind = kindInferRefused
	}
	by.Body = body
	_, err := i.journal.Append(ctx, by)
	return err
}
