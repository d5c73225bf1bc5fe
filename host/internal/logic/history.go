package logic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// Snapshot is one version of the whole configuration. Digest names its layers: equal digests are equal configurations.
type Snapshot struct {
	Version int64     `json:"version"`
	Digest  string    `json:"digest"`
	What    string    `json:"what"`
	Time    time.Time `json:"time"`
	By      string    `json:"by"`
	Corr    string    `json:"corr_id,omitempty"`
}

// digestOf hashes what layers say, in their order: not when or by whom it was said.
func digestOf(layers []*layer) string {
	h := sha256.New()
	for _, l := range layers {
		patches, _ := json.Marshal(l.patches) // trees always marshal
		fmt.Fprintf(h, "%q %q %q %q %d %q\n", string(l.scope), l.unit, l.digest, l.stage, l.rank, patches)
		if l.share < 100 {
			fmt.Fprintf(h, "share %d\n", l.share)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Snapshots are the newest versions, newest first. Version 0, the defaults alone, is not among them.
func (s *Store) Snapshots(ctx context.Context, limit int) ([]Snapshot, error) {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT version, digest, what, at_ms, actor, corr FROM logic_version ORDER BY version DESC LIMIT ?", limit)
	if err != nil {
		return nil, s.db.Explain("list versions of the configuration", err)
	}
	defer rows.Close()
	list := []Snapshot{}
	for rows.Next() {
		var v Snapshot
		var at int64
		if err := rows.Scan(&v.Version, &v.Digest, &v.What, &at, &v.By, &v.Corr); err != nil {
			return nil, s.db.Explain("list versions of the configuration", err)
		}
		v.Time = time.UnixMilli(at).UTC()
		list = append(list, v)
	}
	return list, s.db.Explain("list versions of the configuration", rows.Err())
}

// Snapshot is one version. Version 0 is the defaults alone. NotFound for a version there was not.
func (s *Store) Snapshot(ctx context.Context, version int64) (Snapshot, error) {
	if version == 0 {
		return Snapshot{Digest: digestOf(nil), What: "the defaults", By: "host"}, nil
	}
	v := Snapshot{Version: version}
	var at int64
	err := s.db.Read().QueryRowContext(ctx, "SELECT digest, what, at_ms, actor, corr FROM logic_version WHERE version = ?", version).Scan(&v.Digest, &v.What, &at, &v.By, &v.Corr)
	if errors.Is(err, sql.ErrNoRows) {
		return v, abi.Errorf(abi.NotFound, "find version %d of the configuration: there are %d", version, s.Version())
	}
	v.Time = time.UnixMilli(at).UTC()
	return v, s.db.Explain("read a version of the configuration", err)
}

// VersionAt is the version that was in force at a time, to the millisecond; a change of that very millisecond counts as made.
func (s *Store) VersionAt(ctx context.Context, t time.Time) (version int64, err error) {
	err = s.db.Read().QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM logic_version WHERE at_ms <= ?", t.UnixMilli()).Scan(&version)
	return version, s.db.Explain("find a version of the configuration", err)
}

// AllAt are all documents as they were for a run at a version, by name. NotFound for a version there was not.
func (s *Store) AllAt(ctx context.Context, version int64, run string, scopes ...Scope) ([]Doc, error) {
	layers, err := s.layersAt(ctx, version)
	layers = inRun(layers, run)
	if err != nil {
		return nil, err
	}
	docs := []Doc{}
	for _, name := range slices.Sorted(maps.Keys(s.targets)) {
		d, err := fold(s.targets[name], layers, chain(scopes...))
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// At is a document as it was at a version. NotFound for a version there was not.
func (s *Store) At(ctx context.Context, version int64, target string, scopes ...Scope) (Doc, error) {
	t, err := s.target(target)
	if err != nil {
		return Doc{}, err
	}
	layers, err := s.layersAt(ctx, version)
	if err != nil {
		return Doc{}, err
	}
	return fold(t, layers, chain(scopes...))
}

// RevertTo makes the configuration what it was at a version. What was done since is not lost: it is in the versions
// between, and can be gone back to.
func (s *Store) RevertTo(ctx context.Context, version int64, how How) (Plan, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	then, err := s.layersAt(ctx, version)
	if err != nil {
		return Plan{Version: s.version}, err
	}
	c := s.begin(how, "config.patch.applied")
	for _, l := range s.layers {
		if !slices.ContainsFunc(then, func(x *layer) bool { return x.seq == l.seq }) {
			c.drop(l)
		}
	}
	back := []*layer{}
	for _, l := range then {
		if !slices.ContainsFunc(s.layers, func(x *layer) bool { return x.seq == l.seq }) {
			again := *l
			again.removed = 0
			back = append(back, &again)
		}
	}
	// Those that come back keep their order among each other, and their author: only their age is new.
	slices.SortFunc(back, func(a, b *layer) int { return int(a.seq - b.seq) })
	c.joined = back
	c.how.KeepHand = true
	return s.finish(ctx, c, Plan{Version: s.version}, fmt.Sprintf("go back to version %d", version))
}

const selectLayers = "SELECT seq, scope, unit, digest, stage, params, patches, rank, at_ms, actor, added, coalesce(removed, 0), share FROM logic_layer"

func (s *Store) layersAt(ctx context.Context, version int64) ([]*layer, error) {
	if version < 0 || version > s.Version() {
		return nil, abi.Errorf(abi.NotFound, "find version %d of the configuration: there are %d", version, s.Version())
	}
	layers, err := s.readLayers(ctx, selectLayers+" WHERE added <= ?1 AND (removed IS NULL OR removed > ?1)", version)
	return layers, s.db.Explain("read configuration", err)
}

func (s *Store) readLayers(ctx context.Context, query string, args ...any) ([]*layer, error) {
	rows, err := s.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var layers []*layer
	for rows.Next() {
		l, err := s.scanLayer(rows)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	order(layers)
	return layers, rows.Err()
}

func (s *Store) scanLayer(rows *sql.Rows) (*layer, error) {
	l := &layer{}
	var at int64
	var scope, params, patches string
	if err := rows.Scan(&l.seq, &scope, &l.unit, &l.digest, &l.stage, &params, &patches, &l.rank, &at, &l.actor, &l.added, &l.removed, &l.share); err != nil {
		return nil, err
	}
	l.scope, l.at = Scope(scope), time.UnixMilli(at).UTC()
	d := json.NewDecoder(bytes.NewReader([]byte(patches)))
	d.UseNumber()
	if err := d.Decode(&l.patches); err != nil {
		return nil, abi.Errorf(abi.Corrupt, "layer %d: %w", l.seq, err)
	}
	if err := json.Unmarshal([]byte(params), &l.params); err != nil {
		return nil, abi.Errorf(abi.Corrupt, "layer %d: %w", l.seq, err)
	}
	if l.unit != "" {
		l.version = s.revision(l).Version
	}
	return l.index(), nil
}

// load reads everything into memory.
func (s *Store) load(ctx context.Context) error {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT digest, body, origin, state, at_ms, actor FROM logic_unit ORDER BY at_ms, digest")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		u := &unit{}
		var body string
		var at int64
		if err := rows.Scan(&u.digest, &body, &u.origin, &u.state, &at, &u.actor); err != nil {
			return err
		}
		u.at = time.UnixMilli(at).UTC()
		if u.man, err = manifests.ParseUnit(u.origin, []byte(body)); err != nil {
			return abi.Errorf(abi.Corrupt, "unit %s: %w", u.digest, err)
		}
		s.units[u.man.ID] = append(s.units[u.man.ID], u)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if s.layers, err = s.readLayers(ctx, selectLayers+" WHERE removed IS NULL"); err != nil {
		return err
	}
	return s.db.Read().QueryRowContext(ctx, `SELECT (SELECT coalesce(max(version), 0) FROM logic_version), (SELECT coalesce(max(seq), 0) FROM logic_layer)`).Scan(&s.version, &s.seq)
}
