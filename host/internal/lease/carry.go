package lease

import (
	"context"
	"database/sql"

	"github.com/arw-project/arw/abi"
)

const carryLease = `UPDATE lease SET digest = ? WHERE id = ? AND digest = ?`

// Carried is the body of leases.carried: the lease as it stands, and the version it was for.
type Carried struct {
	Wire
	From string `json:"from_digest"`
}

// CarryTx moves a lease to another version of its pack, inside the write that makes that version the installed one, and
// journals leases.carried. It stays the same lease, in whatever state it is: scope, end and what is left of the budget do
// not change. Once the write is durable both versions use it, counted together, so that calls in flight on the old one
// end well; Release ends that. Errors: NotFound; Conflict when it is another version's; those of the database.
func (b *Book) CarryTx(tx *sql.Tx, corr, by, id, from, to string) (Lease, error) {
	if wrong := checkWords(corr, by, ""); wrong != "" || !packDigest.MatchString(to) {
		return Lease{}, abi.Errorf(abi.Invalid, "carry lease %q to %q: %s", clip(id), clip(to), wrong)
	}
	b.mu.Lock()
	e, err := b.find(id)
	var l Lease
	if err == nil {
		l = b.lease(e)
	}
	b.mu.Unlock()
	if err != nil || from == to {
		return l, err
	}
	moved, err := b.exec(tx, carryLease, to, id, from)
	switch {
	case err != nil:
		return Lease{}, b.db.Explain("carry a lease", err)
	case !moved:
		return Lease{}, abi.Errorf(abi.Conflict, "carry lease %q: it is not for %s any more", id, from)
	}
	l.Digest = to
	if err := b.noteAs(tx, "leases.carried", corr, by, l, Carried{l.Wire(), from}); err != nil {
		return Lease{}, err
	}
	b.stage(func() {
		b.touch(e)
		e.grant.Digest = to
		b.holder(e.grant.Pack, to).entries[e] = true
		b.touch(e)
	})
	return l, nil
}

// Release ends what a version could still use of leases that were carried to another one, and revokes those of the given
// leases that are still its own. It is for a version that has drained.
func (b *Book) Release(ctx context.Context, corr, pack, digest, by, reason string, ids []string) error {
	if err := checkEnding(corr, by, reason); err != nil {
		return err
	}
	var ended []*entry
	b.mu.Lock()
	h := b.holder(pack, digest)
	for e := range h.entries {
		if e.grant.Digest != digest {
			delete(h.entries, e)
		}
	}
	for _, id := range ids {
		e := b.leases[id]
		if e == nil || e.grant.Digest != digest {
			continue
		}
		if s := e.stateAt(b.now()); s == stateLive || s == stateExpired && e.grant.Renewable {
			b.revoke(e, corr, by, reason)
			ended = append(ended, e)
		}
	}
	b.touched[h] = true
	b.arrange()
	b.mu.Unlock()
	return b.settle(ctx, ended)
}
