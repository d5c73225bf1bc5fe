package wasm

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// waitersPerInstance bounds how many calls may wait for an instance.
const waitersPerInstance = 16

// maxSessions bounds the sessions of one program.
const maxSessions = 1024

// pool keeps a program's instances: idle ones ready for a call, last used first, and one per session.
type pool struct {
	p        *Program
	most     int
	idleFor  time.Duration
	mu       sync.Mutex
	idle     []*instance
	busy     int // permits in use
	waiting  []chan struct{}
	sessions map[string]*session
	flights  int
	closed   bool
	drained  chan struct{} // closed when closed and flights is 0

	live   int   // instances, and
	memory int64 // their memory: both belong to the engine's share and its lock
}

// session is one kept instance; the permit of turn is held while a call uses it.
type session struct {
	turn  chan struct{}
	in    *instance
	timer *time.Timer
	users int // calls that use or wait for it
}

func newPool(p *Program) *pool {
	po := &pool{p: p, most: p.spec.Instances, idleFor: p.spec.SessionIdle, sessions: map[string]*session{}, drained: make(chan struct{})}
	if po.most <= 0 {
		po.most = max(4, 4*runtime.GOMAXPROCS(0))
	}
	if po.idleFor <= 0 {
		po.idleFor = 5 * time.Minute
	}
	return po
}

// get returns an instance in the state the call starts from, waiting for one at most as long as the call may take.
// Errors: Busy, Unavailable, Cancelled, Deadline, and those of making an instance.
func (po *pool) get(ctx context.Context, name string, wait time.Duration) (*instance, error) {
	po.mu.Lock()
	if po.closed {
		po.mu.Unlock()
		return nil, abi.Errorf(abi.Unavailable, "the pack was unloaded")
	}
	po.flights++
	var in *instance
	var err error
	switch {
	case name != "":
		in, err = po.session(ctx, name, wait)
	case po.busy < po.most:
		po.busy++
		in, err = po.take(ctx, wait)
	default:
		if err = po.queue(ctx, wait); err == nil {
			po.mu.Lock()
			in, err = po.take(ctx, wait)
		}
	}
	if err != nil {
		po.land()
	}
	return in, err
}

// take gives an idle instance or makes one, for a caller that has a permit and the lock; it unlocks.
func (po *pool) take(ctx context.Context, wait time.Duration) (*instance, error) {
	if n := len(po.idle); n > 0 {
		in := po.idle[n-1]
		po.idle[n-1], po.idle = nil, po.idle[:n-1]
		po.mu.Unlock()
		return in, nil
	}
	po.mu.Unlock()
	in, err := po.p.fresh(ctx)
	if err == nil {
		return in, nil
	}
	po.mu.Lock()
	if errors.Is(err, errFull) && po.busy > 1 { // an instance of our own comes back sooner or later
		po.busy--
		if err = po.queue(ctx, wait); err != nil {
			return nil, err
		}
		po.mu.Lock()
		return po.take(ctx, wait)
	}
	po.unpermit()
	po.mu.Unlock()
	return nil, err
}

// queue waits for a permit in order of arrival, for a caller that has the lock; it unlocks.
func (po *pool) queue(ctx context.Context, wait time.Duration) error {
	if len(po.waiting) >= po.most*waitersPerInstance {
		po.mu.Unlock()
		return abi.Errorf(abi.Busy, "%d calls run and %d wait", po.most, po.most*waitersPerInstance)
	}
	turn := make(chan struct{})
	po.waiting = append(po.waiting, turn)
	po.mu.Unlock()
	err := await(ctx, wait, turn)
	if err == nil {
		return nil
	}
	po.mu.Lock()
	defer po.mu.Unlock()
	for i, w := range po.waiting {
		if w == turn {
			po.waiting = append(po.waiting[:i], po.waiting[i+1:]...)
			return err
		}
	}
	return nil // it was ours in the same moment
}

func await(ctx context.Context, wait time.Duration, turn <-chan struct{}) error {
	select {
	case <-turn:
		return nil
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		return abi.Errorf(abi.CodeOf(ctx.Err()), "waiting for an instance: %w", ctx.Err())
	case <-timer.C:
		return abi.Errorf(abi.Busy, "no instance came free in time")
	}
}

// unpermit passes a permit on; the caller has the lock.
func (po *pool) unpermit() {
	if len(po.waiting) > 0 {
		close(po.waiting[0])
		po.waiting = po.waiting[1:]
		return
	}
	po.busy--
}

// land ends one flight.
func (po *pool) land() {
	po.mu.Lock()
	po.landed()
	po.mu.Unlock()
}

// landed is land for a caller that has the lock.
func (po *pool) landed() {
	if po.flights--; po.flights == 0 && po.closed {
		close(po.drained)
	}
}

// give takes an instance back after a call.
func (po *pool) give(in *instance, name string) {
	if name != "" {
		po.leave(name, in)
		po.land()
		return
	}
	keep := in.keepable() && in.restore(po.p.snap)
	if keep {
		po.p.stats.restores.Add(1)
	} else {
		po.discard(in)
	}
	po.mu.Lock()
	if keep {
		po.idle = append(po.idle, in)
	}
	po.unpermit()
	po.landed()
	po.mu.Unlock()
}

// evict lets the idle instance go that was used least recently; false when there is none.
func (po *pool) evict() bool {
	po.mu.Lock()
	if len(po.idle) == 0 {
		po.mu.Unlock()
		return false
	}
	in := po.idle[0]
	po.idle = append(po.idle[:0], po.idle[1:]...)
	po.mu.Unlock()
	po.discard(in)
	return true
}

// renew lets idle instances of an earlier machine go. Those at work follow when they come back.
func (po *pool) renew() {
	now := po.p.tier.Load()
	var gone []*instance
	po.mu.Lock()
	kept := po.idle[:0]
	for _, in := range po.idle {
		if in.machine == now {
			kept = append(kept, in)
		} else {
			gone = append(gone, in)
		}
	}
	clear(po.idle[len(kept):])
	po.idle = kept
	po.mu.Unlock()
	for _, in := range gone {
		po.discard(in)
	}
}

// put adds a ready instance.
func (po *pool) put(in *instance) {
	po.mu.Lock()
	defer po.mu.Unlock()
	po.idle = append(po.idle, in)
}

func (po *pool) discard(in *instance) {
	po.p.stats.discards.Add(1)
	in.close()
}

// session gives the instance of a session once its last call is over, for a caller that has the lock; it unlocks.
func (po *pool) session(ctx context.Context, name string, wait time.Duration) (*instance, error) {
	s := po.sessions[name]
	if s == nil {
		if len(po.sessions) >= maxSessions {
			po.mu.Unlock()
			return nil, abi.Errorf(abi.Busy, "%d sessions are open", maxSessions)
		}
		s = &session{turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		po.sessions[name] = s
	}
	s.users++
	if s.timer != nil {
		s.timer.Stop()
	}
	po.mu.Unlock()
	err := await(ctx, wait, s.turn)
	if err == nil && s.in == nil {
		if s.in, err = po.p.fresh(ctx); err != nil {
			s.turn <- struct{}{}
		}
	}
	if err != nil {
		po.rest(name, s)
		return nil, err
	}
	return s.in, nil
}

// leave ends a call of a session; a failed call ends the session's state.
func (po *pool) leave(name string, in *instance) {
	po.mu.Lock()
	s := po.sessions[name]
	po.mu.Unlock()
	if in.spent {
		s.in = nil
		po.discard(in)
	}
	s.turn <- struct{}{}
	po.rest(name, s)
}

// rest lets an unused session go, at once when it holds nothing, else after its idle time.
func (po *pool) rest(name string, s *session) {
	po.mu.Lock()
	defer po.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if s.in == nil {
		delete(po.sessions, name)
		return
	}
	s.timer = time.AfterFunc(po.idleFor, func() { po.expire(name, s) })
}

func (po *pool) expire(name string, s *session) {
	po.mu.Lock()
	gone := s.users == 0 && po.sessions[name] == s
	if gone {
		delete(po.sessions, name)
	}
	po.mu.Unlock()
	if gone {
		po.discard(s.in)
	}
}

// keeps reports whether a session is open.
func (po *pool) keeps(name string) bool {
	po.mu.Lock()
	defer po.mu.Unlock()
	return po.sessions[name] != nil
}

func (po *pool) counts() (idle, sessions int) {
	po.mu.Lock()
	defer po.mu.Unlock()
	return len(po.idle), len(po.sessions)
}

// close waits for the calls in flight, then lets every instance go. When ctx ends first its error is returned and the
// instances in use stay with their calls.
func (po *pool) close(ctx context.Context) error {
	po.mu.Lock()
	po.closed = true
	if po.flights == 0 {
		close(po.drained)
	}
	po.mu.Unlock()
	select {
	case <-po.drained:
	case <-ctx.Done():
		return abi.Errorf(abi.CodeOf(ctx.Err()), "unload %q: calls are still in flight: %w", po.p.spec.Name, ctx.Err())
	}
	po.mu.Lock()
	idle, sessions := po.idle, po.sessions
	po.idle, po.sessions = nil, map[string]*session{}
	po.mu.Unlock()
	for _, in := range idle {
		in.close()
	}
	for _, s := range sessions {
		s.timer.Stop()
		s.in.close()
	}
	return nil
}
