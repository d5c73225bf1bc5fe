package pack

import (
	"context"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// slot is the place one pack's name holds, whatever version stands in it. Calls enter and leave; an upgrade or a removal
// closes the gate, waits until the slot is quiet, and then changes what stands there.
type slot struct {
	name string

	mu    sync.Mutex
	cur   *version
	calls int           // of cur
	gate  chan struct{} // not nil while closed; closing the channel opens it
	quiet chan struct{} // not nil while someone waits for calls to reach zero
}

// enter counts a call in and returns the version it runs on. Behind a closed gate it waits, unless the call is nested and
// others are inside: its outer call may be the very one the gate waits for. NotFound when the pack was removed meanwhile.
func (s *slot) enter(ctx context.Context, nested bool) (*version, error) {
	for {
		s.mu.Lock()
		gate := s.gate
		if gate == nil || nested && s.calls > 0 {
			v := s.cur
			if v == nil {
				s.mu.Unlock()
				return nil, abi.Errorf(abi.NotFound, "call pack %q: it is not installed", s.name)
			}
			s.calls++
			s.mu.Unlock()
			return v, nil
		}
		s.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, abi.Errorf(abi.CodeOf(ctx.Err()), "call pack %q: waiting for its upgrade: %w", s.name, ctx.Err())
		}
	}
}

// leave counts a call out.
func (s *slot) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls--; s.calls == 0 && s.quiet != nil {
		close(s.quiet)
		s.quiet = nil
	}
}

// drain closes the gate and waits until no call is inside; the caller opens the gate again with open or swap. When
// patience runs out or ctx ends, the gate is open again and nothing has changed: Busy, or the context's error.
func (s *slot) drain(ctx context.Context, patience time.Duration) error {
	s.mu.Lock()
	s.gate = make(chan struct{})
	if s.calls == 0 {
		s.mu.Unlock()
		return nil
	}
	quiet := make(chan struct{})
	s.quiet = quiet
	n := s.calls
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

// swap puts another version in a drained slot, nil to leave it empty, and opens the gate.
func (s *slot) swap(v *version) {
	s.mu.Lock()
	s.cur = v
	s.mu.Unlock()
	s.open()
}

// current is the version that stands in the slot now; nil when the pack is gone.
func (s *slot) current() *version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur
}

// running counts the calls inside.
func (s *slot) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}
