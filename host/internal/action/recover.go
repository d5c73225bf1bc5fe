package action

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// recover heals the record after a stop, and makes the queue agree with it: see Open.
func (e *Executor) recover(ctx context.Context) error {
	var live []Action
	again := map[string]bool{}
	err := e.db.Write(ctx, func(tx *sql.Tx) (err error) {
		if live, err = readLive(tx); err != nil {
			return err
		}
		for _, a := range live {
			if a.State == Running {
				if again[a.ID], err = e.mayRepeat(tx, a); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return e.db.Explain("recover actions", err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	var jobs []queue.Held
	var moved, waiting []Action
	for _, a := range live {
		held := queue.Held{Job: e.job(a), State: queue.Ready, Attempt: min(a.Attempt, e.cfg.Attempts-1)}
		if a.State == Running && !again[a.ID] {
			a.State, a.Ended, a.Failure = Failed, now, failure(interrupted(a))
			held.State, held.Attempt, held.Why = queue.Dead, a.Attempt, a.Failure.Message
			moved = append(moved, a)
		} else {
			if a.State == Running {
				a.State = Queued
				moved = append(moved, a)
			}
			waiting = append(waiting, a)
		}
		if a.Depth == 0 {
			jobs = append(jobs, held)
		}
	}
	err = e.line.Restore(ctx, jobs, func(tx *sql.Tx) error {
		for _, a := range moved {
			if err := e.move(tx, Running, a); err != nil {
				return err
			}
			if a.State == Failed && a.Depth == 0 {
				if err := e.tellDead(tx, a, a.Failure.Message); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return e.db.Explain("recover actions", err)
	}
	for _, a := range waiting {
		ent := newEntry(a, Tool{})
		ent.waits = true
		e.live[ent.id] = ent
		e.slots.waiting++
	}
	return e.readPause(ctx)
}

// interrupted is the failure of an action that was cut off and may not begin again by itself.
func interrupted(a Action) error {
	return abi.Errorf(abi.Interrupted, "run %q: the host stopped while this was running, attempt %d", a.Kind, a.Attempt).
		WithHint("if running it twice does no harm: arw queue requeue %s", a.ID)
}

// mayRepeat is the one rule of what becomes of an action that was cut off, by a kill as by a stop whose patience is over: it
// runs again if that does no harm (its tool writes nothing, its caller gave an IdemKey, or Config.Resume says that nothing had
// come of it) and it has attempts left. One that was called by another never does: its caller is gone.
func (e *Executor) mayRepeat(tx *sql.Tx, a Action) (bool, error) {
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

// cutOff asks the rule about an action of this process.
func (e *Executor) cutOff(a Action, err error) bool {
	if errors.Is(err, ErrHeld) {
		return a.Depth == 0
	}
	again := false
	asked := e.db.Write(context.WithoutCancel(e.ctx), func(tx *sql.Tx) (err error) {
		again, err = e.mayRepeat(tx, a)
		return err
	})
	return asked == nil && again
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
