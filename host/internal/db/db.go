// Package db keeps one promise: what a caller was told is written is on the disk, and what it was told failed hurt
// nobody else.
//
// It owns the host's one SQLite file. One goroutine writes: it takes the first waiting write, drains what else waits,
// runs all of them in one transaction, each inside a savepoint of its own, and acknowledges them together after one
// synchronous commit (group commit). Reads go to a separate pool of read-only connections and never wait for the
// writer. A lock file beside the database keeps a second daemon out of the same directory.
//
// No type of the driver appears in the exported names; errors are *abi.Error (see DB.Explain).
package db

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/arw-project/arw/abi"

	_ "modernc.org/sqlite" // the driver; this package is its home
)

// applicationID marks the file as arw's in its header, so that another program's database is never written to.
const applicationID = 0x61727731 // "arw1"

// DB is one open database. All methods are safe for concurrent use.
type DB struct {
	path string
	lock *lockFile
	read *sql.DB

	// The writer's goroutine owns these; stmts is also read by the functions it runs.
	write *sql.DB
	conn  *sql.Conn
	tx    *sql.Tx
	stmts map[string]*sql.Stmt

	queue    chan *request
	stop     chan struct{} // closed by Close: take what is queued, then end
	ended    chan struct{} // closed when the writer has ended
	stopOnce sync.Once

	readMu    sync.Mutex
	readStmts map[string]*sql.Stmt

	watchMu  sync.Mutex
	watchers []Watcher

	writes, failed, commits atomic.Int64
}

// Open opens the database at path, creating it (mode 0600) and its directory (mode 0700) when absent, takes the lock
// file "lock" beside it, brings the schema up to date and starts the writer. The caller owns the DB and must Close it.
//
// Errors: Conflict when another process (named by its pid) has the directory; Corrupt when the file is damaged or is no
// database; Incompatible when it belongs to another program or to a newer arw; StorageFull; Unavailable when the file
// system refuses.
func Open(ctx context.Context, path string, owners []Migration) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "open database %q: %w", path, err)
	}
	if err := makeFile(path); err != nil {
		return nil, err
	}
	lock, err := takeLock(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	d := &DB{
		path:  path,
		lock:  lock,
		stmts: map[string]*sql.Stmt{},

		readStmts: map[string]*sql.Stmt{},
		queue:     make(chan *request, maxBatch),
		stop:      make(chan struct{}),
		ended:     make(chan struct{}),
	}
	if err := d.start(ctx, owners); err != nil {
		d.release()
		return nil, d.Explain(`open database "`+path+`"`, err)
	}
	go d.loop()
	return d, nil
}

// makeFile creates an empty database file with a mode of our choosing: SQLite would use the umask's, and gives its side
// files the mode of the main one.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return abi.Errorf(codeOfOS(err), "open database %q: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return abi.Errorf(codeOfOS(err), "open database %q: %w", path, err)
	}
	return f.Close()
}

func (d *DB) start(ctx context.Context, owners []Migration) (err error) {
	if d.write, err = sql.Open("sqlite", dsn(d.path, "rw", writePragmas)); err != nil {
		return err
	}
	d.write.SetMaxOpenConns(1)
	if d.conn, err = d.write.Conn(ctx); err != nil {
		return err
	}
	if err := d.claim(ctx); err != nil {
		return err
	}
	if err := d.logAhead(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, d.conn, owners); err != nil {
		return err
	}
	if d.read, err = sql.Open("sqlite", dsn(d.path, "ro", readPragmas)); err != nil {
		return err
	}
	// More readers than cores only slow the writer down.
	d.read.SetMaxOpenConns(max(2, runtime.NumCPU()))
	d.read.SetMaxIdleConns(max(2, runtime.NumCPU()))
	return d.read.PingContext(ctx)
}

// claim refuses a file that another program made, before anything is changed in it, and marks an empty one as ours.
func (d *DB) claim(ctx context.Context) error {
	var id, tables int
	row := d.conn.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)")
	if err := row.Scan(&id, &tables); err != nil {
		return err
	}
	switch {
	case id == applicationID:
		return nil
	case id != 0 || tables != 0:
		return abi.Errorf(abi.Incompatible, "open database %q: the file belongs to another program (application id %#x)", d.path, id).
			WithHint("choose another state directory, or move the file aside")
	}
	_, err := d.conn.ExecContext(ctx, "PRAGMA application_id = "+strconv.Itoa(applicationID))
	return err
}

// logAhead switches to the write-ahead log, which lets readers go on while the writer writes.
func (d *DB) logAhead(ctx context.Context) error {
	var mode string
	if err := d.conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return abi.Errorf(abi.Unavailable, "open database %q: the file system allows no write-ahead log (mode %q)", d.path, mode).
			WithHint("put the state directory on a local disk")
	}
	return nil
}

var (
	writePragmas = []string{
		"busy_timeout(5000)", "auto_vacuum(INCREMENTAL)", "synchronous(FULL)", "fullfsync(ON)",
		"foreign_keys(ON)", "temp_store(MEMORY)", "cache_size(-16000)", "journal_size_limit(67108864)",
		"trusted_schema(OFF)", "cell_size_check(ON)",
	}
	readPragmas = []string{
		"busy_timeout(5000)", "query_only(ON)", "temp_store(MEMORY)", "cache_size(-4000)", "trusted_schema(OFF)",
		"cell_size_check(ON)",
	}
)

func dsn(path, mode string, pragmas []string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_dqs": {"0"}, "_defensive": {"1"}, "_error_rc": {"1"}, "_pragma": pragmas}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// Path is the absolute path of the database file.
func (d *DB) Path() string { return d.path }

// Read is the pool of read-only connections. A reader sees every write that was acknowledged before it began. Rows must
// be closed before the caller waits for anything: a connection held open keeps the log from being truncated. The pool
// belongs to the DB.
func (d *DB) Read() *sql.DB { return d.read }

// ReadStmt is a statement of the read pool, prepared at its first use and kept until Close: several times cheaper than
// preparing at each query. It must not be closed. Write it once per query text: the cache never shrinks.
func (d *DB) ReadStmt(ctx context.Context, query string) (*sql.Stmt, error) {
	d.readMu.Lock()
	defer d.readMu.Unlock()
	if s, ok := d.readStmts[query]; ok {
		return s, nil
	}
	s, err := d.read.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	d.readStmts[query] = s
	return s, nil
}

// Stats counts what the writer has done since Open.
type Stats struct {
	Writes  int64 // acknowledged as written
	Failed  int64 // acknowledged as failed
	Commits int64 // transactions committed; Writes/Commits is the mean group
}

// Stats is a snapshot of the counters.
func (d *DB) Stats() Stats {
	return Stats{Writes: d.writes.Load(), Failed: d.failed.Load(), Commits: d.commits.Load()}
}

// Close waits for the writes that are already queued, tells the watchers, folds the log into the file and gives the
// lock back. Writes that come later fail with Unavailable. A second Close does nothing and returns nil.
func (d *DB) Close() error {
	first := false
	d.stopOnce.Do(func() { first = true; close(d.stop) })
	<-d.ended
	if !first {
		return nil
	}
	d.tell(Watcher.Closed)
	return d.release()
}

// release closes whatever start managed to open; the lock goes last, when nothing touches the files any more.
func (d *DB) release() error {
	var errs []error
	d.readMu.Lock()
	for _, s := range d.readStmts {
		errs = append(errs, s.Close())
	}
	d.readMu.Unlock()
	if d.read != nil {
		errs = append(errs, d.read.Close())
	}
	for _, s := range d.stmts {
		errs = append(errs, s.Close())
	}
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	errs = append(errs, d.lock.release())
	if err := errors.Join(errs...); err != nil {
		return d.Explain(`close database "`+d.path+`"`, err)
	}
	return nil
}
