// Package prompt keeps the questions that only a person answers: may this pack do that? A call whose policy says so waits
// for the answer in the middle of a host call and then goes on, or is refused.
//
// A Book asks and remembers; it gives nothing. Whoever answers has been checked by the edge and makes the lease (package
// pack does), so that neither a pack nor an agent can reach an approval by any path through here. No answer is an answer:
// when a prompt's time is over it is no. The same question is asked once however many calls wait for it, and a pack that
// asks too much is refused without a question. docs/spec/prompts.md is the normative description.
package prompt

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/view"
)

// The kinds of events about prompts; the body of each is the Prompt as it stands after it.
const (
	KindAsked   = "policy.prompt"
	KindAllowed = "policy.allow"
	KindDenied  = "policy.deny"
	KindExpired = "policy.expired"
	KindAgreed  = "policy.agreed"       // one person said yes, and more have to
	KindFlood   = "policy.prompt.flood" // body: Flood
)

// ViewID is the read model: every prompt that waits, and those of the last day.
const ViewID = "prompts"

// The states of a prompt.
const (
	Pending = "pending"
	Allowed = "allowed"
	Denied  = "denied"
	Expired = "expired"
)

// Bounds against a pack that asks too much.
const (
	MaxPending     = 64               // prompts that wait, in all
	MaxPendingPack = 8                // of one pack
	MaxPerHour     = 30               // that one pack may raise in an hour
	MaxWaiting     = 32               // calls that wait for one prompt
	Quiet          = time.Minute      // in which a question that was denied once is not asked again
	MinHold        = time.Second      // that a prompt waits
	MaxHold        = 24 * time.Hour   //
	retention      = 24 * time.Hour   // of an answered prompt in the read model
	retry          = 2 * time.Second  // after a write that failed
	look           = 30 * time.Second // at most between two looks at what is due
)

// Ask is a question: who wants what, and why in the words of the manifest.
type Ask struct {
	Pack        string         `json:"pack"`
	Version     string         `json:"version"`
	Digest      string         `json:"digest"`
	Tool        string         `json:"tool"`
	Capability  abi.Capability `json:"capability"`
	Target      string         `json:"target,omitempty"` // what the call wanted
	Scope       []string       `json:"scope"`            // what a lease would cover
	Why         string         `json:"why"`              // of the manifest
	Rule        string         `json:"rule,omitempty"`   // of the policy that asks
	Policies    []string       `json:"policies,omitempty"`
	TTL         time.Duration  `json:"-"` // of the lease that is proposed
	Budget      lease.Budget   `json:"budget,omitzero"`
	Actor       string         `json:"actor"`
	Corr        string         `json:"corr_id"`
	lease.Where                // of the call that asked first

	// Approvals is how many different people have to say yes; 0 and 1 are one. Preview: whoever says yes names the digest of the preview
	// that was looked at.
	Approvals int  `json:"approvals,omitempty"`
	Preview   bool `json:"preview,omitempty"`

	Hold  time.Duration `json:"-"` // how long the question stands
	Clean bool          `json:"-"` // nothing has come of the call yet
}

// key names the question: the same pack that wants the same in the same project.
func (a *Ask) key() string {
	raw, _ := json.Marshal([]any{a.Pack, a.Digest, a.Capability, a.Scope, a.Project, a.Session})
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Prompt is a question with what became of it.
type Prompt struct {
	ID string `json:"id"`
	Ask
	State   string    `json:"state"`
	TTLMS   int64     `json:"ttl_ms"` // proposed
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`          // then the answer is no
	Waiting []string  `json:"waiting"`          // actions
	Agreed  []Answer  `json:"agreed,omitempty"` // who said yes so far, where more than one person has to
	Answer  *Answer   `json:"answer,omitempty"`
}

// Answer is what a person said.
type Answer struct {
	Allow  bool      `json:"allow"`
	For    string    `json:"for"` // see Terms
	By     string    `json:"by"`
	Who    string    `json:"who,omitempty"` // the name of the credential it was said with
	Reason string    `json:"reason,omitempty"`
	Scope  []string  `json:"scope,omitempty"`   // instead of what the prompt proposes
	Seen   string    `json:"preview,omitempty"` // the digest of the preview that was looked at
	Time   time.Time `json:"time"`
	Leases []string  `json:"leases,omitempty"`
	Until  time.Time `json:"until,omitzero"` // a denial: until then the question is not asked again
}

// Flood says that a pack asks too much.
type Flood struct {
	Pack   string `json:"pack"`
	Reason string `json:"reason"`
}

// Schema is prompt's part of the database.
var Schema = []string{`
CREATE TABLE prompt (
	id         TEXT PRIMARY KEY,
	key        TEXT NOT NULL,
	pack       TEXT NOT NULL,
	state      TEXT NOT NULL CHECK (state IN ('pending', 'allowed', 'denied', 'expired')),
	doc        TEXT NOT NULL CHECK (json_valid(doc)),
	ttl_ms     INTEGER NOT NULL,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	until_ms   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX prompt_state ON prompt (state, created_ms);
CREATE TABLE prompt_wait (
	prompt TEXT NOT NULL REFERENCES prompt (id) ON DELETE CASCADE,
	action TEXT NOT NULL,
	clean  INTEGER NOT NULL,
	PRIMARY KEY (prompt, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX prompt_wait_action ON prompt_wait (action);`}

// Book keeps the prompts of a host. It is safe for concurrent use. Run it so that prompts end.
type Book struct {
	db      *db.DB
	journal *journal.Journal
	view    *view.View
	wake    chan struct{}

	// mu guards the rest; it is never held across I/O.
	mu      sync.Mutex
	pending map[string]*entry // by key
	byID    map[string]*entry
	quiet   map[string]time.Time // denied questions by key, until when
	raised  map[string][]time.Time
	warned  map[string]time.Time
}

// entry is a prompt that waits, or has just ended. done is closed when it is answered.
type entry struct {
	p         Prompt
	key       string
	waiting   map[string]bool // by action: whether it is clean
	done      chan struct{}
	answering bool
	asked     chan struct{} // closed when the question is durable, or failed
	err       error         // set before asked is closed
}

// Open reads the prompts that wait. One whose time was over while the host was down ends as soon as the book runs.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, v *view.View) (*Book, error) {
	b := &Book{
		db: d, journal: j, view: v, wake: make(chan struct{}, 1), pending: map[string]*entry{}, byID: map[string]*entry{},
		quiet: map[string]time.Time{}, raised: map[string][]time.Time{}, warned: map[string]time.Time{},
	}
	if err := b.load(ctx); err != nil {
		return nil, d.Explain("read the prompts", err)
	}
	return b, nil
}

// ErrWaiting is what Wait's error wraps when its context ended before an answer came.
var ErrWaiting = errors.New("no answer came yet")

// Wait asks a question, or joins those who wait for its answer, and returns when there is one: nil means that a lease was
// given. Errors: Denied when the answer is no, no answer came in time, or the pack asks too much; what ended ctx, wrapping
// ErrWaiting; those of the database.
func (b *Book) Wait(ctx context.Context, a Ask) error {
	a.Hold = min(max(a.Hold, MinHold), MaxHold)
	e, err := b.join(ctx, a)
	if err != nil {
		return err
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		b.leave(e, a.Action)
		return unanswered(ctx, a)
	}
	b.mu.Lock()
	p := e.copy()
	b.mu.Unlock()
	// From here on the call does things: should the host die now, it must not begin again.
	if err := b.write(ctx, "go on after an answer", func(tx *sql.Tx) error {
		return b.exec(tx, `DELETE FROM prompt_wait WHERE prompt = ? AND action = ?`, p.ID, a.Action)
	}); err != nil {
		return err
	}
	return p.verdict()
}

func unanswered(ctx context.Context, a Ask) error {
	return abi.Errorf(abi.CodeOf(ctx.Err()), "ask whether %q may use %q: %w", a.Pack, a.Capability, ErrWaiting)
}

// verdict is the answer as an error.
func (p *Prompt) verdict() error {
	switch p.State {
	case Allowed:
		return nil
	case Denied:
		err := abi.Errorf(abi.Denied, "use %q for pack %q: %s said no to prompt %q", p.Capability, p.Pack, p.Answer.By, p.ID)
		if p.Answer.Reason != "" {
			err = abi.Errorf(abi.Denied, "use %q for pack %q: %s said no to prompt %q: %s", p.Capability, p.Pack, p.Answer.By, p.ID, p.Answer.Reason)
		}
		return err.WithDetail(p)
	}
	return abi.Errorf(abi.Denied, "use %q for pack %q: nobody answered prompt %q in time", p.Capability, p.Pack, p.ID).
		WithHint("answer the next one: arw prompts watch").WithDetail(p)
}

// join finds the prompt of a question or makes it.
func (b *Book) join(ctx context.Context, a Ask) (*entry, error) {
	key, now := a.key(), time.Now()
	b.mu.Lock()
	if until, ok := b.quiet[key]; ok && now.Before(until) {
		b.mu.Unlock()
		return nil, abi.Errorf(abi.Denied, "use %q for pack %q: a person said no; it is not asked again before %s", a.Capability, a.Pack, until.UTC().Format(time.RFC3339))
	}
	if e := b.pending[key]; e != nil {
		return e, b.joinOld(ctx, e, a)
	}
	if why := b.flooded(a.Pack, now); why != "" {
		warn := now.Sub(b.warned[a.Pack]) > time.Minute
		if warn {
			b.warned[a.Pack] = now
		}
		b.mu.Unlock()
		return nil, b.refuseFlood(ctx, a, why, warn)
	}
	e := newEntry(a, now)
	b.pending[key], b.byID[e.p.ID] = e, e
	b.raised[a.Pack] = append(b.raised[a.Pack], now)
	b.mu.Unlock()
	err := b.write(ctx, "ask a person", func(tx *sql.Tx) error { return b.insert(tx, e) })
	if err != nil {
		b.mu.Lock()
		delete(b.pending, key)
		delete(b.byID, e.p.ID)
		b.mu.Unlock()
	}
	e.err = err
	close(e.asked)
	b.poke()
	return e, err
}

// joinOld adds a call to a prompt that waits; it is called with mu held and gives it back.
func (b *Book) joinOld(ctx context.Context, e *entry, a Ask) error {
	if len(e.waiting) >= MaxWaiting {
		b.mu.Unlock()
		return abi.Errorf(abi.Busy, "ask whether %q may use %q: %d calls wait for the answer already", a.Pack, a.Capability, MaxWaiting)
	}
	e.waiting[a.Action] = a.Clean
	b.mu.Unlock()
	select {
	case <-e.asked:
	case <-ctx.Done():
		return unanswered(ctx, a)
	}
	if e.err != nil {
		return e.err
	}
	return b.write(ctx, "wait for a person", func(tx *sql.Tx) error { return b.insertWait(tx, e, a) })
}

func newEntry(a Ask, now time.Time) *entry {
	created := now.UTC().Truncate(time.Millisecond)
	p := Prompt{
		ID: lease.NewID("prm_"), Ask: a, State: Pending, TTLMS: a.TTL.Milliseconds(), Created: created, Expires: created.Add(a.Hold),
		Waiting: []string{},
	}
	p.Scope, p.Policies = append([]string{}, a.Scope...), slices.Clone(a.Policies)
	return &entry{p: p, key: a.key(), waiting: map[string]bool{a.Action: a.Clean}, done: make(chan struct{}), asked: make(chan struct{})}
}

// copy is the prompt as it stands; mu is held.
func (e *entry) copy() Prompt {
	p := e.p
	p.Waiting = []string{}
	for id := range e.waiting {
		p.Waiting = append(p.Waiting, id)
	}
	slices.Sort(p.Waiting)
	p.Agreed = slices.Clone(p.Agreed)
	return p
}

// flooded says why a pack may not ask now; mu is held.
func (b *Book) flooded(pack string, now time.Time) string {
	recent := slices.DeleteFunc(b.raised[pack], func(t time.Time) bool { return now.Sub(t) > time.Hour })
	if b.raised[pack] = recent; len(recent) == 0 {
		delete(b.raised, pack)
	}
	mine := 0
	for _, e := range b.pending {
		if e.p.Pack == pack {
			mine++
		}
	}
	switch {
	case len(b.pending) >= MaxPending:
		return "too many questions wait for a person"
	case mine >= MaxPendingPack:
		return "too many questions of this pack wait for a person"
	case len(recent) >= MaxPerHour:
		return "this pack has asked too much in the last hour"
	}
	return ""
}

func (b *Book) refuseFlood(ctx context.Context, a Ask, why string, warn bool) error {
	if warn {
		if _, err := b.journal.Append(context.WithoutCancel(ctx), journal.Event{
			Kind: KindFlood, Corr: a.Corr, Actor: "host", Project: a.Project, Pack: a.Pack, Action: a.Action, Body: Flood{a.Pack, why},
		}); err != nil {
			return err
		}
	}
	return abi.Errorf(abi.Denied, "use %q for pack %q: %s, so nobody was asked", a.Capability, a.Pack, why).
		WithHint("answer what waits: arw prompts list; or grant by hand: arw lease grant %s %s", a.Pack, a.Capability)
}

// leave takes a call off a prompt.
func (b *Book) leave(e *entry, action string) {
	b.mu.Lock()
	delete(e.waiting, action)
	b.mu.Unlock()
}

func (b *Book) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *Book) write(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
	return b.db.Explain(doing, b.db.Write(ctx, fn))
}
