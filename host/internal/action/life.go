package action

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
)

// Wait returns the action once it is final, or with the context's end what it is by then, beside the context's error.
// NotFound when there is no such action.
func (e *Executor) Wait(ctx context.Context, id string) (Action, error) {
	e.mu.Lock()
	ent := e.live[id]
	e.mu.Unlock()
	if ent == nil {
		return e.Get(ctx, id)
	}
	select {
	case <-ent.done:
		if ent.last.State != "" {
			return ent.last, nil
		}
		return e.Get(ctx, id) // the host stopped before it could be recorded
	case <-ctx.Done():
		a, err := e.Get(context.WithoutCancel(ctx), id)
		if err != nil {
			return Action{}, err
		}
		return a, abi.Errorf(abi.CodeOf(ctx.Err()), "wait for action %q: %w", id, ctx.Err())
	}
}

// Cancel takes an action back and returns it as it ended. A queued one never runs; a running one has its context ended
// and is waited for as long as ctx allows. Cancelling twice is the same as once. Errors: NotFound; Conflict when the
// action had ended, or ended before the cancel reached it (the returned action says how).
func (e *Executor) Cancel(ctx context.Context, id, by, reason string) (Action, error) {
	e.mu.Lock()
	ent := e.live[id]
	if ent != nil {
		if ent.why == nil {
			ent.why = cancelFailure(ent.kind, by, reason)
		}
		if ent.cancel != nil {
			ent.cancel(errCancel)
		}
	}
	e.mu.Unlock()
	if ent != nil {
		if err := e.cancelQueued(ctx, ent); err != nil {
			return Action{}, err
		}
	}
	a, err := e.Wait(ctx, id)
	if err == nil && a.State != Cancelled {
		err = abi.Errorf(abi.Conflict, "cancel action %q: it is %s", id, a.State)
	}
	return a, err
}

func cancelFailure(kind, by, reason string) *Failure {
	if by == "" {
		by = "the caller"
	}
	err := abi.Errorf(abi.Cancelled, "run %q: cancelled by %s", kind, by)
	if reason != "" {
		err = abi.Errorf(abi.Cancelled, "run %q: cancelled by %s: %s", kind, by, reason)
	}
	return failure(err)
}

// cancelQueued ends an action that waits; one that runs, or that the queue does not have because another called it, is told by
// its context.
func (e *Executor) cancelQueued(ctx context.Context, ent *entry) error {
	var a Action
	var moved error
	err := e.line.Cancel(context.WithoutCancel(ctx), ent.id, func(tx *sql.Tx) error {
		e.mu.Lock()
		a = ent.act
		a.State, a.Failure, a.Ended = Cancelled, ent.why, time.Now().UTC().Truncate(time.Millisecond)
		e.mu.Unlock()
		moved = e.move(tx, Queued, a)
		return moved
	})
	code := abi.CodeOf(err)
	switch {
	case err == nil:
		e.publish(ent, a)
		return nil
	case moved == nil && (code == abi.Conflict || code == abi.NotFound):
		return nil
	}
	return err
}
