package pack

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
)

// What a Change did.
const (
	Installed  = "installed"
	Upgraded   = "upgraded"
	Downgraded = "downgraded"
	Reinstall  = "reinstalled"
	RolledBack = "rolled_back"
	Refused    = "refused"
	Removed    = "removed"
	Suspended  = "suspended"
	Resumed    = "resumed"
	Accepted   = "accepted"
)

// Change is one thing that happened to a pack, for its history.
type Change struct {
	Change  string    `json:"change"`
	Version string    `json:"version,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	From    string    `json:"from,omitempty"` // digest of the version before
	Time    time.Time `json:"time"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
	Corr    string    `json:"corr_id"`
	// Verdict is what was decided about the version that came or was refused; without its parts in lists.
	Verdict *Summary `json:"verdict,omitempty"`
	// Kept says that the version can be rolled back to.
	Kept bool `json:"kept,omitempty"`
	// Current says that this is the version installed now.
	Current bool `json:"current,omitempty"`
	// Held says why the digest is held back, when it is.
	Held string `json:"held,omitempty"`
}

// Summary is a verdict in short.
type Summary struct {
	Allowed  bool     `json:"allowed"`
	Step     string   `json:"step"`
	Signers  []string `json:"signers,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	Override bool     `json:"override,omitempty"`
	Code     string   `json:"code,omitempty"`
	Class    Class    `json:"class,omitempty"` // of the permission diff
	Held     []string `json:"held,omitempty"`
}

func (v *Verdict) summary() *Summary {
	s := &Summary{Allowed: v.Allowed, Step: v.Step, Override: v.Override != "", Held: v.Held}
	if v.Signature != nil {
		s.Rule = v.Signature.Rule
		for _, by := range v.Signature.Signers {
			if !slices.Contains(s.Signers, by.Name) {
				s.Signers = append(s.Signers, by.Name)
			}
		}
	}
	if v.Refused != nil {
		s.Code = v.Refused.Code
	}
	if v.Diff != nil {
		s.Class = v.Diff.Class
	}
	return s
}

// maxHistory is how many changes and how many verdicts of one pack are remembered; the journal has them all.
const maxHistory = 200

// putChange adds to a pack's history and forgets what is beyond its bound.
func putChange(tx *sql.Tx, name string, c Change) error {
	if name == "" {
		return nil // it was refused before anyone knew what it was
	}
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO pack_history (name, change, version, digest, body) VALUES (?,?,?,?,?)`, name, c.Change, c.Version, c.Digest, string(body)); err != nil {
		return err
	}
	for _, table := range []string{"pack_history", "pack_verdict"} {
		_, err := tx.Exec(`DELETE FROM `+table+` WHERE name = ? AND seq <= (SELECT seq FROM `+table+` WHERE name = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`, name, name, maxHistory)
		if err != nil {
			return err
		}
	}
	return nil
}

// History tells what happened to a pack, newest first, up to limit changes; 0 means all there are. NotFound when this host
// never saw the name.
func (m *Manager) History(ctx context.Context, name string, limit int) ([]Change, error) {
	if limit <= 0 {
		limit = -1
	}
	rs, err := m.DB.Read().QueryContext(ctx, `SELECT body FROM pack_history WHERE name = ? ORDER BY seq DESC LIMIT ?`, name, limit)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read the history of pack %q: %w", name, err)
	}
	defer rs.Close()
	held, err := m.holds(ctx, name)
	if err != nil {
		return nil, err
	}
	changes := []Change{}
	for rs.Next() {
		var body []byte
		var c Change
		if err := rs.Scan(&body); err != nil {
			return nil, abi.Errorf(abi.CodeOf(err), "read the history of pack %q: %w", name, err)
		}
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read the history of pack %q: %w", name, err)
		}
		c.Kept, c.Held = m.kept(name, c.Digest) != nil, held[c.Digest]
		if s := m.index.Load().packs[name]; s != nil {
			if v := s.current(); v != nil {
				c.Current = v.row.Digest == c.Digest
			}
		}
		changes = append(changes, c)
	}
	if err := rs.Err(); err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read the history of pack %q: %w", name, err)
	}
	if len(changes) == 0 {
		return nil, abi.Errorf(abi.NotFound, "tell the history of pack %q: this host has not seen it", name).WithHint("list what is installed: arw list")
	}
	return changes, nil
}

// holds are the digests of a pack that are held back, with the reason.
func (m *Manager) holds(ctx context.Context, name string) (map[string]string, error) {
	rs, err := m.DB.Read().QueryContext(ctx, `SELECT digest, reason FROM pack_hold WHERE name = ?`, name)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read what is held back of pack %q: %w", name, err)
	}
	defer rs.Close()
	held := map[string]string{}
	for rs.Next() {
		var digest, reason string
		if err := rs.Scan(&digest, &reason); err != nil {
			return nil, abi.Errorf(abi.CodeOf(err), "read what is held back of pack %q: %w", name, err)
		}
		held[digest] = reason
	}
	return held, rs.Err()
}

func putHold(tx *sql.Tx, name, digest, reason string, at time.Time) error {
	_, err := tx.Exec(`INSERT INTO pack_hold (name, digest, reason, time) VALUES (?,?,?,?)
		ON CONFLICT DO UPDATE SET reason = excluded.reason, time = excluded.time`, name, digest, reason, at.UnixMilli())
	return err
}

func dropHold(tx *sql.Tx, name, digest string) error {
	_, err := tx.Exec(`DELETE FROM pack_hold WHERE name = ? AND digest = ?`, name, digest)
	return err
}

// shelf holds the versions that can come back: by pack, the latest replaced first. It mirrors the table pack_kept.
type shelf map[string][]*row

func (m *Manager) openShelf(ctx context.Context) error {
	rows, err := m.scanRows(ctx, `SELECT `+rowColumns+` FROM pack_kept ORDER BY seq DESC`)
	if err != nil {
		return err
	}
	for i := range rows {
		m.shelf[rows[i].Name] = append(m.shelf[rows[i].Name], &rows[i])
	}
	return nil
}

// keptAll are the versions of a pack that can come back, the latest replaced first.
func (m *Manager) keptAll(name string) []*row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.shelf[name])
}

func (m *Manager) kept(name, digest string) *row {
	for _, r := range m.keptAll(name) {
		if r.Digest == digest {
			return r
		}
	}
	return nil
}

// shelve is what the shelf of a pack becomes when one version takes another's place: the one that goes comes to the
// front, the one that comes leaves it, and what is beyond Config.Keep is given up.
func (m *Manager) shelve(name string, goes *row, comes string) []*row {
	var next []*row
	if goes != nil && goes.Digest != comes {
		next = append(next, goes)
	}
	for _, r := range m.keptAll(name) {
		if r.Digest != comes && (goes == nil || r.Digest != goes.Digest) && len(next) < m.cfg.Keep {
			next = append(next, r)
		}
	}
	return next
}

// putShelf writes a shelf into the table.
func putShelf(tx *sql.Tx, name string, next []*row) error {
	_, err := tx.Exec(`DELETE FROM pack_kept WHERE name = ?`, name)
	for i := len(next) - 1; i >= 0 && err == nil; i-- {
		err = next[i].insert(tx, `INSERT INTO pack_kept (`+rowColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?)`)
	}
	return err
}

func (m *Manager) setShelf(name string, next []*row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(next) == 0 {
		delete(m.shelf, name)
		return
	}
	m.shelf[name] = next
}
