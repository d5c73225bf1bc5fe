package memo

import (
	"bytes"
	"context"
	"time"

	"github.com/arw-project/arw/abi"
)

// flight is one run that equal calls wait for. Its result is written before done is closed. When it fails, those who wait
// move on to its successor together, and the first of them leads that.
type flight struct {
	done  chan struct{}
	tries int // runs that failed by themselves before this one

	claimed bool    // somebody leads; guarded by Memo.mu, like the next three
	wait    int     // those who wait for done
	coming  int     // those who have yet to arrive from the flight before
	next    *flight // set when the flight ends and others shall try

	value Value
	cost  time.Duration
	err   error
	own   bool // err is the leader's own fate and says nothing about the others' call
	kept  bool // value may be given to others
}

// fly leads or follows.
func (m *Memo) fly(ctx context.Context, c Call, id ID, p *Policy, start time.Time) (Value, Outcome, error) {
	m.mu.Lock()
	f := m.flights[id]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		m.flights[id] = f
	}
	for {
		if !f.claimed {
			f.claimed = true
			m.mu.Unlock()
			return m.lead(ctx, c, id, p, f, start)
		}
		if c.NoWait {
			m.mu.Unlock()
			return m.bypass(ctx, c)
		}
		f.wait++
		m.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			m.leave(id, f)
			return Value{}, Coalesced, abi.Errorf(abi.CodeOf(err), "wait for an equal call of %q: %w", c.Tool, err)
		}
		switch {
		case f.next != nil:
			m.mu.Lock()
			f = f.next
			f.coming--
			continue
		case f.err != nil:
			m.stats.coalesced.Add(1)
			return Value{}, Coalesced, f.err
		case f.kept:
			m.coalesced(c, id, f, start)
			return Value{f.value.Kind, bytes.Clone(f.value.Body)}, Coalesced, nil
		}
		return m.bypass(ctx, c) // an answer for the leader alone: each runs for itself
	}
}

// leave takes one who waits out; a successor that nobody will lead is forgotten.
func (m *Memo) leave(id ID, f *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.wait--
	if n := f.next; n != nil {
		if n.coming--; n.coming == 0 && !n.claimed && m.flights[id] == n {
			delete(m.flights, id)
		}
	}
}

// maxTries is how many runs may fail before those who wait share the failure.
const maxTries = 2

// lead runs the call. The flight ends whatever happens, a panic of the run included: nobody waits for ever.
func (m *Memo) lead(ctx context.Context, c Call, id ID, p *Policy, f *flight, start time.Time) (v Value, o Outcome, err error) {
	// Between the look and the lead another leader may have landed.
	if e, ok := m.front.GetIfPresent(id); ok && m.now().Sub(e.made) < time.Duration(p.TTL) {
		f.value, f.kept, f.cost = e.Value, true, e.cost
		m.land(id, f)
		m.hit(c, id, e, start)
		return Value{e.Kind, bytes.Clone(e.Body)}, Hit, nil
	}
	f.err, f.own = abi.Errorf(abi.Internal, "call %q: the run ended without an answer", c.Tool), true
	defer func() { m.land(id, f) }()
	v, keep, err := c.Run(ctx)
	cost := m.now().Sub(start)
	f.err, f.own, f.cost = err, err != nil && (ctx.Err() != nil || ownFate(abi.CodeOf(err))), cost
	if err != nil {
		m.stats.errors.Add(1)
		m.tell(c, id, body{Outcome: "error", Elapsed: cost, Code: abi.CodeOf(err).String()})
		return v, Miss, err
	}
	m.stats.miss.Add(1)
	var e *entry
	if keep {
		e = m.keep(id, c, v, cost, p)
		f.value, f.kept = e.Value, true
	}
	m.missed(c, id, e, cost)
	return v, Miss, nil
}

// land ends a flight: the next equal call finds the answer in front, or leads.
func (m *Memo) land(id ID, f *flight) {
	m.mu.Lock()
	delete(m.flights, id)
	tries := f.tries
	if !f.own {
		tries++
	}
	if f.err != nil && tries < maxTries && f.wait+f.coming > 0 {
		f.next = &flight{done: make(chan struct{}), tries: tries, coming: f.wait + f.coming}
		m.flights[id] = f.next
	}
	m.mu.Unlock()
	close(f.done)
}

// ownFate tells failures of the caller from failures of the call.
func ownFate(c abi.Code) bool {
	switch c {
	case abi.Cancelled, abi.Deadline, abi.Interrupted, abi.Denied, abi.LeaseRevoked, abi.LeaseExpired, abi.BudgetExhausted, abi.Unavailable, abi.Busy:
		return true
	}
	return false
}
