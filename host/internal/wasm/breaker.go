package wasm

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
)

// Quarantine: after breakAfter failures in a row a program rests for breakBase, twice as long each time it fails again,
// at most breakMost.
const (
	breakAfter = 5
	breakBase  = time.Second
	breakMost  = 5 * time.Minute
)

// breaker keeps a program that fails again and again from using up the host.
type breaker struct {
	failed atomic.Int32 // in a row; written under mu
	mu     sync.Mutex
	rest   time.Duration
	end    time.Time
	last   abi.Code
}

// allow refuses while the program rests. When the rest is over one failure is enough for the next one.
func (b *breaker) allow(now func() time.Time) error {
	if b.failed.Load() < breakAfter {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !now().Before(b.end) {
		return nil
	}
	left := b.end.Sub(now()).Round(100 * time.Millisecond)
	return abi.Errorf(abi.Quarantined, "it failed %d times in a row, last with %s, and rests for another %s", b.failed.Load(), b.last, left).
		WithHint("wait %s, or reinstall the pack", left)
}

// record counts a call. An answer, also an error the tool chose, ends the row; what the caller did is not the guest's fault.
func (b *breaker) record(kind abi.FrameKind, err error, now func() time.Time) {
	if !fatal(kind, err) && b.failed.Load() == 0 {
		return
	}
	code := abi.CodeOf(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !fatal(kind, err):
		b.failed.Store(0)
		b.rest = 0
		return
	case code == abi.Cancelled, code == abi.Internal, code == abi.Busy:
		return
	}
	b.last = code
	if b.failed.Add(1) >= breakAfter {
		b.rest = min(max(breakBase, 2*b.rest), breakMost)
		b.end = now().Add(b.rest)
	}
}

func (b *breaker) until() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed.Load() < breakAfter {
		return time.Time{}
	}
	return b.end
}
