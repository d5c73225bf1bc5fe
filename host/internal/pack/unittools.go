package pack

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// Bounds of a transform beside the gas that its unit gives it.
const (
	transformMemory = 64 << 20
	transformTime   = 5 * time.Second
)

// unitTool finds the tool of an installed pack that a unit names. A pack that runs only because a person admitted its one
// digest brings no units to life: its signature satisfies nobody's policy.
func (m *Manager) unitTool(name, id string) (*version, *tool, error) {
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
	t := v.tools[id]
	if t == nil {
		return nil, nil, abi.Errorf(abi.NotFound, "find tool %q: version %s of the pack %q has none of that name", id, v.row.Version, name)
	}
	return v, t, nil
}

// Pure runs a pure tool alone: no capability but its log, which goes nowhere, no clock or dice but the engine's fixed ones,
// no network, no other tool; with that much gas. version names what ran. Errors: NotFound, Denied for a tool that is not
// pure, Invalid for input that it does not take, GasExhausted and those of the engine.
func (m *Manager) Pure(ctx context.Context, name, id string, input []byte, gas uint64) (out []byte, version string, err error) {
	v, t, err := m.unitTool(name, id)
	if err != nil {
		return nil, "", err
	}
	version = v.row.Version + " " + v.row.Digest
	if t.Effects != abi.Pure {
		return nil, version, abi.Errorf(abi.Denied, "run %q alone: its effects are %q, a transform is pure", id, t.Effects).
			WithHint(`its author would write effects = "pure" in pack.toml`)
	}
	if err := t.checkInput(input); err != nil {
		return nil, version, err
	}
	p, err := m.program(ctx, v)
	if err != nil {
		return nil, version, err
	}
	limits := v.limitsOf(t)
	limits.Gas, limits.Time = gas, transformTime
	if limits.MemoryBytes == 0 || limits.MemoryBytes > transformMemory {
		limits.MemoryBytes = transformMemory
	}
	w := &scratch{keys: map[string][]byte{}, docs: map[string][]byte{}, rand: rand.NewChaCha8([32]byte{}), links: []Link{{Capability: string(abi.Log), Outcome: Granted}}}
	r, err := p.Call(ctx, wasm.Call{Tool: id, Input: input, Effects: abi.Pure, Limits: limits, Gate: w, Host: wasm.Host{Log: w}})
	if err != nil {
		return nil, version, err
	}
	if r.Kind != abi.FrameJSON {
		return nil, version, abi.Errorf(abi.ToolFailed, "run %q alone: it answered with bytes, a transform answers with JSON", id)
	}
	return r.Body, version, t.checkOutput(Reply{Kind: r.Kind, Body: r.Body})
}

// Contract holds tools of an installed pack to what they say of themselves: the pack is in that range of versions and
// verified, every tool has examples, each example holds twice with the same answer, and none brings the guest down when
// everything that it may ask for is refused. Errors: NotFound, Incompatible, Untrusted, Invalid, ToolFailed.
func (m *Manager) Contract(ctx context.Context, name, versions string, ids []string) error {
	for _, id := range ids {
		v, t, err := m.unitTool(name, id)
		if err != nil {
			return err
		}
		if versions != "" && !manifests.InRange(versions, v.row.Version) {
			return abi.Errorf(abi.Incompatible, "hold the pack %q to its contract: version %s is installed, the unit is for %s", name, v.row.Version, versions)
		}
		if v.row.Verdict == nil || v.row.Verdict.Signature == nil || !v.row.Verdict.Signature.Allowed {
			return abi.Errorf(abi.Untrusted, "hold the pack %q to its contract: a person admitted its one digest, no signature vouches for it", name)
		}
		if len(t.Examples) == 0 {
			return abi.Errorf(abi.Invalid, "hold tool %q to its contract: it has no examples to be held to", id)
		}
		p, err := m.program(ctx, v)
		if err != nil {
			return err
		}
		for _, ex := range t.Examples {
			if err := m.keepsWord(ctx, p, v, t, ex); err != nil {
				return wrap(err, "hold tool %q to its contract", id)
			}
		}
	}
	return nil
}

func (m *Manager) keepsWord(ctx context.Context, p *wasm.Program, v *version, t *tool, ex manifests.Example) error {
	trying := newTrying(v, v.row.Verdict.Links)
	first, ran, err := trying.try(ctx, p, t.Tool, ex)
	if err != nil {
		return err
	}
	if ran {
		again, _, err := trying.try(ctx, p, t.Tool, ex)
		if err != nil {
			return err
		}
		if !bytes.Equal(first, again) {
			return abi.Errorf(abi.ToolFailed, "example %q: two runs in the same world answered %s and %s", ex.Title, clip(first), clip(again))
		}
	}
	_, _, err = newTrying(v, nil).try(ctx, p, t.Tool, ex) // everything is refused
	switch abi.CodeOf(err) {
	case abi.Trap, abi.Exited, abi.Deadline, abi.GasExhausted, abi.MemoryExhausted:
		return wrap(err, "example %q, with every capability refused", ex.Title)
	}
	return nil
}

// JudgeUnit says which lease a unit's permission would be, given by that actor: what the pack's manifest asks for and the
// policies let the actor give, no more. Errors as Grant.
func (m *Manager) JudgeUnit(ctx context.Context, corr, by string, p manifests.Permission, project string) (lease.Grant, error) {
	return m.mayGrantAlone(ctx, corr, by, Grant{
		Pack: p.Pack, Capability: abi.Capability(p.Capability), Scope: p.Scope, TTL: p.TTL, Calls: p.Budget.Calls, Bytes: p.Budget.Bytes,
		Reason: p.Reason, Where: lease.Where{Project: project},
	})
}
