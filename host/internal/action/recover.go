package action

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
)

// recover heals the record after a stop: see Open.
func (e *Executor) recover(ctx context.Context) error {
	var waiting []Action
	err := e.db.Write(ctx, func(tx *sql.Tx) error {
		live, err := readLive(tx)
		if err != nil {
			return err
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		for _, a := range live {
			if a.State == Queued {
				waiting = append(waiting, a)
				continue
			}
			if again, err := e.resume(tx, a); err != nil {
				return err
			} else if again {
				a.State = Queued
				waiting = append(waiting, a)
				if err := e.move(tx, Running, a); err != nil {
					return err
				}
				continue
			}
			a.State, a.Ended = Failed, now
			a.Failure = failure(abi.Errorf(abi.Interrupted, "run %q: the host stopped while this was running, attempt %d", a.Kind, a.Attempt).
				WithHint("if running it twice does no harm: arw action retry %s", a.ID))
			if err := e.move(tx, Running, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return e.db.Explain("recover actions", err)
	}
	if err := e.readPause(ctx); err != nil {
		return err
	}
	for _, a := range waiting {
		ent := newEntry(a, Tool{})
		e.live[ent.id] = ent
		e.queue.waiting++
		e.queue.push(ent)
	}
	return nil
}

// resume reports whether an interrupted action may run again. A nested one never does: its caller is gone.
func (e *Executor) resume(tx *sql.Tx, a Action) (bool, error) {
	if a.Depth > 0 || len(a.Streams) > 0 {
		return false, nil
	}
	if e.cfg.Resume != nil {
		if again, err := e.cfg.Resume(tx, a.ID); err != nil || again {
			return again, err
		}
	}
	return a.Attempt < e.cfg.Attempts && (a.Effects <= abi.Reads || a.IdemKey != ""), nil
}

func readLive(tx *sql.Tx) ([]Action, error) {
	rows, err := tx.Query(`SELECT ` + columns + ` FROM action WHERE state IN ('queued','running') ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var live []Action
	for rows.Next() {
		a, err := scan(rows, false)
		if err != nil {
			return nil, err
		}
		live = append(live, a)
	}
	return live, rows.Err()
}
