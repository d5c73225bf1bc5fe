package journal

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
)

// PrunedKind is the kind of the event that tells that records were removed.
const PrunedKind = "journal.pruned"

// Pruned is the body of PrunedKind.
type Pruned struct {
	From  int64  `json:"from"`  // first record removed
	To    int64  `json:"to"`    // last record removed
	Count int64  `json:"count"` // how many these are
	Hash  string `json:"hash"`  // of the last one
	Seq   int64  `json:"seq"`   // the checkpoint that vouched for it
}

// Retention says which records may go. Whole stretches between checkpoints go, the oldest first, when any limit that is
// set is exceeded without them. The zero value keeps everything.
type Retention struct {
	Age   time.Duration // stretches signed longer ago than this
	Count int64         // records kept
	Bytes int64         // bytes of bodies kept
	// Least are the newest records that stay whatever the limits say, so that a clock that jumps ahead cannot empty the
	// journal.
	Least int64
}

func (r Retention) off() bool { return r.Age == 0 && r.Count == 0 && r.Bytes == 0 }

// pruneStep is how many records one transaction removes: small enough that an append that waits behind it notices little.
const pruneStep = 256

// Prune decides what may go, signs the anchor that stands in place of it, and removes it in short transactions. Nothing
// behind free goes: that is the last record nobody needs any more. It returns what it removed, zero for nothing; records
// that an earlier Prune did not get to are removed too. Errors: Unsupported without a key, those of db.Write; what was
// signed by then is no longer shown, and goes at the next call.
func (j *Journal) Prune(ctx context.Context, r Retention, free int64) (Pruned, error) {
	return j.pruneAt(ctx, r, free, j.now())
}

// pruneAt is Prune at a time that its caller has judged.
func (j *Journal) pruneAt(ctx context.Context, r Retention, free int64, now time.Time) (Pruned, error) {
	if j.key == nil {
		return Pruned{}, abi.Errorf(abi.Unsupported, "prune the journal: it was opened without a key")
	}
	var done Pruned
	point, err := j.prunable(ctx, r, free, now)
	if err != nil {
		return done, err
	}
	if point != nil {
		if done, err = j.anchor(ctx, point); err != nil {
			return done, err
		}
	}
	return done, j.remove(ctx)
}

// prunable finds the newest checkpoint up to which everything may go.
func (j *Journal) prunable(ctx context.Context, r Retention, free int64, now time.Time) (*Checkpoint, error) {
	if r.off() {
		return nil, nil
	}
	points, err := readCheckpoints(ctx, j.db.Read())
	if err != nil || len(points) == 0 {
		return nil, j.db.Explain("prune the journal", err)
	}
	last, floor := j.Last(), j.Floor()
	bytes := points[len(points)-1].Bytes
	var best *Checkpoint
	for i := range points {
		c := &points[i]
		if c.ID > free || last-c.ID < r.Least {
			break
		}
		old := r.Age > 0 && now.Sub(c.Time) > r.Age
		many := r.Count > 0 && last-c.ID >= r.Count
		large := r.Bytes > 0 && bytes-c.Bytes >= r.Bytes
		if c.ID > floor && (old || many || large) {
			best = c
		}
	}
	return best, nil
}

// anchor signs, in one transaction with the event that tells of it, that the records up to c go.
func (j *Journal) anchor(ctx context.Context, c *Checkpoint) (Pruned, error) {
	done := Pruned{From: j.Floor() + 1, To: c.ID, Count: c.ID - j.Floor(), Hash: digest(c.Hash), Seq: c.Seq}
	a := Anchor{Seq: c.Seq, ID: c.ID, Hash: c.Hash, Time: j.now().UTC().Truncate(time.Millisecond), Removed: c.ID, Key: IDOf(j.key.Public().(ed25519.PublicKey))}
	if len(c.Hash) != sha256.Size {
		return Pruned{}, abi.Errorf(abi.Corrupt, "prune the journal: checkpoint %d has no hash", c.Seq).WithHint("run `arw journal verify`")
	}
	a.Sig = ed25519.Sign(j.key, a.message())
	err := j.db.Write(ctx, func(tx *sql.Tx) error {
		var hash []byte
		if err := tx.QueryRow("SELECT hash FROM event WHERE id = ?", c.ID).Scan(&hash); err != nil || digest(hash) != done.Hash {
			// Signing for what is not there would make a lie of the next verification.
			return abi.Errorf(abi.Corrupt, "prune the journal: event %d is not the one that checkpoint %d vouches for", c.ID, c.Seq).WithHint("run `arw journal verify`")
		}
		stmt, err := j.db.Stmt(tx, "INSERT OR REPLACE INTO event_anchor (one, seq, id, hash, time_ms, removed, key, sig) VALUES (1, ?, ?, ?, ?, ?, ?, ?)")
		if err == nil {
			_, err = stmt.Exec(a.Seq, a.ID, a.Hash, a.Time.UnixMilli(), a.Removed, a.Key[:], a.Sig)
		}
		if err == nil {
			stmt, err = j.db.Stmt(tx, "DELETE FROM event_checkpoint WHERE seq < ?")
		}
		if err == nil {
			_, err = stmt.Exec(a.Seq)
		}
		if err == nil {
			_, err = j.AppendTx(tx, Event{Kind: PrunedKind, Actor: "host", Body: done})
		}
		return err
	})
	if err != nil {
		return Pruned{}, err
	}
	j.pub.raise(c.ID)
	return done, nil
}

// remove takes out what stands before the anchor, and gives the pages back to the file system bit by bit.
func (j *Journal) remove(ctx context.Context) error {
	for floor := j.Floor(); floor > 0; {
		var n int64
		err := j.db.Write(ctx, func(tx *sql.Tx) error {
			stmt, err := j.db.Stmt(tx, "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= ? ORDER BY id LIMIT ?)")
			if err != nil {
				return err
			}
			res, err := stmt.Exec(floor, pruneStep)
			if err != nil {
				return err
			}
			n, _ = res.RowsAffected()
			if stmt, err = j.db.Stmt(tx, "DELETE FROM event_redacted WHERE id <= ?"); err == nil {
				_, err = stmt.Exec(floor)
			}
			if err == nil {
				err = shrink(tx)
			}
			return err
		})
		if err != nil || n < pruneStep {
			return err
		}
	}
	return nil
}

// shrink gives back a few pages; the pragma does its work as its rows are read.
func shrink(tx *sql.Tx) error {
	rows, err := tx.Query("PRAGMA incremental_vacuum(256)")
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	defer rows.Close()
	return rows.Err()
}

// Floor is the last record that was removed, 0 when there is none: the oldest one kept is the next.
func (j *Journal) Floor() int64 { return j.pub.floorID() }
