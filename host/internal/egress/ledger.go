package egress

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// The kinds of events that this package journals; docs/spec/events.md describes their bodies.
const (
	KindAppended = "egress.ledger.appended" // a Row: before the first byte, or instead of it
	KindSettled  = "egress.ledger.settled"  // a Settled: after the last
	KindSettings = "egress.settings.updated"
	KindAnomaly  = "dns.anomaly"
)

// ViewID is the read model: posture, scopes, totals and the newest rows.
const ViewID = "egress"

// recent is how many rows the read model shows.
const recent = 50

// Schema is egress's part of the database. Rows are never changed: the intent is written before anything leaves, the outcome is
// a row of its own.
var Schema = []string{`
CREATE TABLE egress_setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE egress_scope (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE egress_token (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE egress_intent (
	seq      INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	time     INTEGER NOT NULL,
	boot     TEXT NOT NULL,
	pack     TEXT NOT NULL,
	host     TEXT NOT NULL,
	decision TEXT NOT NULL,
	body     TEXT NOT NULL
) STRICT;
CREATE INDEX egress_intent_pack ON egress_intent (pack, seq);
CREATE INDEX egress_intent_host ON egress_intent (host, seq);
CREATE TABLE egress_outcome (id TEXT PRIMARY KEY REFERENCES egress_intent (id) ON DELETE CASCADE, body TEXT NOT NULL) STRICT, WITHOUT ROWID;`}

// The states of a row.
const (
	StateDenied  = "denied"  // nothing left
	StateOpen    = "open"    // under way
	StateDone    = "done"    // the answer was read to where the caller wanted it
	StateFailed  = "failed"  // something may have left; the outcome says what went wrong
	StateUnknown = "unknown" // the host ended in between: something may have left
)

// Row is one line of the ledger. The payload is named by its digest alone; the query of a URL is content and part of it is not kept.
type Row struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`     // http, websocket, tunnel or dns
	Decision string    `json:"decision"` // allow or deny
	Reason   string    `json:"reason"`
	Message  string    `json:"message,omitempty"`
	Caller
	Posture   Posture  `json:"posture"`
	Lease     string   `json:"lease,omitempty"`
	Scope     string   `json:"scope,omitempty"` // the entry of the lease
	Rule      string   `json:"rule,omitempty"`  // the operator's scope
	Policies  []string `json:"policies,omitempty"`
	Method    string   `json:"method,omitempty"`
	Scheme    string   `json:"scheme,omitempty"`
	Host      string   `json:"host"`
	Port      uint16   `json:"port,omitempty"`
	Path      string   `json:"path,omitempty"`
	Address   string   `json:"address,omitempty"` // the pinned one
	Announced int64    `json:"bytes_announced"`   // of the body; -1 when it is streamed
	Payload   string   `json:"payload,omitempty"` // "sha256:…" of a body that is known beforehand
	Cost      int64    `json:"cost_estimate_microusd,omitempty"`
	Parent    string   `json:"parent,omitempty"` // the row whose answer redirected here
	State     string   `json:"state,omitempty"`
	Outcome   *Outcome `json:"outcome,omitempty"`
}

// Outcome is what became of a row that was allowed.
type Outcome struct {
	Time     time.Time `json:"time"`
	Status   int       `json:"status,omitempty"`
	Address  string    `json:"address,omitempty"` // where the connection led
	Out      int64     `json:"bytes_out"`         // of bodies
	In       int64     `json:"bytes_in"`
	Payload  string    `json:"payload,omitempty"` // of all that was sent
	Millis   int64     `json:"duration_ms"`
	Cost     int64     `json:"cost_microusd,omitempty"`
	Code     string    `json:"code"`
	Error    string    `json:"error,omitempty"`
	Reused   bool      `json:"reused,omitempty"` // over a connection that was open already
	Redirect string    `json:"redirect,omitempty"`
}

// Settled is the body of egress.ledger.settled.
type Settled struct {
	ID string `json:"id"`
	Caller
	Host string `json:"host"`
	Outcome
}

func (g *Guard) exec(tx *sql.Tx, query string, args ...any) error {
	stmt, err := g.db.Stmt(tx, query)
	if err == nil {
		_, err = stmt.Exec(args...)
	}
	return err
}

// append writes a row, its event and the read model as one. It fails closed: who gets an error sends nothing.
func (g *Guard) append(ctx context.Context, r *Row) error {
	r.Time = time.Now().UTC().Truncate(time.Millisecond)
	r.ID = fmt.Sprintf("egr_%011x%s", r.Time.UnixMilli(), newID("")[1:13]) // in the order of time
	r.Path, r.Message = g.redact(r.Path), g.redact(r.Message)
	g.counts.decided(r)
	stored := *r
	stored.State, stored.Outcome = "", nil
	raw, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	err = g.db.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		if err := g.exec(tx, "INSERT INTO egress_intent (id, time, boot, pack, host, decision, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
			r.ID, r.Time.UnixMilli(), g.boot, r.Pack, r.Host, r.Decision, string(raw)); err != nil {
			return err
		}
		if err := g.tell(tx, KindAppended, r.Caller, json.RawMessage(raw)); err != nil {
			return err
		}
		return g.show(tx, r)
	})
	return g.db.Explain("write the egress ledger", err)
}

// settle writes the outcome of a row. A failure is the host's trouble, not the caller's: what was sent was sent, and the row
// stays open.
func (g *Guard) settle(r *Row, o Outcome) {
	o.Time = time.Now().UTC().Truncate(time.Millisecond)
	o.Millis = o.Time.Sub(r.Time).Milliseconds()
	o.Error = g.redact(o.Error)
	r.Outcome, r.State = &o, o.state()
	g.counts.moved(&o)
	raw, err := json.Marshal(o)
	if err == nil {
		err = g.db.Write(context.Background(), func(tx *sql.Tx) error {
			if err := g.exec(tx, "INSERT INTO egress_outcome (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING", r.ID, string(raw)); err != nil {
				return err
			}
			if err := g.tell(tx, KindSettled, r.Caller, Settled{r.ID, r.Caller, r.Host, o}); err != nil {
				return err
			}
			return g.show(tx, r)
		})
	}
	if err != nil {
		g.log.Error("write the outcome of an egress row", "row", r.ID, "corr_id", r.Caller.Corr, "action", r.Caller.Action, "error", err)
	}
}

func (o *Outcome) state() string {
	if o.Code == abi.OK.String() {
		return StateDone
	}
	return StateFailed
}

func (g *Guard) tell(tx *sql.Tx, kind string, c Caller, body any) error {
	_, err := g.journal.AppendTx(tx, journal.Event{
		Kind: kind, Corr: c.Corr, Actor: c.Actor, Project: c.Project, Pack: c.Pack, Action: c.Action, Body: body,
	})
	return err
}

// totals are what the read model sums up, since the host was made.
type totals struct {
	Allowed int64 `json:"allowed"`
	Denied  int64 `json:"denied"`
	Settled int64 `json:"settled"`
	Failed  int64 `json:"failed"`
	Out     int64 `json:"bytes_out"`
	In      int64 `json:"bytes_in"`
}

// show brings the read model up to a row that was appended or settled.
func (g *Guard) show(tx *sql.Tx, r *Row) error {
	by := view.Cause{Corr: r.Corr, Actor: r.Actor, Project: r.Project, Pack: r.Pack, Action: r.Action}
	_, err := g.view.ChangeTx(tx, by, ViewID, func(e *view.Edit) error {
		if ok, err := e.Get(nil, "posture"); err != nil || !ok {
			g.rules.Load().show(e)
		}
		var t totals
		if _, err := e.Get(&t, "totals"); err != nil {
			return err
		}
		switch o := r.Outcome; {
		case r.Decision == "deny":
			t.Denied++
		case o == nil:
			t.Allowed++
		default:
			t.Settled, t.Out, t.In = t.Settled+1, t.Out+o.Out, t.In+o.In
			if r.State == StateFailed {
				t.Failed++
			}
		}
		e.Set(t, "totals")
		if r.Outcome == nil {
			if g.shown = append(g.shown, r.ID); len(g.shown) > recent {
				e.Remove("recent", g.shown[0])
				g.shown = g.shown[1:]
			}
			e.Set(r, "recent", r.ID)
		} else if ok, err := e.Get(nil, "recent", r.ID); err == nil && ok {
			e.Set(r, "recent", r.ID)
		}
		return nil
	})
	return err
}

// Query selects rows; zero fields select all. Before is the id of a row: only older ones.
type Query struct {
	Before, Pack, Host, Decision, State, Corr, Project string
	Limit                                              int // 0 is 100, at most 1,000
}

// Rows reads the ledger, the newest first.
func (g *Guard) Rows(ctx context.Context, q Query) ([]Row, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	if q.Limit > 1000 || q.Decision != "" && q.Decision != "allow" && q.Decision != "deny" {
		return nil, abi.Errorf(abi.Invalid, "read the egress ledger: a limit is 1 to 1000, a decision allow or deny")
	}
	where, args := []string{"1"}, []any{}
	add := func(cond string, value string) {
		if value != "" {
			where, args = append(where, cond), append(args, value)
		}
	}
	add("i.pack = ?", q.Pack)
	add("i.host = ?", q.Host)
	add("i.decision = ?", q.Decision)
	add("i.seq < (SELECT seq FROM egress_intent WHERE id = ?)", q.Before)
	add("json_extract(i.body, '$.corr_id') = ?", q.Corr)
	add("coalesce(json_extract(i.body, '$.project'), 'default') = ?", q.Project)
	switch q.State {
	case "":
	case StateDenied:
		where = append(where, "i.decision = 'deny'")
	case StateOpen, StateUnknown:
		op := map[string]string{StateOpen: "=", StateUnknown: "<>"}[q.State]
		where, args = append(where, "i.decision = 'allow' AND o.id IS NULL AND i.boot "+op+" ?"), append(args, g.boot)
	case StateDone, StateFailed:
		op := map[string]string{StateDone: "=", StateFailed: "<>"}[q.State]
		where = append(where, "o.id IS NOT NULL AND json_extract(o.body, '$.code') "+op+" 'ok'")
	default:
		return nil, abi.Errorf(abi.Invalid, "read the egress ledger: there is no state %.40q", q.State).WithHint("denied, open, done, failed and unknown")
	}
	rows, err := g.db.Read().QueryContext(ctx, "SELECT i.body, i.boot, o.body FROM egress_intent i LEFT JOIN egress_outcome o ON o.id = i.id WHERE "+
		strings.Join(where, " AND ")+" ORDER BY i.seq DESC LIMIT ?", append(args, q.Limit)...)
	if err != nil {
		return nil, g.db.Explain("read the egress ledger", err)
	}
	defer rows.Close()
	out := []Row{}
	for rows.Next() {
		r, err := g.scan(rows)
		if err != nil {
			return nil, g.db.Explain("read the egress ledger", err)
		}
		out = append(out, r)
	}
	return out, g.db.Explain("read the egress ledger", rows.Err())
}

func (g *Guard) scan(rows *sql.Rows) (r Row, err error) {
	var body, boot string
	var outcome sql.NullString
	if err := rows.Scan(&body, &boot, &outcome); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return r, err
	}
	switch {
	case r.Decision == "deny":
		r.State = StateDenied
	case outcome.Valid:
		r.Outcome = &Outcome{}
		err = json.Unmarshal([]byte(outcome.String), r.Outcome)
		r.State = r.Outcome.state()
	case boot == g.boot:
		r.State = StateOpen
	default:
		r.State = StateUnknown
	}
	return r, err
}

// tidy forgets the oldest rows beyond the bounds; their events stay in the journal. It also forgets scopes that ended.
func (g *Guard) tidy(ctx context.Context) error {
	now := time.Now()
	err := g.db.Write(ctx, func(tx *sql.Tx) error {
		return g.exec(tx, `DELETE FROM egress_intent WHERE seq <= (SELECT coalesce(max(seq), 0) FROM egress_intent) - ? OR time < ?`,
			g.limits.Rows, now.Add(-g.limits.Age).UnixMilli())
	})
	if err != nil {
		return err
	}
	for _, s := range g.rules.Load().scopes {
		if !s.Expires.IsZero() && !now.Before(s.Expires) {
			if err := g.RemoveScope(ctx, Cause{Actor: "host"}, s.ID); err != nil && abi.CodeOf(err) != abi.NotFound {
				return err
			}
		}
	}
	return nil
}

// load reads what the operator decided.
func (g *Guard) load(ctx context.Context) error {
	r := &rules{posture: g.cfg.Posture}
	var posture string
	switch err := g.db.Read().QueryRowContext(ctx, "SELECT value FROM egress_setting WHERE name = 'posture'").Scan(&posture); {
	case err == nil:
		r.posture = Posture(posture)
		if err := r.posture.check(); err != nil {
			return err
		}
	case err != sql.ErrNoRows:
		return err
	}
	rows, err := g.db.Read().QueryContext(ctx, "SELECT body FROM egress_scope")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body string
		var s Scope
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return err
		}
		if err := s.check(g.addresses()); err != nil {
			return err
		}
		r.scopes = append(r.scopes, s)
	}
	r.sort()
	g.rules.Store(r)
	if err := rows.Err(); err != nil {
		return err
	}
	return g.loadTokens(ctx)
}
