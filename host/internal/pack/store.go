package pack

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
)

// Schema holds one row per installed pack and one per verdict ever given. content lists what the pack consists of;
// times are milliseconds since 1970.
var Schema = []string{`
CREATE TABLE pack (
	name      TEXT PRIMARY KEY,
	version   TEXT NOT NULL,
	digest    TEXT NOT NULL,
	ref       TEXT NOT NULL,
	manifest  BLOB NOT NULL,
	content   TEXT NOT NULL,
	verdict   TEXT NOT NULL,
	by        TEXT NOT NULL,
	installed INTEGER NOT NULL
) STRICT;
CREATE TABLE pack_verdict (
	seq     INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	digest  TEXT NOT NULL,
	allowed INTEGER NOT NULL,
	time    INTEGER NOT NULL,
	body    TEXT NOT NULL
) STRICT;
CREATE INDEX pack_verdict_name ON pack_verdict (name, seq);
`}

// row is an installed pack as stored. Its manifest (pack.toml) lies in the row, so that a pack whose blobs are damaged
// can still say which tools it would have.
type row struct {
	Name, Version, Digest, Ref, By string
	TOML                           []byte
	Content                        content
	Verdict                        *Verdict
	Installed                      time.Time
}

// content names the blobs of a pack; all lie in the content store.
type content struct {
	Manifest string   `json:"manifest"` // the OCI manifest: what is signed
	Module   string   `json:"module"`
	TOML     string   `json:"pack_toml"`
	Bundles  []string `json:"bundles,omitempty"` // signatures, to be judged again when the trust policy changes
	Files    []blob   `json:"files"`             // every file of the artifact, the two above among them
}

type blob struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// digests are all blobs a sweep must leave alone.
func (c content) digests() []string {
	all := append([]string{c.Manifest, c.Module, c.TOML}, c.Bundles...)
	for _, f := range c.Files {
		all = append(all, f.Digest)
	}
	return all
}

func (r row) put(tx *sql.Tx) error {
	content, err := json.Marshal(r.Content)
	if err != nil {
		return err
	}
	verdict, err := json.Marshal(r.Verdict)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO pack (name, version, digest, ref, manifest, content, verdict, by, installed) VALUES (?,?,?,?,?,?,?,?,?)
		ON CONFLICT (name) DO UPDATE SET version = excluded.version, digest = excluded.digest, ref = excluded.ref,
		manifest = excluded.manifest, content = excluded.content, verdict = excluded.verdict, by = excluded.by, installed = excluded.installed`,
		r.Name, r.Version, r.Digest, r.Ref, r.TOML, string(content), string(verdict), r.By, r.Installed.UnixMilli())
	return err
}

func putVerdict(tx *sql.Tx, v *Verdict) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO pack_verdict (name, digest, allowed, time, body) VALUES (?,?,?,?,?)`,
		v.Pack, v.Digests.Manifest, v.Allowed, v.Time.UnixMilli(), string(body))
	return err
}

// rows reads every installed pack.
func (m *Manager) rows(ctx context.Context) ([]row, error) {
	rs, err := m.DB.Read().QueryContext(ctx, `SELECT name, version, digest, ref, manifest, content, verdict, by, installed FROM pack ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	var all []row
	for rs.Next() {
		var r row
		var content, verdict string
		var installed int64
		if err := rs.Scan(&r.Name, &r.Version, &r.Digest, &r.Ref, &r.TOML, &content, &verdict, &r.By, &installed); err != nil {
			return nil, err
		}
		if err := errors.Join(json.Unmarshal([]byte(content), &r.Content), json.Unmarshal([]byte(verdict), &r.Verdict)); err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read pack %q: %w", r.Name, err)
		}
		r.Installed = time.UnixMilli(installed).UTC()
		all = append(all, r)
	}
	return all, rs.Err()
}

// Verdict returns the latest verdict on a pack, a refusal included: what "arw why" tells. Of an installed pack whose
// upgrade was refused, Get has the verdict it runs on. NotFound when this host never judged the name.
func (m *Manager) Verdict(ctx context.Context, name string) (*Verdict, error) {
	vs, err := m.Verdicts(ctx, name, 1)
	if err != nil {
		return nil, err
	}
	if len(vs) == 0 {
		return nil, abi.Errorf(abi.NotFound, "explain pack %q: this host has not seen it", name).WithHint("install it first: arw pack install %s", name)
	}
	return vs[0], nil
}

// Verdicts returns up to limit verdicts on a pack, newest first; 0 means all.
func (m *Manager) Verdicts(ctx context.Context, name string, limit int) ([]*Verdict, error) {
	if limit <= 0 {
		limit = -1
	}
	rs, err := m.DB.Read().QueryContext(ctx, `SELECT body FROM pack_verdict WHERE name = ? ORDER BY seq DESC LIMIT ?`, name, limit)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read verdicts on pack %q: %w", name, err)
	}
	defer rs.Close()
	var all []*Verdict
	for rs.Next() {
		var body []byte
		v := &Verdict{}
		if err := rs.Scan(&body); err != nil {
			return nil, abi.Errorf(abi.CodeOf(err), "read verdicts on pack %q: %w", name, err)
		}
		if err := json.Unmarshal(body, v); err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read verdicts on pack %q: %w", name, err)
		}
		all = append(all, v)
	}
	if err := rs.Err(); err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read verdicts on pack %q: %w", name, err)
	}
	return all, nil
}
