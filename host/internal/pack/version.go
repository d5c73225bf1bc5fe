package pack

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/signing"
)

// version is one version of a pack in memory: what its manifest says, prepared for calls, and its program once loaded.
type version struct {
	row    row
	man    *manifests.Pack // nil when the stored manifest does not parse any more
	who    policy.Pack
	tools  map[string]*tool
	models map[string]*manifests.State
	caps   []abi.Capability // what the manifest asks for
	blobs  map[string]bool
	holder *lease.Holder

	renewAt  atomic.Int64 // when the first policy lease runs out, ms since 1970; 0 none does
	renewing sync.Mutex   // one renewal at a time; may be held while mu is taken, never the other way round

	// halted, when set, is what every host call and every new call of the version answers: it was suspended, or its time
	// to finish is over.
	halted atomic.Pointer[abi.Error]
	trial  *trial // not nil when the version is watched
	held   atomic.Pointer[heldBack]

	// visits are the calls inside, idle is closed when none is left, and gone says that sessions end; slot.mu guards them.
	visits map[*visit]bool
	gone   bool
	idle   chan struct{}

	mu        sync.Mutex // guards the rest, and row.Standing
	prog      *wasm.Program
	broken    *abi.Error
	loading   chan struct{}              // not nil while a load is on; closed at its end
	decisions map[string]policy.Decision // of "call", by caller and tool
	seen      map[string][]string        // places that sessions have heard from, by session
}

// tool is one tool, prepared.
type tool struct {
	*manifests.Tool
	limits  wasm.Limits
	session bool
	named   map[string]bool // the arguments that its input schema names
}

// newVersion prepares a manifest for calls.
func (m *Manager) newVersion(r row, man *manifests.Pack, who policy.Pack) *version {
	v := &version{
		row: r, man: man, who: who, tools: map[string]*tool{}, models: map[string]*manifests.State{},
		blobs: map[string]bool{}, decisions: map[string]policy.Decision{}, visits: map[*visit]bool{}, holder: m.Leases.Holder(r.Name, r.Digest),
	}
	for i := range man.Tools {
		t := &man.Tools[i]
		v.tools[t.ID] = &tool{Tool: t, limits: limitsOf(t), session: t.Isolation == "session", named: namesOf(t.Input)}
	}
	for i := range man.State {
		v.models[man.State[i].ID] = &man.State[i]
	}
	for _, c := range man.Capabilities {
		v.caps = append(v.caps, c.Name)
	}
	for _, d := range r.Content.digests() {
		v.blobs[d] = true
	}
	v.renewAt.Store(1) // the first call looks at the leases
	v.stand(r, m)
	return v
}

// limits of the program as a whole: memory as the hungriest tool asks for it, the rest is set call by call.
func (v *version) limits() wasm.Limits {
	var l wasm.Limits
	for _, t := range v.tools {
		if t.limits.MemoryBytes == 0 {
			l.MemoryBytes = max(l.MemoryBytes, wasm.DefaultLimits().MemoryBytes)
		}
		l.MemoryBytes = max(l.MemoryBytes, t.limits.MemoryBytes)
	}
	return l
}

// spec is the program, to be compiled before it answers.
func (v *version) spec(module []byte, instances int) wasm.Spec {
	return wasm.Spec{
		Name: v.row.Name, Digest: v.row.Digest, Module: module, Runtime: v.man.Module.Runtime, Limits: v.limits(), Instances: instances,
	}
}

// standing copies what changes about the version.
func (v *version) standing() standing {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.row.Standing
}

// paper is the version's row as it would be kept; it is not watched when it comes back.
func (v *version) paper() *row {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.row
	r.Standing.Trial = nil
	return &r
}

// stand gives a version that nobody sees yet its final row.
func (v *version) stand(r row, m *Manager) {
	v.row = r
	v.halted.Store(nil)
	if s := r.Standing.Suspended; s != nil {
		v.halted.Store(s.err(r.Name))
	}
	v.trial = nil
	if t := r.Standing.Trial; t != nil && m.now().Sub(t.Since) <= m.cfg.Guard.Window {
		v.trial = &trial{start: *t, guard: m.cfg.Guard}
	}
	v.hold(r.Standing.Held)
}

// loaded is the program, nil when it is not loaded.
func (v *version) loaded() *wasm.Program {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.prog
}

// keeps reports whether the version has the state of a session, or a call inside that makes it; slot.mu is held.
func (v *version) keeps(session string) bool {
	for in := range v.visits {
		if in.session == session {
			return true
		}
	}
	p := v.loaded()
	return p != nil && p.Keeps(session)
}

// sessions counts those the version keeps.
func (v *version) sessions() int {
	if p := v.loaded(); p != nil {
		return p.Stats().Sessions
	}
	return 0
}

// close ends the program, waiting for its calls; a version that was never loaded has none.
func (v *version) close(ctx context.Context) error {
	v.mu.Lock()
	p := v.prog
	v.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.Close(ctx)
}

// info describes the version.
func (v *version) info() Info {
	v.mu.Lock()
	state, reason := Loading, ""
	st := v.row.Standing
	switch {
	case st.Suspended != nil:
		state, reason = Halted, st.Suspended.Reason
	case v.broken != nil:
		state, reason = Broken, v.broken.Msg
	case v.prog != nil:
		state = Ready
	}
	v.mu.Unlock()
	info := Info{
		Name: v.row.Name, Version: v.row.Version, Digest: v.row.Digest, Ref: v.row.Ref, State: state, Reason: reason,
		Installed: v.row.Installed, By: v.row.By, Verdict: v.row.Verdict, Tools: []Tool{},
		Held: st.Held, Suspension: st.Suspended, Trial: v.trial.tell(),
	}
	if v.man == nil {
		return info
	}
	info.Description, info.License = v.man.Description, v.man.License
	for _, t := range v.man.Tools {
		info.Tools = append(info.Tools, Tool{
			ID: t.ID, Pack: v.row.Name, Title: t.Title, Description: t.Description, Effects: t.Effects.String(), Isolation: t.Isolation, Streams: t.Streams,
			Input: t.Input.JSON(), Output: t.Output.JSON(),
		})
	}
	for _, s := range v.man.State {
		info.Models = append(info.Models, Model{ID: s.ID, Description: s.Description, Schema: s.Schema.JSON()})
	}
	return info
}

// program returns the loaded program, loading it first when need be. The load belongs to the Manager, not to the caller
// that asked first: when ctx ends, the caller stops waiting and the load goes on for the others.
func (m *Manager) program(ctx context.Context, v *version) (*wasm.Program, error) {
	if err := m.held(); err != nil {
		return nil, err
	}
	for {
		v.mu.Lock()
		switch {
		case v.broken != nil:
			err := v.broken
			v.mu.Unlock()
			return nil, err
		case v.prog != nil:
			p := v.prog
			v.mu.Unlock()
			return p, nil
		case v.loading == nil:
			if err := m.startLoad(v); err != nil {
				v.mu.Unlock()
				return nil, err
			}
		}
		wait := v.loading
		v.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, abi.Errorf(abi.CodeOf(ctx.Err()), "load pack %q: %w", v.row.Name, ctx.Err())
		}
	}
}

// startLoad begins a load in the background. The caller holds v.mu.
func (m *Manager) startLoad(v *version) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return abi.Errorf(abi.Unavailable, "load pack %q: the host is stopping", v.row.Name)
	}
	done := make(chan struct{})
	v.loading = done
	m.loads.Go(func() {
		start := time.Now()
		p, err := m.reload(v)
		m.tellLoaded(v, err, time.Since(start))
		v.mu.Lock()
		v.prog = p
		if err != nil {
			v.broken = wrap(err, "load pack %q", v.row.Name)
		}
		v.loading = nil
		v.mu.Unlock()
		close(done)
		if err != nil && v.trial != nil && v.trial.end() {
			m.rollbackSoon(v, "it does not load: "+err.Error())
		}
	})
	return nil
}

// reload reads the module back, which checks its digest, and loads it. The pack was tried when it was installed: when its
// compiled code is not in the cache any more, it need not wait for the compiler.
func (m *Manager) reload(v *version) (*wasm.Program, error) {
	module, err := m.CAS.Get(v.row.Content.Module)
	if err != nil {
		return nil, err
	}
	spec := v.spec(module, m.cfg.Instances)
	spec.Tiered = true
	return m.Engine.Load(context.Background(), spec)
}

// tellLoaded journals how a load ended.
func (m *Manager) tellLoaded(v *version, err error, took time.Duration) {
	e := journal.Event{Kind: "pack.loaded", Corr: v.row.Verdict.Corr, Pack: v.row.Name,
		Body: map[string]any{"version": v.row.Version, "digest": v.row.Digest, "ms": took.Milliseconds()}}
	if err != nil {
		e.Kind = "pack.broken"
		e.Body = map[string]any{"version": v.row.Version, "digest": v.row.Digest, "reason": refusal(err)}
	}
	if _, err := m.Journal.Append(context.Background(), e); err != nil {
		m.Log.Error("journal the load of a pack", "pack", v.row.Name, "error", err)
	}
}

// revive makes a version of the installed row at a start, and says so when it does not hold any more. Leases that Cedar
// gave and would not give any more are revoked.
func (m *Manager) revive(ctx context.Context, r row) *version {
	v := m.judge(ctx, r)
	if v.man == nil {
		return v
	}
	var err error
	if v.broken != nil {
		err = v.broken
		m.tellLoaded(v, err, 0)
	}
	if rerr := m.takeBack(ctx, v, err); rerr != nil && v.broken == nil {
		v.broken = wrap(rerr, "open pack %q", r.Name)
	}
	return v
}

// takeBack revokes what the policies of today do not give a version that is installed.
func (m *Manager) takeBack(ctx context.Context, v *version, judged error) error {
	r := v.row
	switch {
	case judged != nil && (abi.CodeOf(judged) == abi.Denied || abi.CodeOf(judged) == abi.Untrusted || abi.CodeOf(judged) == abi.Unsigned):
		return m.revokeAll(ctx, r.Verdict, "the policies do not admit the pack any more")
	case judged != nil || r.Verdict.Digests.PolicySet == m.Policy.Digest() && r.Verdict.Digests.TrustPolicy == m.Trust.Digest():
		return nil
	}
	return m.revokeDenied(ctx, v.who, r.Verdict, v.man)
}

// judge makes a version of a stored row, asking again what may have changed since it was installed. What does not hold
// makes the version broken; nothing else happens.
func (m *Manager) judge(ctx context.Context, r row) *version {
	man, err := manifests.ParsePack("pack.toml", r.TOML)
	if err == nil && sum(r.TOML) != r.Content.TOML {
		err = abi.Errorf(abi.Corrupt, "read the stored pack.toml: its digest is not %s", r.Content.TOML)
	}
	if err != nil {
		v := m.newVersion(r, &manifests.Pack{Name: r.Name}, policy.Pack{})
		v.man, v.broken = nil, wrap(err, "open pack %q", r.Name)
		return v
	}
	who, err := m.stillHolds(ctx, r)
	v := m.newVersion(r, man, who)
	if err != nil {
		v.broken = wrap(err, "open pack %q", r.Name)
	}
	return v
}

// stillHolds asks the questions of steps 3 and 6 again when the policies that answered them have changed.
func (m *Manager) stillHolds(ctx context.Context, r row) (policy.Pack, error) {
	verdict := *r.Verdict
	if verdict.Digests.TrustPolicy != m.Trust.Digest() && verdict.Override == "" {
		var bundles [][]byte
		for _, d := range r.Content.Bundles {
			b, err := m.CAS.Get(d)
			if err != nil {
				return policy.Pack{}, err
			}
			bundles = append(bundles, b)
		}
		sig, err := m.Trust.Judge(ctx, signing.Question{Pack: r.Name, Digest: r.Digest, Version: r.Version}, bundles)
		if err != nil {
			return policy.Pack{}, err
		}
		verdict.Signature = sig
	}
	who := principal(r.Name, r.Version, r.Digest, verdict.Signature)
	if verdict.Digests.PolicySet == m.Policy.Digest() && verdict.Digests.TrustPolicy == m.Trust.Digest() {
		return who, nil
	}
	if d := m.mayLoad(who, &verdict); !d.Allowed {
		return who, denied(d, "admit pack %q", r.Name)
	}
	return who, nil
}

func (m *Manager) revokeAll(ctx context.Context, v *Verdict, why string) error {
	_, err := m.Leases.RevokeAll(ctx, v.Corr, v.Pack, byPolicy, why)
	return err
}

// revokeDenied takes back policy leases for capabilities whose link is not allowed any more.
func (m *Manager) revokeDenied(ctx context.Context, who policy.Pack, v *Verdict, man *manifests.Pack) error {
	for _, c := range man.Capabilities {
		d := m.mayLink(who, v, c)
		if d.Allowed && !c.Ask {
			continue
		}
		for _, l := range m.Leases.List(lease.Filter{Pack: who.Name, Digest: who.Digest}) {
			if l.Capability != c.Name || l.By != byPolicy {
				continue
			}
			if err := m.revoke(ctx, v.Corr, l, byPolicy, "the policies do not permit it any more: "+d.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}
