package journal

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// Verify walks the whole chain from the first kept record to the end of the journal as it is now, while writing goes on,
// and checks the checkpoints with the journal's own key. A chain that does not hold is *abi.Error Corrupt with the Report
// as its Detail, which is also returned; other errors mean that the journal could not be read to the end. Cost: one pass
// over the table, about a thousand records in memory.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	keys, err := ReadKeys(filepath.Join(filepath.Dir(j.db.Path()), PublicFile))
	if j.key == nil && abi.CodeOf(err) == abi.NotFound {
		keys, err = nil, nil
	}
	if err != nil {
		return Report{}, err
	}
	return verify(ctx, j.db, keys)
}

// VerifyFile is Verify for the database file at path, whether or not a daemon is running on it, with the keys that are
// believed. It changes nothing. With keys there must be checkpoints; without any, a journal that has checkpoints is
// refused with NotFound, for nobody could tell whose they are. Errors besides Verify's: NotFound, and Incompatible when
// the file holds no journal.
func VerifyFile(ctx context.Context, path string, keys Keys) (Report, error) {
	r, err := openFile(ctx, "verify journal", path)
	if err != nil {
		return Report{}, err
	}
	defer r.Close()
	return verify(ctx, r, keys)
}

// openFile opens the database at path if there is a journal in it.
func openFile(ctx context.Context, doing, path string) (*db.ReadOnly, error) {
	r, err := db.OpenReadOnly(ctx, path)
	if err != nil {
		return nil, err
	}
	var tables int
	err = r.Read().QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name IN ('event', 'event_head', 'event_checkpoint')").Scan(&tables)
	switch {
	case err != nil:
		err = r.Explain(doing, err)
	case tables == 2:
		err = abi.Errorf(abi.Incompatible, "%s in %q: it was last used by an older host", doing, path).WithHint("start this host on it once, or use the program of that version")
	case tables != 3:
		err = abi.Errorf(abi.Incompatible, "%s in %q: the file holds no journal", doing, path)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// source is an open database, for writing or only for reading.
type source interface {
	Path() string
	Read() *sql.DB
	Explain(doing string, err error) error
}

// verify tries again when a part of the chain was removed, lawfully, while it was being walked.
func verify(ctx context.Context, src source, keys Keys) (Report, error) {
	for {
		start, err := readStart(ctx, src)
		if err != nil {
			return Report{}, src.Explain("verify journal", err)
		}
		rep, err := verifyFrom(ctx, src, keys, start)
		if err == nil || ctx.Err() != nil {
			return rep, err
		}
		if now, _, again := readAnchor(ctx, src.Read()); again != nil || now.ID == start.anchorID() {
			return rep, err
		}
	}
}

// start is what a walk must know before its first record, of one moment.
type start struct {
	head   link
	anchor *Anchor
	points []Checkpoint
}

func (s *start) anchorID() int64 {
	if s.anchor == nil {
		return 0
	}
	return s.anchor.ID
}

func readStart(ctx context.Context, src source) (*start, error) {
	return snapshot(ctx, src, func(tx *sql.Tx, s *start) (err error) {
		s.points, err = readCheckpoints(ctx, tx)
		return err
	})
}

// readEnds is readStart without the checkpoints.
func readEnds(ctx context.Context, src source) (*start, error) {
	return snapshot(ctx, src, func(*sql.Tx, *start) error { return nil })
}

func snapshot(ctx context.Context, src source, more func(*sql.Tx, *start) error) (*start, error) {
	tx, err := src.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	s := &start{}
	if s.head, err = readHead(ctx, tx); err != nil {
		return nil, err
	}
	anchor, found, err := readAnchor(ctx, tx)
	if err != nil {
		return nil, err
	}
	if found {
		s.anchor = &anchor
	}
	return s, more(tx, s)
}

func verifyFrom(ctx context.Context, src source, keys Keys, s *start) (Report, error) {
	if len(keys) == 0 && (len(s.points) > 0 || s.anchor != nil) {
		return Report{}, abi.Errorf(abi.NotFound, "verify journal in %q: it has %d signed checkpoints, and no key to check them with was found", src.Path(), len(s.points)).
			WithHint("name the file of public keys with --key; a host keeps its own in %s", PublicFile)
	}
	var first *Checkpoint
	if len(s.points) > 0 {
		first = &s.points[0]
	}
	w, why := newWalk(keys, s.anchor, first)
	if why != "" {
		return w.badPoint(src.Path(), 0, why)
	}
	if len(keys) > 0 && first == nil && s.head.id > 0 {
		return w.badPoint(src.Path(), 1, "every checkpoint is missing, though there is a key that signed some")
	}
	f := &fileWalk{walk: w, src: src, points: s.points, head: s.head}
	return f.run(ctx)
}

// fileWalk is a walk over the table.
type fileWalk struct {
	*walk
	src    source
	points []Checkpoint // not reached yet
	head   link
}

func (f *fileWalk) run(ctx context.Context) (Report, error) {
	for more := true; more; {
		var found fault
		var err error
		found, more, err = f.page(ctx)
		if err != nil && abi.CodeOf(f.src.Explain("", err)) == abi.Corrupt {
			found = fault{id: f.at.id + 1, why: "it cannot be read: " + err.Error()}
		} else if err != nil {
			return f.rep, f.src.Explain("verify journal", err)
		}
		if found.why == "" && !more && f.at.id < f.head.id {
			found = fault{id: f.at.id + 1, why: "it is missing, and so is everything behind it"}
		}
		if found.why == "" && !more && len(f.points) > 0 {
			found = fault{id: f.at.id + 1, why: fmt.Sprintf("it is missing, but checkpoint %d was signed when event %d was there", f.points[0].Seq, f.points[0].ID)}
		}
		if found.why != "" {
			return found.close(f)
		}
	}
	if why, id := f.end(); why != "" {
		return f.bad(f.src.Path(), id, why)
	}
	// A record and the head that names it are one transaction, so by now the head must know all we met.
	head, err := readHead(ctx, f.src.Read())
	if err != nil {
		return f.rep, f.src.Explain("verify journal", err)
	}
	if head.id < f.at.id {
		return f.bad(f.src.Path(), head.id+1, "the head of the journal does not know it")
	}
	f.rep.OK = true
	return f.rep, nil
}

// fault is the first thing found wrong: a record, or a checkpoint where id is 0.
type fault struct {
	id, seq int64
	why     string
}

func (x fault) close(f *fileWalk) (Report, error) {
	if x.id == 0 {
		return f.badPoint(f.src.Path(), x.seq, x.why)
	}
	return f.bad(f.src.Path(), x.id, x.why)
}

// reached checks the checkpoints of the record the walk stands at.
func (f *fileWalk) reached() fault {
	for len(f.points) > 0 && f.points[0].ID <= f.at.id {
		c := &f.points[0]
		if c.ID < f.at.id {
			return fault{seq: c.Seq, why: fmt.Sprintf("it vouches for event %d, which stands before those of the checkpoint before it", c.ID)}
		}
		if why, id := f.reach(c); why != "" {
			return fault{id: id, seq: c.Seq, why: why}
		}
		f.points = f.points[1:]
	}
	return fault{}
}

// page checks the records behind at.
func (f *fileWalk) page(ctx context.Context) (found fault, more bool, err error) {
	if found := f.reached(); found.why != "" {
		return found, false, nil
	}
	const pageSize = 1000
	after := f.at.id
	if after == 0 {
		after = math.MinInt64 // nothing may stand before the first event either
	}
	rows, err := f.src.Read().QueryContext(ctx, storedColumns+" WHERE event.id > ? ORDER BY event.id LIMIT ?", after, pageSize)
	if err != nil {
		return fault{}, false, err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var r stored
		if err := r.scan(rows); err != nil {
			return fault{}, false, err
		}
		why := f.next(&r)
		if why != "" {
			return fault{id: f.at.id + 1, why: why}, false, nil
		}
		if f.at.id == f.head.id && f.at.hash != f.head.hash {
			return fault{id: f.at.id, why: "the head of the journal names another hash"}, false, nil
		}
		if found := f.reached(); found.why != "" {
			return found, false, nil
		}
	}
	return fault{}, n == pageSize, rows.Err()
}

// storedColumns are those of a row and what is kept of its redaction.
const storedColumns = `SELECT event.id, time_ms, kind, corr, actor, project, pack, action, salt, prev, hash, body, event_redacted.sum
	FROM event LEFT JOIN event_redacted ON event_redacted.id = event.id`

// stored is a row, taken as bytes: after tampering it need not be a Record.
type stored struct {
	id, ms           int64
	e                entry
	salt, prev, hash []byte
	body             []byte
	was              []byte // the sum that the hash covers, where the body is another now
}

func (s *stored) scan(rows *sql.Rows) error {
	var body sql.RawBytes
	err := rows.Scan(&s.id, &s.ms, &s.e.Kind, &s.e.Corr, &s.e.Actor, &s.e.Project, &s.e.Pack, &s.e.Action, &s.salt, &s.prev, &s.hash, &body, &s.was)
	s.e.sum = bodySum(s.salt, body)
	if s.e.Kind == RedactedKind {
		s.body = bytes.Clone(body)
	}
	return err
}

// follows checks one row against the link before it.
func (s *stored) follows(at link) (next link, why string) {
	switch {
	case s.id <= at.id:
		return at, fmt.Sprintf("an event numbered %d stands before it", s.id)
	case s.id != at.id+1:
		return at, "it is missing"
	}
	if !bytes.Equal(s.prev, at.hash[:]) {
		return at, "it does not continue the event before it"
	}
	next = s.e.chain(at, time.UnixMilli(s.ms))
	if !bytes.Equal(s.hash, next.hash[:]) {
		return at, "its content is not what its hash was made from"
	}
	return next, ""
}
