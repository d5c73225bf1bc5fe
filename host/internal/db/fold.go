package db

import (
	"context"
	"database/sql"

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
