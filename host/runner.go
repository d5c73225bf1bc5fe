package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/trace"
)

// anyone is the actor of an action that came without one.
const anyone = "agent:local"

// crowdedPause, doubled with every attempt, is how long a call waits that found no room among its pack's instances.
const crowdedPause = 100 * time.Millisecond

// runner lets the executor run the tools of packs: the two stand on one rung and do not know each other.
type runner struct {
	packs  *pack.Manager
	infer  inference
	trace  *trace.Tracer
	held   func() error  // why nothing runs
	rails  *capsule.Book // asked when an action is submitted, and again when it runs
	known  *project.Book // notes the project of every call
	world  proposals
	redact *redact.Redactor
}

// Resolve implements action.Runner.
func (r runner) Resolve(kind string) (action.Tool, error) {
	t, err := r.resolve(kind)
	if err != nil {
		return t, err
	}
	return hushed(r.redact, t), nil
}

func (r runner) resolve(kind string) (action.Tool, error) {
	if err := r.held(); err != nil {
		return action.Tool{}, err
	}
	if t, ok := r.infer.tool(kind); ok {
		return t, r.rails.Action(t.Pack, t.Kind)
	}
	if t, ok := r.world.tool(kind); ok {
		return t, r.rails.Action(t.Pack, t.Kind)
	}
	c, err := r.packs.Resolve(kind)
	if err != nil {
		return action.Tool{}, err
	}
	if err := r.rails.Action(c.Pack, c.ID); err != nil {
		return action.Tool{}, err
	}
	return action.Tool{Kind: c.ID, Pack: c.Pack, Version: c.Digest, Effects: c.Effects, MaxInput: c.MaxInput, Streams: c.Streams, Validate: c.Validate}, nil
}

// Run implements action.Runner.
func (r runner) Run(ctx context.Context, job action.Job) (res action.Result, err error) {
	a := job.Action
	ctx = trace.About(ctx, a.Corr, a.ID)
	about := []string{"arw.action", a.ID, "arw.corr_id", a.Corr, "arw.pack", a.Pack, "arw.tool", a.Kind, "arw.project", a.Project}
	ctx, span := trace.Start(ctx, "action "+a.Kind, about...)
	if span == nil { // no tool calls it: it begins here, or with a request
		ctx, span = r.trace.Enter(ctx, a.Trace, "action "+a.Kind, about...)
	}
	defer func() { span.End(err) }()
	res, err = r.run(ctx, job)
	return muted(r.redact, res, err)
}

func (r runner) run(ctx context.Context, job action.Job) (action.Result, error) {
	a := job.Action
	if err := r.known.Enter(ctx, journal.Event{Corr: a.Corr, Actor: cmp.Or(a.Actor, anyone), Project: a.Project, Pack: a.Pack, Action: a.ID}); err != nil {
		return action.Result{}, err
	}
	if a.Pack == worldPack && a.Kind == worldPropose {
		if err := r.rails.Action(a.Pack, a.Kind); err != nil {
			return action.Result{}, err
		}
		return r.world.run(ctx, a)
	}
	if a.Pack == inferPack {
		if err := r.rails.Action(a.Pack, a.Kind); err != nil {
			return action.Result{}, err
		}
		return r.infer.run(ctx, job)
	}
	call := pack.Call{
		Pack: a.Pack, Tool: a.Kind, Input: a.Input, Checked: job.Tool.Version, Session: a.Session,
		Actor: cmp.Or(a.Actor, anyone), Corr: a.Corr, Project: a.Project, Action: a.ID, Nested: a.Parent != "",
		Invoke: func(ctx context.Context, tool string, input []byte) (abi.FrameKind, []byte, uint64, error) {
			res, err := job.Call(ctx, tool, input)
			return res.Kind, res.Body, res.Usage.Gas, err
		},
		Record: a.Record != nil,
		Idle:   job.Idle,
	}
	if s := job.Streams; s != nil && s.In != nil {
		call.In = s.In
	}
	if s := job.Streams; s != nil && s.Out != nil {
		call.Out = s.Out
	}
	reply, err := r.packs.Call(ctx, call)
	if errors.Is(err, prompt.ErrWaiting) {
		err = fmt.Errorf("%w: %w", action.ErrHeld, err)
	}
	u := reply.Usage
	if abi.CodeOf(err) == abi.Busy && u.Gas == 0 && u.HostCalls == 0 && a.Depth == 0 { // it never began
		err = &action.Again{After: crowdedPause << a.Attempt, Err: err}
	}
	return action.Result{
		Record: recording(reply.Record),
		Kind:   reply.Kind, Body: reply.Body,
		Usage: action.Usage{Gas: u.Gas, HostCalls: u.HostCalls, Memory: u.MemoryBytes, Wall: u.Wall, Cache: reply.Cache},
	}, err
}

func recording(r *pack.Recorded) *action.Recording {
	if r == nil {
		return nil
	}
	if r.Err != nil {
		return &action.Recording{Code: abi.CodeOf(r.Err).String(), Error: r.Err.Error()}
	}
	return &action.Recording{Digest: r.Digest, Module: r.Module, Bytes: r.Bytes, Calls: r.Calls}
}
