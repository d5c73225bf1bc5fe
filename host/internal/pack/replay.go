package pack

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/wasm"
)

// Recorded says where the record of a call is: its digest in the content store and that of the module that ran, which
// both must be kept for a replay. Err is why there is no record; the call itself is not harmed by that.
type Recorded struct {
	Digest, Module string
	Bytes          int64
	Calls          int
	Err            error
}

func (m *Manager) recorder(w *world) *wasm.Recorder {
	return wasm.NewRecorder(wasm.RecordHead{
		Pack: w.v.row.Name, Release: w.v.row.Version, Digest: w.v.row.Digest, Action: w.c.Action, Recorded: now(),
	}, m.cfg.Record)
}

// keep stores a record.
func (m *Manager) keep(ctx context.Context, w *world, rec *wasm.Recorder) *Recorded {
	raw, err := rec.Bytes()
	if err != nil {
		return &Recorded{Err: err}
	}
	// Also of a call whose caller went away: what it did is what one wants to look at.
	digest, err := m.CAS.PutBytes(context.WithoutCancel(ctx), raw)
	if err != nil {
		return &Recorded{Err: wrap(err, "store the record")}
	}
	return &Recorded{Digest: digest, Module: w.v.row.Content.Module, Bytes: int64(len(raw)), Calls: rec.Calls()}
}

// Replay asks for a replay of a record, whose digest names it.
type Replay struct {
	Record string
	// With is a reference to another version of the pack, or "installed"; empty replays the one that was recorded.
	With     string
	By, Corr string
}

// installed is the word for the version that is installed now.
const installed = "installed"

// Replay runs a recorded call again, apart from everything: in a program of its own, without leases, host or streams. A
// version that With names goes through the same steps as for an install up to Cedar's, and is neither stored nor
// installed. Errors: NotFound and Corrupt for the record, Unavailable when its module is gone, those of Install.
func (m *Manager) Replay(ctx context.Context, r Replay) (*api.Replay, error) {
	raw, err := m.CAS.Get(r.Record)
	if err != nil {
		return nil, wrap(err, "read the record")
	}
	rec, err := wasm.ParseRecord(raw)
	if err != nil {
		return nil, wrap(err, "read the record %s", r.Record)
	}
	out := &api.Replay{
		Action: rec.Head.Action, Record: api.Recording{Digest: r.Record, Bytes: int64(len(raw)), Calls: len(rec.Calls)}, Time: rec.Head.Recorded,
		Pack: rec.Head.Pack, Tool: rec.Head.Tool, Other: r.With != "", Changes: []api.ReplayChange{},
		Recorded: side(rec.Head.Release, rec.Head.Digest, rec.Head.Module, rec.End, rec.Reply),
	}
	p, t, err := m.replayer(ctx, r, rec, out)
	if err != nil {
		return nil, err
	}
	defer p.Close(context.WithoutCancel(ctx))
	var effects abi.Effect
	var limits wasm.Limits
	if t != nil {
		effects, limits = t.Effects, t.limits
	}
	got, err := p.Replay(ctx, rec, t != nil, effects, limits)
	if err != nil {
		return nil, err
	}
	out.Equal = got.Equal
	out.Replayed = side(out.Replayed.Version, out.Replayed.Digest, out.Replayed.Module, got.End, got.Reply)
	if d := got.Divergence; d != nil {
		out.Divergence = &api.ReplayDivergence{Call: d.Call, Expected: d.Expected, Got: d.Got}
	}
	for _, c := range got.Changes {
		out.Changes = append(out.Changes, api.ReplayChange{Added: c.Added, Call: c.Call, Text: c.Text})
	}
	return out, nil
}

func side(version, digest, module string, end wasm.RecordEnd, reply []byte) api.ReplaySide {
	s := api.ReplaySide{
		Version: version, Digest: digest, Module: module, Code: end.Code, Message: end.Message,
		Gas: end.Gas, HostCalls: end.HostCalls, Memory: end.MemoryBytes,
	}
	switch {
	case end.Code != abi.OK.String():
	case end.Kind == abi.FrameJSON && json.Valid(reply):
		s.Output = reply
	default:
		s.Bytes = reply
	}
	return s
}

// replayer loads the program that replays, and finds the tool when it is another version's.
func (m *Manager) replayer(ctx context.Context, r Replay, rec *wasm.Record, out *api.Replay) (*wasm.Program, *tool, error) {
	if r.With == "" {
		out.Replayed = out.Recorded
		p, err := m.recorded(ctx, rec)
		return p, nil, err
	}
	v, module, err := m.candidate(ctx, r, rec.Head.Pack)
	if err != nil {
		return nil, nil, wrap(err, "replay with %q", r.With)
	}
	if v.row.Name != rec.Head.Pack {
		return nil, nil, abi.Errorf(abi.Invalid, "replay with %q: that is the pack %q, the record is of %q", r.With, v.row.Name, rec.Head.Pack)
	}
	t := v.tools[rec.Head.Tool]
	if t == nil {
		return nil, nil, abi.Errorf(abi.NotFound, "replay with %q: version %s has no tool %q", r.With, v.row.Version, rec.Head.Tool)
	}
	p, err := m.Engine.Load(ctx, v.spec(module, 1))
	out.Replayed = api.ReplaySide{Version: v.row.Version, Digest: v.row.Digest, Module: sum(module)}
	return p, t, err
}

// recorded loads the very module that a record is of.
func (m *Manager) recorded(ctx context.Context, rec *wasm.Record) (*wasm.Program, error) {
	module, err := m.CAS.Get(rec.Head.Module)
	if err != nil {
		return nil, wrap(err, "read the module that was recorded").WithHint("replay it with another version: --with REF")
	}
	return m.Engine.Load(ctx, wasm.Spec{
		Name: rec.Head.Pack, Digest: rec.Head.Digest, Module: module, Instances: 1,
		Limits: wasm.Limits{MemoryBytes: max(rec.Head.Limits.MemoryBytes, wasm.DefaultLimits().MemoryBytes)},
	})
}

// candidate finds the version to replay with, installed or pulled and judged like one that is to be installed.
func (m *Manager) candidate(ctx context.Context, r Replay, name string) (*version, []byte, error) {
	if r.With == installed {
		s := m.index.Load().packs[name]
		if s == nil {
			return nil, nil, notInstalled(name)
		}
		v := s.current()
		if v == nil {
			return nil, nil, notInstalled(name)
		}
		if err := v.fault(); err != nil {
			return nil, nil, err
		}
		module, err := m.CAS.Get(v.row.Content.Module)
		return v, module, err
	}
	in := &install{Manager: m, verdict: &Verdict{Ref: r.With, By: r.By, Corr: r.Corr, Time: now()}}
	for _, step := range []func(context.Context) error{in.resolve, in.pull, in.verify, in.manifest, in.inspect, in.admit} {
		if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
			return nil, nil, err
		}
	}
	v := m.newVersion(row{Name: in.man.Name, Version: in.man.Version, Digest: in.digest, Ref: r.With, TOML: in.toml, Verdict: in.verdict}, in.man, in.who)
	return v, in.module, nil
}
