// Package schedule keeps one promise: a tick of a schedule becomes one action, or the journal says why it did not.
//
// A schedule is a name, a time (a cron expression in a zone, or every so long) and what is to be submitted. A tick is known by its
// schedule and its time, which is also the action's idempotency key: a host that dies between submitting and remembering
// submits the same action again, and has the first one back. Time is the wall clock's: one that is set forward misses ticks, one
// that is set back waits until it has caught up, and no tick comes twice.
package schedule

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // zones, where the machine has none

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// Missed says what becomes of ticks that passed while nobody looked: the host was down, say.
type Missed string

// The policies. All submits at most MaxMissed of them, the newest.
const (
	Skip Missed = "skip"
	Once Missed = "once" // the last of them
	All  Missed = "all"
)

// MaxMissed bounds what All makes up for.
const MaxMissed = 100

// Entry is one schedule. One of Cron and Every is set.
type Entry struct {
	Name     string
	Cron     string        // five fields: see docs/spec/schedule.md
	Zone     string        // of Cron: an IANA name; empty is UTC
	Every    time.Duration // at the multiples of it since 1970; at least a second
	Tool     string
	Input    json.RawMessage
	Project  string
	Priority string
	Deadline time.Duration // of the action, from its submission; 0 is the tool's own limit
	Missed   Missed        // empty is Skip
}

// Tick is one that is due.
type Tick struct {
	Entry
	At  time.Time
	Key string // the action's idempotency key
}

// Submit makes an action of a tick and returns its id.
type Submit func(ctx context.Context, t Tick) (action string, err error)

// Status is a schedule as it stands.
type Status struct {
	Name    string     `json:"name"`
	When    string     `json:"when"` // the expression, or "every 5m0s"
	Zone    string     `json:"zone,omitempty"`
	Tool    string     `json:"tool"`
	Project string     `json:"project,omitempty"`
	Missed  Missed     `json:"missed"`
	Next    *time.Time `json:"next,omitempty"`
	Last    *time.Time `json:"last,omitempty"` // the last tick that was dealt with
	Action  string     `json:"action,omitempty"`
	Error   string     `json:"last_error,omitempty"` // why the last tick became no action
}

// Schema keeps how far each schedule is. Times are milliseconds since 1970.
var Schema = []string{`
CREATE TABLE schedule (
	name   TEXT PRIMARY KEY,
	last   INTEGER NOT NULL,
	action TEXT NOT NULL,
	error  TEXT NOT NULL
) STRICT;
`}

// Book is the schedules of a host. It is safe for concurrent use; its goroutine is Run's.
type Book struct {
	db     *db.DB
	jrn    *journal.Journal
	log    *slog.Logger
	submit Submit
	now    func() time.Time

	mu    sync.Mutex
	items []*item
}

type item struct {
	Entry
	cron    *cron
	last    time.Time
	action  string
	err     string
	waiting bool // its last tick found the host too busy and is tried again
}

// Options of a book.
type Options struct {
	Now func() time.Time // nil is the real clock
	Log *slog.Logger     // nil is nowhere
}

var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Open reads how far the schedules are. One that is new begins now. Invalid, with the schedule's name, for an entry that is wrong.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, entries []Entry, submit Submit, o Options) (*Book, error) {
	b := &Book{db: d, jrn: j, submit: submit, now: o.Now, log: o.Log}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	for _, e := range entries {
		it, err := check(e)
		if err != nil {
			return nil, abi.Errorf(abi.CodeOf(err), "read schedule %q: %w", e.Name, err).WithHint("%s", abi.HintOf(err))
		}
		if slices.ContainsFunc(b.items, func(o *item) bool { return o.Name == e.Name }) {
			return nil, abi.Errorf(abi.Invalid, "read schedule %q: the name is there twice", e.Name)
		}
		b.items = append(b.items, it)
	}
	return b, b.load(ctx)
}

// check is an entry with what is made of it.
func check(e Entry) (*item, error) {
	e.Missed = cmp.Or(e.Missed, Skip)
	switch {
	case !names.MatchString(e.Name):
		return nil, abi.Errorf(abi.Invalid, "a name has 1 to 63 of a-z, 0-9 and, not at the beginning, . _ -")
	case e.Tool == "":
		return nil, abi.Errorf(abi.Invalid, "it names no tool").WithHint(`set tool = "research.search", say`)
	case (e.Cron == "") == (e.Every == 0):
		return nil, abi.Errorf(abi.Invalid, "it has either cron or every").WithHint(`set cron = "30 6 * * mon-fri", or every = "15m"`)
	case e.Every != 0 && e.Every < time.Second:
		return nil, abi.Errorf(abi.Invalid, "every %s is below a second", e.Every)
	case e.Deadline < 0:
		return nil, abi.Errorf(abi.Invalid, "deadline %s is before the tick", e.Deadline)
	case e.Missed != Skip && e.Missed != Once && e.Missed != All:
		return nil, abi.Errorf(abi.Invalid, "missed %q is no policy", e.Missed).WithHint(`use "skip", "once" or "all"`)
	case len(e.Input) > 0 && !json.Valid(e.Input):
		return nil, abi.Errorf(abi.Invalid, "its input is not JSON")
	}
	it := &item{Entry: e}
	if e.Cron == "" {
		return it, nil
	}
	zone, err := time.LoadLocation(e.Zone)
	if err != nil || e.Zone == "Local" {
		return nil, abi.Errorf(abi.Invalid, "zone %q is unknown here", e.Zone).WithHint(`write it as "Europe/Berlin"; leave it out for UTC`)
	}
	it.cron, err = parseCron(e.Cron, zone)
	return it, err
}

// next is the first tick behind a time.
func (it *item) next(after time.Time) time.Time {
	if it.cron != nil {
		return it.cron.next(after)
	}
	return after.Truncate(it.Every).Add(it.Every).UTC()
}

// load reads the table. What is in it and in no entry stays: a schedule that is taken out for a while goes on where it was.
func (b *Book) load(ctx context.Context) error {
	begin := b.now()
	return b.db.Write(ctx, func(tx *sql.Tx) error {
		for _, it := range b.items {
			var last int64
			err := tx.QueryRow(`SELECT last, action, error FROM schedule WHERE name = ?`, it.Name).Scan(&last, &it.action, &it.err)
			switch {
			case err == sql.ErrNoRows:
				it.last = begin
				if err := b.save(tx, it); err != nil {
					return err
				}
			case err != nil:
				return err
			default:
				it.last = time.UnixMilli(last)
			}
		}
		return nil
	})
}

func (b *Book) save(tx *sql.Tx, it *item) error {
	_, err := tx.Exec(`INSERT OR REPLACE INTO schedule (name, last, action, error) VALUES (?, ?, ?, ?)`, it.Name, it.last.UnixMilli(), it.action, it.err)
	return err
}

// List is the schedules by name.
func (b *Book) List() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Status, 0, len(b.items))
	for _, it := range b.items {
		s := Status{Name: it.Name, When: it.Cron, Zone: it.Zone, Tool: it.Tool, Project: it.Project, Missed: it.Missed, Action: it.action, Error: it.err}
		if it.cron == nil {
			s.When = "every " + it.Every.String()
		}
		if n := it.next(it.last); !n.IsZero() {
			s.Next = &n
		}
		if it.action != "" || it.err != "" {
			at := it.last.UTC()
			s.Last = &at
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
