package lease

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
)

// end makes a lease useless to the next use; mu is held. The table and the journal follow: see settle.
func (b *Book) end(e *entry, s state, corr string, ending Ending) {
	e.ended = &ending
	e.state.Store(s)
	b.pending[e] = change{e.ended, corr}
}

// exhaust ends a lease whose budget is empty or too small for what was asked.
func (b *Book) exhaust(e *entry) {
	b.mu.Lock()
	if e.state.Load() == stateLive {
		b.end(e, stateExhausted, e.corr, Ending{Time: time.Now().UTC()})
	}
	b.mu.Unlock()
	b.poke()
}

// Revoke takes a lease back and journals leases.revoked. From the moment it returns, also with an error, no use that
// begins succeeds. A lease that expired or is spent is revoked too, so that it cannot be renewed; one that is revoked
// already stays as it is. Errors: NotFound, Invalid without somebody who revokes, and those of the database: then it is
// revoked as long as this host runs, and the host keeps trying to write it down.
func (b *Book) Revoke(ctx context.Context, corr, id, by, reason string) (Lease, error) {
	reason = b.reason(reason)
	if err := checkEnding(corr, by, reason); err != nil {
		return Lease{}, err
	}
	b.mu.Lock()
	e, err := b.find(id)
	if err == nil {
		b.revoke(e, corr, by, reason)
	}
	b.mu.Unlock()
	if err != nil {
		return Lease{}, err
	}
	err = b.settle(ctx, []*entry{e})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lease(e), err
}

// RevokeAll revokes every lease of a pack, in all its versions, that is live or could be renewed, and returns them. The
// events and changes are one write; the rest is as for Revoke.
func (b *Book) RevokeAll(ctx context.Context, corr, pack, by, reason string) ([]Lease, error) {
	reason = b.reason(reason)
	if err := checkEnding(corr, by, reason); err != nil {
		return nil, err
	}
	var ended []*entry
	b.mu.Lock()
	for _, e := range b.leases {
		s := e.stateAt(b.now())
		if e.grant.Pack == pack && (s == stateLive || (s == stateExpired && e.grant.Renewable)) {
			b.revoke(e, corr, by, reason)
			ended = append(ended, e)
		}
	}
	b.mu.Unlock()
	err := b.settle(ctx, ended)
	b.mu.Lock()
	defer b.mu.Unlock()
	leases := make([]Lease, len(ended))
	for i, e := range ended {
		leases[i] = b.lease(e)
	}
	return leases, err
}

func checkEnding(corr, by, reason string) error {
	if wrong := checkWords(corr, by, reason); wrong != "" {
		return abi.Errorf(abi.Invalid, "revoke: %s", wrong)
	}
	return nil
}

func (b *Book) revoke(e *entry, corr, by, reason string) {
	if e.state.Load() != stateRevoked {
		b.end(e, stateRevoked, corr, Ending{Time: time.Now().UTC(), By: by, Reason: reason})
	}
}

// settled is one ending on its way into the table.
type settled struct {
	e     *entry
	c     change
	state state
	lease Lease
}

// settle writes the endings of the given entries that are not in the table yet, each with its event, as one. An ending
// that the table does not admit (another was faster, or a renewal) is dropped without an event.
func (b *Book) settle(ctx context.Context, entries []*entry) error {
	var todo []settled
	b.mu.Lock()
	for _, e := range entries {
		if c, ok := b.pending[e]; ok {
			todo = append(todo, settled{e, c, e.state.Load(), b.lease(e)})
		}
	}
	b.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	return b.write(ctx, "end a lease", func(tx *sql.Tx) error {
		for _, s := range todo {
			if err := b.settleTx(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *Book) settleTx(tx *sql.Tx, s settled) error {
	changed, err := b.updateState(tx, s.state, s.lease)
	if err != nil {
		return err
	}
	if changed {
		actor := s.lease.Ended.By
		if actor == "" {
			actor = "host"
		}
		if err := b.note(tx, "leases."+stateNames[s.state], s.c.corr, actor, s.lease); err != nil {
			return err
		}
	}
	b.stage(func() {
		if now, ok := b.pending[s.e]; ok && now == s.c {
			delete(b.pending, s.e)
		}
		b.touch(s.e)
	})
	return nil
}

// RevokeTx is Revoke inside a write of the same database, so that a larger change and the end of its leases are one: the
// lease ends once that write is durable, and goes on when it fails. One that ended already stays as it is.
func (b *Book) RevokeTx(tx *sql.Tx, corr, id, by, reason string) error {
	reason = b.reason(reason)
	if err := checkEnding(corr, by, reason); err != nil {
		return err
	}
	b.mu.Lock()
	e, err := b.find(id)
	var l Lease
	if err == nil {
		l = b.lease(e)
	}
	b.mu.Unlock()
	if err != nil || l.State == Revoked {
		return err
	}
	ending := Ending{Time: time.Now().UTC(), By: by, Reason: reason}
	l.State, l.Ended = Revoked, &ending
	changed, err := b.updateState(tx, stateRevoked, l)
	if err != nil {
		return b.db.Explain("revoke a lease", err)
	}
	if changed {
		if err := b.note(tx, "leases."+stateNames[stateRevoked], corr, by, l); err != nil {
			return err
		}
	}
	b.stage(func() {
		e.ended = &ending
		e.state.Store(stateRevoked)
		delete(b.pending, e)
		b.touch(e)
	})
	return nil
}
