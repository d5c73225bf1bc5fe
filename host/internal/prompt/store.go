package prompt

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

func (b *Book) exec(tx *sql.Tx, query string, args ...any) error {
	stmt, err := b.db.Stmt(tx, query)
	if err == nil {
		_, err = stmt.Exec(args...)
	}
	return err
}

// insert writes a new prompt with the call that waits for it, its event and its place in the read model.
func (b *Book) insert(tx *sql.Tx, e *entry) error {
	b.mu.Lock()
	p := e.copy()
	b.mu.Unlock()
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := b.exec(tx, `INSERT INTO prompt (id, key, pack, state, doc, ttl_ms, created_ms, expires_ms) VALUES (?, ?, ?, 'pending', ?, ?, ?, ?)`,
		p.ID, e.key, p.Pack, string(doc), p.TTLMS, p.Created.UnixMilli(), p.Expires.UnixMilli()); err != nil {
		return err
	}
	if err := b.exec(tx, insertWait, p.ID, p.Action, p.Clean); err != nil {
		return err
	}
	return b.tell(tx, KindAsked, p.Corr, "pack:"+p.Pack, p)
}

const insertWait = `INSERT INTO prompt_wait (prompt, action, clean) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET clean = excluded.clean`

// insertWait writes one more call that waits.
func (b *Book) insertWait(tx *sql.Tx, e *entry, a Ask) error {
	if err := b.exec(tx, insertWait, e.p.ID, a.Action, a.Clean); err != nil {
		return err
	}
	b.mu.Lock()
	p := e.copy()
	b.mu.Unlock()
	return b.show(tx, view.Cause{Corr: a.Corr, Actor: "pack:" + a.Pack, Project: a.Project, Pack: a.Pack, Action: a.Action}, p)
}

// tell journals what became of a prompt and shows it.
func (b *Book) tell(tx *sql.Tx, kind, corr, actor string, p Prompt) error {
	ev := journal.Event{Kind: kind, Corr: corr, Actor: actor, Project: p.Project, Pack: p.Pack, Action: p.Action, Body: p}
	if _, err := b.journal.AppendTx(tx, ev); err != nil {
		return err
	}
	return b.show(tx, view.Cause{Corr: corr, Actor: actor, Project: p.Project, Pack: p.Pack, Action: p.Action}, p)
}

func (b *Book) show(tx *sql.Tx, by view.Cause, p Prompt) error {
	_, err := b.view.ChangeTx(tx, by, ViewID, func(e *view.Edit) error {
		e.Set(p, "prompts", p.ID)
		return nil
	})
	return err
}

// end writes how a prompt ended.
func (b *Book) end(tx *sql.Tx, kind, corr, actor string, p Prompt) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	var until int64
	if p.Answer != nil && !p.Answer.Until.IsZero() {
		until = p.Answer.Until.UnixMilli()
	}
	if err := b.exec(tx, `UPDATE prompt SET state = ?, doc = ?, until_ms = ? WHERE id = ? AND state = 'pending'`, p.State, string(doc), until, p.ID); err != nil {
		return err
	}
	return b.tell(tx, kind, corr, actor, p)
}

// load reads what waits, what was denied for a while, and who has asked lately.
func (b *Book) load(ctx context.Context) error {
	now := time.Now()
	rows, err := b.db.Read().QueryContext(ctx, `SELECT id, key, pack, state, doc, ttl_ms, created_ms, expires_ms, until_ms FROM prompt
		WHERE state = 'pending' OR created_ms > ? OR until_ms > ?`, now.Add(-time.Hour).UnixMilli(), now.UnixMilli())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, key, pack, state, doc string
		var ttl, created, expires, until int64
		if err := rows.Scan(&id, &key, &pack, &state, &doc, &ttl, &created, &expires, &until); err != nil {
			return err
		}
		if at := time.UnixMilli(created); now.Sub(at) < time.Hour {
			b.raised[pack] = append(b.raised[pack], at)
		}
		if at := time.UnixMilli(until); at.After(now) {
			b.quiet[key] = at
		}
		if state != Pending {
			continue
		}
		e := &entry{key: key, waiting: map[string]bool{}, done: make(chan struct{}), asked: make(chan struct{})}
		close(e.asked)
		if err := json.Unmarshal([]byte(doc), &e.p); err != nil {
			return abi.Errorf(abi.Corrupt, "read prompt %q: %w", id, err)
		}
		e.p.TTL, e.p.Hold = time.Duration(ttl)*time.Millisecond, e.p.Expires.Sub(e.p.Created)
		b.pending[key], b.byID[id] = e, e
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return b.loadWaiting(ctx)
}

// loadWaiting reads which actions will wait again: those that may begin again under their ids.
func (b *Book) loadWaiting(ctx context.Context) error {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT prompt, action FROM prompt_wait WHERE clean = 1`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, action string
		if err := rows.Scan(&id, &action); err != nil {
			return err
		}
		if e := b.byID[id]; e != nil {
			e.waiting[action] = true
		}
	}
	return rows.Err()
}

// Resumes reports whether an action that a stop of the host caught in the middle may begin again: it waited for a prompt that is
// not answered with no, and nothing had come of it. It is for action.Config.Resume.
func (b *Book) Resumes(tx *sql.Tx, action string) (bool, error) {
	var n int
	err := tx.QueryRow(`SELECT 1 FROM prompt_wait JOIN prompt ON prompt.id = prompt_wait.prompt
		WHERE action = ? AND clean = 1 AND state IN ('pending', 'allowed')`, action).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// List copies the prompts of a state, every one with "", newest first: those that wait and those of the last day.
func (b *Book) List(ctx context.Context, state string) ([]Prompt, error) {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT id, doc FROM prompt WHERE ? IN ('', state) ORDER BY created_ms DESC, id DESC LIMIT 500`, state)
	if err != nil {
		return nil, b.db.Explain("list prompts", err)
	}
	defer rows.Close()
	list := []Prompt{}
	for rows.Next() {
		var id, doc string
		if err := rows.Scan(&id, &doc); err != nil {
			return nil, b.db.Explain("list prompts", err)
		}
		p, err := b.current(id, doc)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, b.db.Explain("list prompts", rows.Err())
}

// Get finds one prompt; NotFound.
func (b *Book) Get(ctx context.Context, id string) (Prompt, error) {
	var doc string
	err := b.db.Read().QueryRowContext(ctx, `SELECT doc FROM prompt WHERE id = ?`, id).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return Prompt{}, notFound(id)
	}
	if err != nil {
		return Prompt{}, b.db.Explain("read a prompt", err)
	}
	return b.current(id, doc)
}

func notFound(id string) error {
	return abi.Errorf(abi.NotFound, "find prompt %.80q: there is none of that id", id).WithHint("arw prompts list")
}

// current is a stored prompt with those that wait for it now.
func (b *Book) current(id, doc string) (Prompt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.byID[id]; e != nil {
		return e.copy(), nil
	}
	var p Prompt
	if err := json.Unmarshal([]byte(doc), &p); err != nil {
		return p, abi.Errorf(abi.Corrupt, "read prompt %q: %w", id, err)
	}
	p.TTL = time.Duration(p.TTLMS) * time.Millisecond
	p.Waiting = []string{}
	return p, nil
}
