package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"

	"github.com/arw-project/arw/host/internal/journal"
)

// Settled is the last record that every projection has told, durably: no document needs it, or those before it, any more,
// even after a crash. Errors: those of making the documents durable.
func (v *View) Settled(ctx context.Context) (int64, error) {
	told := v.told.Load() // before the flush: what is folded after it may not be in it
	var first error
	v.flush(ctx, func(_ string, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if first == nil {
			first = err
		}
	})
	if first == nil {
		first = ctx.Err()
	}
	return told, first
}

// Scrub puts journal.Mark in the place of secret wherever a document has it, in its text and in its name members, and
// rewrites what is stored of the documents that had it, so that the file does not keep it either. It names the documents.
// Errors: those of Change.
func (v *View) Scrub(ctx context.Context, by Cause, secret string) ([]string, error) {
	ids, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, id := range ids {
		v.mu.RLock()
		live := v.lives[id]
		v.mu.RUnlock()
		var hit bool
		if live != nil {
			hit, err = live.scrub(ctx, secret)
		} else {
			hit, err = v.scrub(ctx, by, id, secret)
		}
		if err == nil {
			err = v.restore(ctx, id, secret, hit)
		}
		if err != nil {
			return done, err
		}
		if hit {
			done = append(done, id)
		}
	}
	return done, nil
}

// all are the documents that are stored and those that so far live in memory alone, because their first beat is still to come.
func (v *View) all(ctx context.Context) ([]string, error) {
	heads, err := v.List(ctx, "")
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(heads))
	for _, h := range heads {
		ids = append(ids, h.ID)
	}
	v.mu.RLock()
	ids = slices.AppendSeq(ids, maps.Keys(v.lives))
	v.mu.RUnlock()
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// scrubbed is root without secret; hit says that it had it.
func scrubbed(root *node, secret string) (_ *node, hit bool, err error) {
	if root == nil {
		return nil, false, nil
	}
	text, hit := journal.Scrub(root.appendTo(make([]byte, 0, root.size)), secret)
	if !hit {
		return root, false, nil
	}
	root, err = parse(text)
	return root, true, err
}

func (l *Live) scrub(ctx context.Context, secret string) (bool, error) {
	l.mu.Lock()
	root, hit, err := scrubbed(l.root, secret)
	if err == nil && hit {
		err = l.take(&Edit{root: root})
	}
	l.mu.Unlock()
	if err != nil || !hit {
		return false, err
	}
	return true, l.Flush(ctx)
}

func (v *View) scrub(ctx context.Context, by Cause, id, secret string) (hit bool, err error) {
	_, err = v.Change(ctx, by, id, func(e *Edit) error {
		root, found, err := scrubbed(e.root, secret)
		if hit = found; err != nil || !found {
			return err
		}
		e.ops = diff(nil, "", e.root, root)
		e.root = root
		return nil
	})
	return hit, err
}

// restore writes the text of a document anew when what is stored of it, an older text or the patches since, has secret.
func (v *View) restore(ctx context.Context, id, secret string, hit bool) error {
	quoted, err := json.Marshal(secret)
	if err != nil {
		return err
	}
	part := string(quoted[1 : len(quoted)-1])
	return v.db.Write(ctx, func(tx *sql.Tx) error {
		var stored bool
		err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM view WHERE id = ?1 AND instr(body, ?2) > 0)
			OR EXISTS (SELECT 1 FROM view_patch WHERE view = ?1 AND instr(patch, ?2) > 0)`, id, part).Scan(&stored)
		if err != nil || !stored && !hit {
			return err
		}
		now, err := v.current(tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("PRAGMA secure_delete = ON"); err != nil {
			return err
		}
		defer func() { _, _ = tx.Exec("PRAGMA secure_delete = OFF") }()
		return v.store(tx, now)
	})
}
