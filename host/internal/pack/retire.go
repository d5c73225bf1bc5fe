package pack

import (
	"context"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// sessionPoll is how often a version that only keeps sessions is asked whether it still does.
const sessionPoll = 20 * time.Millisecond

// retirement is a version on its way out.
type retirement struct {
	s      *slot
	v      *version
	corr   string
	by     string   // the version that took its place
	leases []string // its own, to be revoked once it has drained
}

// retire lets a replaced version finish beside its successor, in the background. It ends when its calls have ended and its
// sessions have gone idle, or when Config.Drain is over: then what is left is cut off. What fails here is made up for by
// the next start: the upgrade stands.
func (m *Manager) retire(r retirement) {
	finish := func() {
		cut := 0
		inTime := m.outlast(r.s, r.v)
		r.s.shut(r.v)
		if idle := r.s.idle(r.v); idle != nil {
			if inTime { // a session's call came in at the last moment
				select {
				case <-idle:
				case <-time.After(m.cfg.Drain):
				case <-m.closing:
				}
			}
			cut = r.s.halt(r.v, abi.Errorf(abi.Interrupted, "call pack %q: version %s took its place, and the time to finish (%s) is over", r.s.name, r.by, m.cfg.Drain).
				WithHint("call it again: the new version answers"))
			<-idle
		}
		ctx := context.Background()
		r.s.tidy.Lock()
		if cur := r.s.current(); cur != nil && cur.row.Digest == r.v.row.Digest {
			r.leases = nil // a rollback was faster: they are in use again
		}
		if err := m.Leases.Release(ctx, r.corr, r.s.name, r.v.row.Digest, byHost, "version "+r.by+" took its place", r.leases); err != nil {
			m.Log.Error("take back the leases of the version before", "pack", r.s.name, "error", err)
		}
		r.s.tidy.Unlock()
		if err := r.v.close(ctx); err != nil {
			m.Log.Error("close the program of the version before", "pack", r.s.name, "error", err)
		}
		_, err := m.Journal.Append(ctx, journal.Event{Kind: "pack.retired", Corr: r.corr, Actor: byHost, Pack: r.s.name, Body: map[string]any{
			"version": r.v.row.Version, "digest": r.v.row.Digest, "cut": cut,
		}})
		if err != nil {
			m.Log.Error("journal the end of the version before", "pack", r.s.name, "error", err)
		}
		r.s.forget(r.v)
	}
	if !m.background(finish) {
		finish()
	}
}

// outlast waits until a version is not needed any more; false when its time is over first.
func (m *Manager) outlast(s *slot, v *version) bool {
	bound := time.NewTimer(m.cfg.Drain)
	defer bound.Stop()
	poll := time.NewTicker(sessionPoll)
	defer poll.Stop()
	for {
		idle := s.idle(v)
		if idle == nil && v.sessions() == 0 {
			return true
		}
		if idle != nil {
			select {
			case <-idle:
			case <-bound.C:
				return false
			case <-m.closing:
				return false
			}
			continue
		}
		select {
		case <-poll.C:
		case <-bound.C:
			return true // sessions do not outlive the bound; no call is lost with them
		case <-m.closing:
			return true
		}
	}
}
