package lease

import (
	"math"
	"sync/atomic"
	"time"
)

// state is the atomic form of a lease's state. It leaves live once, and returns only from expired, by a renewal.
type state = uint32

const (
	stateLive state = iota
	stateExpired
	stateRevoked
	stateExhausted
)

var stateNames = [...]string{stateLive: Live, stateExpired: Expired, stateRevoked: Revoked, stateExhausted: Exhausted}

func stateOf(name string) (state, bool) {
	for s, n := range stateNames {
		if n == name {
			return state(s), true
		}
	}
	return stateRevoked, false
}

// entry is a lease in memory. A use reads and counts atomics alone; Book.mu guards every change of state and the fields
// that change with it.
type entry struct {
	id       string
	grant    Grant
	patterns []admission
	corr     string // of the grant, for the events nobody asked for
	created  time.Time

	state    atomic.Uint32
	deadline atomic.Int64 // monotonic, see Book.now
	count    [dims]counter
	gate     chan struct{} // full while somebody writes a reservation

	// Guarded by Book.mu.
	ttl     time.Duration // of the last renewal, else of the grant
	expires time.Time
	ended   *Ending
	flushed Budget // what the database holds as used or reserved
}

// counter is one side of a budget. A bounded one may not be used beyond what the database has reserved for it, so that a
// crash cannot forget a use.
type counter struct {
	limit    int64 // 0: unlimited, only counted
	used     atomic.Int64
	reserved atomic.Int64
	mark     atomic.Int64 // above this much used, somebody has to look: reserve more, or end the lease
}

func (c *counter) init(limit, used int64) {
	c.limit = limit
	c.used.Store(used)
	c.mark.Store(math.MaxInt64)
	if limit > 0 {
		c.lower(used)
	}
}

// take counts n; false when it does not fit.
func (c *counter) take(n int64) bool {
	if c.limit == 0 {
		c.used.Add(n)
		return true
	}
	for {
		used := c.used.Load()
		if n > c.limit-used {
			return false
		}
		if c.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (c *counter) give(n int64) { c.used.Add(-n) }

func (c *counter) limited() bool { return c.limit > 0 }

// watched reports whether the use that was just counted needs somebody to look.
func (c *counter) watched() bool { return c.used.Load() > c.mark.Load() }

func (c *counter) overdrawn() bool { return c.limit > 0 && c.used.Load() > c.reserved.Load() }

func (c *counter) spent() bool { return c.limit > 0 && c.used.Load() >= c.limit }

// ahead is how much is reserved beyond what is used, and so the most that a crash can take from a budget: an eighth. A
// lease that was not used in the life of a process reserves nothing, and a crash takes nothing from it.
func (c *counter) ahead() int64 { return max(2, c.limit/8) }

// want is the reservation to write now.
func (c *counter) want() int64 {
	if c.limit == 0 {
		return c.used.Load()
	}
	return min(c.limit, c.used.Load()+c.ahead())
}

// raise notes a reservation that the database holds. Whoever raises or lowers holds the entry's gate.
func (c *counter) raise(to int64) {
	if c.limit > 0 && to > c.reserved.Load() {
		c.lower(to)
	}
}

// lower sets the reservation and its mark: half of what is reserved ahead before the reservation ends, and in any case
// before the budget does. The mark never lies above the reservation: a use counts first and looks at the mark then, so
// that whoever lowers it and reads the count afterwards has seen every use that passed.
func (c *counter) lower(to int64) {
	if c.limit == 0 {
		return
	}
	c.reserved.Store(to)
	mark := c.limit - 1
	if to < c.limit {
		mark = min(mark, to-c.ahead()/2)
	}
	c.mark.Store(mark)
}

// used is how much was used.
func (e *entry) used() Budget {
	var a [dims]int64
	for i := range e.count {
		a[i] = e.count[i].used.Load()
	}
	return budgetOf(a)
}

// take counts one use of n bytes, both sides or neither.
func (e *entry) take(n int64) bool {
	if !e.count[dimCalls].take(1) {
		return false
	}
	if !e.count[dimBytes].take(n) {
		e.count[dimCalls].give(1)
		return false
	}
	return true
}

// charge counts an amount, all sides or none.
func (e *entry) charge(amount [dims]int64) bool {
	for i, n := range amount {
		if n > 0 && !e.count[i].take(n) {
			for j := range i {
				e.count[j].give(amount[j])
			}
			return false
		}
	}
	return true
}

func (e *entry) giveBack(amount [dims]int64) {
	for i, n := range amount {
		e.count[i].give(n)
	}
}

// want are the reservations to write now.
func (e *entry) want() Budget {
	var a [dims]int64
	for i := range e.count {
		a[i] = e.count[i].want()
	}
	return budgetOf(a)
}

func (e *entry) watched() bool   { return e.some((*counter).watched) }
func (e *entry) overdrawn() bool { return e.some((*counter).overdrawn) }
func (e *entry) spent() bool     { return e.some((*counter).spent) }
func (e *entry) unlimited() bool { return !e.some((*counter).limited) }

func (e *entry) some(is func(*counter) bool) bool {
	for i := range e.count {
		if is(&e.count[i]) {
			return true
		}
	}
	return false
}

// fits reports whether an amount is left.
func (e *entry) fits(amount [dims]int64) bool {
	for i, n := range amount {
		if c := &e.count[i]; c.limit > 0 && n > c.limit-c.used.Load() {
			return false
		}
	}
	return true
}

// usable reports whether the lease is live at a moment of the monotonic clock.
func (e *entry) usable(now int64) bool { return e.state.Load() == stateLive && now < e.deadline.Load() }

// stateAt is the state as of a moment: a live lease past its deadline is expired, whether or not anybody noted it.
func (e *entry) stateAt(now int64) state {
	if s := e.state.Load(); s != stateLive || now < e.deadline.Load() {
		return s
	}
	return stateExpired
}

// match finds the scope entry that admits the target.
func (e *entry) match(t *target) (scope string, ok bool) {
	if !t.ok {
		return "", false
	}
	if len(e.patterns) == 0 {
		return "", true
	}
	for i := range e.patterns {
		if e.patterns[i].covers(t) {
			return e.patterns[i].text, true
		}
	}
	return "", false
}
