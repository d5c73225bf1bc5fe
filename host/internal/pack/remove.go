package pack

import (
	"cmp"
	"context"
	"database/sql"
	"errors"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/view"
)

// Remove uninstalls a pack: waits for its calls to end, then deletes its row and revokes its leases. Its keys and
// read models stay for a later install unless o.Purge; the journal keeps the history. Errors: NotFound; Busy when calls do
// not end in time; those of the database.
func (m *Manager) Remove(ctx context.Context, name string, o Options) error {
	done, err := m.take(ctx)
	if err != nil {
		return abi.Errorf(abi.CodeOf(err), "remove pack %q: %w", name, err)
	}
	defer done()
	s := m.index.Load().packs[name]
	if s == nil {
		return notInstalled(name)
	}
	if err := s.drain(ctx, m.cfg.Drain); err != nil {
		return wrap(err, "remove pack %q", name)
	}
	v := s.current()
	o.By, o.Corr = cmp.Or(o.By, "operator"), cmp.Or(o.Corr, newCorr())
	if err := m.DB.Write(ctx, func(tx *sql.Tx) error { return m.removeTx(tx, v, o) }); err != nil {
		s.open()
		return wrap(err, "remove pack %q", name)
	}
	m.index.Store(m.index.Load().with(s, nil))
	m.setShelf(name, nil)
	s.swap(nil)
	s.forget(v)
	ctx = context.WithoutCancel(ctx) // from here on it is removed; what remains is tidying, and the next start would do it too
	if _, err := m.Leases.RevokeAll(ctx, o.Corr, name, o.By, "the pack was removed"); err != nil {
		return wrap(err, "remove pack %q: it is removed, but its leases are not written off", name)
	}
	if o.Purge {
		if err := m.purge(ctx, v, o); err != nil {
			return wrap(err, "remove pack %q: it is removed, but not all it kept", name)
		}
	}
	return v.close(ctx)
}

func (m *Manager) removeTx(tx *sql.Tx, v *version, o Options) error {
	if _, err := tx.Exec(`DELETE FROM pack WHERE name = ?`, v.row.Name); err != nil {
		return err
	}
	c := Change{Change: Removed, Version: v.row.Version, Digest: v.row.Digest, Time: m.now(), By: o.By, Why: o.Why, Corr: o.Corr}
	if err := errors.Join(putShelf(tx, v.row.Name, nil), putChange(tx, v.row.Name, c)); err != nil {
		return err
	}
	_, err := m.Journal.AppendTx(tx, journal.Event{Kind: "pack.removed", Corr: o.Corr, Actor: o.By, Pack: v.row.Name, Body: map[string]any{
		"name": v.row.Name, "version": v.row.Version, "digest": v.row.Digest, "by": o.By, "purged": o.Purge,
	}})
	return err
}

// purge deletes what the pack kept, in every project.
func (m *Manager) purge(ctx context.Context, v *version, o Options) error {
	docs, err := m.View.List(ctx, "")
	if err != nil {
		return err
	}
	for _, doc := range docs {
		in, name := project.OfDoc(doc.ID)
		if v.models[name] == nil {
			continue
		}
		if err := m.View.Delete(ctx, view.Cause{Corr: o.Corr, Actor: o.By, Project: in, Pack: v.row.Name}, doc.ID); err != nil {
			return err
		}
	}
	if m.Projects != nil {
		if err := m.Projects.Forget(ctx, o.Corr, o.By, v.row.Name); err != nil {
			return err
		}
	}
	return m.KV.Drop(ctx, v.row.Name)
}
