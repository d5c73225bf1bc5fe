package action

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue"
)

// Schema creates the action table. Times are milliseconds since 1970, 0 for none. idem_key is emptied when it expires.
var Schema = []string{`
CREATE TABLE action (
	seq       INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	kind      TEXT NOT NULL,
	pack      TEXT NOT NULL,
	state     TEXT NOT NULL CHECK (state IN ('queued','running','completed','failed','cancelled')),
	input     BLOB NOT NULL,
	input_sha BLOB NOT NULL,
	output    BLOB,
	out_kind  INTEGER NOT NULL DEFAULT 0,
	code      INTEGER NOT NULL DEFAULT 0,
	failure   TEXT,
	idem_key  TEXT NOT NULL,
	actor     TEXT NOT NULL,
	project   TEXT NOT NULL,
	corr      TEXT NOT NULL,
	session   TEXT NOT NULL,
	parent    TEXT NOT NULL,
	depth     INTEGER NOT NULL,
	deadline  INTEGER NOT NULL,
	created   INTEGER NOT NULL,
	started   INTEGER NOT NULL DEFAULT 0,
	ended     INTEGER NOT NULL DEFAULT 0,
	moved     INTEGER NOT NULL,
	usage     TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE UNIQUE INDEX action_idem ON action (actor, pack, kind, idem_key) WHERE idem_key <> '';
CREATE INDEX action_live ON action (seq) WHERE state IN ('queued','running');
CREATE INDEX action_corr ON action (corr);
CREATE INDEX action_parent ON action (parent) WHERE parent <> '';
CREATE INDEX action_moved ON action (moved);
`, `
ALTER TABLE action ADD COLUMN streams TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN recording TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN record_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN record_module TEXT NOT NULL DEFAULT '';
CREATE INDEX action_record ON action (record_digest) WHERE record_digest <> '';
CREATE INDEX action_module ON action (record_module) WHERE record_module <> '';
`, `
ALTER TABLE action ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE action ADD COLUMN effects INTEGER NOT NULL DEFAULT 3;
CREATE TABLE action_pause (
	one    INTEGER PRIMARY KEY CHECK (one = 1),
	by     TEXT NOT NULL,
	reason TEXT NOT NULL,
	at     INTEGER NOT NULL
) STRICT;
`, `
UPDATE action SET project = '' WHERE project = 'default';
DROP INDEX action_idem;
CREATE UNIQUE INDEX action_idem ON action (actor, project, pack, kind, idem_key) WHERE idem_key <> '';
CREATE INDEX action_project ON action (project, seq);
`, `
ALTER TABLE action ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
`}

func newID(prefix string) string { return prefix + uuid.Must(uuid.NewV7()).String() }

// moves are the edges of the package comment's picture.
var moves = map[State][]State{
	Queued:  {Running, Cancelled, Failed},
	Running: {Completed, Failed, Cancelled, Queued},
}

func legal(from, to State) bool {
	for _, s := range moves[from] {
		if s == to {
			return true
		}
	}
	return false
}

func inputHash(in []byte) []byte {
	sum := sha256.Sum256(in)
	return sum[:]
}

// insert writes a new action as queued, with its event.
func (e *Executor) insert(tx *sql.Tx, a Action) error {
	stmt, err := e.db.Stmt(tx, `INSERT INTO action (id, kind, pack, state, input, input_sha, idem_key, actor, project, corr, session,
		parent, depth, deadline, created, moved, streams, recording, attempt, effects, priority) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0,?,?)`)
	if err != nil {
		return err
	}
	_, err = stmt.Exec(a.ID, a.Kind, a.Pack, Queued, []byte(a.Input), inputHash(a.Input), a.IdemKey, a.Actor, a.Project, a.Corr, a.Session,
		a.Parent, a.Depth, ms(a.Deadline), ms(a.Created), ms(a.Created), strings.Join(a.Streams, ","), recordingText(a.Record), a.Effects, int(a.Priority))
	if err != nil {
		return fmt.Errorf("record action %q: %w", a.ID, err)
	}
	return e.event(tx, a, "actions.submitted", Queued)
}

// move is the compare-and-set of every transition, with its event. Conflict when the edge does not exist or the row is
// not where it was thought to be; then nothing is written.
func (e *Executor) move(tx *sql.Tx, from State, to Action) error {
	if !legal(from, to.State) {
		return abi.Errorf(abi.Conflict, "move action %q from %s to %s: there is no such move", to.ID, from, to.State)
	}
	var code abi.Code
	var fail, usage []byte
	if to.Failure != nil {
		code = to.Failure.Code
		fail, _ = json.Marshal(to.Failure) // strings and valid JSON only
	}
	usage, _ = json.Marshal(to.Usage) // numbers only
	stmt, err := e.db.Stmt(tx, `UPDATE action SET state = ?, output = ?, out_kind = ?, code = ?, failure = ?, started = ?, ended = ?,
		moved = ?, usage = ?, recording = ?, record_digest = ?, record_module = ?, attempt = ? WHERE id = ? AND state = ?`)
	if err != nil {
		return err
	}
	var rec Recording
	if to.Record != nil {
		rec = *to.Record
	}
	res, err := stmt.Exec(to.State, to.Output, to.OutKind, code, nullText(fail), ms(to.Started), ms(to.Ended), time.Now().UnixMilli(), string(usage),
		recordingText(to.Record), rec.Digest, rec.Module, to.Attempt, to.ID, from)
	if err != nil {
		return fmt.Errorf("move action %q to %s: %w", to.ID, to.State, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return abi.Errorf(abi.Conflict, "move action %q from %s to %s: it is not %s any more", to.ID, from, to.State, from)
	}
	return e.event(tx, to, "actions."+string(to.State), to.State)
}

// body is what the events of actions say; the envelope carries the action's id, pack and corr_id.
type body struct {
	ID          string          `json:"id"`
	Kind        string          `json:"kind"`
	State       State           `json:"state"`
	Parent      string          `json:"parent,omitempty"`
	IdemKey     string          `json:"idem_key,omitempty"`
	InputBytes  int             `json:"input_bytes,omitempty"`
	OutputBytes int             `json:"output_bytes,omitempty"`
	Code        string          `json:"code,omitempty"`
	Message     string          `json:"message,omitempty"`
	Hint        string          `json:"hint,omitempty"`
	Detail      json.RawMessage `json:"detail,omitempty"`
	Usage       *Usage          `json:"usage,omitempty"`
	WaitedMS    int64           `json:"waited_ms,omitempty"`
	Attempt     int             `json:"attempt,omitempty"`
	RanMS       int64           `json:"ran_ms,omitempty"`
	Priority    string          `json:"priority,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	RetryMS     int64           `json:"retry_ms,omitempty"`
}

// event appends the journal's line. Payloads stay out of the journal: they may be large or secret, and they are in the
// action's row.
func (e *Executor) event(tx *sql.Tx, a Action, kind string, s State) error {
	b := body{ID: a.ID, Kind: a.Kind, State: s, Parent: a.Parent}
	switch s {
	case Queued:
		if !a.Started.IsZero() { // back from running
			b.Attempt, b.Reason, b.RetryMS = a.Attempt, a.note, a.delay.Milliseconds()
			break
		}
		b.IdemKey, b.InputBytes = a.IdemKey, len(a.Input)
		if a.Priority != queue.Normal {
			b.Priority = a.Priority.String()
		}
	case Running:
		b.Attempt = a.Attempt
		b.WaitedMS = a.Started.Sub(a.Created).Milliseconds()
	default:
		b.OutputBytes = len(a.Output)
		if f := a.Failure; f != nil {
			b.Code, b.Message, b.Hint, b.Detail = f.Name, f.Message, f.Hint, f.Detail
		}
		if !a.Started.IsZero() {
			b.Usage, b.RanMS = &a.Usage, a.Ended.Sub(a.Started).Milliseconds()
		}
	}
	_, err := e.jrn.AppendTx(tx, journal.Event{
		Kind: kind, Corr: a.Corr, Actor: a.Actor, Project: a.Project, Pack: a.Pack, Action: a.ID, Body: b,
	})
	return err
}

// findKey answers an idempotent request: the earlier action, nil when there is none or its key has expired, Conflict
// when the input differs.
func (e *Executor) findKey(tx *sql.Tx, a Action) (*Action, error) {
	if a.IdemKey == "" {
		return nil, nil
	}
	var id string
	var sha []byte
	var created int64
	err := tx.QueryRow(`SELECT id, input_sha, created FROM action WHERE actor = ? AND project = ? AND pack = ? AND kind = ? AND idem_key = ?`,
		a.Actor, a.Project, a.Pack, a.Kind, a.IdemKey).Scan(&id, &sha, &created)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up key %q: %w", a.IdemKey, err)
	case a.Created.Sub(time.UnixMilli(created)) > e.cfg.IdemTTL:
		if _, err := tx.Exec(`UPDATE action SET idem_key = '' WHERE id = ?`, id); err != nil {
			return nil, fmt.Errorf("expire key %q: %w", a.IdemKey, err)
		}
		return nil, nil
	case string(sha) != string(inputHash(a.Input)):
		return nil, abi.Errorf(abi.Conflict, "submit %q: key %q was used for action %q with another input", a.Kind, a.IdemKey, id).
			WithHint("use a new key, or send the same input").WithDetail(map[string]string{"action": id})
	}
	row := tx.QueryRow(`SELECT `+columns+payload+` FROM action WHERE id = ?`, id)
	found, err := scan(row, true)
	if err != nil {
		return nil, err
	}
	return &found, nil
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func nullText(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}
