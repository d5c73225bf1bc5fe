// Package review keeps one promise: what waits for a person is written once, whole, when that person says so, and never
// otherwise: not when they say no, not when nobody answers, not twice, and not over what changed in the meantime.
//
// Two things wait here: writes to a pack's memory that the policies do not trust (quarantine), and diffs of it that a pack or
// another node proposes. Both are lists of changes of keys and read models of one pack in one project. A Book holds them and
// decides nothing: whether a write waits is for the policies, whether it is written for whoever the edge let through. No pack and
// no tool can reach Decide. docs/spec/memory.md is the normative description.
package review

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/view"
)

// Schema is review's part of the database. held is api.Held as it stands, changes are those that would be written.
var Schema = []string{`
CREATE TABLE review (
	id         TEXT PRIMARY KEY,
	kind       TEXT NOT NULL CHECK (kind IN ('memory', 'world')),
	project    TEXT NOT NULL,
	pack       TEXT NOT NULL,
	state      TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	held       TEXT NOT NULL,
	changes    BLOB NOT NULL
) STRICT;
CREATE INDEX review_waiting ON review (expires_ms) WHERE state IN ('queued', 'conflict');
CREATE INDEX review_order ON review (kind, created_ms);`}

// The kinds of what waits.
const (
	Memory = "memory"
	World  = "world"
)

// The states. The last three are final.
const (
	Queued   = "queued"
	Conflict = "conflict" // a diff that met something else than it was made for
	Admitted = "admitted"
	Applied  = "applied"
	Rejected = "rejected"
	Expired  = "expired" // nobody said anything in time, which is a no
)

// The kinds of events, whose bodies are api.Held.
const (
	KindQuarantined  = "memory.quarantined"
	KindAdmitted     = "memory.admitted"
	KindRejected     = "memory.rejected"
	KindDiffQueued   = "world.diff.queued"
	KindDiffConflict = "world.diff.conflict"
	KindDiffApplied  = "world.diff.applied"
	KindDiffRejected = "world.diff.rejected"
)

// Bounds against who writes too much.
const (
	MaxWaiting     = 10_000  // in all
	MaxWaitingPack = 1_000   // of one pack in one project
	MaxChanges     = 1_000   // of one
	MaxBytes       = 8 << 20 // of the names and values of one
	preview        = 1 << 10 // bytes of a value that are shown
	shown          = 32      // changes that an event and a document show
	// Retention is how long what was decided can still be read.
	Retention = 30 * 24 * time.Hour
	// DefaultTTL is how long something waits.
	DefaultTTL = 7 * 24 * time.Hour
)

// Parts are what a Book stands on; all but TTL are needed.
type Parts struct {
	DB      *db.DB
	Journal *journal.Journal
	KV      *kv.Store
	View    *view.View
	// Doc is the name among all documents of a pack's read model in a project.
	Doc func(project, name string) string
	// Fits refuses what a pack's read model cannot be, and a pack or model that there is not.
	Fits func(pack string, c api.Change) error
	// Redact takes secrets out of what is shown.
	Redact func([]byte) []byte
	TTL    time.Duration // DefaultTTL
}

// Book keeps what waits. It is safe for concurrent use.
type Book struct {
	Parts
	wake chan struct{}
}

// Open makes a Book over a database that has Schema.
func Open(p Parts) *Book {
	if p.TTL <= 0 {
		p.TTL = DefaultTTL
	}
	return &Book{Parts: p, wake: make(chan struct{}, 1)}
}

// Queue lets changes wait. It fills in id, state, times and what is shown; the rest of h is the caller's. It is durable, with its
// event, when it returns. Errors: Invalid and TooLarge for changes that could not be written, those of Fits, Busy beyond a bound.
func (b *Book) Queue(ctx context.Context, h api.Held, changes []api.Change) (api.Held, error) {
	what := "queue " + h.Kind + " of pack " + h.Pack
	changes = slices.Clone(changes)
	if err := b.sound(h.Pack, changes); err != nil {
		return api.Held{}, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	h.ID, h.State, h.Created, h.Expires = lease.NewID("held_"), Queued, now, now.Add(b.TTL)
	kind := KindQuarantined
	if h.Kind == World {
		kind = KindDiffQueued
	}
	err := b.DB.Write(ctx, func(tx *sql.Tx) error {
		if err := b.room(tx, h); err != nil {
			return err
		}
		var err error
		if h.Changes, err = b.show(tx, h, changes); err != nil {
			return err
		}
		raw, err := json.Marshal(changes)
		if err != nil {
			return err
		}
		doc, err := json.Marshal(h)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO review VALUES (?,?,?,?,?,?,?,?,?)`, h.ID, h.Kind, h.Project, h.Pack, h.State, h.Created.UnixMilli(), h.Expires.UnixMilli(), string(doc), raw)
		if err != nil {
			return err
		}
		return b.tell(tx, kind, h.From, h)
	})
	if err != nil {
		return api.Held{}, b.DB.Explain(what, err)
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return h, nil
}

// sound refuses changes that could not be written, and reads their texts as values.
func (b *Book) sound(pack string, changes []api.Change) error {
	if len(changes) == 0 || len(changes) > MaxChanges {
		return abi.Errorf(abi.Invalid, "queue changes of pack %q: there are %d, not 1 to %d", pack, len(changes), MaxChanges)
	}
	size := 0
	seen := map[string]bool{}
	for i := range changes {
		c := &changes[i]
		if c.Text != "" {
			if c.Value != nil {
				return abi.Errorf(abi.Invalid, "queue a change of %q: it has value and value_base64", c.Name)
			}
			c.Value, c.Text = []byte(c.Text), ""
		}
		size += len(c.Name) + len(c.Value)
		switch {
		case c.Op != "put" && c.Op != "delete" || c.Store != "kv" && c.Store != "state" || c.Op == "delete" && c.Store == "state":
			return abi.Errorf(abi.Invalid, "queue a change of %q: %q in %q is none", c.Name, c.Op, c.Store).WithHint("put or delete in kv, put in state")
		case strings.HasPrefix(c.Name, "//"):
			return abi.Errorf(abi.Denied, "queue a change of %q: what begins with // belongs to another project", c.Name)
		case c.Was != "" && c.Was != none && !isDigest(c.Was):
			return abi.Errorf(abi.Invalid, "queue a change of %q: was_sha256 is 64 hexadecimal digits or %q", c.Name, none)
		case seen[c.Store+":"+c.Name]:
			return abi.Errorf(abi.Invalid, "queue a change of %q: it is changed twice", c.Name)
		}
		seen[c.Store+":"+c.Name] = true
		if c.Store == "kv" {
			if err := kv.CheckBatch([]abi.KVOp{{Key: []byte(c.Name), Val: c.Value}}); err != nil {
				return err
			}
		}
		if err := b.Fits(pack, *c); err != nil {
			return err
		}
	}
	if size > MaxBytes {
		return abi.Errorf(abi.TooLarge, "queue changes of pack %q: they have %d bytes, at most %d wait for a person", pack, size, MaxBytes)
	}
	return nil
}

func (b *Book) room(tx *sql.Tx, h api.Held) error {
	var all, mine int
	err := tx.QueryRow(`SELECT count(*), coalesce(sum(pack = ? AND project = ?), 0) FROM review WHERE state IN ('queued', 'conflict')`, h.Pack, h.Project).Scan(&all, &mine)
	if err != nil {
		return err
	}
	if all >= MaxWaiting || mine >= MaxWaitingPack {
		return abi.Errorf(abi.Busy, "queue changes of pack %q: %d wait for a person, %d of this pack", h.Pack, all, mine).WithHint("decide about some: arw quarantine list; arw world list")
	}
	return nil
}

// none stands where a digest would, when there is nothing.
const none = "none"

// digestOf is the SHA-256 of a value in hexadecimal.
func digestOf(val []byte, found bool) string {
	if !found {
		return none
	}
	d := sha256.Sum256(val)
	return hex.EncodeToString(d[:])
}

func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size
}

// now is what stands in the place of a change.
func (b *Book) now(tx *sql.Tx, h api.Held, c api.Change) (val []byte, found bool, err error) {
	if c.Store == "kv" {
		return b.KV.Space(h.Pack, h.Project).GetTx(tx, []byte(c.Name))
	}
	return b.View.GetTx(tx, b.Doc(h.Project, c.Name))
}

// show is what a person sees of changes. A change that does not say what it was made for was made for what stands there.
func (b *Book) show(tx *sql.Tx, h api.Held, changes []api.Change) ([]api.HeldChange, error) {
	out := make([]api.HeldChange, 0, len(changes))
	for i := range changes {
		c := &changes[i]
		val, found, err := b.now(tx, h, *c)
		if err != nil {
			return nil, err
		}
		is := digestOf(val, found)
		if c.Was == "" {
			c.Was = is
		}
		one := api.HeldChange{Op: c.Op, Store: c.Store, Name: c.Name, Bytes: len(c.Value), Was: c.Was, Before: b.text(val), After: b.text(c.Value)}
		if c.Was != is {
			one.Conflict = "it is not what it was made for any more"
		}
		if len(out) < shown {
			out = append(out, one)
		}
	}
	return out, nil
}

// text is the beginning of a value, as text without secrets.
func (b *Book) text(val []byte) string {
	clean := string(b.Redact(val)) // the whole of it: a secret that the cut would halve is recognised
	if !utf8.ValidString(clean) {
		clean = strings.ToValidUTF8(clean, "\uFFFD")
	}
	if len(clean) <= preview {
		return clean
	}
	cut := preview
	for !utf8.RuneStart(clean[cut]) {
		cut--
	}
	return clean[:cut] + "…"
}

func (b *Book) tell(tx *sql.Tx, kind, actor string, h api.Held) error {
	_, err := b.Journal.AppendTx(tx, journal.Event{Kind: kind, Corr: h.Corr, Actor: actor, Project: h.Project, Pack: h.Pack, Action: h.Action, Body: h})
	return err
}
