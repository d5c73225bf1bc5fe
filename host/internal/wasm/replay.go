package wasm

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/arw-project/arw/abi"
)

// Replayed is what came of a replay.
type Replayed struct {
	Equal      bool        // reply, gas, memory and every host call are what the record has
	Divergence *Divergence // where a replay of the same version first left the record; where another version got stuck
	Changes    []Change    // of another version: host calls that only one of the two makes
	End        RecordEnd
	Reply      []byte
}

// maxReplay bounds a replay's time: nothing in it waits for anybody.
const maxReplay = time.Hour

// Replay runs the call of a record again. The guest has no gate, no host and no streams: every answer comes out of the
// record, so nothing it does reaches anything. With other set the program is another version of the pack: calls of the
// record are found by what they ask, effects that the record does not know are taken as done, and what would have to be
// known ends the replay. The tool's effects and limits are then the caller's to give; else they are the record's.
//
// The error is for a replay that could not be made; a call that failed as it did before is a success.
func (p *Program) Replay(ctx context.Context, rec *Record, other bool, effects abi.Effect, limits Limits) (Replayed, error) {
	if module := "sha256:" + hexOf(p.seed[:]); !other && module != rec.Head.Module {
		return Replayed{}, abi.Errorf(abi.DigestMismatch, "replay %q of %q: the record is of module %s, this is %s", rec.Head.Tool, p.spec.Name, rec.Head.Module, module).
			WithHint("compare the two versions: arw replay ACTION --with REF")
	}
	if !other {
		effects, limits = effectOf(rec.Head.Effects), rec.Head.Limits
	}
	return p.replay(ctx, rec, newPlayer(rec, other), effects, limits)
}

// ReplayUnder runs the call of a record again with other documents of the host's configuration: those that config knows
// are what the guest reads, where it was allowed to read one then. Calls of the record are found by what they ask, as for
// another version; the module must be the record's.
func (p *Program) ReplayUnder(ctx context.Context, rec *Record, config func(name string) ([]byte, bool)) (Replayed, error) {
	if module := "sha256:" + hexOf(p.seed[:]); module != rec.Head.Module {
		return Replayed{}, abi.Errorf(abi.DigestMismatch, "replay %q of %q: the record is of module %s, this is %s", rec.Head.Tool, p.spec.Name, rec.Head.Module, module)
	}
	pl := newPlayer(rec, true)
	pl.config = config
	return p.replay(ctx, rec, pl, effectOf(rec.Head.Effects), rec.Head.Limits)
}

func (p *Program) replay(ctx context.Context, rec *Record, pl *player, effects abi.Effect, limits Limits) (Replayed, error) {
	limits = limits.or(p.limits)
	limits.Time = maxReplay
	r := Replayed{}
	reply, err := p.invoke(ctx, &Call{
		Tool: rec.Head.Tool, Input: rec.Input, Effects: effects, Limits: limits, player: pl,
		ended: func(end RecordEnd) { r.End = end },
	})
	if ctx.Err() != nil {
		return Replayed{}, abi.Errorf(abi.CodeOf(ctx.Err()), "replay %q of %q: %w", rec.Head.Tool, p.spec.Name, ctx.Err())
	}
	if err != nil && r.End.Code == "" {
		return Replayed{}, err // it never ran
	}
	r.Reply, r.Divergence = reply.Body, pl.diverse
	if pl.loose {
		r.Changes = pl.changes()
	} else if r.Divergence == nil {
		r.Divergence = pl.unlike(r)
	}
	r.Equal = r.Divergence == nil && len(r.Changes) == 0 && pl.unlike(r) == nil
	return r, nil
}

// unlike compares the ends.
func (p *player) unlike(r Replayed) *Divergence {
	want, at := p.rec.End, len(p.rec.Calls)
	if p.at < at && !p.loose {
		return &Divergence{p.at, p.rec.Calls[p.at].Question(), "the end of the call"}
	}
	for _, d := range []struct {
		what      string
		want, got any
	}{
		{"code", want.Code, r.End.Code}, {"message", want.Message, r.End.Message}, {"kind of reply", want.Kind, r.End.Kind},
		{"detail", string(want.Detail), string(r.End.Detail)}, {"gas", want.Gas, r.End.Gas}, {"host calls", want.HostCalls, r.End.HostCalls},
		{"memory", want.MemoryBytes, r.End.MemoryBytes},
	} {
		if d.want != d.got {
			return &Divergence{at, fmt.Sprintf("%s %v", d.what, d.want), fmt.Sprintf("%s %v", d.what, d.got)}
		}
	}
	if !bytes.Equal(p.rec.Reply, r.Reply) {
		return &Divergence{at, "reply " + given(p.rec.Reply, true, int64(len(p.rec.Reply))).String(), "reply " + given(r.Reply, true, int64(len(r.Reply))).String()}
	}
	return nil
}

func effectOf(word string) abi.Effect {
	for e, name := range abi.EffectNames {
		if name == word {
			return abi.Effect(e)
		}
	}
	return abi.Pure
}
