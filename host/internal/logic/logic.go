// Package logic keeps the host's configuration and its one promise: every value of it is there because of something one
// can name, and taking that away gives back, byte for byte, what would be there without it.
//
// Configuration is a set of documents (Target), each seen from a scope: the workspace, a project or an agent. A document
// is never stored. It is its default with layers on top: those of active units in the order of their priority, then what
// people changed by hand; a project's layers lie above the workspace's, an agent's above both. Applying a unit adds a
// layer, reverting removes it, and the documents follow. So a unit can be taken back in any order, a hand edit is never
// overwritten, and the origin of every value is known.
//
// The format of units is docs/spec/unit.md; documents, layers and conflicts are specified in docs/spec/config.md.
package logic

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic/safety"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/manifests"
)

// Schema is logic's part of the database. Layers are never changed but for the version that removed them, so every
// version of the configuration can be made again.
var Schema = []string{`
CREATE TABLE logic_unit (
	id     TEXT NOT NULL,
	digest TEXT NOT NULL,
	body   TEXT NOT NULL,
	origin TEXT NOT NULL,
	state  TEXT NOT NULL,
	at_ms  INTEGER NOT NULL,
	actor  TEXT NOT NULL,
	PRIMARY KEY (id, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE logic_layer (
	seq     INTEGER PRIMARY KEY,
	scope   TEXT NOT NULL,
	unit    TEXT NOT NULL,
	digest  TEXT NOT NULL,
	stage   TEXT NOT NULL,
	params  TEXT NOT NULL,
	patches TEXT NOT NULL,
	rank    INTEGER NOT NULL,
	at_ms   INTEGER NOT NULL,
	actor   TEXT NOT NULL,
	added   INTEGER NOT NULL,
	removed INTEGER
) STRICT;
CREATE TABLE logic_version (
	version INTEGER PRIMARY KEY,
	digest  TEXT NOT NULL,
	what    TEXT NOT NULL,
	at_ms   INTEGER NOT NULL,
	actor   TEXT NOT NULL,
	corr    TEXT NOT NULL
) STRICT;`, `
ALTER TABLE logic_layer ADD COLUMN share INTEGER NOT NULL DEFAULT 100; -- of runs, in percent
CREATE TABLE logic_approval (
	unit      TEXT NOT NULL,
	what      TEXT NOT NULL, -- digest of the revision and its parameters
	actor     TEXT NOT NULL,
	note      TEXT NOT NULL,
	at_ms     INTEGER NOT NULL,
	expire_ms INTEGER NOT NULL,
	PRIMARY KEY (unit, what, actor)
) STRICT, WITHOUT ROWID;`}

// Scope is from where a document is seen: "" is the workspace; "project/ID" and "agent/ID" see the workspace's
// documents with their own layers on top.
type Scope string

// Workspace is the scope that all others build on.
const Workspace Scope = ""

var scopeName = regexp.MustCompile(`^(project|agent)/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// ParseScope reads a scope as it is written on a command line: "workspace", "project/ID" or "agent/ID". Invalid.
func ParseScope(s string) (Scope, error) {
	if s == "" || s == "workspace" {
		return Workspace, nil
	}
	if !scopeName.MatchString(s) {
		return "", abi.Errorf(abi.Invalid, "parse scope %q: it is no scope", s).WithHint("write workspace, project/ID or agent/ID")
	}
	return Scope(s), nil
}

// String is the scope as ParseScope reads it.
func (s Scope) String() string {
	if s == Workspace {
		return "workspace"
	}
	return string(s)
}

func (s Scope) project() bool { return strings.HasPrefix(string(s), "project/") }

// Stages of an active unit.
const (
	Experimental = "experimental" // applied to one project or agent, or to the workspace on trial
	Promoted     = "promoted"     // the workspace's default, behind the gates
)

// Origin says to what a value of a document is due.
type Origin struct {
	Unit    string    `json:"unit,omitempty"` // id of a unit; "" is a hand edit, or the default when Actor is empty too
	Version string    `json:"version,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Scope   Scope     `json:"scope"`
	Actor   string    `json:"actor,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	seq     int64
}

// Default reports whether neither a unit nor a person is the origin.
func (o Origin) Default() bool { return o.Unit == "" && o.Actor == "" }

// String is the origin in words.
func (o Origin) String() string {
	switch {
	case o.Unit != "":
		return o.Unit + " " + o.Version
	case o.Actor != "":
		return "by hand (" + o.Actor + ")"
	}
	return "default"
}

// layer is one reason for values to be what they are. It never changes.
type layer struct {
	seq     int64
	scope   Scope
	unit    string // "" is a hand edit
	digest  string
	version string // of the unit
	stage   string
	params  map[string]json.RawMessage
	patches []patch
	docs    map[string][]patch // the same by document, see index
	rank    int                // units by priority; people above all units
	share   int                // of runs, in percent
	at      time.Time
	actor   string
	added   int64
	removed int64 // 0: it holds
}

// patch is one change of a layer, its parameters put in.
type patch struct {
	Target string `json:"target"`
	Op     string `json:"op"`
	Value  any    `json:"value"`
}

// index makes a layer ready to be folded.
func (l *layer) index() *layer {
	l.docs = make(map[string][]patch, len(l.patches))
	for _, p := range l.patches {
		l.docs[p.Target] = append(l.docs[p.Target], p)
	}
	return l
}

// handRank is above every unit's priority.
const handRank = 1000

func (l *layer) origin() Origin {
	return Origin{Unit: l.unit, Version: l.version, Digest: l.digest, Scope: l.scope, Actor: l.actor, Time: l.at, seq: l.seq}
}

// Gate decides whether a unit may become the workspace's default, beyond its own tests; nil error lets it pass. It is
// asked outside of any lock, for a dry run too. Approvals is how many different people must have agreed.
type Gate func(ctx context.Context, unit *manifests.LogicUnit, from Scope, by string) (approvals int, err error)

// Tools are the tools of packs, as far as units need them.
type Tools interface {
	// Pure runs a pure tool alone, without any capability and with that much gas. version names what ran.
	Pure(ctx context.Context, pack, tool string, input []byte, gas uint64) (out []byte, version string, err error)
	// Contract holds the tools of a pack to their contract: installed in that range of versions, examples that hold.
	Contract(ctx context.Context, pack, versions string, tools []string) error
}

// Parts are what a store uses of the rest of the host. Each may be nil: then what needs it is refused.
type Parts struct {
	Gate  Gate
	Tools Tools
	// Leases keeps the leases that units ask for; Judge says what one would be, by the policies and the pack's own manifest.
	Leases *lease.Book
	Judge  func(ctx context.Context, corr, by string, p manifests.Permission, project string) (lease.Grant, error)
	// Model answers nil when a model of that name is there ("*" is any) and takes that many tokens.
	Model func(name string, context int64) error
	// Verdict is what finished experiments say of a unit by a metric: better, worse, or why nothing can be said.
	Verdict func(ctx context.Context, unit, digest string, params map[string]json.RawMessage, metric string) (string, error)
	// Shadow replays what was recorded in a scope with other documents in the place of the live ones.
	Shadow func(ctx context.Context, from Scope, docs map[string][]byte) (*Shadow, error)
	// Refuse answers an error when a JSON value holds what no configuration may, a secret; nil lets everything in.
	Refuse func(doing string, body []byte) error
	// Now is the clock of approvals and trials; nil means the real one.
	Now func() time.Time
}

// Store holds units and configuration. All methods are safe for concurrent use; changes take turns. It has no Close, it
// lives and ends with its database.
type Store struct {
	db      *db.DB
	journal *journal.Journal
	view    *view.View
	targets map[string]*Target
	parts   Parts
	scanner func() (*safety.Scanner, error) // made at the first change: a start need not wait for its rules

	turn sync.Mutex // held by whoever changes something

	mu      sync.RWMutex       // guards what follows
	units   map[string][]*unit // revisions by id, oldest first
	layers  []*layer           // that hold, in the order in which they apply within a scope
	version int64
	seq     int64
	changed chan struct{} // closed and made anew at each change of layers

	stuck map[int64]bool // layers that Guard could not take back; it alone uses this
}

// Open reads what is there and brings the read models up to it: a newer program may have other documents.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, v *view.View, parts Parts) (*Store, error) {
	if parts.Now == nil {
		parts.Now = time.Now
	}
	s := &Store{db: d, journal: j, view: v, targets: shippedTargets(), parts: parts, scanner: sync.OnceValues(safety.New), units: map[string][]*unit{}, changed: make(chan struct{}), stuck: map[int64]bool{}}
	err := s.load(ctx)
	if err == nil {
		err = s.showAll(ctx)
	}
	if err != nil {
		return nil, d.Explain("open configuration", err)
	}
	return s, nil
}

func (s *Store) now() time.Time { return s.parts.Now().UTC().Truncate(time.Millisecond) }

// Version counts the changes of the configuration.
func (s *Store) Version() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}
