package journal

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// Report says how far the chain holds.
type Report struct {
	OK    bool   `json:"ok"`
	Count int64  `json:"count"`            // records that were checked and are good
	Last  int64  `json:"last"`             // id of the last good one
	Head  string `json:"head"`             // its hash: note it down elsewhere to prove later that nothing was rewritten
	Bad   int64  `json:"bad_id,omitempty"` // first id that is not as it was written
	Why   string `json:"why,omitempty"`    // what is wrong with it
}

// Verify walks the whole chain from the first record to the end of the journal as it is now, while writing goes on. A
// chain that does not hold is *abi.Error Corrupt with the Report as its Detail, which is also returned; other errors
// mean that the journal could not be read to the end. Cost: one pass over the table, about a thousand records in memory.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	return verify(ctx, j.db)
}

// VerifyFile is Verify for the database file at path, whether or not a daemon is running on it. It changes nothing.
// Errors besides Verify's: NotFound, and Incompatible when the file holds no journal.
func VerifyFile(ctx context.Context, path string) (Report, error) {
	r, err := db.OpenReadOnly(ctx, path)
	if err != nil {
		return Report{}, err
	}
	defer r.Close()
	var tables int
	if err := r.Read().QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name IN ('event', 'event_head')").Scan(&tables); err != nil {
		return Report{}, r.Explain("verify journal", err)
	}
	if tables != 2 {
		return Report{}, abi.Errorf(abi.Incompatible, "verify journal in %q: the file holds no journal", path)
	}
	return verify(ctx, r)
}

// source is an open database, for writing or only for reading.
type source interface {
	Path() string
	Read() *sql.DB
	Explain(doing string, err error) error
}

func verify(ctx context.Context, src source) (Report, error) {
	// The head is read first: records appended while we walk lie behind it and are checked as far as we meet them.
	head, err := readHead(ctx, src.Read())
	if err != nil {
		return Report{}, src.Explain("verify journal", err)
	}
	at := genesis()
	rep := Report{Head: at.text}
	for more := true; more; {
		var why string
		at, why, more, err = verifyPage(ctx, src, at, head)
		rep.Count, rep.Last, rep.Head = at.id, at.id, at.text
		if err != nil && abi.CodeOf(src.Explain("", err)) == abi.Corrupt {
			why = "it cannot be read: " + err.Error()
		} else if err != nil {
			return rep, src.Explain("verify journal", err)
		}
		if why == "" && !more && at.id < head.id {
			why = "it is missing, and so is everything behind it"
		}
		if why != "" {
			return rep.bad(src, at.id+1, why)
		}
	}
	// A record and the head that names it are one transaction, so by now the head must know all we met.
	if head, err = readHead(ctx, src.Read()); err != nil {
		return rep, src.Explain("verify journal", err)
	}
	if head.id < at.id {
		return rep.bad(src, head.id+1, "the head of the journal does not know it")
	}
	rep.OK = true
	return rep, nil
}

// bad closes the report with the first id that is wrong.
func (rep Report) bad(src source, id int64, why string) (Report, error) {
	rep.Bad, rep.Why = id, why
	return rep, abi.Errorf(abi.Corrupt, "verify journal in %q: event %d: %s", src.Path(), id, why).WithDetail(rep).
		WithHint("events before %d are as they were written; keep a copy of the file and compare it with a backup", id)
}

// verifyPage checks the records behind at. It returns the last good one and, if the next one is bad, why.
func verifyPage(ctx context.Context, src source, at, head link) (_ link, why string, more bool, err error) {
	const pageSize = 1000
	after := at.id
	if after == 0 {
		after = math.MinInt64 // nothing may stand before the first event either
	}
	rows, err := src.Read().QueryContext(ctx, columns+" WHERE id > ? ORDER BY id LIMIT ?", after, pageSize)
	if err != nil {
		return at, "", false, err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var r stored
		if err := r.scan(rows); err != nil {
			return at, "", false, err
		}
		next, why := r.follows(at)
		if why == "" && next.id == head.id && next.hash != head.hash {
			why = "the head of the journal names another hash"
		}
		if why != "" {
			return at, why, false, nil
		}
		at = next
	}
	return at, "", n == pageSize, rows.Err()
}

// stored is a row, taken as bytes: after tampering it need not be a Record.
type stored struct {
	id, ms           int64
	e                entry
	salt, prev, hash []byte
}

func (s *stored) scan(rows *sql.Rows) error {
	var body sql.RawBytes
	err := rows.Scan(&s.id, &s.ms, &s.e.Kind, &s.e.Corr, &s.e.Actor, &s.e.Project, &s.e.Pack, &s.e.Action, &s.salt, &s.prev, &s.hash, &body)
	s.e.sum = bodySum(s.salt, body)
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
