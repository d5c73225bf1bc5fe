package db

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/arw-project/arw/abi"
)

// ReadOnly is a look at a database without the right to change it: no lock is taken, so it works beside a running
// daemon and on the files of a stopped or killed one.
type ReadOnly struct {
	path string
	pool *sql.DB
}

// OpenReadOnly opens the database at path for reading. The caller must Close it. Errors: NotFound, Corrupt,
// Unavailable.
func OpenReadOnly(ctx context.Context, path string) (*ReadOnly, error) {
	doing := `open database "` + path + `" for reading`
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, abi.Errorf(abi.NotFound, "%s: no such file", doing)
	} else if err != nil {
		return nil, explain(path, doing, err)
	}
	r, err := openPool(ctx, path, dsn(path, "ro", readPragmas))
	// A log cannot be shared without writing its index beside it. On a read-only medium there is nobody to share with:
	// if there is no log either, the file alone is the whole truth.
	if e, ok := errors.AsType[*sqlite.Error](err); ok && (e.Code()&0xff == sqlite3.SQLITE_CANTOPEN || e.Code()&0xff == sqlite3.SQLITE_READONLY) && !hasLog(path) {
		r, err = openPool(ctx, path, dsn(path, "ro", readPragmas)+"&immutable=1")
	}
	if err != nil {
		return nil, explain(path, doing, err)
	}
	return r, nil
}

// CheckFile checks every page of the database at path. Errors: those of OpenReadOnly and Check.
func CheckFile(ctx context.Context, path string) error {
	r, err := OpenReadOnly(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(r.Check(ctx), r.Close())
}

func openPool(ctx context.Context, path, name string) (*ReadOnly, error) {
	pool, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	var tables int
	if err := pool.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		_ = pool.Close()
		return nil, err
	}
	return &ReadOnly{path, pool}, nil
}

func hasLog(path string) bool {
	st, err := os.Stat(path + "-wal")
	return err == nil && st.Size() > 0
}

// Check reads every page and compares every index with its table (PRAGMA quick_check). Corrupt names the first fault. Cost: one
// pass over the file.
func (r *ReadOnly) Check(ctx context.Context) error {
	var first string
	if err := r.pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&first); err != nil {
		return r.Explain("check the database", err)
	}
	if first != "ok" {
		return abi.Errorf(abi.Corrupt, "check database %q: %s", r.path, first).WithHint("restore a backup: arw backup restore FILE --state DIR")
	}
	return nil
}

// CopyTo writes the database as it is at this moment to a file that must not exist. Writing goes on meanwhile. The copy has no
// log beside it. Cost: one pass over the file, and its size on disk.
func (r *ReadOnly) CopyTo(ctx context.Context, file string) error {
	conn, err := r.pool.Conn(ctx)
	if err != nil {
		return r.Explain("copy the database", err)
	}
	defer conn.Close()
	for _, do := range []struct {
		sql  string
		args []any
	}{{sql: "PRAGMA query_only = 0"}, {"VACUUM INTO ?", []any{file}}, {sql: "PRAGMA query_only = 1"}} { // the file itself is open for reading alone
		if _, err := conn.ExecContext(ctx, do.sql, do.args...); err != nil {
			return r.Explain("copy the database", err)
		}
	}
	return nil
}

// Path is the absolute path of the database file.
func (r *ReadOnly) Path() string { return r.path }

// Read is the pool of connections; it belongs to r.
func (r *ReadOnly) Read() *sql.DB { return r.pool }

// Explain is as DB.Explain.
func (r *ReadOnly) Explain(doing string, err error) error { return explain(r.path, doing, err) }

// Close closes the pool.
func (r *ReadOnly) Close() error { return r.pool.Close() }
