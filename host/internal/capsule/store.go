package capsule

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
)

// Schema is capsule's part of the database. The ledger keeps the last Kept entries; the journal keeps all.
var Schema = []string{`
CREATE TABLE capsule (
	id         TEXT PRIMARY KEY,
	envelope   BLOB NOT NULL,
	state      TEXT NOT NULL CHECK (state IN ('active', 'expired', 'torn_down', 'failed')),
	adopted_ms INTEGER NOT NULL,
	adopted_by TEXT NOT NULL,
	ended_ms   INTEGER NOT NULL,
	reason     TEXT NOT NULL
) STRICT;
CREATE TABLE capsule_node (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL) STRICT;
CREATE TABLE capsule_ledger (
	seq         INTEGER PRIMARY KEY AUTOINCREMENT,
	time_ms     INTEGER NOT NULL,
	capsule     TEXT NOT NULL,
	version     INTEGER NOT NULL,
	fingerprint TEXT NOT NULL,
	issuer      TEXT NOT NULL,
	node        TEXT NOT NULL,
	project     TEXT NOT NULL,
	decision    TEXT NOT NULL,
	reason      TEXT NOT NULL,
	hops_left   INTEGER NOT NULL,
	until_ms    INTEGER NOT NULL,
	actor       TEXT NOT NULL,
	corr        TEXT NOT NULL
) STRICT;`}

// Kept is how many entries of the ledger are kept.
const Kept = 10_000

// Entry is one line of the ledger, and the body of every event of a capsule.
type Entry = api.CapsuleEntry

// write appends to the ledger and to the journal, in one fate.
func (b *Book) write(tx *sql.Tx, kind string, e Entry) error {
	res, err := tx.Exec(`INSERT INTO capsule_ledger (time_ms, capsule, version, fingerprint, issuer, node, project, decision, reason, hops_left, until_ms, actor, corr)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`, e.Time.UnixMilli(), e.Capsule, e.Version, e.Fingerprint, e.Issuer, e.Node, e.Project, e.Decision, e.Reason,
		e.HopsLeft, e.LeaseUntil.UnixMilli(), e.By, e.Corr)
	if err != nil {
		return err
	}
	seq, err := res.LastInsertId()
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM capsule_ledger WHERE seq <= ?`, seq-Kept); err != nil {
		return err
	}
	_, err = b.journal.AppendTx(tx, journal.Event{Kind: kind, Corr: e.Corr, Actor: e.By, Project: e.Project, Body: e})
	return err
}

func putRow(tx *sql.Tx, h *held) error {
	text, err := h.env.Encode()
	if err != nil {
		return err
	}
	ended := int64(0)
	if !h.ended.IsZero() {
		ended = h.ended.UnixMilli()
	}
	_, err = tx.Exec(`INSERT OR REPLACE INTO capsule VALUES (?,?,?,?,?,?,?)`, h.env.Capsule.ID, text, h.state, h.adopted.UnixMilli(), h.by, ended, h.reason)
	return err
}

// load reads what is held, and this node's name, which it makes the first time.
func (b *Book) load(ctx context.Context) error {
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`INSERT OR IGNORE INTO capsule_node VALUES (1, ?)`, newNode()); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT id FROM capsule_node`).Scan(&b.node)
	})
	if err != nil {
		return b.db.Explain("read the node's name", err)
	}
	rows, err := b.db.Read().QueryContext(ctx, `SELECT id, envelope, state, adopted_ms, adopted_by, ended_ms, reason FROM capsule`)
	if err != nil {
		return b.db.Explain("read capsules", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var text []byte
		var adopted, ended int64
		h := &held{}
		if err := rows.Scan(&id, &text, &h.state, &adopted, &h.by, &ended, &h.reason); err != nil {
			return b.db.Explain("read capsules", err)
		}
		e, err := Parse(text)
		if err != nil || e.Capsule.ID != id {
			return abi.Errorf(abi.Corrupt, "read capsule %q: its stored form does not read back: %v", id, err)
		}
		h.env, h.adopted = *e, time.UnixMilli(adopted).UTC()
		if ended != 0 {
			h.ended = time.UnixMilli(ended).UTC()
		}
		b.held[id] = h
	}
	return rows.Err()
}

// Audit is the ledger, the newest first; a capsule's alone when an id is given. Limit is 1 to 1,000.
func (b *Book) Audit(ctx context.Context, id string, limit int) ([]Entry, error) {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT time_ms, capsule, version, fingerprint, issuer, node, project, decision, reason, hops_left, until_ms, actor, corr
		FROM capsule_ledger WHERE ?1 = '' OR capsule = ?1 ORDER BY seq DESC LIMIT ?2`, id, min(max(limit, 1), 1000))
	if err != nil {
		return nil, b.db.Explain("read the ledger of capsules", err)
	}
	defer rows.Close()
	out := []Entry{}
	for rows.Next() {
		var e Entry
		var at, until int64
		if err := rows.Scan(&at, &e.Capsule, &e.Version, &e.Fingerprint, &e.Issuer, &e.Node, &e.Project, &e.Decision, &e.Reason, &e.HopsLeft, &until, &e.By, &e.Corr); err != nil {
			return nil, b.db.Explain("read the ledger of capsules", err)
		}
		e.Time, e.LeaseUntil = time.UnixMilli(at).UTC(), time.UnixMilli(until).UTC()
		out = append(out, e)
	}
	return out, rows.Err()
}
