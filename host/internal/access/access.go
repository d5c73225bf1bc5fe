// Package access keeps one promise: whoever shows a credential is known by what it stands for, and may do what its role
// may do and nothing else. Credentials are random tokens of which only a digest is kept, so that whoever reads the database
// cannot use them; who may do what is one table (roles.go). It knows no HTTP: the edge asks it.
//
// A Book is safe for concurrent use. Checking a credential touches no disk.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// Schema is access's part of the database.
var Schema = []string{`
CREATE TABLE access_token (
	id         TEXT PRIMARY KEY,
	hash       BLOB NOT NULL UNIQUE,
	name       TEXT NOT NULL,
	role       TEXT NOT NULL,
	actor      TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	revoked_ms INTEGER NOT NULL
) STRICT;`, `ALTER TABLE access_token ADD COLUMN project TEXT NOT NULL DEFAULT '';`}

// The kinds of events, whose bodies are api.AccessToken.
const (
	KindCreated = "access.token.created"
	KindRevoked = "access.token.revoked"
)

// Principal is who asks.
type Principal struct {
	Token string // id of the token; "" of the operator's own credential and of Local
	Name  string
	Role  Role
	// Project, when set, is the only one that the principal has to do with.
	Project string
}

// Local is whoever asks from this very machine and shows nothing: an agent.
var Local = Principal{Name: "local", Role: User}

// Operator is the holder of the state directory's own credential, or of its socket.
var Operator = Principal{Name: "operator", Role: RoleOperator}

// Actor is the principal as journals, leases and policies name it. Every token of the operator's role is the operator to them.
func (p Principal) Actor() string {
	switch {
	case p.Role == RoleOperator:
		return "operator"
	case p == Local || p.Role == Pack:
		return "agent:" + p.Name
	}
	return "person:" + p.Name
}

// Book knows all tokens.
type Book struct {
	db       *db.DB
	journal  *journal.Journal
	operator func(string) bool

	mu     sync.RWMutex
	byHash map[[32]byte]*api.AccessToken
}

// Open reads the book. Operator reports in constant time whether a secret is the operator's own credential.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, operator func(string) bool) (*Book, error) {
	b := &Book{db: d, journal: j, operator: operator, byHash: map[[32]byte]*api.AccessToken{}}
	rows, err := d.Read().QueryContext(ctx, `SELECT id, hash, name, role, actor, created_ms, expires_ms, revoked_ms, project FROM access_token`)
	if err != nil {
		return nil, d.Explain("read access tokens", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t api.AccessToken
		var hash []byte
		var created, expires, revoked int64
		if err := rows.Scan(&t.ID, &hash, &t.Name, &t.Role, &t.By, &created, &expires, &revoked, &t.Project); err != nil {
			return nil, d.Explain("read access tokens", err)
		}
		if len(hash) != sha256.Size {
			return nil, abi.Errorf(abi.Corrupt, "read access token %q: its digest has %d bytes", t.ID, len(hash))
		}
		t.Created, t.Expires, t.Revoked = at(created), at(expires), at(revoked)
		b.byHash[[32]byte(hash)] = &t
	}
	return b, rows.Err()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Who is the holder of a secret; false for a secret that is unknown, revoked or over its time. A token has 256 random
// bits: one SHA-256 is enough against guessing, and cheap enough for every request.
func (b *Book) Who(secret string) (Principal, bool) {
	if b.operator(secret) {
		return Operator, true
	}
	sum := sha256.Sum256([]byte(secret))
	b.mu.RLock()
	defer b.mu.RUnlock()
	// The lookup is by a digest of what was offered, so its timing tells nothing of any token.
	t, ok := b.byHash[sum]
	if !ok || !t.Revoked.IsZero() || !t.Expires.IsZero() && !time.Now().Before(t.Expires) {
		return Principal{}, false
	}
	return Principal{Token: t.ID, Name: t.Name, Role: Role(t.Role), Project: t.Project}, true
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Create makes a token and returns its secret, which nobody can read again. A ttl of 0 is no end; a project confines its holder.
// Errors: Invalid.
func (b *Book) Create(ctx context.Context, corr, by, name string, role Role, ttl time.Duration, project string) (api.NewToken, error) {
	switch {
	case !nameForm.MatchString(name) || name == "local" || name == "operator":
		return api.NewToken{}, abi.Errorf(abi.Invalid, "create token %.80q: a name has 1 to 63 of a-z, 0-9 and, not at the beginning, . _ -", name)
	case !role.known():
		return api.NewToken{}, abi.Errorf(abi.Invalid, "create token %q: there is no role %.40q", name, role).WithHint("one of operator, user, guest and pack")
	case project != "" && role == RoleOperator:
		return api.NewToken{}, abi.Errorf(abi.Invalid, "create token %q: an operator has to do with every project", name).WithHint("confine a user, guest or pack")
	case ttl < 0:
		return api.NewToken{}, abi.Errorf(abi.Invalid, "create token %q: its time would be over", name)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // it never fails
	secret := "arw_" + base64.RawURLEncoding.EncodeToString(raw[:])
	sum := sha256.Sum256([]byte(secret))
	var id [8]byte
	_, _ = rand.Read(id[:])
	now := time.Now().UTC().Truncate(time.Millisecond)
	t := api.AccessToken{ID: "tok_" + hex.EncodeToString(id[:]), Name: name, Role: string(role), Project: project, By: by, Created: now}
	if ttl > 0 {
		t.Expires = now.Add(ttl)
	}
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO access_token (id, hash, name, role, actor, created_ms, expires_ms, revoked_ms, project) VALUES (?,?,?,?,?,?,?,0,?)`,
			t.ID, sum[:], t.Name, t.Role, t.By, ms(t.Created), ms(t.Expires), t.Project)
		if err != nil {
			return err
		}
		_, err = b.journal.AppendTx(tx, journal.Event{Kind: KindCreated, Corr: corr, Actor: by, Body: t})
		return err
	})
	if err != nil {
		return api.NewToken{}, b.db.Explain("create an access token", err)
	}
	b.mu.Lock()
	b.byHash[sum] = &t
	b.mu.Unlock()
	return api.NewToken{AccessToken: t, Secret: secret}, nil
}

// Revoke ends a token, by id or by name; the next request with it is refused. Errors: NotFound.
func (b *Book) Revoke(ctx context.Context, corr, by, which string) (api.AccessToken, error) {
	b.mu.Lock()
	var found *api.AccessToken
	for h, t := range b.byHash {
		if (t.ID == which || t.Name == which) && t.Revoked.IsZero() {
			c := *t
			c.Revoked = time.Now().UTC().Truncate(time.Millisecond)
			found, b.byHash[h] = &c, &c // before it is durable: the other way round would be generous
			break
		}
	}
	b.mu.Unlock()
	if found == nil {
		return api.AccessToken{}, abi.Errorf(abi.NotFound, "revoke token %.80q: no token in force has that id or name", which).WithHint("arw token list")
	}
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`UPDATE access_token SET revoked_ms = ? WHERE id = ?`, ms(found.Revoked), found.ID); err != nil {
			return err
		}
		_, err := b.journal.AppendTx(tx, journal.Event{Kind: KindRevoked, Corr: corr, Actor: by, Body: *found})
		return err
	})
	if err != nil {
		// It stays revoked here until a restart: whoever revokes means it.
		return api.AccessToken{}, b.db.Explain("revoke an access token", err)
	}
	return *found, nil
}

// List is all tokens, also those that are over, the oldest first.
func (b *Book) List() []api.AccessToken {
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := make([]api.AccessToken, 0, len(b.byHash))
	for _, t := range b.byHash {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(x, y api.AccessToken) int {
		if d := x.Created.Compare(y.Created); d != 0 {
			return d
		}
		return strings.Compare(x.ID, y.ID)
	})
	return out
}
