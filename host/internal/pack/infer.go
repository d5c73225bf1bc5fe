package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/wasm"
)

// Models answers requests for inference.
type Models interface {
	// Find is the model that a name means; "" is the default. Errors: NoModel, NotFound.
	Find(name string) (serve.Model, error)
	// Ask runs a request and journals what came of it, as asked by.
	Ask(ctx context.Context, by journal.Event, c serve.Call) (serve.Outcome, error)
}

// asker is what a call sees of the host's models: those that a lease and Cedar let it ask.
type asker world

// bounds are what a request asks to be held to, within what it may have.
type bounds struct{ tokens, money, ms int64 }

// may decides whether the call may ask a model, and how much one request may take of it: the narrowest of the policies'
// budget, what is left of the lease and the request's own bounds. A person may be asked meanwhile.
func (a *asker) may(ctx context.Context, m serve.Model, own bounds) (infer.Budget, error) {
	w := (*world)(a)
	if halted := a.v.halted.Load(); halted != nil {
		w.deny(ctx, abi.Infer, m.Name, halted)
		return infer.Budget{}, halted
	}
	id, err := "", w.railed(abi.Infer, m.Name)
	if err == nil && m.Remote && a.t.Effects < abi.OpenWorld {
		err = abi.Errorf(abi.Denied, "ask model %q: it is on somebody else's server, and the tool %q declares effects = %q", m.Name, a.t.ID, a.t.Effects.String()).
			WithHint("set effects = %q for the tool in pack.toml, or ask a model of this host", abi.OpenWorld.String())
	}
	if err == nil {
		err = w.mayUse(ctx, abi.Infer, m.Name)
	}
	var got policy.Decision
	var judged error
	if err == nil {
		_, id, err = w.take(ctx, abi.Infer, use{target: m.Name, also: func() error {
			got, judged = a.judge(ctx, m.Name)
			return judged
		}})
	}
	if judged != nil {
		return infer.Budget{}, judged
	}
	if err != nil {
		err = w.beyond(abi.Infer, use{target: m.Name}, err)
		w.deny(ctx, abi.Infer, m.Name, err)
		return infer.Budget{}, err
	}
	b := infer.Budget{Tokens: least(own.tokens, got.Budget.Tokens), Money: least(own.money, got.Budget.Money), Time: time.Duration(own.ms) * time.Millisecond}
	if l, err := a.m.Leases.Get(id); err == nil { // one that ended since is met by the first token
		if left, ok := l.Budget.Left(l.Used); ok {
			b.Tokens, b.Money = least(b.Tokens, left.Tokens), least(b.Money, left.Money)
		}
	}
	return b, nil
}

// judge asks Cedar about a model.
func (a *asker) judge(ctx context.Context, model string) (policy.Decision, error) {
	got := a.m.Policy.Decide(policy.Request{
		Action: policy.ActionInfer, Pack: a.v.who, Model: model, Project: a.c.Project, Context: facts(a.v.row.Verdict),
	})
	a.m.oblige(ctx, a.c, policy.ActionInfer, got)
	if got.Allowed {
		return got, nil
	}
	err := denied(got, "ask model %q for pack %q", model, a.c.Pack)
	(*world)(a).said(err)
	return got, err
}

// least is the smaller of two bounds, of which 0 is none.
func least(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// call is a request as the host's models take it. Whether it may be is decided here and now, on the goroutine of the call;
// a refusal goes along, so that it is accounted for like the rest.
func (a *asker) call(ctx context.Context, kind, model string, req any, own bounds) (serve.Call, error) {
	input, err := json.Marshal(req)
	if err != nil {
		return serve.Call{}, abi.Errorf(abi.Invalid, "%s: %w", kind, err)
	}
	c := serve.Call{Kind: kind, Input: input, Scope: "pack\x00" + a.c.Pack + "\x00project\x00" + a.c.Project}
	m, err := a.m.Models.Find(model)
	var b infer.Budget
	var refused error
	if err == nil {
		if b, refused = a.may(ctx, m, own); refused != nil {
			refused = fmt.Errorf("%w: %w", serve.ErrRefused, refused)
		}
	}
	c.May = func(now serve.Model) (infer.Budget, error) {
		if now.Name != m.Name {
			return b, abi.Errorf(abi.Conflict, "ask model %q: the default was changed meanwhile", now.Name)
		}
		return b, refused
	}
	// Spend runs beside the guest: it may touch nothing of the world but what is safe for that.
	seat, v, rails, account := (*world)(a).seat(), a.v, a.m.Rails, a.account
	c.Spend = func(tokens, money int64) error {
		if halted := v.halted.Load(); halted != nil {
			return halted
		}
		if rails != nil {
			if err := rails.Use(abi.Infer, m.Name); err != nil {
				return err
			}
		}
		ctx := context.WithoutCancel(ctx)
		return errors.Join(seat.Charge(ctx, abi.Infer, m.Name, lease.Budget{Tokens: tokens, Money: money}),
			a.m.Quotas.Spend(ctx, string(abi.Infer), &account, quota.Amount{Tokens: tokens, Money: money}))
	}
	return c, nil
}

func (a *asker) by() journal.Event {
	return journal.Event{Corr: a.c.Corr, Actor: a.c.Actor, Project: a.c.Project, Pack: a.c.Pack, Action: a.c.Action}
}

// ask runs a request that has one answer.
func (a *asker) ask(ctx context.Context, kind, model string, req, into any) error {
	c, err := a.call(ctx, kind, model, req, bounds{})
	if err != nil {
		return err
	}
	o, err := a.m.Models.Ask(ctx, a.by(), c)
	if err != nil {
		return a.heard(err)
	}
	return json.Unmarshal(o.Body, into)
}

// heard remembers a failure, so that the guest may pass it on, and takes the host's own mark off it.
func (a *asker) heard(err error) error {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		err = e
	}
	(*world)(a).said(err)
	return err
}

// Embed implements wasm.Infer.
func (a *asker) Embed(ctx context.Context, req abi.InferEmbed) (out abi.InferVectors, err error) {
	err = a.ask(ctx, serve.Embed, req.Model, req, &out)
	return out, err
}

// Rerank implements wasm.Infer.
func (a *asker) Rerank(ctx context.Context, req abi.InferRerank) (out abi.InferScores, err error) {
	err = a.ask(ctx, serve.Rerank, req.Model, req, &out)
	return out, err
}

// Tokenize implements wasm.Infer.
func (a *asker) Tokenize(ctx context.Context, req abi.InferTokenize) (out abi.InferTokens, err error) {
	err = a.ask(ctx, serve.Tokenize, req.Model, req, &out)
	return out, err
}

// maxBound keeps a time within 63 bits of nanoseconds.
const maxBound = int64(1) << 40

// Generate implements wasm.Infer. It returns when the model is ready to answer.
func (a *asker) Generate(ctx context.Context, req abi.InferRequest) (wasm.Answer, error) {
	own := bounds{req.BudgetTokens, req.BudgetUSDMicros, min(req.TimeoutMS, maxBound)}
	req.BudgetTokens, req.BudgetUSDMicros, req.TimeoutMS = 0, 0, 0
	c, err := a.call(ctx, serve.Generate, req.Model, req, own)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	g := &answering{a: a, cancel: cancel, parts: make(chan string), done: make(chan struct{})}
	began := make(chan abi.InferEngine, 1)
	c.Began = func(e infer.Engine) { began <- abi.InferEngine{Engine: e.Name, Kind: string(e.Kind), Model: e.Model} }
	c.Out = func(text string) error {
		select {
		case g.parts <- text:
			return nil
		case <-ctx.Done():
			return abi.Errorf(abi.CodeOf(ctx.Err()), "ask model: %w", context.Cause(ctx))
		}
	}
	go func() {
		defer close(g.done)
		g.outcome, g.err = a.m.Models.Ask(ctx, a.by(), c)
	}()
	select {
	case g.engine = <-began:
		return g, nil
	case <-g.done:
	}
	select {
	case g.engine = <-began: // it began and ended at once
		return g, nil
	default:
	}
	cancel()
	return nil, a.heard(g.err)
}

// answering is an answer that a model is making for a call. Its methods are the call's; only Ask runs beside them.
type answering struct {
	a       *asker
	engine  abi.InferEngine
	cancel  context.CancelFunc
	parts   chan string
	left    string
	done    chan struct{} // closed when outcome and err are there
	outcome serve.Outcome
	err     error
}

// Engine implements wasm.Answer.
func (g *answering) Engine() abi.InferEngine { return g.engine }

// next waits for a part; io.EOF at the end.
func (g *answering) next(ctx context.Context) (string, error) {
	select {
	case text := <-g.parts:
		return text, nil
	case <-g.done:
	case <-ctx.Done():
		return "", abi.Errorf(abi.CodeOf(ctx.Err()), "ask model %q: %w", g.engine.Model, context.Cause(ctx))
	}
	if g.err != nil {
		return "", g.a.heard(g.err)
	}
	return "", io.EOF
}

// Read implements wasm.Answer.
func (g *answering) Read(ctx context.Context, buf []byte) (n int, err error) {
	if g.left == "" {
		if g.left, err = g.next(ctx); err != nil {
			return 0, err
		}
	}
	n = copy(buf, g.left)
	g.left = g.left[n:]
	return n, nil
}

// Finish implements wasm.Answer.
func (g *answering) Finish(ctx context.Context) (abi.InferResult, error) {
	g.left = ""
	for {
		_, err := g.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			out := abi.InferResult{USDMicros: g.outcome.Cost}
			err = json.Unmarshal(g.outcome.Body, &out)
			return out, err
		case err != nil:
			return abi.InferResult{}, err
		}
	}
}

// Close implements wasm.Answer: the model is free, and what was used is accounted for, when it returns.
func (g *answering) Close() error {
	g.cancel()
	<-g.done
	return nil
}
