// Package vault keeps one promise: what a pack can do with a secret, it does without ever holding it.
//
// Secrets are named values that a person stores. The host puts a token into a request for an audience that the person
// named, and signs or authenticates data with a key, on behalf of packs whose lease covers the name; no function gives a
// value back. On the disk a value is sealed with AES-256-GCM under a key in a file of its own, with everything that is
// said about it as associated data, so that a value moved to another name or audience does not open. docs/spec/secrets.md
// is the normative description.
package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/redact"
)

// The kinds of secrets, which say what can be done with one.
const (
	Token   = "token"   // put into requests for its audience
	HMAC    = "hmac"    // HMAC-SHA-256 over data
	Ed25519 = "ed25519" // signatures of RFC 8032
	P256    = "p256"    // ECDSA with SHA-256 on P-256, as ASN.1
)

// Kinds lists them.
func Kinds() []string { return []string{Token, HMAC, Ed25519, P256} }

// MaxValue and MaxData bound a stored value and what is signed at once, in bytes.
const (
	MaxValue = 64 << 10
	MaxData  = 1 << 20
)

// Secret is what may be known of one. It holds no value.
type Secret struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Audience are the origins and path prefixes a token may be sent to, such as "https://api.example.com/v1".
	Audience []string `json:"audience,omitempty"`
	// Place is where in a request a token goes; see Place.
	Place   string    `json:"place,omitempty"`
	Note    string    `json:"note,omitempty"`
	Public  string    `json:"public,omitempty"` // of a key pair: the public key, in base64 of its PKIX form
	Version int64     `json:"version"`          // counts the values it had
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// Schema is the vault's part of the database.
var Schema = []string{`
CREATE TABLE secret (
	name    TEXT PRIMARY KEY,
	about   TEXT NOT NULL, -- the Secret as JSON; sealed values are bound to these bytes
	nonce   BLOB NOT NULL,
	box     BLOB NOT NULL
) STRICT;`}

// Vault holds the secrets of a host. It is safe for concurrent use.
type Vault struct {
	db      *db.DB
	journal *journal.Journal
	seal    *sealer
	now     func() time.Time

	mu      sync.RWMutex
	secrets map[string]*entry
	watch   []func([]redact.Value)
}

// entry is a secret with its value, opened. Values stay in the host's memory while it runs: they are used at every
// request and matched against everything that is written.
type entry struct {
	about Secret
	value []byte
}

// Open reads the vault with the key in keyFile, which it makes, with mode 0600, when neither it nor any secret exists.
// Errors: Corrupt for a key or value that does not open (a secret's name is in the message; restore key and database from
// the same backup), Denied for a key file that others can read, Unavailable.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, keyFile string) (*Vault, error) {
	v := &Vault{db: d, journal: j, now: time.Now, secrets: map[string]*entry{}}
	rows, err := d.Read().QueryContext(ctx, "SELECT name, about, nonce, box FROM secret ORDER BY name")
	if err != nil {
		return nil, d.Explain("open the vault", err)
	}
	defer rows.Close()
	type sealed struct {
		name, about string
		nonce, box  []byte
	}
	var all []sealed
	for rows.Next() {
		var s sealed
		if err := rows.Scan(&s.name, &s.about, &s.nonce, &s.box); err != nil {
			return nil, d.Explain("open the vault", err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, d.Explain("open the vault", err)
	}
	if v.seal, err = openSealer(keyFile, len(all) == 0); err != nil {
		return nil, err
	}
	for _, s := range all {
		e, err := v.seal.open(s.name, s.about, s.nonce, s.box)
		if err != nil {
			return nil, err
		}
		v.secrets[s.name] = e
	}
	return v, nil
}

// Watch calls fn with all values now and after each change, so that they are known to whoever redacts. fn must not call
// the vault.
func (v *Vault) Watch(fn func([]redact.Value)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watch = append(v.watch, fn)
	fn(v.values())
}

// values are for redaction.
func (v *Vault) values() []redact.Value {
	all := make([]redact.Value, 0, len(v.secrets))
	for name, e := range v.secrets {
		all = append(all, redact.Value{Name: name, Bytes: e.value})
	}
	return all
}

// Put stores a secret or gives it a new value, durably, with its event; by is who does it. For a key, no value means that
// one is drawn here, which is the best a key can be. Errors: Invalid for what is wrong with it, Conflict for a name whose
// kind would change, TooLarge, those of db.Write. value is not kept; clear it when you can.
func (v *Vault) Put(ctx context.Context, corr, by string, s Secret, value []byte) (Secret, error) {
	if err := check(&s, value); err != nil {
		return Secret{}, err
	}
	value = unwrap(s.Kind, bytes.Clone(value))
	if len(value) == 0 {
		value = draw(s.Kind)
	}
	if err := s.derive(value); err != nil {
		return Secret{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now().UTC().Truncate(time.Millisecond)
	s.Created, s.Updated, s.Version = now, now, 1
	if old := v.secrets[s.Name]; old != nil {
		if old.about.Kind != s.Kind {
			return Secret{}, abi.Errorf(abi.Conflict, "store secret %q: it is of kind %q", s.Name, old.about.Kind).WithHint("remove it first, or take another name")
		}
		s.Created, s.Version = old.about.Created, old.about.Version+1
	}
	about, nonce, box, err := v.seal.close(s, value)
	if err != nil {
		return Secret{}, err
	}
	err = v.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO secret VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET about = excluded.about, nonce = excluded.nonce, box = excluded.box",
			s.Name, about, nonce, box); err != nil {
			return err
		}
		_, err := v.journal.AppendTx(tx, journal.Event{Kind: KindStored, Corr: corr, Actor: by, Body: s})
		return err
	})
	if err != nil {
		return Secret{}, v.db.Explain(`store secret "`+s.Name+`"`, err)
	}
	v.secrets[s.Name] = &entry{s, value}
	v.tell()
	return s, nil
}

// The kinds of the vault's events.
const (
	KindStored  = "secrets.stored"
	KindRemoved = "secrets.removed"
	KindUsed    = "secrets.used"
)

func (v *Vault) tell() {
	for _, fn := range v.watch {
		fn(v.values())
	}
}

// Remove takes a secret away, durably; its value is overwritten in memory. Errors: NotFound, those of db.Write.
func (v *Vault) Remove(ctx context.Context, corr, by, name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.secrets[name]
	if e == nil {
		return missing("remove", name)
	}
	err := v.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM secret WHERE name = ?", name); err != nil {
			return err
		}
		_, err := v.journal.AppendTx(tx, journal.Event{Kind: KindRemoved, Corr: corr, Actor: by, Body: map[string]string{"name": name}})
		return err
	})
	if err != nil {
		return v.db.Explain(`remove secret "`+name+`"`, err)
	}
	delete(v.secrets, name)
	v.tell()
	clear(e.value)
	return nil
}

// List is what may be known of all secrets, by name.
func (v *Vault) List() []Secret {
	v.mu.RLock()
	defer v.mu.RUnlock()
	all := make([]Secret, 0, len(v.secrets))
	for _, e := range v.secrets {
		all = append(all, e.about)
	}
	slices.SortFunc(all, func(a, b Secret) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return all
}

// Get is what may be known of one. Errors: NotFound.
func (v *Vault) Get(name string) (Secret, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if e := v.secrets[name]; e != nil {
		return e.about, nil
	}
	return Secret{}, missing("describe", name)
}

func missing(doing, name string) error {
	return abi.Errorf(abi.NotFound, "%s secret %q: there is none of that name", doing, clip(name)).WithHint("arw secret list shows what there is")
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

// User is on whose behalf a secret is used; it becomes part of the event.
type User struct{ Corr, Actor, Project, Pack, Action string }

// use runs fn with the value of a secret of one of the kinds that passes check (nil: any does), while nobody can change
// it, and journals the use first: what was signed without a trace would be worse than a trace of what was not signed.
func (v *Vault) use(ctx context.Context, by User, doing, name string, kinds []string, check func(Secret) error, fn func(*entry) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	e := v.secrets[name]
	switch {
	case e == nil:
		return missing(doing+" with", name)
	case !slices.Contains(kinds, e.about.Kind):
		return abi.Errorf(abi.Unsupported, "%s with secret %q: it is of kind %q", doing, name, e.about.Kind)
	}
	if check != nil {
		if err := check(e.about); err != nil {
			return err
		}
	}
	_, err := v.journal.Append(ctx, journal.Event{
		Kind: KindUsed, Corr: by.Corr, Actor: by.Actor, Project: by.Project, Pack: by.Pack, Action: by.Action,
		Body: map[string]any{"name": name, "use": doing, "version": e.about.Version},
	})
	if err != nil {
		return err
	}
	return fn(e)
}

// reading is crypto/rand's; it does not fail.
func reading(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(errors.Join(errors.New("the system has no randomness"), err))
	}
	return b
}
