package journal

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// Filter chooses records; the zero Filter chooses all. A record must satisfy every part that is set. Prefixes is
// satisfied by any one of them: "packs" and "packs." both choose the kinds below packs, the former also the kind "packs"
// itself; neither chooses "packsaddle.x".
type Filter struct {
	Prefixes []string
	Corr     string
	Pack     string
	Action   string
	Actor    string
	Project  string    // "default" chooses what names none, the host's own events among it
	Since    time.Time // at or after; by the wall clock, as Record.Time is
	Until    time.Time // before
}

// defaultProject names what belongs to no other project.
const defaultProject = "default"

func (f *Filter) all() bool {
	return len(f.Prefixes) == 0 && f.Corr == "" && f.Pack == "" && f.Action == "" &&
		f.Actor == "" && f.Project == "" && f.Since.IsZero() && f.Until.IsZero()
}

// Match reports whether r is chosen.
func (f *Filter) Match(r *Record) bool {
	return (f.Corr == "" || f.Corr == r.Corr) && (f.Pack == "" || f.Pack == r.Pack) && (f.Action == "" || f.Action == r.Action) &&
		(f.Actor == "" || f.Actor == r.Actor) && (f.Project == "" || f.Project == r.Project || f.Project == defaultProject && r.Project == "") &&
		(f.Since.IsZero() || !r.Time.Before(f.Since)) && (f.Until.IsZero() || r.Time.Before(f.Until)) &&
		(len(f.Prefixes) == 0 || slices.ContainsFunc(f.Prefixes, func(p string) bool { return below(r.Kind, p) }))
}

func below(kind, prefix string) bool {
	if strings.HasSuffix(prefix, ".") || prefix == "" {
		return strings.HasPrefix(kind, prefix)
	}
	rest, ok := strings.CutPrefix(kind, prefix)
	return ok && (rest == "" || rest[0] == '.')
}

// Limits of one page, so that a reader's memory is bounded however far behind it is.
const (
	maxPage   = 1000
	pageBytes = 4 << 20
	// scanIDs bounds how many records one query looks at when a filter rejects most of them.
	scanIDs = 20_000
)

// Read returns records behind the id after, in order: at most limit (0 means 1,000, which is the most) and about 4 MiB.
// Fewer than limit is not the end; none is. It reads what is durable and never waits. Records that were removed (see
// Floor) are passed over. Where the disk does not give a record, Read gives those before it; asked for what comes next, it
// fails with Corrupt: Follow goes around the place.
func (j *Journal) Read(ctx context.Context, after int64, limit int, f Filter) ([]Record, error) {
	return readPages(ctx, j.db, max(after, j.Floor()), j.Last(), limit, &f)
}

// readPages reads on until something is found or everything was looked at.
func readPages(ctx context.Context, src source, cursor, last int64, limit int, f *Filter) ([]Record, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	for cursor < last {
		page, next, err := readPage(ctx, src, cursor, last, limit, pageBytes, f)
		if err != nil {
			return nil, err
		}
		if len(page) > 0 {
			records := make([]Record, len(page))
			for i, r := range page {
				records[i] = *r
			}
			return records, nil
		}
		cursor = next
	}
	return nil, nil
}

// Last is the number of the newest durable record, 0 when there is none.
func (j *Journal) Last() int64 { return j.pub.lastID() }

func (j *Journal) page(ctx context.Context, cursor, last int64, limit, maxBytes int, f *Filter) (page []*Record, next int64, err error) {
	return readPage(ctx, j.db, cursor, last, limit, maxBytes, f)
}

// readPage reads chosen records with cursor < id ≤ last from the table. next is how far it looked.
func readPage(ctx context.Context, src source, cursor, last int64, limit, maxBytes int, f *Filter) (page []*Record, next int64, err error) {
	until := last
	if !f.all() && f.Corr == "" { // a correlation id has an index; the rest is scanned
		until = min(last, cursor+scanIDs)
	}
	rows, err := query(ctx, src, f, cursor, until, limit)
	if err != nil {
		return nil, cursor, src.Explain("read journal", err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, cursor, src.Explain("read journal", err)
		}
		page = append(page, r)
		if size += len(r.Body); size > maxBytes || len(page) == limit {
			return page, r.ID, nil
		}
	}
	if err := rows.Err(); err != nil {
		if len(page) > 0 { // the next page begins with what is wrong
			return page, page[len(page)-1].ID, nil
		}
		return nil, cursor, src.Explain("read journal", err)
	}
	return page, until, nil
}

const columns = "SELECT id, time_ms, kind, corr, actor, project, pack, action, salt, prev, hash, body FROM event"

func query(ctx context.Context, src source, f *Filter, cursor, until int64, limit int) (*sql.Rows, error) {
	text, args := f.query(cursor, until, limit)
	// The texts of filters are as many as there are callers' wishes: not kept.
	if kept, ok := src.(*db.DB); ok && f.all() {
		stmt, err := kept.ReadStmt(ctx, text)
		if err != nil {
			return nil, err
		}
		return stmt.QueryContext(ctx, args...)
	}
	return src.Read().QueryContext(ctx, text, args...)
}

func (f *Filter) query(cursor, until int64, limit int) (string, []any) {
	var q strings.Builder
	q.WriteString(columns + " WHERE id > ? AND id <= ?")
	args := []any{cursor, until}
	for _, part := range [...]struct{ column, value string }{{"corr", f.Corr}, {"pack", f.Pack}, {"action", f.Action}, {"actor", f.Actor}, {"project", f.Project}} {
		if part.column == "project" && part.value == defaultProject {
			q.WriteString(" AND project IN ('', 'default')")
		} else if part.value != "" {
			q.WriteString(" AND " + part.column + " = ?")
			args = append(args, part.value)
		}
	}
	// The column has whole milliseconds: the first one not before a time is that time rounded up.
	if !f.Since.IsZero() {
		q.WriteString(" AND time_ms >= ?")
		args = append(args, ceilMilli(f.Since))
	}
	if !f.Until.IsZero() {
		q.WriteString(" AND time_ms < ?")
		args = append(args, ceilMilli(f.Until))
	}
	if f.Corr != "" {
		q.WriteString(" AND corr <> ''") // lets SQLite use the partial index
	}
	for i, p := range f.Prefixes {
		q.WriteString([]string{" AND (", " OR "}[min(i, 1)])
		// Kinds are ASCII and '/' follows '.', so this range is exactly what lies below the prefix.
		stem := strings.TrimSuffix(p, ".")
		switch {
		case p == "":
			q.WriteString("TRUE")
		case stem == p:
			q.WriteString("kind = ? OR (kind >= ? AND kind < ?)")
			args = append(args, stem, stem+".", stem+"/")
		default:
			q.WriteString("(kind >= ? AND kind < ?)")
			args = append(args, stem+".", stem+"/")
		}
	}
	if len(f.Prefixes) > 0 {
		q.WriteString(")")
	}
	q.WriteString(" ORDER BY id LIMIT ?")
	return q.String(), append(args, limit)
}

func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}

func scan(rows scanner) (*Record, error) {
	var r Record
	var ms int64
	var salt, prev, hash, body sql.RawBytes
	if err := rows.Scan(&r.ID, &ms, &r.Kind, &r.Corr, &r.Actor, &r.Project, &r.Pack, &r.Action, &salt, &prev, &hash, &body); err != nil {
		return nil, err
	}
	r.Time = time.UnixMilli(ms).UTC()
	r.Salt, r.Prev, r.Hash = hex.EncodeToString(salt), digest(prev), digest(hash)
	r.Body = append([]byte(nil), body...)
	return &r, nil
}

// queryer is what a pool and a transaction have in common.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// reader is a queryer that also reads many rows.
type reader interface {
	queryer
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// genesis stands before the first record.
func genesis() link { return link{text: digest(make([]byte, 32))} }

// readTail is the last record; where all were removed, what the anchor says of it.
func readTail(ctx context.Context, q queryer) (link, error) {
	tail, err := readLink(ctx, q, "SELECT id, hash FROM event ORDER BY id DESC LIMIT 1")
	if errors.Is(err, sql.ErrNoRows) {
		if tail, err = readLink(ctx, q, "SELECT id, hash FROM event_anchor"); errors.Is(err, sql.ErrNoRows) {
			return genesis(), nil
		}
	}
	if err != nil {
		return tail, err
	}
	// The newest checkpoint knows the bytes up to it, so that the table need not be read.
	newest, _, err := newestCheckpoint(ctx, q)
	// The count only steers retention: a page among them that cannot be read must not keep the host from starting.
	if q.QueryRowContext(ctx, "SELECT coalesce(sum(octet_length(body)), 0) FROM event WHERE id > ?", newest.ID).Scan(&tail.bytes) != nil {
		tail.bytes = 0
	}
	tail.bytes += newest.Bytes
	return tail, err
}

func readHead(ctx context.Context, q queryer) (link, error) {
	head, err := readLink(ctx, q, "SELECT id, hash FROM event_head")
	if errors.Is(err, sql.ErrNoRows) {
		return head, abi.Errorf(abi.Corrupt, "read the head of the journal: it is missing").WithHint("restore the database from a backup")
	}
	return head, err
}

func readLink(ctx context.Context, q queryer, query string) (link, error) {
	l := genesis()
	var hash []byte
	err := q.QueryRowContext(ctx, query).Scan(&l.id, &hash)
	if err == nil && copy(l.hash[:], hash) != len(l.hash) {
		err = errors.New("a stored hash is shorter than 32 bytes")
	}
	l.text = digest(l.hash[:])
	return l, err
}

// FirstOf is the first record kept of a correlation id, 0 when there is none. Cost: one look into an index.
func (j *Journal) FirstOf(ctx context.Context, corr string) (int64, error) {
	var id int64
	err := j.db.Read().QueryRowContext(ctx, "SELECT coalesce(min(id), 0) FROM event WHERE corr = ? AND corr <> '' AND id > ?", corr, j.Floor()).Scan(&id)
	return id, j.db.Explain("read journal", err)
}
