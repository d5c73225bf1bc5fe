package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

const (
	columns = `seq, id, kind, pack, state, out_kind, code, failure, idem_key, actor, project, corr, session, parent, depth,
		deadline, created, started, ended, usage, streams, recording, attempt, effects, priority`
	payload = `, input, output`
)

type scanner interface{ Scan(into ...any) error }

func scan(row scanner, withPayload bool) (Action, error) {
	var a Action
	var code abi.Code
	var fail sql.NullString
	var usage, streams, recording string
	var deadline, created, started, ended int64
	into := []any{&a.seq, &a.ID, &a.Kind, &a.Pack, &a.State, &a.OutKind, &code, &fail, &a.IdemKey, &a.Actor, &a.Project, &a.Corr,
		&a.Session, &a.Parent, &a.Depth, &deadline, &created, &started, &ended, &usage, &streams, &recording, &a.Attempt, &a.Effects, &a.Priority}
	if withPayload {
		into = append(into, (*[]byte)(&a.Input), &a.Output)
	}
	if err := row.Scan(into...); err != nil {
		return Action{}, err
	}
	a.Deadline, a.Created, a.Started, a.Ended = at(deadline), at(created), at(started), at(ended)
	if streams != "" {
		a.Streams = strings.Split(streams, ",")
	}
	if recording != "" {
		a.Record = &Recording{}
		if err := json.Unmarshal([]byte(recording), a.Record); err != nil {
			return Action{}, abi.Errorf(abi.Corrupt, "read action %q: its record: %w", a.ID, err)
		}
	}
	if fail.Valid {
		a.Failure = &Failure{}
		if err := json.Unmarshal([]byte(fail.String), a.Failure); err != nil {
			return Action{}, abi.Errorf(abi.Corrupt, "read action %q: its failure: %w", a.ID, err)
		}
		a.Failure.Code = code
	}
	if err := json.Unmarshal([]byte(usage), &a.Usage); err != nil {
		return Action{}, abi.Errorf(abi.Corrupt, "read action %q: its usage: %w", a.ID, err)
	}
	return a, nil
}

// Get returns one action as it stands in the record; NotFound.
func (e *Executor) Get(ctx context.Context, id string) (Action, error) {
	a, err := scan(e.db.Read().QueryRowContext(ctx, `SELECT `+columns+payload+` FROM action WHERE id = ?`, id), true)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Action{}, abi.Errorf(abi.NotFound, "read action %q: there is none", id)
	case err != nil:
		return Action{}, e.db.Explain("read action "+strconv.Quote(id), err)
	}
	return a, nil
}

func (e *Executor) readInput(ctx context.Context, id string) (in []byte, err error) {
	err = e.db.Read().QueryRowContext(ctx, `SELECT input FROM action WHERE id = ?`, id).Scan(&in)
	if err != nil {
		return nil, e.db.Explain("read the input of action "+strconv.Quote(id), err)
	}
	return in, nil
}

// List returns actions, newest first. Invalid for a cursor that this record did not give out.
func (e *Executor) List(ctx context.Context, f Filter) (Page, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 1000)
	where, args, err := e.where(ctx, f)
	if err != nil {
		return Page{}, err
	}
	cols := columns
	if f.Payload {
		cols += payload
	}
	rows, err := e.db.Read().QueryContext(ctx, `SELECT `+cols+` FROM action WHERE `+where+` ORDER BY seq DESC LIMIT ?`, append(args, limit+1)...)
	if err != nil {
		return Page{}, e.db.Explain("list actions", err)
	}
	defer rows.Close()
	var p Page
	for rows.Next() {
		a, err := scan(rows, f.Payload)
		if err != nil {
			return Page{}, e.db.Explain("list actions", err)
		}
		if len(p.Items) == limit {
			p.Next = p.Items[limit-1].ID
			break
		}
		p.Items = append(p.Items, a)
	}
	if err := rows.Err(); err != nil {
		return Page{}, e.db.Explain("list actions", err)
	}
	return p, nil
}

// where is the filter as SQL.
func (e *Executor) where(ctx context.Context, f Filter) (string, []any, error) {
	conds, args := []string{"1"}, []any{}
	add := func(cond string, arg any) { conds, args = append(conds, cond), append(args, arg) }
	for _, eq := range []struct{ col, val string }{{"state", string(f.State)}, {"pack", f.Pack}, {"corr", f.Corr}, {"actor", f.Actor}, {"parent", f.Parent}} {
		if eq.val != "" {
			add(eq.col+" = ?", eq.val)
		}
	}
	if f.Project != nil {
		add("project = ?", *f.Project)
	}
	if f.Kind != "" {
		add("instr(kind, ?) = 1", f.Kind)
	}
	if !f.Since.IsZero() {
		add("moved >= ?", f.Since.UnixMilli())
	}
	if f.Before != "" {
		var seq int64
		err := e.db.Read().QueryRowContext(ctx, `SELECT seq FROM action WHERE id = ?`, f.Before).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return "", nil, abi.Errorf(abi.Invalid, "list actions: %q is not a cursor of this record", f.Before)
		} else if err != nil {
			return "", nil, e.db.Explain("list actions", err)
		}
		add("seq < ?", seq)
	}
	return strings.Join(conds, " AND "), args, nil
}
