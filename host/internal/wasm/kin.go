package wasm

import "sync"

// kin are the programs of an engine that run on the interpreter, by the key of their rewritten module, the last one of
// each. Who tries a module out and then serves it loads it once: machine and first state depend on nothing but the module's
// bytes and the limit on its memory, which the key has.
type kin struct {
	mu   sync.Mutex
	last map[string]*Program
}

// add lets others find a program.
func (k *kin) add(p *Program) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		k.last = map[string]*Program{}
	}
	k.last[p.code.key] = p
}

// remove is for a program that ends or was compiled; one that was never added does no harm.
func (k *kin) remove(p *Program) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.code != nil && k.last[p.code.key] == p {
		delete(k.last, p.code.key)
	}
}

// borrow gives p the module, the machine and the first state of another program that is alive; false when there is none.
func (k *kin) borrow(p *Program, key string) bool {
	k.mu.Lock()
	q := k.last[key]
	k.mu.Unlock()
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.tier.Load()
	if q.ended || m.compiled || !m.join() {
		return false
	}
	p.code, p.snap = q.code, q.snap.share()
	p.tier.Store(m)
	return true
}
