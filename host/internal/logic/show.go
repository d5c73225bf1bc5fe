package logic

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/arw-project/arw/host/internal/view"
)

// The read models. Each changes in the transaction of the change that it shows, so that its patches follow the
// configuration version by version; docs/spec/config.md says what is in them.
const (
	UnitsView     = "logic_units"      // {items: {ID: Unit}}
	ConfigView    = "config"           // {version, digest, items: {TARGET: {body, digest}}, scopes: {SCOPE: {TARGET: DIGEST}}}
	SnapshotsView = "config_snapshots" // {items: {VERSION: Snapshot}}, the newest shownSnapshots of them
	SchemaView    = "schema_map"       // {items: {TARGET: Target}}
)

// shownSnapshots is how many versions the read model has; Snapshots and Snapshot know all of them.
const shownSnapshots = 100

// shownDoc is a document as the workspace has it.
type shownDoc struct {
	Body   json.RawMessage `json:"body"`
	Digest string          `json:"digest"`
}

// showAll makes the read models what they should be, whatever they were: only what differs becomes a patch.
func (s *Store) showAll(ctx context.Context) error {
	by := view.Cause{Actor: "host"}
	units := map[string]Unit{}
	for _, u := range s.Units() {
		units[u.ID] = u
	}
	schemas, docs := map[string]*Target{}, map[string]shownDoc{}
	scopes := map[string]map[string]string{}
	for name, t := range s.targets {
		schemas[name] = t
		d, err := fold(t, s.layers, chain())
		if err != nil {
			return err
		}
		docs[name] = shownDoc{d.Body, d.Digest}
	}
	for _, l := range s.layers {
		for name := range l.docs {
			if l.scope == Workspace {
				continue
			}
			d, err := fold(s.targets[name], s.layers, chain(l.scope))
			if err != nil {
				return err
			}
			if scopes[l.scope.String()] == nil {
				scopes[l.scope.String()] = map[string]string{}
			}
			scopes[l.scope.String()][name] = d.Digest
		}
	}
	list, err := s.Snapshots(ctx, shownSnapshots)
	if err != nil {
		return err
	}
	snapshots := map[string]Snapshot{}
	for _, v := range list {
		snapshots[strconv.FormatInt(v.Version, 10)] = v
	}
	for id, doc := range map[string]any{
		UnitsView: map[string]any{"items": units}, SchemaView: map[string]any{"items": schemas}, SnapshotsView: map[string]any{"items": snapshots},
		ConfigView: map[string]any{"version": s.version, "digest": digestOf(s.layers), "items": docs, "scopes": scopes},
	} {
		raw, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		if _, err := s.view.Put(ctx, by, id, raw); err != nil {
			return err
		}
	}
	return nil
}

// showUnit shows a revision that has just become the newest.
func (s *Store) showUnit(tx *sql.Tx, by view.Cause, u *unit) error {
	revisions := 1
	for _, old := range s.units[u.man.ID] { // the caller has the turn
		if old.digest != u.digest {
			revisions++
		}
	}
	_, err := s.view.ChangeTx(tx, by, UnitsView, func(e *view.Edit) error {
		e.Set(s.describe(u, revisions, s.layers), "items", u.man.ID)
		return nil
	})
	return err
}

// showChange shows what a change makes of the units and documents that it reaches. The caller has the turn.
func (s *Store) showChange(tx *sql.Tx, c *change, version int64, what string) error {
	by := view.Cause{Actor: c.how.By, Corr: c.how.Corr}
	changed := slices.Concat(c.joined, c.dropped)
	_, err := s.view.ChangeTx(tx, by, UnitsView, func(e *view.Edit) error {
		for _, l := range changed {
			if revisions := s.units[l.unit]; len(revisions) > 0 {
				e.Set(s.describe(newest(revisions), len(revisions), c.after).Active, "items", l.unit, "active")
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	snapshot := Snapshot{Version: version, Digest: digestOf(c.after), What: what, Time: c.now, By: c.how.By, Corr: c.how.Corr}
	_, err = s.view.ChangeTx(tx, by, SnapshotsView, func(e *view.Edit) error {
		e.Set(snapshot, "items", strconv.FormatInt(version, 10))
		e.Remove("items", strconv.FormatInt(version-shownSnapshots, 10))
		return nil
	})
	if err != nil {
		return err
	}
	_, err = s.view.ChangeTx(tx, by, ConfigView, func(e *view.Edit) error {
		e.Set(version, "version")
		e.Set(snapshot.Digest, "digest")
		return s.showDocs(e, c.after, changed)
	})
	return err
}

// showDocs sets the documents that changed layers reach. A scope that has no layers of a document any more is left out.
func (s *Store) showDocs(e *view.Edit, after, changed []*layer) error {
	for _, name := range reach(changed) {
		for _, scopes := range chains(name, slices.Concat(after, changed), changed) {
			if len(scopes) > 2 {
				continue
			}
			scope := scopes[len(scopes)-1]
			if scope != Workspace && !slices.ContainsFunc(after, func(l *layer) bool { return l.scope == scope && l.docs[name] != nil }) {
				e.Remove("scopes", scope.String(), name)
				var left map[string]string
				if ok, err := e.Get(&left, "scopes", scope.String()); err != nil || ok && len(left) == 0 {
					e.Remove("scopes", scope.String())
				}
				continue
			}
			d, err := fold(s.targets[name], after, scopes)
			if err != nil {
				return err
			}
			if scope == Workspace {
				e.Set(shownDoc{d.Body, d.Digest}, "items", name)
			} else {
				e.Set(d.Digest, "scopes", scope.String(), name)
			}
		}
	}
	return nil
}
