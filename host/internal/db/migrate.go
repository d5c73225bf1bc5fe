package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"

	"github.com/arw-project/arw/abi"
)

// Migration is the schema of one owning package: numbered steps of SQL, each applied once and for ever. A step may hold
// several statements. Steps are only ever added at the end; a shipped one never changes.
type Migration struct {
	Owner string
	Steps []string
}

const migrationTable = `CREATE TABLE IF NOT EXISTS migration (
	owner TEXT NOT NULL, n INTEGER NOT NULL, digest TEXT NOT NULL, applied_ms INTEGER NOT NULL DEFAULT (unixepoch('now') * 1000),
	PRIMARY KEY (owner, n)) STRICT, WITHOUT ROWID`

// migrate applies what is missing, each step in a transaction with its own record, owners in the order given.
func migrate(ctx context.Context, conn *sql.Conn, owners []Migration) error {
	if _, err := conn.ExecContext(ctx, migrationTable); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range owners {
		if m.Owner == "" || seen[m.Owner] {
			return abi.Errorf(abi.Internal, "migrate: owner %q is empty or named twice", m.Owner)
		}
		seen[m.Owner] = true
		done, err := applied(ctx, conn, m)
		if err != nil {
			return err
		}
		for n := done; n < len(m.Steps); n++ {
			if err := step(ctx, conn, m.Owner, n+1, m.Steps[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// applied is the number of steps the file has, having checked that they are the ones this program knows.
func applied(ctx context.Context, conn *sql.Conn, m Migration) (int, error) {
	rows, err := conn.QueryContext(ctx, "SELECT n, digest FROM migration WHERE owner = ? ORDER BY n", m.Owner)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	done := 0
	for rows.Next() {
		var n int
		var digest string
		if err := rows.Scan(&n, &digest); err != nil {
			return 0, err
		}
		done++
		switch {
		case n != done:
			return 0, abi.Errorf(abi.Corrupt, "migrate %q: step %d is missing from the record", m.Owner, done)
		case n > len(m.Steps):
			return 0, abi.Errorf(abi.Incompatible, "migrate %q: the file has step %d, this arw knows %d", m.Owner, n, len(m.Steps)).
				WithHint("a newer arw wrote this state directory: run that one, or choose another directory")
		case digest != stepDigest(m.Steps[n-1]):
			return 0, abi.Errorf(abi.Incompatible, "migrate %q: step %d of the file is not the one this arw has", m.Owner, n).
				WithHint("run the arw that made this state directory, or choose another directory")
		}
	}
	return done, rows.Err()
}

func step(ctx context.Context, conn *sql.Conn, owner string, n int, text string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return fmt.Errorf("migrate %q, step %d: %w", owner, n, err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO migration (owner, n, digest) VALUES (?, ?, ?)", owner, n, stepDigest(text)); err != nil {
		return err
	}
	return tx.Commit()
}

func stepDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
