package review

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/view"
)

// Decide is a person's answer about something of a kind that waits: admit or apply writes all of it in one transaction with its
// event, reject never does, defer leaves it waiting as long again. The edge must have made sure who answers. Errors: NotFound;
// Invalid for a decision that is none; Conflict when it waits no more, or when something that it changes is not what it was made
// for and Force was not said: then a diff is marked so, and nothing is written.
func (b *Book) Decide(ctx context.Context, corr, by, kind string, d api.DecideHeld) (api.Held, error) {
	write := map[string]string{Memory: "admit", World: "apply"}[kind]
	if d.Decision != write && d.Decision != "reject" && (d.Decision != "defer" || kind != World) {
		return api.Held{}, abi.Errorf(abi.Invalid, "decide about %.80q: %.40q is no decision about %s", d.ID, d.Decision, kind).WithHint("one of %s, reject%s", write, map[string]string{World: " and defer"}[kind])
	}
	if len(d.Note) > 2000 {
		return api.Held{}, abi.Errorf(abi.TooLarge, "decide about %.80q: a note has at most 2000 bytes", d.ID)
	}
	var h api.Held
	var refused error
	err := b.DB.Write(ctx, func(tx *sql.Tx) error {
		var changes []api.Change
		var err error
		if h, changes, err = b.waiting(tx, d.ID, kind); err != nil {
			return err
		}
		was := h.State
		h.Review = &api.Review{By: by, Time: time.Now().UTC().Truncate(time.Millisecond), Decision: d.Decision, Note: d.Note}
		switch d.Decision {
		case "reject":
			h.State = Rejected
			return b.move(tx, was, h, map[string]string{Memory: KindRejected, World: KindDiffRejected}[kind])
		case "defer":
			h.Expires = h.Review.Time.Add(b.TTL)
			return b.move(tx, was, h, "")
		}
		if h.Changes, err = b.show(tx, h, changes); err != nil {
			return err
		}
		if refused = b.inTheWay(tx, h, changes); refused != nil && !d.Force {
			if kind == Memory {
				return refused
			}
			h.State, h.Review = Conflict, nil
			return b.move(tx, was, h, KindDiffConflict)
		}
		refused = nil
		if err := b.apply(tx, corr, by, h, changes); err != nil {
			return err
		}
		h.State = map[string]string{Memory: Admitted, World: Applied}[kind]
		return b.move(tx, was, h, map[string]string{Memory: KindAdmitted, World: KindDiffApplied}[kind])
	})
	if err = errors.Join(err, refused); err != nil {
		if e, ok := errors.AsType[*abi.Error](err); ok {
			return h, e
		}
		return h, b.DB.Explain("decide about "+d.ID, err)
	}
	return h, nil
}

// inTheWay names the first change that was not made for what stands there.
func (b *Book) inTheWay(tx *sql.Tx, h api.Held, changes []api.Change) error {
	for _, c := range changes {
		val, found, err := b.now(tx, h, c)
		if err != nil {
			return err
		}
		if digestOf(val, found) != c.Was {
			return abi.Errorf(abi.Conflict, "write %q: %q of pack %q is not what it was made for any more", h.ID, c.Store+":"+c.Name, h.Pack).
				WithHint("look at it again: it may be written over with --force, or rejected").WithDetail(h.Changes)
		}
	}
	return nil
}

// apply writes every change.
func (b *Book) apply(tx *sql.Tx, corr, by string, h api.Held, changes []api.Change) error {
	var ops []abi.KVOp
	for _, c := range changes {
		if err := b.Fits(h.Pack, c); err != nil { // the pack may be another version by now
			return err
		}
		if c.Store == "kv" {
			ops = append(ops, abi.KVOp{Delete: c.Op == "delete", Key: []byte(c.Name), Val: c.Value})
			continue
		}
		cause := view.Cause{Corr: corr, Actor: by, Project: h.Project, Pack: h.Pack, Action: h.Action}
		if _, err := b.View.PutTx(tx, cause, b.Doc(h.Project, c.Name), c.Value); err != nil {
			return err
		}
	}
	return b.KV.Space(h.Pack, h.Project).BatchTx(tx, ops)
}

// waiting reads what waits, for a decision.
func (b *Book) waiting(tx *sql.Tx, id, kind string) (h api.Held, changes []api.Change, err error) {
	var doc string
	var raw []byte
	err = tx.QueryRow(`SELECT held, changes FROM review WHERE id = ? AND kind = ?`, id, kind).Scan(&doc, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil, abi.Errorf(abi.NotFound, "decide about %.80q: nothing of that id waits", id)
	}
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(doc), &h), json.Unmarshal(raw, &changes))
	}
	if err != nil {
		return h, nil, err
	}
	if h.State != Queued && h.State != Conflict || !time.Now().Before(h.Expires) {
		return h, nil, abi.Errorf(abi.Conflict, "decide about %q: it waits no more: it is %s", id, map[bool]string{true: h.State, false: Expired}[h.State != Queued && h.State != Conflict])
	}
	return h, changes, nil
}

// move writes another state with its event. What was decided keeps nothing of its values.
func (b *Book) move(tx *sql.Tx, was string, h api.Held, event string) error {
	doc, err := json.Marshal(h)
	if err != nil {
		return err
	}
	keep := h.State == Queued || h.State == Conflict
	res, err := tx.Exec(`UPDATE review SET state = ?, expires_ms = ?, held = ?, changes = CASE WHEN ? THEN changes ELSE x'5b5d' END WHERE id = ? AND state = ?`,
		h.State, h.Expires.UnixMilli(), string(doc), keep, h.ID, was)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, abi.Errorf(abi.Conflict, "decide about %q: it waits no more", h.ID))
	}
	if event == "" {
		return nil
	}
	by := "host"
	if h.Review != nil {
		by = h.Review.By
	}
	return b.tell(tx, event, by, h)
}

// Get is one that waits or waited; NotFound.
func (b *Book) Get(ctx context.Context, kind, id string) (h api.Held, err error) {
	all, err := b.read(ctx, `SELECT held FROM review WHERE kind = ? AND id = ?`, kind, id)
	if err == nil && len(all) == 0 {
		return h, abi.Errorf(abi.NotFound, "read %.80q: nothing of that id waits or waited", id)
	}
	if err != nil {
		return h, err
	}
	return all[0], nil
}

// List is what waits or waited, the newest first: of one state, or with "" of all; of one project, or with nil of all.
func (b *Book) List(ctx context.Context, kind, state string, project *string, limit int) ([]api.Held, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	of, any := "", true
	if project != nil {
		of, any = *project, false
	}
	return b.read(ctx, `SELECT held FROM review WHERE kind = ? AND (? = '' OR state = ?) AND (? OR project = ?) ORDER BY created_ms DESC, id DESC LIMIT ?`, kind, state, state, any, of, limit)
}

func (b *Book) read(ctx context.Context, query string, args ...any) ([]api.Held, error) {
	rows, err := b.DB.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, b.DB.Explain("read what waits for a person", err)
	}
	defer rows.Close()
	all := []api.Held{}
	for rows.Next() {
		var doc string
		var h api.Held
		if err := rows.Scan(&doc); err != nil {
			return nil, b.DB.Explain("read what waits for a person", err)
		}
		if err := json.Unmarshal([]byte(doc), &h); err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read what waits for a person: %w", err)
		}
		all = append(all, h)
	}
	return all, b.DB.Explain("read what waits for a person", rows.Err())
}

// look is the longest time between two looks at what is due; again after a write that failed.
const (
	look  = time.Minute
	again = 2 * time.Second
)

// Run lets what nobody decided about end as rejected by time, and forgets what was decided long ago, until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-timer.C:
		}
		next, err := b.expire(ctx)
		if err != nil {
			next = again
		}
		timer.Reset(min(next, look))
	}
}

// expire ends what is due and says in how long the next is.
func (b *Book) expire(ctx context.Context) (next time.Duration, err error) {
	next = look
	err = b.DB.Write(ctx, func(tx *sql.Tx) error {
		now := time.Now().UTC().Truncate(time.Millisecond)
		rows, err := tx.Query(`SELECT held FROM review WHERE state IN ('queued', 'conflict') AND expires_ms <= ? ORDER BY expires_ms LIMIT 100`, now.UnixMilli())
		if err != nil {
			return err
		}
		var due []api.Held
		for rows.Next() {
			var doc string
			var h api.Held
			if err := errors.Join(rows.Scan(&doc), json.Unmarshal([]byte(doc), &h)); err != nil {
				_ = rows.Close()
				return err
			}
			due = append(due, h)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, h := range due {
			was := h.State
			h.State, h.Review = Expired, &api.Review{By: "host", Time: now, Decision: "expire", Note: "nobody decided in time"}
			if err := b.move(tx, was, h, map[string]string{Memory: KindRejected, World: KindDiffRejected}[h.Kind]); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`DELETE FROM review WHERE state NOT IN ('queued', 'conflict') AND created_ms < ?`, now.Add(-Retention).UnixMilli()); err != nil {
			return err
		}
		var at sql.NullInt64
		if err := tx.QueryRow(`SELECT min(expires_ms) FROM review WHERE state IN ('queued', 'conflict')`).Scan(&at); err != nil {
			return err
		}
		if at.Valid {
			next = max(time.Until(time.UnixMilli(at.Int64)), time.Millisecond)
		}
		return nil
	})
	return next, err
}
