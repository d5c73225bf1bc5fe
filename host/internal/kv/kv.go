// Package kv keeps one promise: what a pack stored is there when the call returns and only that pack can reach it, and only
// in calls of the same project.
//
// Each pack has one space of keys in byte order in each project. They outlive calls, restarts and upgrades of the pack, and
// are bounded together.
package kv

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// Limits of a space.
const (
	MaxKey   = 1 << 10   // bytes of a key
	MaxValue = 8 << 20   // bytes of a value
	MaxSpace = 512 << 20 // bytes of all keys and values of a pack in all projects, each pair counting Overhead more
	MaxBatch = 32 << 20  // bytes of all keys and values of one batch, each pair counting Overhead more
	Overhead = 64        // what a pair costs besides its bytes, so that a million empty values are not free
	MaxList  = 1000      // keys of one list
)

// Schema is kv's part of the database. What was stored before there were projects belongs to the default one, which is "".
var Schema = []string{`
CREATE TABLE kv_space (
	id    INTEGER PRIMARY KEY,
	pack  TEXT NOT NULL UNIQUE,
	bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE kv (
	space INTEGER NOT NULL REFERENCES kv_space (id) ON DELETE CASCADE,
	key   BLOB NOT NULL,
	val   BLOB NOT NULL,
	PRIMARY KEY (space, key)
) STRICT;`, `
CREATE TABLE kv_space_of (
	id      INTEGER PRIMARY KEY,
	pack    TEXT NOT NULL,
	project TEXT NOT NULL,
	bytes   INTEGER NOT NULL DEFAULT 0,
	UNIQUE (pack, project)
) STRICT;
INSERT INTO kv_space_of SELECT id, pack, '', bytes FROM kv_space;
CREATE TABLE kv_of (
	space INTEGER NOT NULL REFERENCES kv_space_of (id) ON DELETE CASCADE,
	key   BLOB NOT NULL,
	val   BLOB NOT NULL,
	PRIMARY KEY (space, key)
) STRICT;
INSERT INTO kv_of SELECT space, key, val FROM kv;
DROP TABLE kv;
DROP TABLE kv_space;
ALTER TABLE kv_space_of RENAME TO kv_space;
ALTER TABLE kv_of RENAME TO kv;`, `
ALTER TABLE kv_space ADD COLUMN writes INTEGER NOT NULL DEFAULT 0;`}

// Store holds the spaces of all packs. It is safe for concurrent use, as are its spaces.
type Store struct {
	db    *db.DB
	limit int64
}

// Open makes a Store over a database that has Schema.
func Open(d *db.DB) *Store { return &Store{db: d, limit: MaxSpace} }

// Space is the space of one pack in one project, "" for the default one; naming one costs nothing and creates nothing.
func (s *Store) Space(pack, project string) *Space { return &Space{s, pack, project} }

// Usage is the number of keys of a pack in all projects and the bytes they count for; zeros for a pack that stored nothing.
func (s *Store) Usage(ctx context.Context, pack string) (keys, size int64, err error) {
	row := s.db.Read().QueryRowContext(ctx, `SELECT (SELECT count(*) FROM kv JOIN kv_space ON kv.space = kv_space.id WHERE pack = ?1),
		(SELECT coalesce(sum(bytes), 0) FROM kv_space WHERE pack = ?1)`, pack)
	if err := row.Scan(&keys, &size); err != nil {
		return 0, 0, s.db.Explain(`measure the keys of pack "`+pack+`"`, err)
	}
	return keys, size, nil
}

// Drop removes a pack's spaces in all projects with everything in them. It is durable when it returns; dropping nothing is no error.
func (s *Store) Drop(ctx context.Context, pack string) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM kv_space WHERE pack = ?", pack)
		return err
	})
	return s.db.Explain(`drop the keys of pack "`+pack+`"`, err)
}

// Space is what one pack may reach in the calls of one project.
type Space struct {
	store         *Store
	pack, project string
}

// thisSpace selects the id of a space by its pack and project.
const thisSpace = "(SELECT id FROM kv_space WHERE pack = ? AND project = ?)"

// Get returns a copy of the value of key; NotFound when there is none.
func (s *Space) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := checkKey("get", key); err != nil {
		return nil, err
	}
	var val []byte
	stmt, err := s.store.db.ReadStmt(ctx, "SELECT val FROM kv WHERE space = "+thisSpace+" AND key = ?")
	if err == nil {
		err = stmt.QueryRowContext(ctx, s.pack, s.project, key).Scan(&val)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, abi.Errorf(abi.NotFound, "get key %q: pack %q has no such key", key, s.pack)
	case err != nil:
		return nil, s.store.db.Explain(`get a key of pack "`+s.pack+`"`, err)
	}
	return notNil(val), nil
}

// Writes is how many batches were applied to the space: while it is the same, so is what is in it. A space that was dropped counts
// from zero.
func (s *Space) Writes(ctx context.Context) (n int64, err error) {
	stmt, err := s.store.db.ReadStmt(ctx, "SELECT writes FROM kv_space WHERE pack = ? AND project = ?")
	if err == nil {
		err = stmt.QueryRowContext(ctx, s.pack, s.project).Scan(&n)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, s.store.db.Explain(`look at the keys of pack "`+s.pack+`"`, err)
}

// Put stores a value, replacing the one that was there; it is durable when Put returns. Neither slice is kept. Errors:
// Invalid for a key that is empty or not UTF-8, TooLarge beyond a limit, those of db.Write.
func (s *Space) Put(ctx context.Context, key, val []byte) error {
	return s.Batch(ctx, []abi.KVOp{{Key: key, Val: val}})
}

// Delete removes a key; removing an absent one is no error.
func (s *Space) Delete(ctx context.Context, key []byte) error {
	return s.Batch(ctx, []abi.KVOp{{Delete: true, Key: key}})
}

// Batch applies the operations in order as one durable whole: all or none. Errors as for Put.
func (s *Space) Batch(ctx context.Context, ops []abi.KVOp) error {
	if err := CheckBatch(ops); err != nil || len(ops) == 0 {
		return err
	}
	err := s.store.db.Write(ctx, func(tx *sql.Tx) error { return s.apply(tx, ops) })
	return s.store.db.Explain(`store keys of pack "`+s.pack+`"`, err)
}

// CheckBatch is what Batch would refuse before it looks at what is there: bad keys, and what is too large.
func CheckBatch(ops []abi.KVOp) error {
	size := 0
	for _, op := range ops {
		doing := "put"
		if op.Delete {
			doing = "delete"
		}
		if err := checkKey(doing, op.Key); err != nil {
			return err
		}
		if len(op.Val) > MaxValue {
			return abi.Errorf(abi.TooLarge, "put key %q: the value has %d bytes, at most %d are allowed", op.Key, len(op.Val), MaxValue).
				WithHint("split the value over several keys")
		}
		size += cost(op.Key, len(op.Val))
	}
	if size > MaxBatch {
		return abi.Errorf(abi.TooLarge, "apply a batch of %d operations: it has %d bytes, at most %d are allowed", len(ops), size, MaxBatch).
			WithHint("send several smaller batches")
	}
	return nil
}

// BatchTx is Batch as part of tx, which must be the transaction of a running write of the same database.
func (s *Space) BatchTx(tx *sql.Tx, ops []abi.KVOp) error {
	if err := CheckBatch(ops); err != nil || len(ops) == 0 {
		return err
	}
	return s.store.db.Explain(`store keys of pack "`+s.pack+`"`, s.apply(tx, ops))
}

// GetTx is Get as tx sees it.
func (s *Space) GetTx(tx *sql.Tx, key []byte) (val []byte, found bool, err error) {
	err = tx.QueryRow("SELECT val FROM kv WHERE space = "+thisSpace+" AND key = ?", s.pack, s.project, key).Scan(&val)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return notNil(val), err == nil, s.store.db.Explain(`get a key of pack "`+s.pack+`"`, err)
}

func cost(key []byte, val int) int { return len(key) + val + Overhead }

func checkKey(doing string, key []byte) error {
	switch {
	case len(key) == 0:
		return abi.Errorf(abi.Invalid, "%s key \"\": a key has at least one byte", doing)
	case len(key) > MaxKey:
		return abi.Errorf(abi.TooLarge, "%s key %.40q…: the key has %d bytes, at most %d are allowed", doing, key, len(key), MaxKey)
	case !utf8.Valid(key): // List gives keys out as text
		return abi.Errorf(abi.Invalid, "%s key %q: a key is UTF-8 text", doing, key)
	}
	return nil
}

func (s *Space) apply(tx *sql.Tx, ops []abi.KVOp) error {
	space, used, err := s.own(tx)
	if err != nil {
		return err
	}
	before := used
	var others int64 // what the pack keeps in other projects: the bound is the pack's, or many projects would be none
	sum, err := s.store.db.Stmt(tx, "SELECT coalesce(sum(bytes), 0) FROM kv_space WHERE pack = ? AND id <> ?")
	if err != nil {
		return err
	}
	if err := sum.QueryRow(s.pack, space).Scan(&others); err != nil {
		return err
	}
	for _, op := range ops {
		change, err := s.one(tx, space, op)
		if err != nil {
			return err
		}
		used += change
	}
	if used+others > s.store.limit && used > before {
		return abi.Errorf(abi.TooLarge, "store keys of pack %q: they would take %d bytes, at most %d are allowed (now %d)", s.pack, used+others, s.store.limit, before+others).
			WithHint("delete keys that are no longer needed")
	}
	return s.run(tx, "UPDATE kv_space SET bytes = ?, writes = writes + 1 WHERE id = ?", used, space)
}

// own finds the pack's space in the project, making it at the first write.
func (s *Space) own(tx *sql.Tx) (id, used int64, err error) {
	find, err := s.store.db.Stmt(tx, "SELECT id, bytes FROM kv_space WHERE pack = ? AND project = ?")
	if err != nil {
		return 0, 0, err
	}
	err = find.QueryRow(s.pack, s.project).Scan(&id, &used)
	if errors.Is(err, sql.ErrNoRows) {
		if err = s.run(tx, "INSERT INTO kv_space (pack, project) VALUES (?, ?)", s.pack, s.project); err == nil {
			err = find.QueryRow(s.pack, s.project).Scan(&id, &used)
		}
	}
	return id, used, err
}

// one applies one operation and returns by how much the space grew.
func (s *Space) one(tx *sql.Tx, space int64, op abi.KVOp) (change int64, err error) {
	find, err := s.store.db.Stmt(tx, "SELECT length(val) FROM kv WHERE space = ? AND key = ?")
	if err != nil {
		return 0, err
	}
	var old int
	switch err := find.QueryRow(space, op.Key).Scan(&old); {
	case err == nil:
		change = -int64(cost(op.Key, old))
	case !errors.Is(err, sql.ErrNoRows):
		return 0, err
	case op.Delete:
		return 0, nil
	}
	if op.Delete {
		return change, s.run(tx, "DELETE FROM kv WHERE space = ? AND key = ?", space, op.Key)
	}
	return change + int64(cost(op.Key, len(op.Val))),
		s.run(tx, "INSERT INTO kv (space, key, val) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET val = excluded.val", space, op.Key, notNil(op.Val))
}

func (s *Space) run(tx *sql.Tx, query string, args ...any) error {
	stmt, err := s.store.db.Stmt(tx, query)
	if err == nil {
		_, err = stmt.Exec(args...)
	}
	return err
}

// List returns keys that begin with prefix and lie behind after (both may be empty), in byte order, with the sizes of
// their values: at most limit, where 0 means MaxList, which is the most. more says that there are others behind the last.
func (s *Space) List(ctx context.Context, prefix, after []byte, limit int) (keys []abi.KVEntry, more bool, err error) {
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	query := "SELECT key, length(val) FROM kv WHERE space = " + thisSpace + " AND key >= ? AND key > ?"
	args := []any{s.pack, s.project, notNil(prefix), notNil(after)}
	if end := successor(prefix); end != nil {
		query += " AND key < ?"
		args = append(args, end)
	}
	rows, err := s.store.db.Read().QueryContext(ctx, query+" ORDER BY key LIMIT ?", append(args, limit+1)...)
	if err != nil {
		return nil, false, s.store.db.Explain(`list the keys of pack "`+s.pack+`"`, err)
	}
	defer rows.Close()
	for rows.Next() {
		var e abi.KVEntry
		if err := rows.Scan(&e.Key, &e.Size); err != nil {
			return nil, false, s.store.db.Explain(`list the keys of pack "`+s.pack+`"`, err)
		}
		keys = append(keys, e)
	}
	if err := rows.Err(); err != nil {
		return nil, false, s.store.db.Explain(`list the keys of pack "`+s.pack+`"`, err)
	}
	if len(keys) > limit {
		return keys[:limit], true, nil
	}
	return keys, false, nil
}

// notNil keeps an empty value empty: to the driver, a nil slice is NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// successor is the least key behind all that begin with prefix, nil when there is none.
func successor(prefix []byte) []byte {
	stem := bytes.TrimRight(prefix, "\xff")
	if len(stem) == 0 {
		return nil
	}
	next := bytes.Clone(stem)
	next[len(next)-1]++
	return next
}
