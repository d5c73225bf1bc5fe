package prompt

import (
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/view"
)

// Terms are for how long an answer holds. Exactly one field is set.
type Terms struct {
	Once    bool          // the calls that wait now, to their ends
	Calls   int64         // so many uses
	For     time.Duration // so long
	Session bool          // the session of the call that asked
	Project bool          // the project of the call that asked
}

// ParseTerms reads "once", "calls=N", a duration such as "15m", "session" or "project"; Invalid.
func ParseTerms(s string) (Terms, error) {
	switch s {
	case "", "once":
		return Terms{Once: true}, nil
	case "session":
		return Terms{Session: true}, nil
	case "project":
		return Terms{Project: true}, nil
	}
	if digits, ok := strings.CutPrefix(s, "calls="); ok {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n > 0 && n <= 1e15 && digits[0] != '+' {
			return Terms{Calls: n}, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= lease.MinTTL && d <= lease.MaxTTL {
		return Terms{For: d}, nil
	}
	return Terms{}, abi.Errorf(abi.Invalid, "read the terms %.80q: they are no terms", s).
		WithHint(`write once, calls=N, a duration such as 15m, session or project`)
}

// String is what ParseTerms reads.
func (t Terms) String() string {
	switch {
	case t.Calls > 0:
		return "calls=" + strconv.FormatInt(t.Calls, 10)
	case t.For > 0:
		return t.For.String()
	case t.Session:
		return "session"
	case t.Project:
		return "project"
	}
	return "once"
}

// fit says what is wrong with terms for a prompt.
func (t Terms) fit(p *Prompt, allow bool) error {
	switch {
	case allow && t.Once && len(p.Waiting) == 0:
		return abi.Errorf(abi.Conflict, "answer prompt %q: no call waits for it any more", p.ID).WithHint("answer for calls=N or a duration")
	case t.Session && p.Session == "":
		return abi.Errorf(abi.Invalid, "answer prompt %q: the call that asks has no session", p.ID).WithHint("answer for once, calls=N or a duration")
	case t.Project && p.Project == "":
		return abi.Errorf(abi.Invalid, "answer prompt %q: the call that asks belongs to no project", p.ID).WithHint("answer for once, calls=N or a duration")
	}
	return nil
}

// onceTTL bounds a lease for one action: the action's own end comes first.
const onceTTL = time.Hour

// Leases are what an answer of these terms gives: one lease, or one for each call that waits. The budget is that of the
// prompt where the terms say nothing else.
func (t Terms) Leases(p *Prompt) []lease.Grant {
	g := lease.Grant{Pack: p.Pack, Digest: p.Digest, Capability: p.Capability, Scope: p.Scope, TTL: p.TTL, Budget: p.Budget}
	switch {
	case t.Calls > 0:
		g.Budget.Calls = t.Calls
	case t.For > 0:
		g.TTL = t.For
	case t.Session:
		g.Where = lease.Where{Project: p.Project, Session: p.Session}
	case t.Project:
		g.Where = lease.Where{Project: p.Project}
	default:
		g.TTL = min(max(g.TTL, lease.MinTTL), onceTTL)
		all := make([]lease.Grant, 0, len(p.Waiting))
		for _, action := range p.Waiting {
			one := g
			one.Where = lease.Where{Action: action}
			all = append(all, one)
		}
		return all
	}
	return []lease.Grant{g}
}

// Prepared is an answer that allows and may be given: how many people have to give it, and what makes the leases inside the write that
// ends the prompt and names them.
type Prepared struct {
	Approvals int
	Give      func(*sql.Tx) ([]string, error)
}

// Settle ends a prompt with a person's answer. prepare judges an answer that allows, given the prompt with the calls that wait at
// that moment. Where it takes more people than have said yes, the answer is kept and the prompt waits on for the others: each has to be
// another (by Who), and to say yes to the same. One no ends it. The caller has made sure who answers. Errors: NotFound; Conflict for a prompt that has ended, and for "once" when no call waits; Invalid for terms that
// do not fit; prepare's.
func (b *Book) Settle(ctx context.Context, corr, id string, a Answer, prepare func(*Prompt, Terms) (Prepared, error)) (Prompt, error) {
	terms, err := ParseTerms(a.For)
	if err != nil {
		return Prompt{}, err
	}
	e, p, err := b.claim(ctx, id)
	if err != nil {
		return Prompt{}, err
	}
	defer b.unclaim(e)
	if err := terms.fit(&p, a.Allow); err != nil {
		return Prompt{}, err
	}
	a.For, a.Time = terms.String(), time.Now().UTC().Truncate(time.Millisecond)
	kind := KindDenied
	var ready Prepared
	if p.State = Denied; a.Allow {
		if ready, err = prepare(&p, terms); err != nil {
			return Prompt{}, err
		}
		if p.Approvals = max(p.Approvals, ready.Approvals); p.Approvals > 1 {
			if err := p.agree(a); err != nil {
				return Prompt{}, err
			}
			if len(p.Agreed) < p.Approvals {
				return b.keep(ctx, corr, e, p, a)
			}
		}
		p.State, kind = Allowed, KindAllowed
	} else {
		a.Until = a.Time.Add(terms.quiet())
	}
	err = b.write(ctx, "answer a prompt", func(tx *sql.Tx) (err error) {
		if a.Allow {
			if a.Leases, err = ready.Give(tx); err != nil {
				return err
			}
		}
		p.Answer = &a
		return b.end(tx, kind, corr, a.By, p)
	})
	if err != nil {
		return Prompt{}, err
	}
	b.close(e, p)
	return p, nil
}

// agree adds one person's yes. Conflict for one who has said it, or who says yes to something else than the first did.
func (p *Prompt) agree(a Answer) error {
	for _, other := range p.Agreed {
		if other.Who == a.Who {
			return abi.Errorf(abi.Conflict, "answer prompt %q: %q has said yes already, and %d different people have to", p.ID, a.Who, p.Approvals).
				WithHint("another operator answers it, with a token of their own: arw token create NAME --role operator")
		}
	}
	if len(p.Agreed) > 0 && (p.Agreed[0].For != a.For || !slices.Equal(p.Agreed[0].Scope, a.Scope)) {
		first := p.Agreed[0]
		return abi.Errorf(abi.Conflict, "answer prompt %q: %q said yes for %q on %q, and who agrees says yes to the same", p.ID, first.Who, first.For, first.Scope).
			WithHint("say the same, or deny it")
	}
	p.Agreed = append(p.Agreed, a)
	return nil
}

// keep writes down one yes of several; the prompt waits on, and ends when it would have.
func (b *Book) keep(ctx context.Context, corr string, e *entry, p Prompt, a Answer) (Prompt, error) {
	p.State = Pending
	doc, err := json.Marshal(p)
	if err != nil {
		return Prompt{}, err
	}
	if err := b.write(ctx, "keep one answer of several", func(tx *sql.Tx) error {
		if err := b.exec(tx, `UPDATE prompt SET doc = ? WHERE id = ? AND state = 'pending'`, string(doc), p.ID); err != nil {
			return err
		}
		return b.tell(tx, KindAgreed, corr, a.By, p)
	}); err != nil {
		return Prompt{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.p.Approvals, e.p.Agreed = p.Approvals, p.Agreed
	return e.copy(), nil
}

// quiet is how long a denial of these terms stands.
func (t Terms) quiet() time.Duration {
	switch {
	case t.For > 0:
		return t.For
	case t.Session, t.Project:
		return 24 * time.Hour
	}
	return Quiet
}

// claim takes the right to end a prompt.
func (b *Book) claim(ctx context.Context, id string) (*entry, Prompt, error) {
	b.mu.Lock()
	e := b.byID[id]
	if e == nil || e.answering || e.p.State != Pending {
		b.mu.Unlock()
		p, err := b.Get(ctx, id)
		if err == nil {
			err = abi.Errorf(abi.Conflict, "answer prompt %q: it is %s", id, p.State).WithHint("arw prompts list")
		}
		return nil, Prompt{}, err
	}
	e.answering = true
	p := e.copy()
	b.mu.Unlock()
	select {
	case <-e.asked:
	case <-ctx.Done():
		b.unclaim(e)
		return nil, Prompt{}, ctx.Err()
	}
	if e.err != nil {
		return nil, Prompt{}, notFound(id)
	}
	return e, p, nil
}

func (b *Book) unclaim(e *entry) {
	b.mu.Lock()
	e.answering = false
	b.mu.Unlock()
}

// close lets those go on who wait for a prompt that has ended.
func (b *Book) close(e *entry, p Prompt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.p = p
	delete(b.pending, e.key)
	delete(b.byID, p.ID)
	if p.State == Denied {
		b.quiet[e.key] = p.Answer.Until
	}
	close(e.done)
}

// Run ends prompts whose time is over, with no as the answer, and forgets old ones. It returns when ctx ends.
func (b *Book) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-timer.C:
		}
		wait, err := b.round(ctx)
		if err != nil {
			wait = retry
		}
		timer.Reset(wait)
	}
}

func (b *Book) round(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	wait := look
	var due []*entry
	b.mu.Lock()
	for _, e := range b.byID {
		if left := e.p.Expires.Sub(now); left > 0 {
			wait = min(wait, left)
		} else {
			due = append(due, e)
		}
	}
	for key, until := range b.quiet {
		if now.After(until) {
			delete(b.quiet, key)
		}
	}
	b.mu.Unlock()
	for _, e := range due {
		if err := b.expire(ctx, e); err != nil {
			return 0, err
		}
	}
	return min(wait, math.MaxInt64), b.forget(ctx, now)
}

// expire ends one prompt; somebody who is answering it is faster.
func (b *Book) expire(ctx context.Context, e *entry) error {
	_, p, err := b.claim(ctx, e.p.ID)
	if err != nil {
		if code := abi.CodeOf(err); code == abi.Conflict || code == abi.NotFound {
			return nil
		}
		return err
	}
	defer b.unclaim(e)
	p.State = Expired
	if err := b.write(ctx, "end a prompt", func(tx *sql.Tx) error { return b.end(tx, KindExpired, p.Corr, "host", p) }); err != nil {
		return err
	}
	b.close(e, p)
	return nil
}

// forget removes answered prompts past their retention from the table and the read model.
func (b *Book) forget(ctx context.Context, now time.Time) error {
	before := now.Add(-retention).UnixMilli()
	rows, err := b.db.Read().QueryContext(ctx, `SELECT id FROM prompt WHERE state <> 'pending' AND created_ms < ? AND until_ms < ? LIMIT 100`, before, now.UnixMilli())
	if err != nil {
		return b.db.Explain("forget prompts", err)
	}
	defer rows.Close()
	var old []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return b.db.Explain("forget prompts", err)
		}
		old = append(old, id)
	}
	if err := rows.Err(); err != nil || len(old) == 0 {
		return b.db.Explain("forget prompts", err)
	}
	return b.write(ctx, "forget prompts", func(tx *sql.Tx) error {
		for _, id := range old {
			if err := b.exec(tx, `DELETE FROM prompt WHERE id = ?`, id); err != nil {
				return err
			}
		}
		_, err := b.view.ChangeTx(tx, view.Cause{Actor: "host"}, ViewID, func(e *view.Edit) error {
			for _, id := range old {
				e.Remove("prompts", id)
			}
			return nil
		})
		return err
	})
}
