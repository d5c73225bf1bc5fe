package capsule

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/policy"
)

// The kinds of events, whose bodies are Entry.
const (
	KindApplied   = "policy.capsule.applied"
	KindFailed    = "policy.capsule.failed"
	KindExpired   = "policy.capsule.expired"
	KindTeardown  = "policy.capsule.teardown"
	KindForwarded = "policy.capsule.forwarded"
)

// The states of a capsule on this host.
const (
	Active  = "active"
	Expired = "expired"
	Torn    = "torn_down"
	Failed  = "failed" // its issuer's signature is good no more
)

// Parts are what a Book stands on; Log and Now may be nil.
type Parts struct {
	DB      *db.DB
	Journal *journal.Journal
	Policy  *policy.Live
	Issuers *Issuers
	Log     *slog.Logger
	Now     func() time.Time
}

// held is a capsule that this host has, or had, adopted.
type held struct {
	env     Envelope
	state   string
	adopted time.Time
	by      string
	ended   time.Time
	reason  string
}

// Book keeps the capsules of a host.
type Book struct {
	db      *db.DB
	journal *journal.Journal
	policy  *policy.Live
	log     *slog.Logger
	now     func() time.Time
	node    string
	rails   atomic.Pointer[[]rail]

	mu      sync.Mutex // one change at a time
	issuers *Issuers
	held    map[string]*held
	changed chan struct{} // capacity 1: wakes Run
}

// Open reads the book and holds every capsule of it to the clock and to its issuer again; what does not stand that is ended,
// with its event, before Open returns. Errors: Corrupt and those of the database.
func Open(ctx context.Context, p Parts) (*Book, error) {
	b := &Book{db: p.DB, journal: p.Journal, policy: p.Policy, issuers: p.Issuers, log: p.Log, now: p.Now, held: map[string]*held{}, changed: make(chan struct{}, 1)}
	if b.issuers == nil {
		b.issuers = &Issuers{}
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	return b, b.Trust(ctx, b.issuers)
}

// Node is this host's name on the paths of capsules.
func (b *Book) Node() string { return b.node }

// Cause says who changes something.
type Cause struct{ Corr, By, Project, Reason string }

// Adopt verifies a capsule, asks Cedar and puts it in force; the very next use of anything is held to it. One of an id that holds
// already is renewed or replaced by a later one; the same one again changes nothing. Whatever the answer, the ledger has it.
// Errors: Unsigned and Untrusted (signature), Denied (Cedar, hops), LeaseExpired, Conflict (an earlier one than is known), Invalid.
func (b *Book) Adopt(ctx context.Context, by Cause, e *Envelope) (Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := e.check(); err != nil {
		return Status{}, err
	}
	old, now := b.held[e.Capsule.ID], b.now().UTC()
	if err := b.mayAdopt(by, e, old, now); err != nil {
		b.note(ctx, KindFailed, b.entry(by, e, "refused", err.Error(), now))
		return Status{}, err
	}
	if same(old, e) {
		return b.status(old, now), nil
	}
	h := &held{env: *e, state: Active, adopted: now, by: by.By}
	decision := "adopted"
	if old != nil && old.state == Active {
		decision = "renewed"
	}
	err := b.db.WriteSure(ctx, func(tx *sql.Tx) error {
		if err := putRow(tx, h); err != nil {
			return err
		}
		return b.write(tx, KindApplied, b.entry(by, e, decision, by.Reason, now))
	})
	if err != nil {
		return Status{}, b.db.Explain("adopt a capsule", err)
	}
	b.held[e.Capsule.ID] = h
	b.compile()
	return b.status(h, now), nil
}

func same(old *held, e *Envelope) bool {
	return old != nil && old.state == Active && old.env.Capsule.Fingerprint() == e.Capsule.Fingerprint()
}

// mayAdopt is every reason against it. Renewal is adoption: nothing is taken from what was verified before.
func (b *Book) mayAdopt(by Cause, e *Envelope, old *held, now time.Time) error {
	c := &e.Capsule
	if err := b.issuers.Verify(e); err != nil {
		return err
	}
	switch {
	case c.IssuedAt.After(now.Add(Skew)):
		return abi.Errorf(abi.Invalid, "adopt capsule %q: it was issued at %s, which has not come", c.ID, c.IssuedAt.Format(time.RFC3339))
	case !now.Before(c.LeaseUntil):
		return abi.Errorf(abi.LeaseExpired, "adopt capsule %q: its lease ended at %s", c.ID, c.LeaseUntil.Format(time.RFC3339)).
			WithHint("ask its issuer for a renewed one")
	case e.Left() < 0:
		return abi.Errorf(abi.Denied, "adopt capsule %q: it went through %d nodes and may be at %d", c.ID, len(e.Path), c.HopTTL)
	case slices.Contains(e.Path, b.node):
		return abi.Errorf(abi.Denied, "adopt capsule %q: it was here already", c.ID)
	}
	widens, again := false, false
	if old != nil {
		if err := later(c, &old.env.Capsule, old.state); err != nil {
			return err
		}
		again = (old.state == Torn || old.state == Failed) && c.Fingerprint() == old.env.Capsule.Fingerprint()
		for _, d := range old.env.Capsule.Denies {
			widens = widens || old.state == Active && !slices.Contains(c.Denies, d)
		}
	}
	got := b.policy.Decide(policy.Request{
		Action: policy.ActionAdopt, Pack: policy.Pack{Name: "host/capsules"}, Actor: by.By, Project: by.Project,
		Capsule: &policy.Capsule{
			ID: c.ID, Issuer: c.Issuer, Version: c.Version, Propagate: c.Propagate, Denies: c.Denies, HopsLeft: int64(e.Left()), Widens: widens, Again: again,
		},
	})
	if !got.Allowed {
		return abi.Errorf(abi.Denied, "adopt capsule %q as %q: %s", c.ID, by.By, got.Reason).WithDetail(got)
	}
	return nil
}

// later refuses what would put an older word in the place of a newer one, and an id that belongs to another issuer.
func later(c, old *Capsule, state string) error {
	switch {
	case c.Issuer != old.Issuer && state == Active:
		return abi.Errorf(abi.Conflict, "adopt capsule %q of %q: the id belongs to %q until its capsule ends", c.ID, c.Issuer, old.Issuer)
	case c.Issuer != old.Issuer || c.Fingerprint() == old.Fingerprint():
		return nil
	case c.Version < old.Version || !c.IssuedAt.After(old.IssuedAt):
		return abi.Errorf(abi.Conflict, "adopt capsule %q: version %d of %s is not later than version %d of %s, which is known here",
			c.ID, c.Version, c.IssuedAt.Format(time.RFC3339), old.Version, old.IssuedAt.Format(time.RFC3339))
	}
	return nil
}

// Teardown ends capsules before their time, all that hold when no id is given. A dry one only tells. NotFound.
func (b *Book) Teardown(ctx context.Context, by Cause, ids []string, dry bool) ([]Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(ids) == 0 {
		for id, h := range b.held {
			if h.state == Active {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
	}
	now, out := b.now().UTC(), []Status{}
	for _, id := range ids {
		h := b.held[id]
		if h == nil || h.state != Active {
			return nil, abi.Errorf(abi.NotFound, "tear down capsule %.80q: none of that id holds", id).WithHint("arw capsule list")
		}
		out = append(out, b.status(h, now))
	}
	if dry {
		return out, nil
	}
	for i, id := range ids {
		h := b.held[id]
		if h.state != Active {
			continue // named twice
		}
		if err := b.end(ctx, by, h, Torn, KindTeardown, now); err != nil {
			return nil, err
		}
		out[i] = b.status(h, now)
	}
	return out, nil
}

// Forward is a capsule as this node hands it on to a child or a peer. Errors: NotFound, Denied, Invalid.
func (b *Book) Forward(ctx context.Context, by Cause, id, to string) (*Envelope, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, now := b.held[id], b.now().UTC()
	if h == nil || h.state != Active || !now.Before(h.env.Capsule.LeaseUntil) {
		return nil, abi.Errorf(abi.NotFound, "forward capsule %.80q: none of that id holds", id).WithHint("arw capsule list")
	}
	out, err := h.env.Forward(b.node, to)
	if err != nil {
		return nil, err
	}
	b.note(ctx, KindForwarded, b.entry(by, out, "forwarded", "to a "+to, now))
	return out, nil
}

// Trust puts other issuers in force and holds every capsule to them: one whose signature is good no more ends (failed).
func (b *Book) Trust(ctx context.Context, s *Issuers) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.issuers = s
	now, host := b.now().UTC(), Cause{By: "host"}
	var errs []error
	for _, id := range b.ids() {
		h := b.held[id]
		if h.state != Active {
			continue
		}
		if !now.Before(h.env.Capsule.LeaseUntil) {
			errs = append(errs, b.end(ctx, host, h, Expired, KindExpired, now))
		} else if err := s.Verify(&h.env); err != nil {
			errs = append(errs, b.end(ctx, Cause{By: "host", Reason: err.Error()}, h, Failed, KindFailed, now))
		}
	}
	b.compile()
	return errors.Join(errs...)
}

// end writes the end of a capsule, then lets go of it: while it cannot be written it holds.
func (b *Book) end(ctx context.Context, by Cause, h *held, state, kind string, now time.Time) error {
	next := *h
	next.state, next.ended, next.reason = state, now, by.Reason
	err := b.db.WriteSure(ctx, func(tx *sql.Tx) error {
		if err := putRow(tx, &next); err != nil {
			return err
		}
		return b.write(tx, kind, b.entry(by, &h.env, state, by.Reason, now))
	})
	if err != nil {
		return b.db.Explain("end a capsule", err)
	}
	*h = next
	b.compile()
	return nil
}

// compile puts in force what is held, and wakes Run.
func (b *Book) compile() {
	var rails []rail
	for _, id := range b.ids() {
		if h := b.held[id]; h.state == Active {
			rails = append(rails, newRail(&h.env.Capsule))
		}
	}
	b.rails.Store(&rails)
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func (b *Book) ids() []string {
	ids := make([]string, 0, len(b.held))
	for id := range b.held {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Run writes down the ends of leases until ctx ends. Nothing waits for it: a capsule whose time is over denies nothing.
func (b *Book) Run(ctx context.Context) error {
	for {
		wait := time.NewTimer(b.expire(ctx))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		case <-b.changed:
			wait.Stop()
		}
	}
}

// expire ends what is over and returns how long the next one has.
func (b *Book) expire(ctx context.Context) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, now := time.Hour, b.now().UTC()
	for _, id := range b.ids() {
		h := b.held[id]
		if h.state != Active {
			continue
		}
		if left := h.env.Capsule.LeaseUntil.Sub(now); left > 0 {
			next = min(next, left)
		} else if err := b.end(ctx, Cause{By: "host"}, h, Expired, KindExpired, now); err != nil && ctx.Err() == nil {
			b.log.Error("write the end of a capsule", "capsule", id, "error", err)
			next = min(next, time.Minute)
		}
	}
	return next
}

func newNode() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // it never fails
	return "node_" + hex.EncodeToString(raw[:])
}

func (b *Book) entry(by Cause, e *Envelope, decision, reason string, now time.Time) Entry {
	return Entry{
		Time: now.Truncate(time.Millisecond), Capsule: e.Capsule.ID, Version: e.Capsule.Version, Fingerprint: e.Capsule.Fingerprint(), Issuer: e.Capsule.Issuer,
		Node: b.node, Project: by.Project, Decision: decision, Reason: reason, HopsLeft: e.Left(), LeaseUntil: e.Capsule.LeaseUntil, By: cmp.Or(by.By, "host"), Corr: by.Corr,
	}
}

// note writes an entry that changes nothing. It must not turn a refusal into another error.
func (b *Book) note(ctx context.Context, kind string, e Entry) {
	err := b.db.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error { return b.write(tx, kind, e) })
	if err != nil {
		b.log.Error("write the ledger of capsules", "error", err)
	}
}
