package wasm

import (
	"context"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Contents is all that a call can see of the one before it: memory, every global the module has, and what the host notes.
type Contents struct {
	Memory  []byte
	Globals []uint64
	In      [2]uint32
}

func (in *instance) state() Contents {
	s := Contents{Memory: append([]byte(nil), in.mem.buf...), In: [2]uint32{in.inPtr, in.inCap}}
	mod := in.mod.(experimental.InternalModule)
	for i := range mod.NumGlobal() {
		switch g := mod.Global(i); g.Type() {
		case api.ValueTypeI32, api.ValueTypeI64, api.ValueTypeF32, api.ValueTypeF64:
			s.Globals = append(s.Globals, g.Get())
		}
	}
	s.Globals = s.Globals[:len(s.Globals)-5] // the rewriter's own, which the host sets before each call
	return s
}

// Fresh boots the module anew, as if nobody had ever taken a snapshot, and tells its state.
func (p *Program) Fresh(ctx context.Context) (Contents, error) {
	q := &Program{engine: p.engine, spec: p.spec, limits: p.limits, code: p.code, seed: p.seed, retire: p.retire}
	q.tier.Store(p.tier.Load())
	q.pool = newPool(q)
	in, err := q.fresh(ctx)
	if err != nil {
		return Contents{}, err
	}
	defer in.close()
	return in.state(), nil
}

// Idle tells the states of the instances that wait for a call.
func (p *Program) Idle() []Contents {
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	var out []Contents
	for _, in := range p.pool.idle {
		out = append(out, in.state())
	}
	return out
}

// Live is what all programs of the engine have: instances, and bytes of memory.
func (e *Engine) Live() (instances int, memory int64) {
	e.share.mu.Lock()
	defer e.share.mu.Unlock()
	return e.share.live, e.share.used
}

// RetireAfter sets how many calls an instance serves, before the first.
func (p *Program) RetireAfter(calls int) {
	p.retire = calls
}

// Forgive ends a quarantine.
func (p *Program) Forgive() {
	p.breaker.failed.Store(0)
}

// OnOneMachine reports whether two programs run the same code from the same first state.
func OnOneMachine(p, q *Program) bool {
	return p.tier.Load() == q.tier.Load() && p.snap == q.snap
}
