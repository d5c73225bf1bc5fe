package pack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/files"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/recall"
	"github.com/arw-project/arw/host/internal/trace"
	"github.com/arw-project/arw/host/internal/wasm"
)

// world is everything outside the guest that one call may reach. Its views below are the small interfaces the engine
// wants; they are the same memory under other names, so that a call makes one of it.
type world struct {
	m *Manager
	v *version
	t *tool
	c *Call

	account quota.Who

	refused map[abi.Code]*abi.Error // what the host refused in this call, the last of each code
	told    int                     // refusals journaled
	denied  bool                    // something was refused
	untold  int                     // refusals beyond maxTold
	span    *trace.Span             // of the call; nil when nobody records it
	outside bool                    // something beside the input was seen, so the answer is of this moment

	ground []recall.Dep // what the answer is made from, as it was
	bottom bool         // something was used that ground cannot tell of: the answer is of this call alone

	taint   *taint            // what has been seen of the network
	secrets map[[2]string]int // secrets that were taken out of what it said, by place and rule

	dirty      bool // something came of the call that beginning again would repeat
	unanswered bool // it ended while a person was being asked, and nothing had come of it
}

type (
	gate   world
	log    world
	events world
	states world
	keys   world
	caller world

	secrets  world
	configs  world
	unpacker world

	clock struct{}
)

// host links what the manifest asks for; the gate decides each use.
func (w *world) host() wasm.Host {
	var h wasm.Host
	for _, name := range w.v.caps {
		switch name {
		case abi.Log:
			h.Log = (*log)(w)
		case abi.KV:
			h.KV = (*keys)(w)
		case abi.Event:
			h.Event = (*events)(w)
		case abi.State:
			h.State = (*states)(w)
		case abi.FS:
			h.FS = folders{w.m.Files, w}
		case abi.Clock:
			h.Clock = clock{}
		case abi.Rand:
			h.Rand = rand.Reader
		case abi.Action:
			h.Action = (*caller)(w)
		case abi.Secret:
			if w.m.Vault != nil {
				h.Secret = (*secrets)(w)
			}
		case abi.Archive:
			h.Archive = (*unpacker)(w)
		case abi.Config:
			if w.m.Config != nil {
				h.Config = (*configs)(w)
			}
		case abi.HTTP:
			if w.m.Egress != nil {
				h.HTTP = (*network)(w)
			}
		case abi.Infer:
			if w.m.Models != nil {
				h.Infer = (*asker)(w)
			}
		}
	}
	return h
}

// maxTold is how many refusals one call may write into the journal; the rest are counted in one event at its end.
const maxTold = 8

// Use implements wasm.Gate: the lease book decides, a refusal is journaled.
func (g *gate) Use(ctx context.Context, c abi.Capability, target string, n int) (string, error) {
	return g.use(ctx, c, use{target: target, n: int64(n)})
}

// UseWith implements wasm.Reader.
func (g *gate) UseWith(ctx context.Context, tool string, args []byte) (string, error) {
	return g.use(ctx, abi.Action, use{target: tool, args: args, n: int64(len(args))})
}

// use is what a host call wants of a capability. args are the arguments of a tool; they are shown to nobody.
type use struct {
	target string
	args   []byte
	n      int64
	also   func() error // what else is asked once a lease would serve; nil: nobody
}

func (g *gate) use(ctx context.Context, c abi.Capability, u use) (string, error) {
	target := u.target
	if halted := g.v.halted.Load(); halted != nil {
		(*world)(g).deny(ctx, c, target, halted)
		return "", halted
	}
	w := (*world)(g)
	if c == abi.State { // of another project's, the name is what the lease is about; the export is asked where it is read
		_, target, _, _ = project.Foreign(target)
		u.target = target
	}
	scope, err := "", w.railed(c, target)
	if err == nil {
		err = w.mayUse(ctx, c, target)
	}
	if err == nil {
		scope, _, err = w.take(ctx, c, u)
	}
	if err != nil {
		err = w.beyond(c, u, err)
		w.deny(ctx, c, target, err)
	}
	return scope, err
}

// railed asks the guard-rails, which stand above leases: a lease that covers the use is not spent on it.
func (w *world) railed(c abi.Capability, target string) error {
	if w.m.Rails == nil {
		return nil
	}
	return w.m.Rails.Use(c, target)
}

// beyond changes the hint of a refusal that no lease could end: what the manifest does not ask for, nobody can grant.
func (w *world) beyond(c abi.Capability, u use, err error) error {
	target := u.target
	e, ok := errors.AsType[*abi.Error](err)
	asked, known := w.v.man.Capability(c)
	reached := func(entry string) bool { return lease.Reaches(c, entry, target, u.args) }
	if !ok || !known || e.Code != abi.Denied || target == "" || slices.ContainsFunc(asked.Scope, reached) || lease.CheckScope(c, []string{target}) != nil {
		return err
	}
	out := *e
	if slices.ContainsFunc(asked.Scope, func(entry string) bool { return lease.Names(c, entry, target) }) {
		return out.WithHint("the manifest asks for %q with other arguments alone: see scope in [capabilities.%s] of pack.toml", target, c)
	}
	return out.WithHint("the manifest does not ask for it; its author would add %q to scope in [capabilities.%s] of pack.toml", target, c)
}

// Refused implements wasm.Witness: what the engine refuses is journaled like any other denial.
func (g *gate) Refused(ctx context.Context, c abi.Capability, err error) {
	(*world)(g).deny(ctx, c, "", err)
}

func (w *world) deny(ctx context.Context, c abi.Capability, target string, err error) {
	code := abi.CodeOf(err)
	w.said(err)
	w.denied = true
	if w.told == maxTold {
		w.untold++
		return
	}
	w.told++
	w.m.note(ctx, "leases.denied", w.c, map[string]any{
		"capability": c, "target": target, "tool": w.t.ID, "code": code.String(), "message": err.Error(), "hint": abi.HintOf(err),
	})
}

// said remembers a refusal, so that the guest may pass it on.
func (w *world) said(err error) {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return
	}
	if w.refused == nil {
		w.refused = map[abi.Code]*abi.Error{}
	}
	w.refused[e.Code] = e
}

// close tells of the refusals that were only counted.
func (w *world) close(ctx context.Context) {
	w.tellHushed(ctx)
	if w.untold > 0 {
		w.m.note(ctx, "leases.denied", w.c, map[string]any{"tool": w.t.ID, "more": w.untold})
	}
}

// own is the tool's error answer with a code it may use: the words for the host's own refusals and faults belong to the
// host. A guest may pass one on if it received it in this call; then it carries the host's hint and detail too.
func (w *world) own(err error) error {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return err
	}
	out := *e
	if from := w.refused[e.Code]; from != nil {
		if out.Hint == "" {
			out.Hint = from.Hint
		}
		if out.Detail == nil {
			out.Detail = from.Detail
		}
		return &out
	}
	switch e.Code {
	case abi.Invalid, abi.NotFound, abi.TooLarge, abi.Unsupported, abi.Conflict, abi.Busy, abi.Unavailable, abi.ToolFailed:
	default:
		out.Code, out.Msg = abi.ToolFailed, "the tool answered "+e.Code.String()+": "+e.Msg
	}
	return &out
}

// note journals something about a call. It must not fail the call; a journal that cannot be written will.
func (m *Manager) note(ctx context.Context, kind string, c *Call, body any) {
	_, err := m.Journal.Append(context.WithoutCancel(ctx), journal.Event{
		Kind: kind, Corr: c.Corr, Actor: c.Actor, Project: c.Project, Pack: c.Pack, Action: c.Action, Body: body,
	})
	if err != nil {
		m.Log.Error("journal an event of a call", "kind", kind, "action", c.Action, "corr_id", c.Corr, "error", err)
	}
}

// maxLine bounds one log line of a guest.
const maxLine = 8 << 10

// Write implements wasm.Log.
func (l *log) Write(ctx context.Context, level int, msg string) error {
	if len(msg) > maxLine {
		msg = msg[:maxLine] + "…"
	}
	msg = (*world)(l).hush("log", msg)
	levels := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	l.m.Log.LogAttrs(ctx, levels[min(max(level, 0), len(levels)-1)], msg,
		slog.String("pack", l.c.Pack), slog.String("tool", l.t.ID), slog.String("action", l.c.Action), slog.String("corr_id", l.c.Corr))
	return nil
}

// Emit implements wasm.Event. Which kinds a pack may emit is its lease's scope, which the gate has checked.
func (e *events) Emit(ctx context.Context, kind string, body []byte) error {
	if err := checkBody(kind, body); err != nil {
		return err
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	_, err := e.m.Journal.Append(ctx, journal.Event{
		Kind: kind, Corr: e.c.Corr, Actor: "pack:" + e.c.Pack, Project: e.c.Project, Pack: e.c.Pack, Action: e.c.Action,
		Body: json.RawMessage((*world)(e).hushJSON("event", bytes.Clone(body))),
	})
	return err
}

// folders are the host's, with the one scope entry that names none: "*" is every folder. What they deny (a link that
// leads out) is a refusal of the host, journaled like the lease book's.
type folders struct {
	*files.Folders
	w *world
}

func (f folders) heard(ctx context.Context, path string, err error) error {
	if abi.CodeOf(err) == abi.Denied {
		f.w.deny(ctx, abi.FS, path, err)
	}
	return err
}

func whole(scope string) string {
	if mode, ok := strings.CutSuffix(scope, ":*"); ok {
		return mode + ":/"
	}
	return scope
}

// List implements wasm.FS.
func (f folders) List(ctx context.Context, scope string, req abi.FSList) ([]abi.FSEntry, bool, error) {
	entries, more, err := f.Folders.List(ctx, whole(scope), req)
	return entries, more, f.heard(ctx, req.Path, err)
}

// Stat implements wasm.FS.
func (f folders) Stat(ctx context.Context, scope, path string) (abi.FSEntry, error) {
	e, err := f.Folders.Stat(ctx, whole(scope), path)
	return e, f.heard(ctx, path, err)
}

// Read implements wasm.FS.
func (f folders) Read(ctx context.Context, scope, path string, off int64, buf []byte) (int, error) {
	n, err := f.Folders.Read(ctx, whole(scope), path, off, buf)
	return n, f.heard(ctx, path, err)
}

// Write implements wasm.FS.
func (f folders) Write(ctx context.Context, scope, path string, data []byte) error {
	return f.heard(ctx, path, f.Folders.Write(ctx, whole(scope), path, data))
}

// OpenFile implements wasm.FS.
func (f folders) OpenFile(ctx context.Context, scope, path string) (wasm.File, error) {
	file, err := f.Folders.OpenFile(ctx, whole(scope), path)
	if err != nil {
		return nil, f.heard(ctx, path, err)
	}
	return file, nil
}

// CreateFile implements wasm.FS.
func (f folders) CreateFile(ctx context.Context, scope, path string) (wasm.Draft, error) {
	d, err := f.Folders.CreateFile(ctx, whole(scope), path)
	if err != nil {
		return nil, f.heard(ctx, path, err)
	}
	return d, nil
}

// Remove implements wasm.FS.
func (f folders) Remove(ctx context.Context, scope, path string) error {
	return f.heard(ctx, path, f.Folders.Remove(ctx, whole(scope), path))
}

// checkBody wants a JSON object; nothing at all stands for the empty one.
func checkBody(kind string, body []byte) error {
	if t := bytes.TrimLeft(body, " \t\r\n"); len(body) == 0 || len(t) > 0 && t[0] == '{' && json.Valid(body) {
		return nil
	}
	return abi.Errorf(abi.Invalid, "emit %q: the body is not a JSON object", kind)
}

func noModel(name string) error {
	return abi.Errorf(abi.Denied, "use read model %q: pack.toml does not contribute it", name).WithHint("add to pack.toml:\n[[state]]\nid = %q", name)
}

// Now implements wasm.Clock.
func (clock) Now() time.Time { return time.Now() }

var started = time.Now()

// Monotonic implements wasm.Clock.
func (clock) Monotonic() time.Duration { return time.Since(started) }

// Call implements wasm.Action.
func (a *caller) Call(ctx context.Context, tool string, input []byte) (abi.FrameKind, []byte, error) {
	if a.c.Invoke == nil {
		return 0, nil, abi.Errorf(abi.Denied, "call %q: this call may not call other tools", tool)
	}
	kind, body, gas, err := a.c.Invoke(ctx, tool, bytes.Clone(input))
	if gas > 0 { // what does not fit ends the lease; the call has happened, and the next one is refused
		_ = (*world)(a).seat().ChargeWith(context.WithoutCancel(ctx), abi.Action, tool, input, lease.Budget{Gas: int64(min(gas, uint64(lease.MaxBudget)))})
	}
	if err != nil {
		(*world)(a).said(err)
	}
	return kind, body, err
}
