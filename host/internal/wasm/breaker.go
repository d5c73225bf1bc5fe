package wasm

import (
	"sync"
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
	mu     sync.Mutex
	failed int // in a row
	rest   time.Duration
	end    time.Time
	last   abi.Code
}

// allow refuses while the program rests. When the rest is over one failure is enough for the next one.
func (b *breaker) allow(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < breakAfter || !now.Before(b.end) {
		return nil
	}
	left := b.end.Sub(now).Round(100 * time.Millisecond)
	return abi.Errorf(abi.Quarantined, "it failed %d times in a row, last with %s, and rests for another %s", b.failed, b.last, left).
		WithHint("wait %s, or reinstall the pack", left)
}

// record counts a call. An answer, also an error the tool chose, ends the row; what the caller did is not the guest's fault.
func (b *breaker) record(kind abi.FrameKind, err error, now func() time.Time) {
	code := abi.CodeOf(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !fatal(kind, err):
		b.failed, b.rest = 0, 0
		return
	case code == abi.Cancelled, code == abi.Internal:
		return
	}
	b.failed, b.last = b.failed+1, code
	if b.failed >= breakAfter {
		b.rest = min(max(breakBase, 2*b.rest), breakMost)
		b.end = now().Add(b.rest)
	}
}

func (b *breaker) until() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < breakAfter {
		return time.Time{}
	}
	return b.end
}
