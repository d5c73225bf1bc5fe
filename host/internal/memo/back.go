package memo

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Schema is the index: which blob answers which key. Times are milliseconds since 1970; cost is nanoseconds.
var Schema = []string{`
CREATE TABLE memo (
	key    BLOB PRIMARY KEY,
	pack   TEXT NOT NULL,
	tool   TEXT NOT NULL,
	kind   INTEGER NOT NULL,
	digest TEXT NOT NULL,
	size   INTEGER NOT NULL,
	cost   INTEGER NOT NULL,
	made   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX memo_digest ON memo (digest);
CREATE INDEX memo_made ON memo (made);
`}

// task is one thing for the back: an answer to store, a key to drop, or an event to journal.
type task struct {
	store *entry
	id    ID
	drop  *ID
	event *body
	flush chan struct{} // closed when everything handed over before it is done

	name, tool, corr, action, project string
}

// later hands a task to Run without waiting; when the back is busy the answer stays in memory and the event is counted.
func (m *Memo) later(t task) {
	select {
	case m.back <- t:
	default:
		m.stats.dropped.Add(1)
	}
}

// Run stores answers, journals events, holds the disk to its bounds, and reads the policy file again when it changes; it
// returns when ctx ends, after what was handed over is done. Call it once. file may be empty; changed, when not nil, hears
// of every policy that came into force, the first included.
func (m *Memo) Run(ctx context.Context, file string, changed func(Policy)) error {
	w := watcher{memo: m, file: file, changed: changed}
	w.first()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	work := context.WithoutCancel(ctx)
	for n := 0; ; {
		select {
		case t := <-m.back:
			m.batch(work, t)
		case <-tick.C:
			w.look()
			if n++; n%30 == 0 {
				m.bound(work)
			}
		case <-ctx.Done():
			for {
				select {
				case t := <-m.back:
					m.batch(work, t)
				default:
					return nil
				}
			}
		}
	}
}

// Flush waits until what was handed to the back before is done. Run must be on.
func (m *Memo) Flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case m.back <- task{flush: done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// batch does a task and what waits behind it, with one write for all rows and events.
func (m *Memo) batch(ctx context.Context, t task) {
	tasks := []task{t}
	for len(tasks) < 256 {
		select {
		case t := <-m.back:
			tasks = append(tasks, t)
			continue
		default:
		}
		break
	}
	var events []journal.Event
	for i := range tasks {
		t := &tasks[i]
		if t.event != nil {
			events = append(events, journal.Event{Kind: EventKind, Corr: t.corr, Actor: "host", Project: t.project, Pack: t.name, Action: t.action, Body: t.event})
		}
		if t.store == nil {
			continue
		}
		if _, err := m.cas.PutBytes(ctx, t.store.Body); err != nil {
			m.log.Error("keep a cached answer", "tool", t.tool, "corr_id", t.corr, "action", t.action, "error", err)
			t.store = nil // the row must not promise a blob that is not there
		}
	}
	err := m.db.Write(ctx, func(tx *sql.Tx) error { return m.rows(tx, tasks, events) })
	if err != nil {
		m.log.Error("keep cached answers", "error", err)
	}
	for _, t := range tasks {
		if t.flush != nil {
			close(t.flush)
		}
	}
}

func (m *Memo) rows(tx *sql.Tx, tasks []task, events []journal.Event) error {
	for _, t := range tasks {
		var err error
		switch e := t.store; {
		case e != nil:
			_, err = tx.Exec(`INSERT OR REPLACE INTO memo (key, pack, tool, kind, digest, size, cost, made) VALUES (?,?,?,?,?,?,?,?)`,
				t.id[:], t.name, t.tool, e.Kind, e.digest, len(e.Body), int64(e.cost), e.made.UnixMilli())
		case t.drop != nil:
			_, err = tx.Exec(`DELETE FROM memo WHERE key = ?`, t.drop[:])
		}
		if err != nil {
			return err
		}
	}
	for _, ev := range events {
		if _, err := m.jrn.AppendTx(tx, ev); err != nil {
			return err
		}
	}
	return nil
}

// load reads an answer from disk; nil when there is none that is sound.
func (m *Memo) load(ctx context.Context, id ID) *entry {
	stmt, err := m.db.ReadStmt(ctx, `SELECT kind, digest, cost, made FROM memo WHERE key = ?`)
	if err != nil {
		return nil
	}
	var e entry
	var made, cost int64
	if err := stmt.QueryRowContext(ctx, id[:]).Scan(&e.Kind, &e.digest, &cost, &made); err != nil {
		return nil
	}
	e.made, e.cost = time.UnixMilli(made), time.Duration(cost)
	if e.Body, err = m.cas.Get(e.digest); err != nil {
		if code := abi.CodeOf(err); code == abi.Corrupt || code == abi.NotFound {
			m.stats.corrupt.Add(1)
			m.log.WarnContext(ctx, "a cached answer is not what it was; it is made again", "digest", e.digest, "error", err)
			m.later(task{drop: &id})
		}
		return nil
	}
	return &e
}

// bound holds the disk to the policy: what is too old goes, then the oldest until the rest fits.
func (m *Memo) bound(ctx context.Context) {
	p := m.policy.Load()
	err := m.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`DELETE FROM memo WHERE made <= ?`, m.now().Add(-time.Duration(p.TTL)).UnixMilli()); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM memo WHERE key IN (SELECT key FROM (
			SELECT key, sum(size + 256) OVER (ORDER BY made DESC, key) AS upto FROM memo) WHERE upto > ?)`, int64(p.Disk))
		return err
	})
	if err != nil {
		m.log.Error("bound the cache", "error", err)
	}
}

// Keeps reports whether an answer lies in the blob of that digest, so that the store's sweep leaves it. When it cannot
// be read the blob is kept.
func (m *Memo) Keeps(digest string) bool {
	var one int
	err := m.db.Read().QueryRow(`SELECT 1 FROM memo WHERE digest = ? LIMIT 1`, digest).Scan(&one)
	return !errors.Is(err, sql.ErrNoRows)
}
