package pack

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// slot is the place one pack's name holds. One version stands in it; those it replaced may still be finishing their calls
// beside it. Calls enter and leave; only a removal keeps them out.
type slot struct {
	name string

	// tidy is held while leases move between versions, and while those of a version that has drained are taken back, so
	// that neither sees the other half done.
	tidy sync.Mutex

	mu    sync.Mutex
	cur   *version
	old   []*version    // replaced and not yet closed, the newest last
	gate  chan struct{} // not nil while closed; closing the channel opens it
	quiet chan struct{} // not nil while someone waits for all calls to end
}

// visit is one call inside a version.
type visit struct {
	s       *slot
	v       *version
	session string
	cut     context.CancelCauseFunc
}

// enter counts a call in: on the version that keeps the session it names, else on the one that stands in the slot. The
// returned context ends when the version may not go on. Behind a closed gate it waits, unless the call is nested and
// others are inside: its outer call may be the very one the gate waits for. NotFound when the pack was removed meanwhile.
func (s *slot) enter(ctx context.Context, nested bool, session string) (*visit, context.Context, error) {
	for {
		s.mu.Lock()
		gate := s.gate
		if gate == nil || nested && s.inside() > 0 {
			v := s.holder(session)
			if v == nil {
				s.mu.Unlock()
				return nil, nil, abi.Errorf(abi.NotFound, "call pack %q: it is not installed", s.name)
			}
			ctx, cut := context.WithCancelCause(ctx)
			in := &visit{s, v, session, cut}
			v.visits[in] = true
			s.mu.Unlock()
			return in, ctx, nil
		}
		s.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, nil, abi.Errorf(abi.CodeOf(ctx.Err()), "call pack %q: waiting for its removal: %w", s.name, ctx.Err())
		}
	}
}

// holder is the version a call belongs to; mu is held.
func (s *slot) holder(session string) *version {
	if session != "" {
		for _, v := range s.old {
			if !v.gone && v.keeps(session) {
				return v
			}
		}
	}
	return s.cur
}

// leave counts the call out.
func (in *visit) leave() {
	in.cut(nil)
	s := in.s
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(in.v.visits, in)
	if in.v.idle != nil && len(in.v.visits) == 0 {
		close(in.v.idle)
		in.v.idle = nil
	}
	if s.quiet != nil && s.inside() == 0 {
		close(s.quiet)
		s.quiet = nil
	}
}

// inside counts the calls of all versions; mu is held.
func (s *slot) inside() int {
	n := 0
	if s.cur != nil {
		n = len(s.cur.visits)
	}
	for _, v := range s.old {
		n += len(v.visits)
	}
	return n
}

// drain closes the gate and waits until no call is inside; the caller opens the gate again with open or swap. When
// patience runs out or ctx ends, the gate is open again and nothing has changed: Busy, or the context's error.
func (s *slot) drain(ctx context.Context, patience time.Duration) error {
	s.mu.Lock()
	s.gate = make(chan struct{})
	n := s.inside()
	if n == 0 {
		s.mu.Unlock()
		return nil
	}
	quiet := make(chan struct{})
	s.quiet = quiet
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-quiet:
		return nil
	case <-timer.C:
		s.open()
		return abi.Errorf(abi.Busy, "drain pack %q: %d calls still run after %s", s.name, n, patience).
			WithHint("cancel its running actions or try again later")
	case <-ctx.Done():
		s.open()
		return abi.Errorf(abi.CodeOf(ctx.Err()), "drain pack %q: %w", s.name, ctx.Err())
	}
}

// open lets calls in again, on whatever stands in the slot.
func (s *slot) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = nil
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

// swap puts another version in the slot, nil to leave it empty, and opens the gate. The one that stood there is returned;
// calls inside it go on, and it must be retired.
func (s *slot) swap(v *version) *version {
	s.mu.Lock()
	before := s.cur
	s.cur = v
	if before != nil {
		s.old = append(s.old, before)
	}
	s.mu.Unlock()
	s.open()
	return before
}

// idle is closed when no call is inside a version that was replaced; nil when none is now.
func (s *slot) idle(v *version) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(v.visits) == 0 {
		return nil
	}
	if v.idle == nil {
		v.idle = make(chan struct{})
	}
	return v.idle
}

// shut keeps further calls of its sessions out of a version that was replaced.
func (s *slot) shut(v *version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.gone = true
}

// forget takes a version that has drained out of the slot.
func (s *slot) forget(v *version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old = slices.DeleteFunc(s.old, func(o *version) bool { return o == v })
}

// halt ends a version at once: its calls are cut with the error, and no host call of it succeeds any more. It says how
// many calls that were.
func (s *slot) halt(v *version, why *abi.Error) int {
	v.halted.Store(why)
	s.mu.Lock()
	defer s.mu.Unlock()
	for in := range v.visits {
		in.cut(why)
	}
	return len(v.visits)
}

// current is the version that stands in the slot now; nil when the pack is gone.
func (s *slot) current() *version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur
}

// versions are all that may run calls, the installed one first.
func (s *slot) versions() []*version {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*version
	if s.cur != nil {
		all = append(all, s.cur)
	}
	return append(all, s.old...)
}

// running counts the calls inside, and the versions that finish theirs.
func (s *slot) running() (calls, draining int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inside(), len(s.old)
}
