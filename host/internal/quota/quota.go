// Package quota keeps one promise: what the operator allows up to an amount in a time is not had more often than that, by
// whichever way, also not by crashing the host or by setting its clock.
//
// A quota is one rule of quotas.toml. It permits nothing by itself: it counts what policies, leases and capsules have let pass
// already, and refuses what goes beyond. docs/spec/quotas.md is the normative description.
//
// A Book is safe for concurrent use. Its goroutine belongs to Run.
package quota

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/manifests/pattern"
)

// The kinds of events.
const (
	KindNearing   = "quota.nearing"
	KindExhausted = "quota.exhausted"
	KindReset     = "quota.reset"
)

// Call is what a quota on the calls of tools counts; every other word is a capability.
const Call = "call"

// MaxCounters bounds memory against subjects that are made up; beyond it a use that needs another counter is refused.
const MaxCounters = 50_000

// Amount is what is used or allowed; as a bound, 0 is none.
type Amount = policy.Budget

const sides = 5

var sideNames = [sides]string{"calls", "bytes", "tokens", "gas", "usd_micros"}

func sidesOf(a Amount) [sides]int64 { return [sides]int64{a.Calls, a.Bytes, a.Tokens, a.Gas, a.Money} }

func amountOf(s [sides]int64) Amount {
	return Amount{Calls: s[0], Bytes: s[1], Tokens: s[2], Gas: s[3], Money: s[4]}
}

// Who is on whose account a use goes. What is empty has no account.
type Who struct {
	Pack       string
	Publishers []string // whose signatures on the pack counted
	Actor      string
	Project    string
	Corr       string // for the events
}

// subjects are the accounts of a use under a rule.
func (w *Who) subjects(per string) []string {
	switch per {
	case "pack":
		return []string{w.Pack}
	case "person":
		return []string{w.Actor}
	case "project":
		return []string{w.Project}
	case "publisher":
		return w.Publishers
	}
	return []string{"host"}
}

// Book holds the counters of a host.
type Book struct {
	db      *db.DB
	journal *journal.Journal
	clock   Clock
	log     *slog.Logger
	rules   atomic.Pointer[table]

	mu       sync.Mutex // never held across I/O
	counters map[key]*counter
	windows  int64 // begun ever, so that a later one is known by its number
}

// table is the rules by what they are on.
type table struct {
	rules *Rules
	on    map[string][]*Rule
}

// Parts are what a Book stands on; Log may be nil, the zero Clock is the system's.
type Parts struct {
	DB      *db.DB
	Journal *journal.Journal
	Rules   *Rules
	Clock   Clock
	Log     *slog.Logger
}

// Open reads the counters of a database whose migrations include Schema. What a crash left reserved counts as used.
func Open(ctx context.Context, p Parts) (*Book, error) {
	b := &Book{db: p.DB, journal: p.Journal, clock: p.Clock.or(systemClock()), log: p.Log, counters: map[key]*counter{}}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.Replace(p.Rules)
	if err := b.load(ctx); err != nil {
		return nil, p.DB.Explain("read the quotas", err)
	}
	return b, nil
}

// Replace puts other rules in force; a counter goes on under the rule of its id. Nil is no rules.
func (b *Book) Replace(r *Rules) {
	if r == nil {
		r = &Rules{}
	}
	t := &table{rules: r, on: map[string][]*Rule{}}
	for i := range r.list {
		t.on[r.list[i].On] = append(t.on[r.list[i].On], &r.list[i])
	}
	b.rules.Store(t)
}

// Counts reports whether any rule is on this, so that a caller can spare itself the asking.
func (b *Book) Counts(on string) bool {
	if b == nil {
		return false
	}
	t := b.rules.Load()
	return len(t.on) > 0 && len(t.on[on]) > 0
}

// Take counts a use that has been allowed by everybody else, before it happens; all counters it is in, or none. BudgetExhausted
// with an api.QuotaRefusal as detail when it does not fit one of them; Busy beyond MaxCounters; errors of the database, after which it
// counts as refused. A nil Book counts nothing.
func (b *Book) Take(ctx context.Context, on string, who *Who, a Amount) error {
	h, err := b.Reserve(ctx, on, who, a)
	if err != nil {
		return err
	}
	return h.Commit(ctx)
}

// Reserved is a use that has room and is not counted yet. Whoever reserved it commits or cancels it, once; the zero value is one that no
// quota counts, for which both do nothing.
type Reserved struct {
	book    *Book
	who     *Who
	amount  [sides]int64
	found   []*counter
	windows []int64 // of each
}

// Reserve is the first half of Take: the room for a use is kept, and nothing told or written, so that somebody else may still refuse
// the use. Until it is committed or cancelled others do not have that room. Errors are Take's.
func (b *Book) Reserve(ctx context.Context, on string, who *Who, a Amount) (Reserved, error) {
	if !b.Counts(on) {
		return Reserved{}, nil
	}
	want := sidesOf(a)
	b.mu.Lock()
	found, err := b.matching(on, who)
	if err != nil {
		b.mu.Unlock()
		return Reserved{}, err
	}
	for _, c := range found {
		if side := c.full(want); side >= 0 {
			c.refused++
			err, told := b.refusal(on, who, c, side), c.tell(toldExhausted)
			b.mu.Unlock()
			if told {
				if werr := b.settle(ctx, who, []*counter{c}); werr != nil {
					b.log.Error("journal that a quota is exhausted", "quota", c.rule.ID, "error", werr)
				}
			}
			return Reserved{}, err
		}
	}
	r := Reserved{book: b, who: who, amount: want, found: found, windows: make([]int64, len(found))}
	for i, c := range found {
		c.add(want, 1)
		r.windows[i] = c.seq
	}
	b.mu.Unlock()
	return r, nil
}

// Commit counts the use. The error is that of the database, after which it is cancelled.
func (r *Reserved) Commit(ctx context.Context) error {
	if r.book == nil || len(r.found) == 0 {
		return nil
	}
	r.book.mu.Lock()
	due := r.book.due(r.found)
	r.book.mu.Unlock()
	err := r.book.settle(ctx, r.who, due)
	if err != nil {
		r.Cancel()
	}
	return err
}

// Cancel gives the room back. A window that began anew meanwhile never had it.
func (r *Reserved) Cancel() {
	if r.book == nil {
		return
	}
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	for i, c := range r.found {
		if c.seq == r.windows[i] {
			c.add(r.amount, -1)
		}
	}
}

// Add counts what has happened already, such as the gas of a call: it refuses nothing, and what comes next is refused where it was
// too much. Errors are those of the database.
func (b *Book) Add(ctx context.Context, on string, who *Who, a Amount) error {
	if !b.Counts(on) || a == (Amount{}) {
		return nil
	}
	b.mu.Lock()
	found, err := b.matching(on, who)
	due := b.count(found, sidesOf(a))
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.settle(ctx, who, due)
}

// Spend counts what a use comes to while it goes on, such as the tokens of an answer: it is counted whatever the limit, and the error
// (BudgetExhausted) ends what goes beyond one.
func (b *Book) Spend(ctx context.Context, on string, who *Who, a Amount) error {
	if !b.Counts(on) || a == (Amount{}) {
		return nil
	}
	if err := b.Add(ctx, on, who, a); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	found, err := b.matching(on, who)
	for _, c := range found {
		for i, limit := range sidesOf(c.rule.Limit) {
			if limit > 0 && c.used[i] > limit {
				c.refused++
				return b.refusal(on, who, c, i)
			}
		}
	}
	return err
}

// matching finds the counters that a use is in, in windows that run now; mu is held.
func (b *Book) matching(on string, who *Who) ([]*counter, error) {
	var found []*counter
	now := b.clock.Mono()
	for _, r := range b.rules.Load().on[on] {
		for _, subject := range who.subjects(r.Per) {
			if subject == "" || !pattern.Glob(r.Of, subject, "") {
				continue
			}
			k := key{r.ID, subject}
			c := b.counters[k]
			if c == nil {
				if len(b.counters) >= MaxCounters {
					return nil, abi.Errorf(abi.Busy, "count %q for %q: %d counters of quotas run already", on, subject, len(b.counters)).
						WithHint("use a quota per person or per host beside one per project")
				}
				c = &counter{key: k, at: now - r.Window}
				b.counters[k] = c
			}
			if c.rule = r; now-c.at >= r.Window {
				b.begin(c)
			}
			found = append(found, c)
		}
	}
	return found, nil
}

// begin gives a counter a new window; mu is held.
func (b *Book) begin(c *counter) {
	b.windows++
	*c = counter{key: c.key, rule: c.rule, seq: b.windows, began: b.clock.stamp(), at: b.clock.Mono()}
}

// count adds to counters and returns those that have to be written before the use counts; mu is held.
func (b *Book) count(found []*counter, amount [sides]int64) (due []*counter) {
	for _, c := range found {
		c.add(amount, 1)
	}
	return b.due(found)
}

// due are the counters of which something has to be written or told; mu is held.
func (b *Book) due(found []*counter) (due []*counter) {
	for _, c := range found {
		near, full := c.level()
		told := near && c.tell(toldNearing)
		told = full && c.tell(toldExhausted) || told
		if told || c.overdrawn() {
			due = append(due, c)
		}
	}
	return due
}

func (b *Book) refusal(on string, who *Who, c *counter, side int) error {
	q := b.show(c)
	what := "a call of a tool"
	if on != Call {
		what = "a use of " + on
	}
	return abi.Errorf(abi.BudgetExhausted, "count %s for %q: the quota %q allows it %d %s in %s", what, c.key.subject, c.rule.ID, sidesOf(c.rule.Limit)[side], sideNames[side], c.rule.Window).
		WithHint("it begins anew at %s; the operator can do it at once: arw quota reset %s", q.Resets.Format("2006-01-02T15:04:05Z07:00"), c.rule.ID).
		WithDetail(api.QuotaRefusal{Quota: q, Side: sideNames[side]})
}
