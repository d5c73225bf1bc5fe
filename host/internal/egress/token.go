package egress

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/manifests/reach"
)

// The kinds of events about tokens.
const (
	KindTokenIssued  = "egress.token.issued"
	KindTokenRevoked = "egress.token.revoked"
)

// Token is what a program that speaks through the loopback proxy shows: on whose behalf it acts, where it may go, until when and
// how much. It is a lease for what is no pack. The secret is shown once and stored as a digest.
type Token struct {
	ID      string    `json:"id"`
	Actor   string    `json:"actor"` // "agent:NAME", "person:NAME" or "process:NAME"
	Project string    `json:"project,omitempty"`
	Scope   []string  `json:"scope"` // as of an http lease, see package reach
	Expires time.Time `json:"expires"`
	Calls   int64     `json:"calls,omitempty"` // 0: no bound
	Bytes   int64     `json:"bytes,omitempty"`
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`

	UsedCalls int64 `json:"used_calls"` // in this life of the host
	UsedBytes int64 `json:"used_bytes"`
}

// token is a Token in force.
type token struct {
	Token
	hash    [32]byte
	entries []reach.Entry
	revoked atomic.Bool
	calls   atomic.Int64
	bytes   atomic.Int64
}

// Lifetimes of tokens.
const (
	DefaultTokenTTL = time.Hour
	MaxTokenTTL     = 30 * 24 * time.Hour
)

func (t *Token) check() (entries []reach.Entry, err error) {
	switch {
	case len(t.Actor) < 3 || len(t.Actor) > 200 || !slices.ContainsFunc([]string{"agent:", "person:", "process:"}, func(p string) bool {
		return len(t.Actor) > len(p) && t.Actor[:len(p)] == p
	}):
		return nil, abi.Errorf(abi.Invalid, "issue an egress token: the actor %.80q is none of agent:NAME, person:NAME and process:NAME", t.Actor)
	case len(t.Scope) == 0 || len(t.Scope) > 64:
		return nil, abi.Errorf(abi.Invalid, "issue an egress token for %q: it needs 1 to 64 scope entries", t.Actor).WithHint("such as --scope 'CONNECT https://example.com'")
	case t.Calls < 0 || t.Bytes < 0:
		return nil, abi.Errorf(abi.Invalid, "issue an egress token for %q: a budget is not negative", t.Actor)
	}
	for _, text := range t.Scope {
		e, err := reach.Parse(text)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "issue an egress token for %q: scope %.200q: %w", t.Actor, text, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Issue makes a token and returns its secret, which nobody can read again.
func (g *Guard) Issue(ctx context.Context, by Cause, t Token) (Token, string, error) {
	entries, err := t.check()
	if err != nil {
		return Token{}, "", err
	}
	now := time.Now().UTC().Truncate(time.Second)
	switch {
	case t.Expires.IsZero():
		t.Expires = now.Add(DefaultTokenTTL)
	case !t.Expires.After(now) || t.Expires.After(now.Add(MaxTokenTTL+time.Minute)):
		return Token{}, "", abi.Errorf(abi.Invalid, "issue an egress token for %q: it lives up to 30 days from now", t.Actor)
	}
	t.ID, t.By, t.Expires, t.UsedCalls, t.UsedBytes = newID("egt"), by.Actor, t.Expires.UTC().Truncate(time.Second), 0, 0
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // it never fails
	secret := "arwe_" + base64.RawURLEncoding.EncodeToString(raw[:])
	hash := sha256.Sum256([]byte(secret))
	body, err := json.Marshal(t)
	if err != nil {
		return Token{}, "", err
	}
	err = g.db.Write(ctx, func(tx *sql.Tx) error {
		if err := g.exec(tx, "INSERT INTO egress_token (id, hash, body) VALUES (?, ?, ?)", t.ID, hex.EncodeToString(hash[:]), string(body)); err != nil {
			return err
		}
		_, err := g.journal.AppendTx(tx, journal.Event{Kind: KindTokenIssued, Corr: by.Corr, Actor: by.Actor, Project: t.Project, Body: json.RawMessage(body)})
		return err
	})
	if err != nil {
		return Token{}, "", g.db.Explain("issue an egress token", err)
	}
	g.mu.Lock()
	g.tokens[t.ID] = &token{Token: t, hash: hash, entries: entries}
	g.mu.Unlock()
	return t, secret, nil
}

// Revoke ends a token; transfers under it end with their next bytes.
func (g *Guard) Revoke(ctx context.Context, by Cause, id string) error {
	g.mu.Lock()
	t := g.tokens[id]
	g.mu.Unlock()
	if t == nil {
		return abi.Errorf(abi.NotFound, "revoke egress token %.80q: there is none of that id", id).WithHint("arw egress token list")
	}
	t.revoked.Store(true) // before it is durable: the other way round would be generous
	err := g.db.Write(ctx, func(tx *sql.Tx) error {
		if err := g.exec(tx, "DELETE FROM egress_token WHERE id = ?", id); err != nil {
			return err
		}
		_, err := g.journal.AppendTx(tx, journal.Event{Kind: KindTokenRevoked, Corr: by.Corr, Actor: by.Actor, Project: t.Project, Body: map[string]any{"id": id, "actor": t.Actor}})
		return err
	})
	if err == nil {
		g.mu.Lock()
		delete(g.tokens, id)
		g.mu.Unlock()
	}
	return g.db.Explain("revoke an egress token", err)
}

// Tokens lists those in force, by id.
func (g *Guard) Tokens() []Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []Token{}
	for _, t := range g.tokens {
		if time.Now().Before(t.Expires) && !t.revoked.Load() {
			shown := t.Token
			shown.UsedCalls, shown.UsedBytes = t.calls.Load(), t.bytes.Load()
			out = append(out, shown)
		}
	}
	slices.SortFunc(out, func(a, b Token) int { return a.Expires.Compare(b.Expires) })
	return out
}

func (g *Guard) loadTokens(ctx context.Context) error {
	rows, err := g.db.Read().QueryContext(ctx, "SELECT hash, body FROM egress_token")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var hash, body string
		if err := rows.Scan(&hash, &body); err != nil {
			return err
		}
		t := &token{}
		if err := json.Unmarshal([]byte(body), &t.Token); err != nil {
			return err
		}
		if t.entries, err = t.check(); err != nil {
			return err
		}
		if n, err := hex.Decode(t.hash[:], []byte(hash)); err != nil || n != 32 {
			return abi.Errorf(abi.Corrupt, "read egress token %q: its digest is broken", t.ID)
		}
		g.tokens[t.ID] = t
	}
	return rows.Err()
}

// authenticate finds the token of a secret, comparing all of them in constant time.
func (g *Guard) authenticate(secret string) (*token, error) {
	hash := sha256.Sum256([]byte(secret))
	g.mu.Lock()
	defer g.mu.Unlock()
	var found *token
	for _, t := range g.tokens {
		if subtle.ConstantTimeCompare(t.hash[:], hash[:]) == 1 {
			found = t
		}
	}
	if found == nil {
		return nil, abi.Errorf(abi.Unauthenticated, "speak through the proxy: the token is none of this host's").
			WithHint("the operator issues one: arw egress token issue")
	}
	return found, found.alive()
}

// As is whom a token's secret speaks for, and what it may: for code of the host that acts on somebody's behalf and shall be held to
// a lease of its own. Errors: Unauthenticated, LeaseRevoked, LeaseExpired.
func (g *Guard) As(secret string, by Cause, action string) (Caller, Authority, error) {
	t, err := g.authenticate(secret)
	if err != nil {
		return Caller{}, nil, err
	}
	c := Caller{Actor: t.Actor, Project: t.Project, Corr: by.Corr, Action: action}
	return c, bearer{g, t, c}, nil
}

func (t *token) alive() error {
	switch {
	case t.revoked.Load():
		return abi.Errorf(abi.LeaseRevoked, "use egress token %q: it was revoked", t.ID)
	case !time.Now().Before(t.Expires):
		return abi.Errorf(abi.LeaseExpired, "use egress token %q: it expired at %s", t.ID, t.Expires.Format(time.RFC3339))
	}
	return nil
}

// Permit implements Authority.
func (t *token) Permit(ctx context.Context, target string, d netguard.Dest, n int64) (Permission, error) {
	p, err := t.Would(ctx, target, d, n)
	if err != nil {
		return p, err
	}
	if calls := t.calls.Add(1); t.Calls > 0 && calls > t.Calls {
		t.calls.Add(-1)
		return p, abi.Errorf(abi.BudgetExhausted, "use egress token %q: its %d calls are spent", t.ID, t.Calls)
	}
	p.Spend = t.spend
	return p, t.spend(ctx, n)
}

// Would implements Authority.
func (t *token) Would(_ context.Context, target string, _ netguard.Dest, _ int64) (Permission, error) {
	if err := t.alive(); err != nil {
		return Permission{}, err
	}
	split, ok := reach.ParseTarget(target)
	for i := range t.entries {
		if ok && t.entries[i].Covers(&split) {
			return Permission{Lease: t.ID, Scope: t.Scope[i]}, nil
		}
	}
	return Permission{}, abi.Errorf(abi.Denied, "send to %q: it lies outside the scope of the token %q", clip(target), t.ID).WithDetail(Denial{Reason: whyLease})
}

func clip(s string) string { return s[:min(len(s), 200)] }

func (t *token) spend(_ context.Context, n int64) error {
	if err := t.alive(); err != nil {
		return err
	}
	if used := t.bytes.Add(n); t.Bytes > 0 && used > t.Bytes {
		return abi.Errorf(abi.BudgetExhausted, "use egress token %q: its %d bytes are spent", t.ID, t.Bytes)
	}
	return nil
}
