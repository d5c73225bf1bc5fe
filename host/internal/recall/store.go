package recall

import (
	"crypto/sha256"
	"time"

	"github.com/arw-project/arw/abi"
)

// entry is one answer. It never changes but for its place in the lists; r.mu guards those.
type entry struct {
	space Space
	input [sha256.Size]byte
	rest  [sha256.Size]byte
	says  words
	env   string
	deps  []Dep
	vec   Vector
	sum   uint64
	kind  abi.FrameKind
	body  []byte
	made  time.Time // when its making began
	cost  time.Duration
	empty bool
	gone  bool

	at         int // in space.all
	prev, next *entry
}

// word is the outcome of giving it.
func (e *entry) word(o Outcome) Outcome {
	if e.empty {
		return Empty
	}
	return o
}

// weight is about what it takes of memory.
func (e *entry) weight() int64 {
	n := int64(len(e.body)) + 4*int64(len(e.vec.Values)) + 1024
	for _, d := range e.deps {
		n += int64(len(d.Name) + len(d.Mark) + 64)
	}
	for _, w := range e.says.content {
		n += int64(len(w) + 16)
	}
	return n
}

// space is what was answered in one Space, and how well.
type space struct {
	trust
	inputs map[[sha256.Size]byte]*entry
	all    []*entry
	n      Totals
}

// maxSpaces bounds how many are told apart; beyond it the empty ones go, then the one that was used longest ago.
const maxSpaces = 1024

// spaceOf is the call's space, made when there is none. r.mu is held.
func (r *Recall) spaceOf(c *Call) *space {
	sp := r.spaces[c.Space]
	if sp != nil {
		return sp
	}
	if len(r.spaces) >= maxSpaces {
		r.makeRoom()
	}
	sp = &space{inputs: map[[sha256.Size]byte]*entry{}, trust: trust{doubt: 1}}
	r.spaces[c.Space] = sp
	return sp
}

func (r *Recall) makeRoom() {
	for key, sp := range r.spaces {
		if len(sp.all) == 0 {
			r.end(key)
		}
	}
	if last := r.lru.last(); last != nil && len(r.spaces) >= maxSpaces {
		r.end(last.space)
	}
}

// end forgets a space; what it counted stays in the sum.
func (r *Recall) end(key Space) {
	sp := r.spaces[key]
	for len(sp.all) > 0 {
		r.drop(sp.all[len(sp.all)-1])
	}
	r.gone.add(sp.n)
	delete(r.spaces, key)
}

func (r *Recall) add(e *entry) {
	sp := r.spaces[e.space]
	e.at = len(sp.all)
	sp.all = append(sp.all, e)
	sp.inputs[e.input] = e
	r.lru.push(e)
	r.bytes += e.weight()
}

func (r *Recall) drop(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	sp := r.spaces[e.space]
	last := len(sp.all) - 1
	sp.all[e.at], sp.all[last].at = sp.all[last], e.at
	sp.all = sp.all[:last]
	delete(sp.inputs, e.input)
	r.lru.unlink(e)
	r.bytes -= e.weight()
}

// trim lets what was used longest ago go until the rest fits.
func (r *Recall) trim(l *Limits) {
	for r.lru.n > l.Entries || r.bytes > l.Bytes {
		e := r.lru.last()
		r.spaces[e.space].n.Evicted++
		r.drop(e)
	}
}

// Forget lets everything go whose space fits, with what runs now, and says how many answers that were.
func (r *Recall) Forget(fits func(Space) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forget(fits)
}

func (r *Recall) forget(fits func(Space) bool) (n int) {
	r.epoch++
	for key, sp := range r.spaces {
		if fits(key) {
			n += len(sp.all)
			r.end(key)
		}
	}
	return n
}

// lru is a ring of entries, the one that was used last behind root.
type lru struct {
	root entry
	n    int
}

func (l *lru) init() { l.root.prev, l.root.next = &l.root, &l.root }

func (l *lru) push(e *entry) {
	e.prev, e.next = &l.root, l.root.next
	e.prev.next, e.next.prev = e, e
	l.n++
}

func (l *lru) unlink(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	l.n--
}

func (l *lru) touch(e *entry) { l.unlink(e); l.push(e) }

func (l *lru) last() *entry {
	if l.n == 0 {
		return nil
	}
	return l.root.prev
}
