package action

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue"
)

// The kinds of the events that tell of dead letters: actions that were begun and may not begin again by themselves, and such as
// nobody could begin in time.
const (
	EventDead     = "actions.dead"
	EventRequeued = "actions.requeued"
	EventDropped  = "actions.dropped"
)

// letterBody is what they say.
type letterBody struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"`
	As      string `json:"as,omitempty"` // the action that was made of it
}

func (e *Executor) tellDead(tx *sql.Tx, a Action, why string) error {
	return e.tellLetter(tx, EventDead, a, letterBody{Reason: why})
}

func (e *Executor) tellLetter(tx *sql.Tx, kind string, a Action, b letterBody) error {
	b.ID, b.Kind, b.Attempt = a.ID, a.Kind, a.Attempt
	_, err := e.jrn.AppendTx(tx, journal.Event{Kind: kind, Corr: a.Corr, Actor: a.Actor, Project: a.Project, Pack: a.Pack, Action: a.ID, Body: b})
	return err
}

// Waiting is an action and how the queue has it.
type Waiting struct {
	Action
	Queue queue.Info
}

// Jobs is at most n actions that stand in the queue in a state, in the order they came, behind the id after; without payloads.
func (e *Executor) Jobs(ctx context.Context, s queue.State, after string, n int) ([]Waiting, error) {
	infos, err := e.line.List(ctx, s, after, n)
	if err != nil || len(infos) == 0 {
		return nil, err
	}
	marks, ids := make([]string, len(infos)), make([]any, len(infos))
	for i := range infos {
		marks[i], ids[i] = "?", infos[i].ID
	}
	rows, err := e.db.Read().QueryContext(ctx, `SELECT `+columns+` FROM action WHERE id IN (`+strings.Join(marks, ",")+`)`, ids...)
	if err != nil {
		return nil, e.db.Explain("list jobs", err)
	}
	defer rows.Close()
	known := map[string]Action{}
	for rows.Next() {
		a, err := scan(rows, false)
		if err != nil {
			return nil, e.db.Explain("list jobs", err)
		}
		known[a.ID] = a
	}
	out := make([]Waiting, len(infos))
	for i, info := range infos {
		a, ok := known[info.ID]
		if !ok { // another host's: see taking.started
			a = Action{ID: info.ID, Pack: info.Lane}
		}
		out[i] = Waiting{a, info}
	}
	return out, e.db.Explain("list jobs", rows.Err())
}

// Wire is the job as the API tells it.
func (w *Waiting) Wire() api.QueueJob {
	q := &w.Queue
	out := api.QueueJob{
		ID: w.ID, Kind: w.Kind, Pack: w.Pack, Project: w.Project, State: string(q.State), Attempt: q.Attempt, Attempts: q.Attempts, Priority: q.Priority.String(),
		Actor: w.Actor, Corr: w.Corr, Created: q.Created.UTC(), Moved: q.Moved.UTC(), LastError: q.Why,
	}
	for _, t := range []struct {
		at   time.Time
		into **time.Time
		ok   bool
	}{{q.Until, &out.LeaseUntil, q.State == queue.Leased}, {q.NotBefore, &out.NextRun, q.State == queue.Ready}, {q.Deadline, &out.Deadline, true}} {
		if t.ok && !t.at.IsZero() {
			at := t.at.UTC().Truncate(time.Millisecond)
			*t.into = &at
		}
	}
	if f := w.Failure; f != nil && out.LastError == "" {
		out.LastError = f.Message
	}
	return out
}

// Requeue submits a dead letter again, on behalf of by, as a new action of the same tool, input, project, priority and
// correlation id: policy is asked about who requeues it, now. The letter is gone in the same step. Errors: NotFound and Conflict
// when it is no dead letter; Invalid for one that had streams; those of Submit.
func (e *Executor) Requeue(ctx context.Context, id, by string) (Action, error) {
	old, err := e.Get(ctx, id)
	if err != nil {
		return Action{}, err
	}
	if len(old.Streams) > 0 {
		return Action{}, abi.Errorf(abi.Invalid, "requeue action %q: it had streams, which are gone", id).WithHint("submit it anew, or drop it")
	}
	ent, err := e.admit(e.once(old, by))
	if err != nil {
		return Action{}, err
	}
	e.mu.Lock()
	if e.phase == stopping {
		err = abi.Errorf(abi.Unavailable, "requeue action %q: the host is stopping", id)
	} else if !e.slots.reserve() {
		err = abi.Errorf(abi.Busy, "requeue action %q: %d actions are waiting, the most this host keeps", id, e.slots.limit)
	} else {
		ent.waits = true
		e.live[ent.id] = ent
	}
	e.mu.Unlock()
	if err != nil {
		return Action{}, err
	}
	out := ent.act
	err = e.line.Requeue(ctx, id, e.job(out), func(tx *sql.Tx) error {
		if err := e.insert(tx, out); err != nil {
			return err
		}
		return e.tellLetter(tx, EventRequeued, old, letterBody{By: by, As: out.ID})
	})
	if err != nil {
		e.forget(ent)
		return Action{}, err
	}
	e.submitted.Add(1)
	return out, nil
}

// once is the request that makes an action again.
func (e *Executor) once(a Action, by string) Request {
	return Request{
		Kind: a.Pack + ":" + a.Kind, Input: a.Input, Actor: by, Project: a.Project, Corr: a.Corr, Session: a.Session, Record: a.Record != nil, Priority: a.Priority,
	}
}

// Drop forgets a dead letter; the action stays in the record as it ended. Errors: NotFound; Conflict when it is not dead.
func (e *Executor) Drop(ctx context.Context, id, by string) error {
	a, err := e.Get(ctx, id)
	if abi.CodeOf(err) == abi.NotFound {
		a, err = Action{ID: id}, nil
	}
	if err != nil {
		return err
	}
	return e.line.Drop(ctx, id, func(tx *sql.Tx) error { return e.tellLetter(tx, EventDropped, a, letterBody{By: by}) })
}

// Drain is Pause, and waits until nothing runs any more. When ctx ends first the queue is paused and the error is ctx's.
func (e *Executor) Drain(ctx context.Context, by, reason string) (Stats, error) {
	if _, err := e.Pause(ctx, by, reason); err != nil {
		return Stats{}, err
	}
	if err := queue.Quiet(ctx, e.line); err != nil {
		st := e.Stats()
		return st, abi.Errorf(abi.CodeOf(err), "drain the queue: %d actions still run: %w", st.Running, err).
			WithHint("the queue stays paused; wait, or cancel what runs")
	}
	return e.Stats(), nil
}
