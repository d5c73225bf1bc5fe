package lease

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

var (
	packName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*$`)
	packDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// checkWords says what is wrong with the words that go into the journal, "" when nothing is.
func checkWords(corr, by, reason string) string {
	name := func(s string) bool {
		return len(s) <= journal.MaxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
	}
	switch {
	case by == "" || !name(by) || !name(corr):
		return "it needs somebody who does it, named in at most 256 bytes without control characters"
	case len(reason) > 1000 || !utf8.ValidString(reason):
		return "a reason is text of at most 1000 bytes"
	}
	return ""
}

// Grant makes a lease and journals leases.granted. It is in force when Grant returns. Whether it may be given is for the
// caller to have decided: see package policy and Covers. Errors: Invalid for a grant that cannot be read, and those of
// the database.
func (b *Book) Grant(ctx context.Context, corr string, g Grant) (l Lease, err error) {
	err = b.write(ctx, "grant a lease", func(tx *sql.Tx) error {
		l, err = b.GrantTx(tx, corr, g)
		return err
	})
	return l, err
}

// GrantTx is Grant inside a write of the same database, so that a larger change and its leases are one. The lease is in
// force once that write is durable, and never was when it fails.
func (b *Book) GrantTx(tx *sql.Tx, corr string, g Grant) (Lease, error) {
	e, err := b.newEntry(corr, g)
	if err != nil {
		return Lease{}, err
	}
	if err := b.unshared(e.grant, e.patterns, b.coming); err != nil {
		return Lease{}, err
	}
	if err := b.insert(tx, e); err != nil {
		return Lease{}, b.db.Explain("grant a lease", err)
	}
	l := b.lease(e) // nobody else sees the entry yet
	if err := b.note(tx, "leases.granted", corr, g.By, l); err != nil {
		return Lease{}, err
	}
	b.coming = append(b.coming, coming{len(b.staged), e})
	b.stage(func() { b.add(e) })
	return l, nil
}

func (b *Book) newEntry(corr string, g Grant) (*entry, error) {
	g.Reason = b.reason(g.Reason)
	patterns, err := checkGrant(corr, g)
	if err != nil {
		return nil, err
	}
	g.Scope, g.Policies = slices.Clone(g.Scope), slices.Clone(g.Policies)
	g.TTL = g.TTL.Truncate(time.Millisecond)
	created := time.Now().Round(0).UTC().Truncate(time.Millisecond)
	e := &entry{
		id: NewID("lea_"), grant: g, patterns: patterns, corr: corr, created: created, ttl: g.TTL,
		expires: created.Add(g.TTL), gate: make(chan struct{}, 1),
	}
	e.deadline.Store(b.now() + int64(g.TTL))
	e.limit(g.Budget, Budget{})
	return e, nil
}

func checkGrant(corr string, g Grant) ([]admission, error) {
	wrong := ""
	switch {
	case !packName.MatchString(g.Pack):
		wrong = "the pack is not named namespace/name"
	case !packDigest.MatchString(g.Digest):
		wrong = "the digest is not sha256: and 64 hexadecimal digits"
	case g.TTL < MinTTL || g.TTL > MaxTTL:
		wrong = "a lifetime lies between 1s and 366d"
	case !g.Budget.sound():
		wrong = "a budget lies between 0 (unlimited) and 2^60"
	case len(g.Project) > journal.MaxName || len(g.Session) > journal.MaxName || len(g.Action) > journal.MaxName:
		wrong = "a project, a session and an action are named in at most 256 bytes"
	default:
		wrong = checkWords(corr, g.By, g.Reason)
	}
	if wrong != "" {
		return nil, abi.Errorf(abi.Invalid, "grant %q to pack %q: %s", g.Capability, clip(g.Pack), wrong)
	}
	return parseScope(g.Capability, g.Scope)
}

// Renew lets a renewable lease live for ttl from now, also when that is shorter than what it had left, and journals
// leases.renewed. An expired one lives again; its budget is not filled up. Errors: NotFound; Denied when it is not
// renewable; LeaseRevoked and BudgetExhausted, from which there is no return; Invalid for the lifetime; Conflict when
// it ended otherwise in the same moment.
func (b *Book) Renew(ctx context.Context, corr, id string, ttl time.Duration) (Lease, error) {
	if ttl < MinTTL || ttl > MaxTTL {
		return Lease{}, abi.Errorf(abi.Invalid, "renew lease %q: a lifetime lies between 1s and 366d", clip(id))
	}
	ttl = ttl.Truncate(time.Millisecond)
	var e *entry
	err := b.write(ctx, "renew a lease", func(tx *sql.Tx) (err error) {
		e, err = b.renewTx(tx, corr, id, ttl)
		return err
	})
	if err != nil {
		return Lease{}, err
	}
	return b.Get(e.id)
}

func (b *Book) renewTx(tx *sql.Tx, corr, id string, ttl time.Duration) (*entry, error) {
	b.mu.Lock()
	e, err := b.find(id)
	var l Lease
	if err == nil {
		l = b.lease(e)
	}
	b.mu.Unlock()
	if err == nil {
		err = mayRenew(l)
	}
	if err == nil && l.State != Live {
		err = b.unshared(e.grant, e.patterns, b.coming)
	}
	if err != nil {
		return nil, err
	}
	deadline, expires := b.now()+int64(ttl), time.Now().Round(0).UTC().Add(ttl).Truncate(time.Millisecond)
	if ok, err := b.updateExpiry(tx, id, ttl, expires); err != nil || !ok {
		if err == nil {
			err = abi.Errorf(abi.Conflict, "renew lease %q: it has just ended", id)
		}
		return nil, err
	}
	l.TTL, l.Expires, l.State, l.Ended = ttl, expires, Live, nil
	if err := b.note(tx, "leases.renewed", corr, l.By, l); err != nil {
		return nil, err
	}
	b.stage(func() {
		if s := e.state.Load(); s != stateLive && s != stateExpired {
			return // revoked or spent while this was being written
		}
		e.ttl, e.expires, e.ended = ttl, expires, nil
		e.deadline.Store(deadline)
		e.state.Store(stateLive)
		delete(b.pending, e)
		b.touch(e)
	})
	return e, nil
}

func mayRenew(l Lease) error {
	switch {
	case !l.Renewable:
		return abi.Errorf(abi.Denied, "renew lease %q: it was given once and is not renewable", l.ID).WithHint("grant a new lease")
	case l.State == Revoked:
		return abi.Errorf(abi.LeaseRevoked, "renew lease %q: it was revoked by %q: %s", l.ID, l.Ended.By, l.Ended.Reason)
	case l.State == Exhausted:
		return abi.Errorf(abi.BudgetExhausted, "renew lease %q: its budget of %s is spent", l.ID, bound(l.Budget))
	}
	return nil
}

// note journals an event about a lease in the write that changes it. Its body is the lease as it stands after it.
func (b *Book) note(tx *sql.Tx, kind, corr, actor string, l Lease) error {
	return b.noteAs(tx, kind, corr, actor, l, l)
}

func (b *Book) noteAs(tx *sql.Tx, kind, corr, actor string, l Lease, body any) error {
	in := l.Project
	if in == defaultProject {
		in = ""
	}
	_, err := b.journal.AppendTx(tx, journal.Event{Kind: kind, Corr: corr, Actor: actor, Project: in, Pack: l.Pack, Body: body})
	return err
}
