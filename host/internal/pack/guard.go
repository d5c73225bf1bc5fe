package pack

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Guard is when a new version that does badly is taken back by the host itself. A version is watched from its upgrade
// until Window is over or Calls calls have ended, whichever is first; a version that was rolled back to is not watched, so
// that nothing ever swings. The zero value has the defaults below; a negative Failures or Denials never rolls back for
// that reason.
type Guard struct {
	Window   time.Duration // 10 minutes
	Calls    int           // 1,000
	Failures int           // calls that trapped, ran out of a limit, broke their schema, or did not load: 5
	Denials  int           // calls in which the host refused something: 20
}

func (g Guard) or(d Guard) Guard {
	return Guard{cmp.Or(g.Window, d.Window), cmp.Or(g.Calls, d.Calls), cmp.Or(g.Failures, d.Failures), cmp.Or(g.Denials, d.Denials)}
}

var defaultGuard = Guard{10 * time.Minute, 1000, 5, 20}

// trialStart says since when a version is watched, and what it is rolled back to.
type trialStart struct {
	Since time.Time `json:"since"`
	From  string    `json:"from"` // digest
}

// trial counts a version's calls while it is watched. Counts are of this process; the window is not.
type trial struct {
	start trialStart
	guard Guard

	mu                       sync.Mutex
	over                     bool
	calls, failures, denials int
	lastFailure              string
}

// report counts one call that ended at a moment. It answers, once, why the version must go; else "".
func (t *trial) report(at time.Time, err error, failed, denied bool) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return ""
	}
	if at.Sub(t.start.Since) > t.guard.Window {
		t.over = true
		return ""
	}
	t.calls++
	if failed {
		t.failures++
		t.lastFailure = err.Error()
	}
	if denied {
		t.denials++
	}
	switch {
	case t.guard.Failures > 0 && t.failures >= t.guard.Failures:
		t.over = true
		return fmt.Sprintf("%d of its first %d calls failed, the last with: %s", t.failures, t.calls, clip([]byte(t.lastFailure)))
	case t.guard.Denials > 0 && t.denials >= t.guard.Denials:
		t.over = true
		return fmt.Sprintf("the host refused something in %d of its first %d calls", t.denials, t.calls)
	}
	if t.calls >= t.guard.Calls {
		t.over = true
	}
	return ""
}

// end takes the one decision a trial has; false when it was taken.
func (t *trial) end() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.over
	t.over = true
	return !was
}

// tell describes a trial that is on.
func (t *trial) tell() *Trial {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return nil
	}
	return &Trial{Until: t.start.Since.Add(t.guard.Window), From: t.start.From, Calls: t.calls, Failures: t.failures, Denials: t.denials}
}

// faulty reports whether an error is the version's own fault: it crashed, ran out of what it may use, or broke its word.
// An answer the tool chose, a refusal and what the caller or the host did are not.
func faulty(err error) bool {
	switch abi.CodeOf(err) {
	case abi.Trap, abi.Exited, abi.GasExhausted, abi.MemoryExhausted, abi.DepthExceeded, abi.Deadline, abi.Quarantined, abi.ToolFailed, abi.Incompatible, abi.Corrupt:
		return true
	}
	return false
}

// watch counts a finished call against the version it ran on, and rolls back when it was one too many.
func (m *Manager) watch(v *version, err error, answered, denied bool) {
	if v.trial == nil {
		return
	}
	if why := v.trial.report(m.now(), err, err != nil && !answered && faulty(err), denied); why != "" {
		m.rollbackSoon(v, why)
	}
}

// rollbackSoon takes a version back in the background.
func (m *Manager) rollbackSoon(v *version, why string) {
	m.background(func() { // when the host is closing, the next start watches on
		ctx := context.Background()
		_, err := m.Rollback(ctx, v.row.Name, RollbackOptions{By: byHost, Reason: why, from: v.row.Digest, Digest: v.trial.start.From})
		if err == nil {
			return
		}
		m.Log.Error("roll back a pack that does badly", "pack", v.row.Name, "version", v.row.Version, "reason", why, "error", err)
		_, jerr := m.Journal.Append(ctx, journal.Event{Kind: "pack.rollback_failed", Corr: newCorr(), Actor: byHost, Pack: v.row.Name, Body: map[string]any{
			"version": v.row.Version, "digest": v.row.Digest, "reason": why, "error": refusal(err),
		}})
		if jerr != nil {
			m.Log.Error("journal that a rollback failed", "pack", v.row.Name, "error", jerr)
		}
	})
}
