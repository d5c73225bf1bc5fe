package db

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/arw-project/arw/abi"
)

// Fold writes the whole log into the file and empties it, so that nothing that was overwritten remains in either. Writers
// wait while it runs; it gives up when a reader holds on for more than five seconds. Errors: Busy then, those of the disk.
func (d *DB) Fold(ctx context.Context) error {
	doing := `fold the log of "` + d.path + `"`
	// A connection of its own: the writer's is always inside a transaction when it does anything.
	pool, err := sql.Open("sqlite", dsn(d.path, "rw", []string{"busy_timeout(5000)"}))
	if err != nil {
		return d.Explain(doing, err)
	}
	defer pool.Close()
	var busy, log, done int
	if err := pool.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done); err != nil {
		return d.Explain(doing, err)
	}
	if busy != 0 {
		return abi.Errorf(abi.Busy, "%s: a reader or writer holds on to it", doing).WithHint("try again")
	}
	return nil
}

// maxRewrite bounds the file that Rewrite takes on: writers wait for it, and give up after a few seconds.
const maxRewrite = 256 << 20

// Rewrite writes the file anew without its free space, and folds the log. Writers wait while it runs, so it refuses files
// above 256 MiB with TooLarge.
func (d *DB) Rewrite(ctx context.Context) error {
	doing := `rewrite "` + d.path + `"`
	st, err := os.Stat(d.path)
	if err != nil {
		return d.Explain(doing, err)
	}
	if st.Size() > maxRewrite {
		return abi.Errorf(abi.TooLarge, "%s: it has %d bytes, at most %d are rewritten while the host runs", doing, st.Size(), maxRewrite).
			WithHint("stop the host and run VACUUM with an SQLite shell")
	}
	pool, err := sql.Open("sqlite", dsn(d.path, "rw", []string{"busy_timeout(5000)"}))
	if err != nil {
		return d.Explain(doing, err)
	}
	defer pool.Close()
	if _, err := pool.ExecContext(ctx, "VACUUM"); err != nil {
		return d.Explain(doing, err)
	}
	return d.Fold(ctx)
}

// Holds reports whether the bytes stand anywhere in the database's files, used or not. It reads them as they are: a write
// that goes on meanwhile may be missed or met twice. Cost: one pass over the files.
func (d *DB) Holds(ctx context.Context, needle []byte) (bool, error) {
	for _, name := range []string{d.path, d.path + "-wal"} {
		found, err := holds(ctx, name, needle)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func holds(ctx context.Context, name string, needle []byte) (bool, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) || len(needle) == 0 {
		return false, nil
	} else if err != nil {
		return false, abi.Errorf(codeOfOS(err), "search %q: %w", name, err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20+len(needle))
	for kept := 0; ctx.Err() == nil; {
		n, err := f.Read(buf[kept:])
		if bytes.Contains(buf[:kept+n], needle) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, abi.Errorf(codeOfOS(err), "search %q: %w", name, err)
		}
		have := kept + n
		kept = copy(buf, buf[max(0, have-len(needle)+1):have])
	}
	return false, ctx.Err()
}
