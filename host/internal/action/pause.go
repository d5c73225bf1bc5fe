package action

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// The kinds of the events that tell whether waiting actions begin.
const (
	EventPaused  = "queue.paused"
	EventResumed = "queue.resumed"
)

// pauseBody is what both say.
type pauseBody struct {
	Reason  string `json:"reason,omitempty"`
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

// Pause lets nothing new begin: what is submitted is recorded and waits, what runs goes on to its end, calls of its tools
// included. It is durable: a host that starts again is still paused. Pausing twice is the same as once.
func (e *Executor) Pause(ctx context.Context, by, reason string) (Stats, error) {
	if len(reason) > maxKey {
		return Stats{}, abi.Errorf(abi.Invalid, "pause the queue: a reason has at most %d bytes", maxKey)
	}
	// Held before it is written: nothing begins behind the event that says so.
	e.mu.Lock()
	was := e.held
	e.held = true
	e.mu.Unlock()
	st := e.Stats()
	if was {
		return st, nil
	}
	err := e.line.Hold(ctx, true, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`INSERT OR REPLACE INTO action_pause (one, by, reason, at) VALUES (1, ?, ?, ?)`, by, reason, time.Now().UnixMilli()); err != nil {
			return err
		}
		return e.tellPause(tx, EventPaused, by, reason, st)
	})
	if err != nil {
		e.open()
		return Stats{}, err
	}
	return st, nil
}

// Unpause lets waiting actions begin again.
func (e *Executor) Unpause(ctx context.Context, by string) (Stats, error) {
	st := e.Stats()
	if !st.Paused {
		return st, nil
	}
	err := e.line.Hold(ctx, false, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`DELETE FROM action_pause`); err != nil {
			return err
		}
		return e.tellPause(tx, EventResumed, by, "", st)
	})
	if err != nil {
		return Stats{}, err
	}
	e.open()
	return e.Stats(), nil
}

// open lets what has waited begin.
func (e *Executor) open() {
	e.mu.Lock()
	e.held = false
	e.mu.Unlock()
	e.nudge()
}

func (e *Executor) tellPause(tx *sql.Tx, kind, by, reason string, st Stats) error {
	_, err := e.jrn.AppendTx(tx, journal.Event{Kind: kind, Actor: by, Body: pauseBody{reason, st.Running, st.Waiting}})
	return err
}

// readPause finds out at Open whether the host was paused when it stopped.
func (e *Executor) readPause(ctx context.Context) error {
	var one int
	err := e.db.Read().QueryRowContext(ctx, `SELECT one FROM action_pause`).Scan(&one)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return e.db.Explain("read whether the queue is paused", err)
	}
	e.held = err == nil
	if e.line.Stats().Held != e.held { // the record decides
		return e.line.Hold(ctx, e.held, nil)
	}
	return nil
}

// Retry submits a failed or cancelled action again, as a new one of the same tool, input, project and correlation id, on
// behalf of by: policy is asked about who retries, not about who asked first. Errors: NotFound; Conflict when the action
// has not ended or completed; Invalid for one that had streams; those of Submit.
func (e *Executor) Retry(ctx context.Context, id, by string) (Action, error) {
	a, err := e.Get(ctx, id)
	switch {
	case err != nil:
		return Action{}, err
	case a.State != Failed && a.State != Cancelled:
		return Action{}, abi.Errorf(abi.Conflict, "retry action %q: it is %s", id, a.State)
	case len(a.Streams) > 0:
		return Action{}, abi.Errorf(abi.Invalid, "retry action %q: it had streams, which are gone", id)
	}
	if f := a.Failure; f != nil && (f.Code == abi.Interrupted || f.Code == abi.Deadline) { // perhaps a dead letter
		again, err := e.Requeue(ctx, id, by)
		if code := abi.CodeOf(err); code != abi.NotFound && code != abi.Conflict {
			return again, err
		}
	}
	again, _, err := e.Submit(ctx, e.once(a, by))
	return again, err
}
