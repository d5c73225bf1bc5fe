// Package view keeps one promise: what a reader of a document sees is what following its patches would have given it,
// version by version.
//
// A document (read model) is a JSON value with a name and a version that counts its changes. A change, the event that
// carries its patch (kind state.read.model.patch, RFC 6902) and whatever else the caller writes are one transaction.
// Patches are made where the change is made, from what was changed, never by comparing whole documents of our own; only
// a document that arrives as a whole (Put) is compared with the one before.
package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// EventKind is the kind of the events that carry patches: {"id", "version", "patch"}. version is the one the patch leads
// to; it applies to version-1, where version 0 is no document at all. A removed document has "deleted": true and a
// patch that sets it to null.
const EventKind = "state.read.model.patch"

// Limits of a document.
const (
	MaxDoc = 1_000_000 // bytes as JSON text: a patch that replaces it must fit into one event
	MaxID  = 200       // bytes of its name
)

// Schema is view's part of the database. The text of a document is written only now and then; the patches since are
// beside it. A removed document keeps its row, with no text, for the sake of its version.
var Schema = []string{`
CREATE TABLE view (
	id      TEXT PRIMARY KEY,
	version INTEGER NOT NULL,
	body    TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE view_patch (
	view    TEXT NOT NULL REFERENCES view (id) ON DELETE CASCADE,
	version INTEGER NOT NULL,
	patch   TEXT NOT NULL,
	PRIMARY KEY (view, version)
) STRICT, WITHOUT ROWID;`}

// Head says which version of a document there is. ETag is a strong validator (RFC 9110, 8.8.3), quotes included.
type Head struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	ETag    string `json:"etag"`
}

// Doc is one version of a document. Body is shared between readers: treat it as immutable.
type Doc struct {
	Head
	Body json.RawMessage `json:"body"`
}

// ETag is the validator of a version of a document.
func ETag(id string, version int64) string {
	return `"state-` + id + `-v` + strconv.FormatInt(version, 10) + `"`
}

// View holds all documents. Those that were used since Open stay in memory. All methods are safe for concurrent use; it
// has no Close, it lives and ends with its database.
type View struct {
	db      *db.DB
	journal *journal.Journal
	clean   func([]byte) []byte // see Cleaned; nil: values are kept as they come

	mu    sync.RWMutex
	docs  map[string]*state // as committed
	lives map[string]*Live
	told  atomic.Int64 // the last record that every projection has seen

	// Owned by the database's writer goroutine.
	pending map[string]*state // as changed by the running transaction
	undo    []change          // what to put back, newest last
	marked  int
}

// state is one version of a document and never changes.
type state struct {
	id      string
	version int64
	root    *node // nil: there is no document (any more)
	behind  int   // bytes of patches since the text was written

	once sync.Once
	text []byte
}

// Option changes how Open makes a View.
type Option func(*View)

// Cleaned makes every value that enters a document pass through clean, and each name on its path that is long enough to hold
// anything. clean gets and gives one JSON value; what it gave once it gives back unchanged.
func Cleaned(clean func(value []byte) []byte) Option { return func(v *View) { v.clean = clean } }

// Open watches d, which must be the database that j writes to.
func Open(d *db.DB, j *journal.Journal, options ...Option) *View {
	v := &View{db: d, journal: j, docs: map[string]*state{}, lives: map[string]*Live{}, pending: map[string]*state{}}
	for _, o := range options {
		o(v)
	}
	d.Watch(watcher{v})
	return v
}

// Get gives the newest durable version of a document. It never waits for a writer. Errors: NotFound, those of reading
// the database.
func (v *View) Get(ctx context.Context, id string) (Doc, error) {
	s, err := v.committed(ctx, id)
	if err != nil {
		return Doc{}, v.db.Explain(`read document "`+id+`"`, err)
	}
	if s.root == nil {
		return Doc{}, abi.Errorf(abi.NotFound, "read document %q: there is none of that name", id)
	}
	s.once.Do(func() { s.text = s.root.appendTo(make([]byte, 0, s.root.size)) })
	return Doc{Head: s.head(), Body: s.text}, nil
}

func (s *state) head() Head { return Head{s.id, s.version, ETag(s.id, s.version)} }

// List names the documents whose ids begin with prefix, in order of their ids.
func (v *View) List(ctx context.Context, prefix string) ([]Head, error) {
	rows, err := v.db.Read().QueryContext(ctx, "SELECT id, version FROM view WHERE substr(id, 1, length(?1)) = ?1 AND body IS NOT NULL ORDER BY id", prefix)
	if err != nil {
		return nil, v.db.Explain("list documents", err)
	}
	defer rows.Close()
	var heads []Head
	for rows.Next() {
		var h Head
		if err := rows.Scan(&h.ID, &h.Version); err != nil {
			return nil, v.db.Explain("list documents", err)
		}
		h.ETag = ETag(h.ID, h.Version)
		heads = append(heads, h)
	}
	return heads, v.db.Explain("list documents", rows.Err())
}

// committed is the document as it is in the database, from memory when it was used before.
func (v *View) committed(ctx context.Context, id string) (*state, error) {
	v.mu.RLock()
	s := v.docs[id]
	v.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	// One snapshot for both tables.
	tx, err := v.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	if s, err = load(ctx, tx, id); err != nil || s.version == 0 {
		return s, err // the absence of a document is not kept: the number of names nobody uses is unbounded
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := v.docs[id]; now != nil && now.version >= s.version { // a writer was faster
		return now, nil
	}
	v.docs[id] = s
	return s, nil
}

// load reads a document: its last text and the patches since.
func load(ctx context.Context, tx *sql.Tx, id string) (*state, error) {
	s := &state{id: id}
	var body sql.NullString
	err := tx.QueryRowContext(ctx, "SELECT version, body FROM view WHERE id = ?", id).Scan(&s.version, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err == nil && body.Valid {
		s.root, err = parse([]byte(body.String))
	}
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT patch FROM view_patch WHERE view = ? ORDER BY version", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var patch []byte
		if err := rows.Scan(&patch); err != nil {
			return nil, err
		}
		if s.root, err = apply(s.root, patch); err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read document %q: a stored patch does not apply: %w", id, err)
		}
		s.behind += len(patch)
	}
	return s, rows.Err()
}
