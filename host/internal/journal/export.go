package journal

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
)

// exportVersion is the version of the form of an export.
const exportVersion = 1

// line is one line of an export: exactly one member is set.
type line struct {
	Begin      *begin      `json:"begin,omitempty"`
	Event      *exported   `json:"event,omitempty"`
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
	End        *ending     `json:"end,omitempty"`
}

type begin struct {
	Journal int     `json:"journal"` // version of the form
	Anchor  *Anchor `json:"anchor,omitempty"`
}

type ending struct {
	ID   int64  `json:"id"`
	Hash string `json:"hash"`
}

// exported is a record with what a verifier needs beside it.
type exported struct {
	Record
	Was string `json:"redacted,omitempty"` // the salted sum that the hash covers, where a part of the body was taken out
}

// MarshalJSON adds to the record's own form.
func (e exported) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(e.Record)
	if err != nil || e.Was == "" {
		return b, err
	}
	was, err := json.Marshal(e.Was)
	return append(append(append(b[:len(b)-1], `,"redacted":`...), was...), '}'), err
}

// Export writes everything that is kept as lines of JSON that VerifyExport can check: the beginning, then records and
// checkpoints in order, then the end. What a running host adds meanwhile is not part of it. Cost: one pass, a page in memory.
func (f *File) Export(ctx context.Context, out io.Writer) (Report, error) {
	s, err := readStart(ctx, f.db)
	if err != nil {
		return Report{}, f.db.Explain("export journal", err)
	}
	w := bufio.NewWriterSize(out, 1<<16)
	enc := json.NewEncoder(w)
	e := &exporter{f: f, enc: enc, points: s.points, rep: Report{Pruned: s.anchorID(), Last: s.anchorID()}}
	err = enc.Encode(line{Begin: &begin{exportVersion, s.anchor}})
	for err == nil && e.rep.Last < s.head.id {
		err = e.page(ctx, s.head.id)
	}
	if err == nil {
		err = e.reached() // an empty journal may have a checkpoint too
	}
	if err == nil {
		e.rep.Head = digest(s.head.hash[:])
		err = enc.Encode(line{End: &ending{s.head.id, e.rep.Head}})
	}
	if err == nil {
		err = w.Flush()
	}
	e.rep.OK = err == nil
	return e.rep, f.db.Explain("export journal", err)
}

type exporter struct {
	f      *File
	enc    *json.Encoder
	points []Checkpoint
	rep    Report
}

func (e *exporter) page(ctx context.Context, last int64) error {
	rows, err := e.f.db.Read().QueryContext(ctx, storedColumns+" WHERE event.id > ? AND event.id <= ? ORDER BY event.id LIMIT 1000", e.rep.Last, last)
	if err != nil {
		return err
	}
	defer rows.Close()
	before := e.rep.Last
	for rows.Next() {
		if err := e.reached(); err != nil {
			return err
		}
		r, was, err := scanExported(rows)
		if err != nil {
			return err
		}
		out := exported{Record: *r}
		if was != nil {
			out.Was = digest(was)
			e.rep.Redacted++
		}
		if err := e.enc.Encode(line{Event: &out}); err != nil {
			return err
		}
		e.rep.Last = r.ID
		e.rep.Count++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if now, _, err := readAnchor(ctx, e.f.db.Read()); err == nil && now.ID > before {
		return abi.Errorf(abi.Conflict, "export journal: event %d was removed by the host meanwhile", before+1).WithHint("export again")
	}
	if e.rep.Last == before {
		return abi.Errorf(abi.Corrupt, "export journal: event %d is missing", before+1).WithHint("run `arw journal verify`")
	}
	return e.reached()
}

// reached writes the checkpoints of records that are written.
func (e *exporter) reached() error {
	for len(e.points) > 0 && e.points[0].ID <= e.rep.Last {
		if err := e.enc.Encode(line{Checkpoint: &e.points[0]}); err != nil {
			return err
		}
		e.rep.Checkpoints++
		e.rep.Signed = e.points[0].ID
		e.points = e.points[1:]
	}
	return nil
}

func scanExported(rows *sql.Rows) (*Record, []byte, error) {
	var was []byte
	r, err := scan(withMore{rows, &was})
	return r, was, err
}

// withMore scans one column more than it is asked for.
type withMore struct {
	rows *sql.Rows
	into *[]byte
}

func (w withMore) Scan(into ...any) error { return w.rows.Scan(append(into, w.into)...) }

// maxLine bounds a line of an export: a body and its names, every byte escaped.
const maxLine = 8 << 20

// VerifyExport checks an export as VerifyFile checks a database. of names it in errors. Errors besides: Invalid for a
// line that is not of the form, with its number.
func VerifyExport(ctx context.Context, of string, in io.Reader, keys Keys) (Report, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	v := &exportWalk{of: of, keys: keys}
	for n := 1; lines.Scan(); n++ {
		var l line
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			return v.report(), abi.Errorf(abi.Invalid, "verify export %q: line %d: %w", of, n, err)
		}
		if done, err := v.take(&l, n); done || err != nil {
			return v.report(), err
		}
		if err := ctx.Err(); err != nil {
			return v.report(), err
		}
	}
	if err := lines.Err(); err != nil {
		return v.report(), abi.Errorf(abi.Invalid, "verify export %q: %w", of, err)
	}
	return v.report(), abi.Errorf(abi.Corrupt, "verify export %q: it breaks off: the line that ends it is missing", of).WithDetail(v.report()).WithHint("export it again")
}

// exportWalk is a walk over the lines of an export.
type exportWalk struct {
	of     string
	keys   Keys
	anchor *begin
	w      *walk
}

func (v *exportWalk) report() Report {
	if v.w == nil {
		return Report{}
	}
	return v.w.rep
}

// take checks one line; done says that it was the last one.
func (v *exportWalk) take(l *line, n int) (done bool, err error) {
	switch {
	case v.anchor == nil:
		if l.Begin == nil || l.Begin.Journal != exportVersion {
			return true, abi.Errorf(abi.Invalid, "verify export %q: line %d does not begin an export of version %d", v.of, n, exportVersion)
		}
		v.anchor = l.Begin
		return false, nil
	case v.w == nil:
		return v.first(l)
	case l.Event != nil:
		return v.event(l.Event)
	case l.Checkpoint != nil:
		return v.point(l.Checkpoint)
	case l.End != nil:
		return true, v.end(l.End)
	}
	return true, abi.Errorf(abi.Invalid, "verify export %q: line %d is none of event, checkpoint and end", v.of, n)
}

// first begins the walk, for which the first checkpoint behind an anchor is needed.
func (v *exportWalk) first(l *line) (bool, error) {
	if len(v.keys) == 0 && (v.anchor.Anchor != nil || l.Checkpoint != nil) {
		return true, noKey(v.of)
	}
	var why string
	if v.w, why = newWalk(v.keys, v.anchor.Anchor, l.Checkpoint); why != "" {
		_, err := v.w.badPoint(v.of, 0, why)
		return true, err
	}
	return v.take(l, 2)
}

func noKey(of string) error {
	return abi.Errorf(abi.NotFound, "verify export %q: it has signed checkpoints, and no key to check them with was found", of).
		WithHint("name the file of public keys with --key; a host keeps its own in %s", PublicFile)
}

func (v *exportWalk) event(e *exported) (bool, error) {
	r, err := e.stored()
	why := ""
	if err != nil {
		why = err.Error()
	} else {
		why = v.w.next(r)
	}
	if why != "" {
		_, err := v.w.bad(v.of, v.w.at.id+1, why)
		return true, err
	}
	return false, nil
}

func (v *exportWalk) point(c *Checkpoint) (bool, error) {
	if len(v.keys) == 0 {
		return true, noKey(v.of)
	}
	if c.ID > v.w.at.id {
		_, err := v.w.bad(v.of, v.w.at.id+1, fmt.Sprintf("it is missing, but checkpoint %d was signed when event %d was there", c.Seq, c.ID))
		return true, err
	}
	if c.ID != v.w.at.id {
		_, err := v.w.badPoint(v.of, c.Seq, "it does not stand behind the record it vouches for")
		return true, err
	}
	if why, id := v.w.reach(c); why != "" && id > 0 {
		_, err := v.w.bad(v.of, id, why)
		return true, err
	} else if why != "" {
		_, err := v.w.badPoint(v.of, c.Seq, why)
		return true, err
	}
	return false, nil
}

func (v *exportWalk) end(e *ending) error {
	if e.ID != v.w.at.id || e.Hash != v.w.at.text {
		_, err := v.w.bad(v.of, v.w.at.id+1, "it is missing, or the end of the export names another")
		return err
	}
	if why, id := v.w.end(); why != "" {
		_, err := v.w.bad(v.of, id, why)
		return err
	}
	if len(v.keys) > 0 && v.w.rep.Checkpoints == 0 && e.ID > 0 {
		_, err := v.w.badPoint(v.of, 1, "every checkpoint is missing, though there is a key that signed some")
		return err
	}
	v.w.rep.OK = true
	return nil
}

// stored is an exported record as the walk takes it.
func (e *exported) stored() (*stored, error) {
	r := &e.Record
	s := &stored{id: r.ID, ms: r.Time.UnixMilli(), body: r.Body}
	s.e.Event = Event{Kind: r.Kind, Corr: r.Corr, Actor: r.Actor, Project: r.Project, Pack: r.Pack, Action: r.Action}
	var err, more error
	if s.salt, err = hex.DecodeString(r.Salt); err != nil {
		return nil, errors.New("its salt is not hexadecimal")
	}
	s.prev, err = undigest(r.Prev)
	s.hash, more = undigest(r.Hash)
	if err = errors.Join(err, more); err == nil && e.Was != "" {
		s.was, err = undigest(e.Was)
	}
	s.e.sum = bodySum(s.salt, r.Body)
	return s, err
}
