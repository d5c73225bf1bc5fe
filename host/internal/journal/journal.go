// Package journal keeps one promise: everything that happened stands in one order, is durable before anybody sees it,
// and cannot be changed afterwards without Verify naming the place.
//
// Events are only ever appended. Each carries a number (1, 2, 3, … without holes) and a hash over its content and the
// hash before it. Following the journal is the host's bus: there is no other channel through which one part of the host
// hears of another's doings. The format is specified in docs/spec/events.md.
package journal

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// Event is something that happened, as its author tells it. Kind is dot.case (see CheckKind). The other names may be
// empty; each is at most 256 bytes of UTF-8 without control characters. Body marshals to a JSON object of at most
// MaxBody bytes; nil is the empty object; json.RawMessage keeps its order and numbers as they are written.
type Event struct {
	Kind    string
	Corr    string // correlation id: what belongs to one undertaking
	Actor   string // who caused it
	Project string
	Pack    string // namespace/name
	Action  string // id of the action in whose course it happened
	Body    any
}

// Record is an event as the journal holds it. Records are shared between readers: treat Body as immutable.
type Record struct {
	ID      int64           `json:"id"`
	Time    time.Time       `json:"time"` // UTC, whole milliseconds; by the wall clock, which may step: order by ID
	Kind    string          `json:"kind"`
	Corr    string          `json:"corr_id,omitempty"`
	Actor   string          `json:"actor,omitempty"`
	Project string          `json:"project,omitempty"`
	Pack    string          `json:"pack,omitempty"`
	Action  string          `json:"action,omitempty"`
	Body    json.RawMessage `json:"body"`
	Salt    string          `json:"salt"` // 32 hex digits; with Body it gives the sum that Hash covers
	Prev    string          `json:"prev"` // the Hash of the record before
	Hash    string          `json:"hash"`
}

// MarshalJSON writes the time with exactly three digits of a second, as everywhere on the wire.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	return json.Marshal(struct {
		ID   int64  `json:"id"`
		Time string `json:"time"`
		plain
	}{r.ID, r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), plain(r)})
}

// Schema is the journal's part of the database.
var Schema = []string{`
CREATE TABLE event (
	id      INTEGER PRIMARY KEY,
	time_ms INTEGER NOT NULL,
	kind    TEXT NOT NULL,
	corr    TEXT NOT NULL,
	actor   TEXT NOT NULL,
	project TEXT NOT NULL,
	pack    TEXT NOT NULL,
	action  TEXT NOT NULL,
	salt    BLOB NOT NULL,
	prev    BLOB NOT NULL,
	hash    BLOB NOT NULL,
	body    TEXT NOT NULL
) STRICT;
CREATE INDEX event_corr ON event (corr) WHERE corr <> '';
CREATE TABLE event_head (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	id   INTEGER NOT NULL,
	hash BLOB NOT NULL
) STRICT;
INSERT INTO event_head VALUES (1, 0, zeroblob(32));`, `
CREATE TABLE event_checkpoint (
	seq     INTEGER PRIMARY KEY,
	id      INTEGER NOT NULL,
	hash    BLOB NOT NULL,
	time_ms INTEGER NOT NULL,
	prev    BLOB NOT NULL,
	key     BLOB NOT NULL,
	sig     BLOB NOT NULL,
	bytes   INTEGER NOT NULL
) STRICT;
CREATE TABLE event_anchor (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	seq     INTEGER NOT NULL,
	id      INTEGER NOT NULL,
	hash    BLOB NOT NULL,
	time_ms INTEGER NOT NULL,
	removed INTEGER NOT NULL,
	key     BLOB NOT NULL,
	sig     BLOB NOT NULL
) STRICT;
CREATE TABLE event_redacted (
	id  INTEGER PRIMARY KEY,
	sum BLOB NOT NULL
) STRICT;`}

// Option changes how Open makes a Journal.
type Option func(*Journal)

// Clock makes the journal ask now for the time; for tests.
func Clock(now func() time.Time) Option { return func(j *Journal) { j.now = now } }

// Cleaned makes the journal pass each body through clean before it is hashed and stored: what leaves the house through the
// journal has been there. clean gets and gives one JSON object, and may be called by many goroutines.
func Cleaned(clean func(kind string, body []byte) []byte) Option {
	return func(j *Journal) { j.clean = clean }
}

// Journal appends, reads and follows. All methods are safe for concurrent use. It has no Close: it lives and ends with
// its database.
type Journal struct {
	db    *db.DB
	key   ed25519.PrivateKey // nil: nothing is signed and nothing can be removed
	now   func() time.Time
	clean func(kind string, body []byte) []byte // nil: bodies are kept as they come

	// Owned by the database's writer goroutine: where the running transaction stands.
	tail    link
	mark    link
	pending []*Record
	marked  int  // len(pending) at the mark
	stale   bool // the last transaction failed: tail must be read from the table

	pub published
}

// link is one end of the chain.
type link struct {
	id    int64
	hash  [32]byte
	text  string // hash as a digest
	bytes int64  // of all bodies so far
}

// Open reads where the journal ends and begins to watch d. It fails with Corrupt when the last record is not the one
// that the head names: then a record was removed, and Verify says more.
func Open(ctx context.Context, d *db.DB, options ...Option) (*Journal, error) {
	j := &Journal{db: d, now: time.Now}
	for _, o := range options {
		o(j)
	}
	head, err := readHead(ctx, d.Read())
	if err != nil {
		return nil, d.Explain("open journal", err)
	}
	if j.tail, err = readTail(ctx, d.Read()); err != nil {
		return nil, d.Explain("open journal", err)
	}
	if head.id != j.tail.id || head.hash != j.tail.hash {
		return nil, abi.Errorf(abi.Corrupt, "open journal in %q: it ends at event %d, but the head names event %d", d.Path(), j.tail.id, head.id).
			WithHint("run `arw journal verify` and restore %q from a backup", d.Path())
	}
	anchor, _, err := readAnchor(ctx, d.Read())
	if err != nil {
		return nil, d.Explain("open journal", err)
	}
	j.pub.init(j.tail.id, anchor.ID)
	d.Watch(watcher{j})
	return j, nil
}

// Append journals the events in the order given, all or none, and returns them when they are durable. Errors: Invalid
// or TooLarge for an event that breaks the rules (nothing is written then); else those of db.Write.
func (j *Journal) Append(ctx context.Context, events ...Event) ([]Record, error) {
	entries, err := j.prepare(events)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	var records []Record
	// What could be wrong with the events has been found by now.
	err = j.db.WriteSure(ctx, func(tx *sql.Tx) error {
		records, err = j.append(tx, entries)
		return err
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// AppendTx journals the events as part of tx, which must be the transaction of a running db.Write: they become durable,
// and visible to followers, together with whatever else tx changes, or not at all. Return its error from the function:
// going on after it would keep a part of the events.
func (j *Journal) AppendTx(tx *sql.Tx, events ...Event) ([]Record, error) {
	entries, err := j.prepare(events)
	if err != nil {
		return nil, err
	}
	return j.append(tx, entries)
}

const insertEvent = `INSERT INTO event (id, time_ms, kind, corr, actor, project, pack, action, salt, prev, hash, body)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// append runs on the writer's goroutine: numbers and hashes are given out in the order of the transaction.
func (j *Journal) append(tx *sql.Tx, entries []entry) ([]Record, error) {
	if err := j.freshen(tx); err != nil {
		return nil, err
	}
	stmt, err := j.db.Stmt(tx, insertEvent)
	if err != nil {
		return nil, j.db.Explain("append to journal", err)
	}
	now := j.now().UTC().Truncate(time.Millisecond)
	records := make([]Record, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		next := e.chain(j.tail, now)
		if _, err := stmt.Exec(next.id, now.UnixMilli(), e.Kind, e.Corr, e.Actor, e.Project, e.Pack, e.Action,
			e.salt[:], j.tail.hash[:], next.hash[:], string(e.body)); err != nil {
			return nil, j.db.Explain("append to journal", err)
		}
		r := e.record(j.tail, next, now)
		j.pending = append(j.pending, &r)
		records = append(records, r)
		j.tail = next
	}
	return records, nil
}

// freshen reads where the journal ends again after a transaction that failed.
func (j *Journal) freshen(tx *sql.Tx) error {
	if !j.stale {
		return nil
	}
	tail, err := readTail(context.Background(), tx)
	if err != nil {
		return j.db.Explain("append to journal", err)
	}
	j.tail, j.mark, j.stale = tail, tail, false
	return nil
}

// watcher keeps the journal's memory in step with the disk.
type watcher struct{ j *Journal }

func (w watcher) Mark() { w.j.mark, w.j.marked = w.j.tail, len(w.j.pending) }

func (w watcher) Undo() {
	clear(w.j.pending[w.j.marked:])
	w.j.tail, w.j.pending = w.j.mark, w.j.pending[:w.j.marked]
}

func (w watcher) Seal(tx *sql.Tx) error {
	if len(w.j.pending) == 0 {
		return nil
	}
	stmt, err := w.j.db.Stmt(tx, "UPDATE event_head SET id = ?, hash = ?")
	if err == nil {
		_, err = stmt.Exec(w.j.tail.id, w.j.tail.hash[:])
	}
	return err
}

func (w watcher) Commit() {
	if len(w.j.pending) > 0 {
		w.j.pub.publish(w.j.pending)
		clear(w.j.pending)
		w.j.pending = w.j.pending[:0]
	}
}

func (w watcher) Abort() {
	clear(w.j.pending)
	w.j.pending, w.j.stale = w.j.pending[:0], true
}

func (w watcher) Closed() { w.j.pub.close() }
