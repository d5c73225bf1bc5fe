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
`, `
ALTER TABLE pack ADD COLUMN standing TEXT NOT NULL DEFAULT '{}';
CREATE TABLE pack_kept ( -- versions that were replaced and can come back without a registry
	seq       INTEGER PRIMARY KEY,
	name      TEXT NOT NULL,
	version   TEXT NOT NULL,
	digest    TEXT NOT NULL,
	ref       TEXT NOT NULL,
	manifest  BLOB NOT NULL,
	content   TEXT NOT NULL,
	verdict   TEXT NOT NULL,
	by        TEXT NOT NULL,
	installed INTEGER NOT NULL,
	standing  TEXT NOT NULL,
	UNIQUE (name, digest)
) STRICT;
CREATE TABLE pack_history (
	seq     INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	change  TEXT NOT NULL,
	version TEXT NOT NULL,
	digest  TEXT NOT NULL,
	body    TEXT NOT NULL
) STRICT;
CREATE INDEX pack_history_name ON pack_history (name, seq);
CREATE TABLE pack_hold ( -- digests that were rolled back: not installed again until a person says so
	name   TEXT NOT NULL,
	digest TEXT NOT NULL,
	reason TEXT NOT NULL,
	time   INTEGER NOT NULL,
	PRIMARY KEY (name, digest)
) STRICT, WITHOUT ROWID;
`}

// row is an installed pack as stored. Its manifest (pack.toml) lies in the row, so that a pack whose blobs are damaged
// can still say which tools it would have.
type row struct {
	Name, Version, Digest, Ref, By string
	TOML                           []byte
	Content                        content
	Verdict                        *Verdict
	Installed                      time.Time
	Standing                       standing
}

// standing is what changes about an installed version without being another version.
type standing struct {
	// Held are the subjects of the diff (see Item.Subject) that the version goes without until a person accepts them.
	Held []Item `json:"held,omitempty"`
	// Suspended, when set, keeps the version from running.
	Suspended *Suspension `json:"suspended,omitempty"`
	// Trial is set while a new version is watched; see Guard.
	Trial *trialStart `json:"trial,omitempty"`
	// Left are the leases the version still had of its own when it was replaced, to be given again if it comes back.
	Left []string `json:"left,omitempty"`
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

const rowColumns = `name, version, digest, ref, manifest, content, verdict, by, installed, standing`

// put makes the row the installed one of its name.
func (r row) put(tx *sql.Tx) error {
	return r.insert(tx, `INSERT INTO pack (`+rowColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (name) DO UPDATE SET version = excluded.version, digest = excluded.digest, ref = excluded.ref,
		manifest = excluded.manifest, content = excluded.content, verdict = excluded.verdict, by = excluded.by,
		installed = excluded.installed, standing = excluded.standing`)
}

func (r row) insert(tx *sql.Tx, statement string) error {
	content, err := json.Marshal(r.Content)
	if err != nil {
		return err
	}
	verdict, err := json.Marshal(r.Verdict)
	if err != nil {
		return err
	}
	standing, err := json.Marshal(r.Standing)
	if err != nil {
		return err
	}
	_, err = tx.Exec(statement, r.Name, r.Version, r.Digest, r.Ref, r.TOML, string(content), string(verdict), r.By, r.Installed.UnixMilli(), string(standing))
	return err
}

// putStanding writes a version's standing alone; Conflict when it is not installed any more.
func putStanding(tx *sql.Tx, name, digest string, st standing) error {
	body, err := json.Marshal(st)
	if err != nil {
		return err
	}
	res, err := tx.Exec(`UPDATE pack SET standing = ? WHERE name = ? AND digest = ?`, string(body), name, digest)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, abi.Errorf(abi.Conflict, "change pack %q: it was replaced meanwhile", name))
	}
	return nil
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
	return m.scanRows(ctx, `SELECT `+rowColumns+` FROM pack ORDER BY name`)
}

func (m *Manager) scanRows(ctx context.Context, query string) ([]row, error) {
	rs, err := m.DB.Read().QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	var all []row
	for rs.Next() {
		var r row
		var content, verdict, standing string
		var installed int64
		if err := rs.Scan(&r.Name, &r.Version, &r.Digest, &r.Ref, &r.TOML, &content, &verdict, &r.By, &installed, &standing); err != nil {
			return nil, err
		}
		if err := errors.Join(json.Unmarshal([]byte(content), &r.Content), json.Unmarshal([]byte(verdict), &r.Verdict), json.Unmarshal([]byte(standing), &r.Standing)); err != nil {
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
