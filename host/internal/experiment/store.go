package experiment

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/manifests"
)

// Schema is the table of runs, for db.Open.
var Schema = []string{`
CREATE TABLE experiment (
	run        INTEGER PRIMARY KEY,
	id         TEXT NOT NULL,
	status     TEXT NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
	summary    TEXT NOT NULL CHECK (json_valid(summary)),
	report     TEXT NOT NULL DEFAULT '',
	csv        TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX experiment_id ON experiment (id, run);`}

// View is the read model: {items: {RUN: Summary}}, the newest of them.
const View = "experiments"

// shown is how many runs the read model has.
const shown = 100

// Statuses of a run.
const (
	Running   = "running"
	Completed = "completed"
	Failed    = "failed"
)

// Summary is what came of one run. Report and CSV are digests in the content store.
type Summary struct {
	ID         string                         `json:"id"`
	Run        int64                          `json:"run"`
	Title      string                         `json:"title"`
	Status     string                         `json:"status"`
	Tool       string                         `json:"tool"`
	Project    string                         `json:"project,omitempty"`
	By         string                         `json:"by"`
	Started    time.Time                      `json:"started"`
	Ended      time.Time                      `json:"ended,omitzero"`
	Config     int64                          `json:"config_version"` // that the variants were made of
	Definition string                         `json:"definition"`     // digest
	Variants   []VariantInfo                  `json:"variants"`
	Items      int                            `json:"items"` // that were done with every variant
	Primary    string                         `json:"primary"`
	Metrics    map[string]map[string]Compared `json:"metrics,omitempty"` // by metric and variant
	Winner     string                         `json:"winner,omitempty"`
	Why        string                         `json:"why,omitempty"`
	Spent      string                         `json:"spent,omitempty"` // the budget that ended it early
	Error      string                         `json:"error,omitempty"`
	Report     string                         `json:"report,omitempty"`
	CSV        string                         `json:"csv,omitempty"`
	Corr       string                         `json:"corr_id,omitempty"`
}

// VariantInfo is a variant as it ran.
type VariantInfo struct {
	Name  string           `json:"name"`
	Units []logic.PlanUnit `json:"units,omitempty"`
}

// Parts are what a book uses.
type Parts struct {
	DB      *db.DB
	Journal *journal.Journal
	View    *view.View
	CAS     *cas.Store
	Logic   *logic.Store
	Runner  Runner
	Model   func(name string) error // nil error when it is there
}

// Book holds experiments. It is safe for concurrent use; one experiment runs at a time, so that none disturbs another's
// clock.
type Book struct {
	Parts
	turn sync.Mutex

	mu   sync.Mutex
	keep map[string]bool // digests of reports
}

// Open reads what there is. A run that a stop of the host cut off has failed.
func Open(ctx context.Context, p Parts) (*Book, error) {
	b := &Book{Parts: p, keep: map[string]bool{}}
	list, err := b.read(ctx, "SELECT run, status, summary FROM experiment ORDER BY run DESC LIMIT ?", -1)
	if err != nil {
		return nil, err
	}
	items := map[string]Summary{}
	for i, s := range list {
		if s.Status == Running {
			s.Status, s.Error = Failed, "the host stopped while it ran"
			if err := b.end(ctx, s, "experiment.failed"); err != nil {
				return nil, err
			}
		}
		b.keep[s.Report], b.keep[s.CSV], b.keep[s.Definition] = true, true, true
		if i < shown {
			items[strconv.FormatInt(s.Run, 10)] = s
		}
	}
	delete(b.keep, "")
	raw, err := json.Marshal(map[string]any{"items": items})
	if err == nil {
		_, err = p.View.Put(ctx, view.Cause{Actor: "host"}, View, raw)
	}
	return b, err
}

// Keeps reports whether a blob is part of an experiment.
func (b *Book) Keeps(digest string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keep[digest]
}

// Run makes an experiment and answers when it is over. Errors, before anything ran: Invalid for a definition, Unavailable
// where a model is missing that it or one of its units needs, those of the units and of the tool, Busy while another runs.
// What ends a run that began is a Failed one, and the error.
func (b *Book) Run(ctx context.Context, d Definition, by, corr string) (Summary, error) {
	if err := d.check(); err != nil {
		return Summary{}, err
	}
	if !b.turn.TryLock() {
		return Summary{}, abi.Errorf(abi.Busy, "run experiment %q: another one runs", d.ID).WithHint("arw experiment list; try again when it is over")
	}
	defer b.turn.Unlock()
	s, docs, err := b.prepare(ctx, &d, by)
	s.Corr = corr
	if err != nil {
		return Summary{}, abi.Errorf(abi.CodeOf(err), "run experiment %q: %w", d.ID, err).WithHint("%s", abi.HintOf(err))
	}
	if s, err = b.begin(ctx, s, &d); err != nil {
		return s, err
	}
	rows, spent, err := d.run(ctx, b.Runner, by, docs)
	s.Ended, s.Spent = time.Now().UTC().Truncate(time.Millisecond), spent
	last := context.WithoutCancel(ctx)
	if err == nil {
		err = b.finish(last, &s, &d, rows)
	}
	if err != nil {
		s.Status, s.Error = Failed, err.Error()
		return s, errors.Join(err, b.end(last, s, "experiment.failed"))
	}
	return s, b.end(last, s, "experiment.completed")
}

// prepare finds everything an experiment needs and freezes the documents of its variants.
func (b *Book) prepare(ctx context.Context, d *Definition, by string) (Summary, []map[string][]byte, error) {
	s := Summary{ID: d.ID, Title: d.Title, Status: Running, Tool: d.Tool, Project: d.Project, By: by, Primary: d.Primary,
		Started: time.Now().UTC().Truncate(time.Millisecond), Config: b.Logic.Version()}
	if err := b.Runner.May(d.Tool); err != nil {
		return s, nil, err
	}
	for _, m := range d.Models {
		if err := b.Model(m); err != nil {
			return s, nil, err
		}
	}
	scope := logic.Workspace
	if d.Project != "" {
		var err error
		if scope, err = logic.ParseScope("project/" + d.Project); err != nil {
			return s, nil, err
		}
	}
	var docs []map[string][]byte
	for _, v := range d.Variants {
		with, units, err := b.Logic.Candidate(ctx, scope, v.Units)
		if err != nil {
			return s, nil, abi.Errorf(abi.CodeOf(err), "variant %q: %w", v.Name, err).WithHint("%s", abi.HintOf(err))
		}
		docs = append(docs, with)
		s.Variants = append(s.Variants, VariantInfo{v.Name, units})
	}
	return s, docs, nil
}

func (b *Book) begin(ctx context.Context, s Summary, d *Definition) (Summary, error) {
	raw, err := json.Marshal(d)
	if err == nil {
		raw, err = manifests.CanonicalJSON(raw)
	}
	if err == nil {
		s.Definition, err = b.put(ctx, raw)
	}
	if err != nil {
		return s, err
	}
	err = b.DB.Write(ctx, func(tx *sql.Tx) error {
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		res, err := tx.Exec("INSERT INTO experiment (id, status, summary) VALUES (?,?,?)", s.ID, s.Status, string(body))
		if err != nil {
			return err
		}
		if s.Run, err = res.LastInsertId(); err != nil {
			return err
		}
		return b.tell(tx, s, "experiment.started")
	})
	return s, b.DB.Explain(`begin experiment "`+s.ID+`"`, err)
}

// finish analyses the rows and stores both reports.
func (b *Book) finish(ctx context.Context, s *Summary, d *Definition, rows []row) (err error) {
	s.Status, s.Items = Completed, len(d.byItem(rows, d.Primary))
	s.Metrics = d.analyse(rows)
	s.Winner, s.Why = d.winner(s.Metrics, s.Items, s.Spent)
	if s.CSV, err = b.putCSV(ctx, d, rows); err != nil {
		return err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	s.Report, err = b.put(ctx, raw)
	return err
}

func (b *Book) put(ctx context.Context, raw []byte) (string, error) {
	digest, err := b.CAS.PutBytes(ctx, raw)
	if err == nil {
		b.mu.Lock()
		b.keep[digest] = true
		b.mu.Unlock()
	}
	return digest, err
}

func (b *Book) putCSV(ctx context.Context, d *Definition, rows []row) (string, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write(append([]string{"item", "seed", "variant", "code"}, d.Metrics...)) // a buffer takes everything
	for _, r := range rows {
		line := []string{r.item, strconv.FormatInt(r.seed, 10), d.Variants[r.variant].Name, r.code}
		for _, m := range d.Metrics {
			line = append(line, strconv.FormatFloat(r.values[m], 'g', -1, 64))
		}
		_ = w.Write(line)
	}
	w.Flush()
	return b.put(ctx, out.Bytes())
}

// end writes what became of a run.
func (b *Book) end(ctx context.Context, s Summary, kind string) error {
	err := b.DB.Write(ctx, func(tx *sql.Tx) error {
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE experiment SET status = ?, summary = ?, report = ?, csv = ? WHERE run = ?", s.Status, string(body), s.Report, s.CSV, s.Run); err != nil {
			return err
		}
		return b.tell(tx, s, kind)
	})
	return b.DB.Explain(fmt.Sprintf("end run %d of experiment %q", s.Run, s.ID), err)
}

// tell shows a run in the read model and journals it.
func (b *Book) tell(tx *sql.Tx, s Summary, kind string) error {
	_, err := b.View.ChangeTx(tx, view.Cause{Actor: s.By, Corr: s.Corr}, View, func(e *view.Edit) error {
		e.Set(s, "items", strconv.FormatInt(s.Run, 10))
		e.Remove("items", strconv.FormatInt(s.Run-shown, 10))
		return nil
	})
	if err != nil {
		return err
	}
	_, err = b.Journal.AppendTx(tx, journal.Event{Kind: kind, Actor: s.By, Corr: s.Corr, Project: s.Project, Body: map[string]any{
		"id": s.ID, "run": s.Run, "tool": s.Tool, "items": s.Items, "winner": s.Winner, "why": s.Why, "error": s.Error, "report": s.Report, "csv": s.CSV,
	}})
	return err
}

func (b *Book) read(ctx context.Context, query string, args ...any) ([]Summary, error) {
	rows, err := b.DB.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, b.DB.Explain("list experiments", err)
	}
	defer rows.Close()
	list := []Summary{}
	for rows.Next() {
		var s Summary
		var run int64
		var status, body string
		if err := rows.Scan(&run, &status, &body); err != nil {
			return nil, b.DB.Explain("list experiments", err)
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read run %d of an experiment: %w", run, err)
		}
		s.Run, s.Status = run, status
		list = append(list, s)
	}
	return list, b.DB.Explain("list experiments", rows.Err())
}

// List are the newest runs, newest first.
func (b *Book) List(ctx context.Context, limit int) ([]Summary, error) {
	return b.read(ctx, "SELECT run, status, summary FROM experiment ORDER BY run DESC LIMIT ?", limit)
}

// Get is one run. NotFound.
func (b *Book) Get(ctx context.Context, run int64) (Summary, error) {
	list, err := b.read(ctx, "SELECT run, status, summary FROM experiment WHERE run = ?", run)
	if err == nil && len(list) == 0 {
		err = abi.Errorf(abi.NotFound, "read run %d of an experiment: there is none", run).WithHint("arw experiment list")
	}
	if err != nil {
		return Summary{}, err
	}
	return list[0], nil
}

// Verdict is what the newest finished experiment says of a revision of a unit with these parameters, by a metric: the
// variant that has it and nothing else is compared with the first, which has not. In words otherwise.
func (b *Book) Verdict(ctx context.Context, unit, digest string, params map[string]json.RawMessage, metric string) (string, error) {
	list, err := b.read(ctx, "SELECT run, status, summary FROM experiment WHERE status = 'completed' ORDER BY run DESC LIMIT 1000")
	if err != nil {
		return "", err
	}
	want, _ := json.Marshal(params)
	for _, s := range list {
		for _, v := range s.Variants[1:] {
			if len(s.Variants[0].Units) > 0 || len(v.Units) != 1 || v.Units[0].ID != unit || v.Units[0].Digest != digest {
				continue
			}
			if got, _ := json.Marshal(v.Units[0].Params); !bytes.Equal(got, want) {
				continue
			}
			if c, measured := s.Metrics[metric][v.Name]; measured {
				return c.Verdict, nil
			}
		}
	}
	return "no finished experiment compares it with going without", nil
}
