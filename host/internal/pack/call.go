package pack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/trace"
	"github.com/arw-project/arw/host/internal/wasm"
)

// Call is one call of one tool.
type Call struct {
	Pack, Tool string
	Input      []byte
	// Checked is the digest of the version whose schema the input is known to fit; otherwise the input is checked again.
	Checked string
	// Session, when set, continues the state of this actor's session of that name; only for tools with that isolation.
	Session string
	// Actor is "operator", "person:NAME", "agent:NAME" or "pack:NAMESPACE/NAME".
	Actor                 string
	Corr, Project, Action string
	// Nested says that another tool makes the call; it may pass a pack that drains.
	Nested bool
	// In and Out are the caller's streams; nil when it attached none.
	In  wasm.Source
	Out wasm.Sink
	// Record keeps the call in the content store.
	Record bool
	// Invoke calls another tool on behalf of this call; nil refuses. An error with FrameError is that tool's own answer.
	// The gas is what that tool took.
	Invoke func(ctx context.Context, tool string, input []byte) (kind abi.FrameKind, body []byte, gas uint64, err error)
	// Config answers for the host's documents in this call alone; nil reads the live ones. For experiments.
	Config func(name string) ([]byte, error)
	// Idle runs a function while the call's worker does other work; nil just runs it.
	Idle func(wait func() error) error
}

// Reply is a tool's answer; Usage is set also when the call failed.
type Reply struct {
	Kind  abi.FrameKind
	Body  []byte
	Usage wasm.Usage
	// Record says where the call was recorded, or why it was not; nil when nobody asked. Set also when the call failed.
	Record *Recorded
	// Cache is "hit", "miss" or "bypass": whether the answer was made by this call. Set also when the call failed.
	Cache string
}

// Resolve finds a tool by "tool.id", "namespace/name:tool.id", or "namespace/name" when that pack has just one. NotFound
// when there is none, Invalid when the pack has several; of a broken pack, what broke it.
func (m *Manager) Resolve(kind string) (Callable, error) {
	idx := m.index.Load()
	name, id, qualified := strings.Cut(kind, ":")
	s := idx.tools[kind]
	if qualified || strings.Contains(kind, "/") {
		if s = idx.packs[name]; s == nil {
			return Callable{}, notInstalled(name)
		}
	}
	if s == nil {
		return Callable{}, abi.Errorf(abi.NotFound, "find tool %q: no installed pack has it", kind).WithHint("list the tools: arw pack list")
	}
	v := s.current()
	if v == nil {
		return Callable{}, notInstalled(s.name)
	}
	if err := v.fault(); err != nil {
		return Callable{}, err
	}
	switch {
	case !strings.Contains(kind, "/"):
		id = kind
	case !qualified && len(v.man.Tools) == 1:
		id = v.man.Tools[0].ID
	case !qualified:
		return Callable{}, abi.Errorf(abi.Invalid, "find tool %q: the pack has %d tools", kind, len(v.man.Tools)).WithHint("name one: %s:%s", name, v.man.Tools[0].ID)
	}
	t := v.tools[id]
	if t == nil {
		return Callable{}, abi.Errorf(abi.NotFound, "find tool %q: the pack %q has none of that name", kind, s.name)
	}
	return Callable{Pack: s.name, ID: id, Digest: v.row.Digest, Effects: t.Effects, MaxInput: v.limitsOf(t).Input, Streams: t.Streams, Validate: t.checkInput}, nil
}

// fault is what keeps the version from running, nil when nothing does.
func (v *version) fault() error {
	if halted := v.halted.Load(); halted != nil {
		return halted
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.broken != nil {
		return v.broken
	}
	return nil
}

func (t *tool) checkInput(in []byte) error {
	if err := t.Input.Validate(in); err != nil {
		return wrap(err, "check the input of %q", t.ID)
	}
	return nil
}

// checkOutput holds a tool to its word. A schema speaks of JSON; bytes pass.
func (t *tool) checkOutput(r Reply) error {
	if r.Kind != abi.FrameJSON {
		return nil
	}
	if err := t.Output.Validate(r.Body); err != nil {
		e := wrap(err, "check the output of %q: it breaks its own schema", t.ID)
		e.Code = abi.ToolFailed
		return e.WithHint("report it to the pack's author")
	}
	return nil
}

// Call is step 12. The answer is a value, or an error with a code: what the tool answered (the code is its choice, but
// the host's own words, such as lease_revoked, stand only where the host said them in this call), or what kept it from
// answering. The call is counted against its pack for as long as it runs.
func (m *Manager) Call(ctx context.Context, c Call) (Reply, error) {
	var err error
	if c.Project, err = project.Of(c.Project); err != nil {
		return Reply{}, err
	}
	s := m.index.Load().packs[c.Pack]
	if s == nil {
		return Reply{}, notInstalled(c.Pack)
	}
	ctx, taint := tainted(ctx)
	in, inner, err := s.enter(ctx, c.Nested, c.session())
	if err != nil {
		return Reply{}, err
	}
	defer in.leave()
	v := in.v
	t := v.tools[c.Tool]
	if t == nil {
		return Reply{}, abi.Errorf(abi.NotFound, "call %q: version %s of the pack %q has no such tool", c.Tool, v.row.Version, c.Pack)
	}
	d, err := m.ready(ctx, v, t, &c)
	if err != nil {
		return Reply{}, err
	}
	p, err := m.program(ctx, v)
	if err != nil {
		return Reply{}, err
	}
	if err := m.renew(ctx, v, c.Corr); err != nil {
		return Reply{}, err
	}
	w := &world{m: m, v: v, t: t, c: &c, taint: taint}
	w.account = quota.Who{Pack: c.Pack, Publishers: v.who.Signers, Actor: c.Actor, Project: c.Project, Corr: c.Corr}
	if err := m.Quotas.Take(ctx, quota.Call, &w.account, quota.Amount{Calls: 1, Bytes: int64(len(c.Input))}); err != nil {
		return Reply{}, err
	}
	inner, w.span = trace.Start(inner, "call "+t.ID, "arw.pack", c.Pack, "arw.digest", v.row.Digest)
	if session := c.session(); session != "" {
		v.recall(session, taint)
		defer v.note(session, taint)
	}
	r, err := m.answer(inner, p, w)
	m.spent(ctx, w, r)
	if d.Redact {
		r, err = m.redacted(t, r, err)
	}
	w.span.Say("arw.cache", r.Cache)
	w.span.End(err)
	if err != nil && w.unanswered && ctx.Err() != nil {
		return r, fmt.Errorf("%w: %w", prompt.ErrWaiting, err)
	}
	if halted := v.halted.Load(); err != nil && halted != nil && ctx.Err() == nil {
		return r, halted // the host cut it off; what the guest made of that is no answer
	}
	if ctx.Err() == nil {
		m.watch(v, err, r.Kind == abi.FrameError, w.denied)
	}
	return r, err
}

// spent counts what a call came to, also one that failed or whose caller is gone.
func (m *Manager) spent(ctx context.Context, w *world, r Reply) {
	err := m.Quotas.Add(context.WithoutCancel(ctx), quota.Call, &w.account, quota.Amount{Gas: int64(r.Usage.Gas), Bytes: int64(len(r.Body))})
	if err != nil {
		m.Log.Error("count what a call came to", "pack", w.c.Pack, "tool", w.t.ID, "action", w.c.Action, "error", err)
	}
}

// session is the key under which the engine keeps the call's session: neither two actors nor one in two projects share a
// guest's state by choosing one name.
func (c *Call) session() string {
	if c.Session == "" {
		return ""
	}
	return c.Actor + "\x00" + c.Project + "\x00" + c.Session
}

// ready checks everything that can refuse a call before the guest is touched.
func (m *Manager) ready(ctx context.Context, v *version, t *tool, c *Call) (d policy.Decision, err error) {
	if err := v.fault(); err != nil {
		return d, err
	}
	if m.Rails != nil {
		if err := m.Rails.Action(c.Pack, t.ID); err != nil {
			m.note(ctx, "policy.denied", c, map[string]any{"action": policy.ActionCall, "tool": t.ID, "actor": c.Actor, "capsule": detailOf(err)})
			return d, err
		}
	}
	if err := v.holding("tool:", t.ID); err != nil {
		m.note(ctx, "policy.denied", c, map[string]any{"action": policy.ActionCall, "tool": t.ID, "actor": c.Actor, "held": err.Detail})
		return d, err
	}
	if c.Checked != v.row.Digest {
		if err := t.checkInput(c.Input); err != nil {
			return d, err
		}
	}
	if c.Session != "" && !t.session {
		return d, abi.Errorf(abi.Invalid, "call %q: its isolation is %q, so it keeps no sessions", t.ID, t.Isolation)
	}
	if d, err = m.mayCall(ctx, v, t, c); err == nil && d.Redact && (c.Out != nil || m.Redact == nil) {
		err = abi.Errorf(abi.Unsupported, "call %q as %q: the policies %q want secrets taken out of its answer, which nobody can of a stream", t.ID, c.Actor, d.Policies).
			WithHint("call it without a stream for its output")
	}
	return d, err
}

// run makes the call and judges the answer.
func (m *Manager) run(ctx context.Context, p *wasm.Program, w *world) (Reply, error) {
	call := wasm.Call{
		Tool: w.t.ID, Input: w.c.Input, Session: w.c.session(), Effects: w.t.Effects, Limits: w.v.limitsOf(w.t), Gate: (*gate)(w), Host: w.host(),
		In: w.c.In, Out: w.c.Out,
	}
	if w.c.Record {
		call.Record = m.recorder(w)
	}
	got, err := p.Call(ctx, call)
	w.close(ctx)
	r := Reply{Kind: got.Kind, Body: got.Body, Usage: got.Usage}
	if call.Record != nil {
		r.Record = m.keep(ctx, w, call.Record)
	}
	switch {
	case err != nil && got.Kind == abi.FrameError:
		return r, w.own(err)
	case err != nil:
		return r, w.v.overLimit(w.t, err)
	}
	return r, w.t.checkOutput(r)
}

func detailOf(err error) any {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e.Detail
	}
	return nil
}

// mayCall asks Cedar, once per caller, project, version and set of policies: the facts do not change while the host runs.
func (m *Manager) mayCall(ctx context.Context, v *version, t *tool, c *Call) (policy.Decision, error) {
	set := m.Policy.Current()
	key := set.Digest() + "\x00" + c.Actor + "\x00" + c.Project + "\x00" + t.ID
	req := policy.Request{Action: policy.ActionCall, Pack: v.who, Tool: t.ID, Effects: t.Effects.String(), Actor: c.Actor, Project: c.Project, Context: facts(v.row.Verdict)}
	if name, ok := strings.CutPrefix(c.Actor, "pack:"); ok {
		if name == v.row.Name { // whichever version of it calls: during an upgrade the current one need not be this one
			req.Caller = &v.who
		} else if s := m.index.Load().packs[name]; s != nil {
			if caller := s.current(); caller != nil {
				req.Caller = &caller.who
				key += "\x00" + caller.row.Digest
			}
		}
	}
	d, known := v.decided(key)
	if names := set.Args(); len(names) > 0 { // what it is called with may decide
		req.Args, known = t.facts(c.Input, names), true
		d = set.Decide(req)
	}
	if !known {
		d = set.Decide(req)
		v.decide(key, d)
	}
	m.oblige(ctx, c, policy.ActionCall, d)
	if d.Allowed {
		return d, nil
	}
	err := denied(d, "call %q as %q", t.ID, c.Actor)
	m.note(ctx, "policy.denied", c, map[string]any{"action": policy.ActionCall, "tool": t.ID, "actor": c.Actor, "decision": d})
	return d, err
}

// maxDecisions bounds the cache of one version against callers that invent names.
const maxDecisions = 1024

func (v *version) decided(key string) (policy.Decision, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.decisions[key]
	return d, ok
}

func (v *version) decide(key string, d policy.Decision) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.decisions) >= maxDecisions {
		clear(v.decisions)
	}
	v.decisions[key] = d
}

// renew prolongs the leases of a version that Cedar gave, that have run out by themselves, and that Cedar would give
// again. What was revoked stays revoked.
func (m *Manager) renew(ctx context.Context, v *version, corr string) error {
	if due := v.renewAt.Load(); due == 0 || time.Now().UnixMilli() < due {
		return nil
	}
	v.renewing.Lock()
	defer v.renewing.Unlock()
	next := int64(0)
	for _, l := range m.Leases.List(lease.Filter{Pack: v.row.Name, Digest: v.row.Digest}) {
		if l.By != byPolicy || !l.Renewable {
			continue
		}
		if l.State == lease.Expired {
			c, ok := v.man.Capability(l.Capability)
			if !ok {
				continue
			}
			d := m.mayLink(v.who, v.row.Verdict, *c)
			if !d.Allowed || c.Ask {
				continue
			}
			ttl := leaseFor(v.who, *c, d).TTL
			if v.waits("capability:", string(c.Name)) {
				ttl = min(ttl, l.TTL) // a longer life is among what waits for a person
			}
			fresh, err := m.Leases.Renew(ctx, corr, l.ID, ttl)
			if err != nil {
				return wrap(err, "renew lease %q of pack %q", l.ID, v.row.Name)
			}
			l = fresh
		}
		if l.State == lease.Live {
			if at := l.Expires.UnixMilli(); next == 0 || at < next {
				next = at
			}
		}
	}
	v.renewAt.Store(next)
	return nil
}
