// Package memo answers a call that was answered before: what it gives for a key is exactly what a run under that key
// gave, or nothing.
//
// Only the caller knows whether an answer may be reused (a tool whose signed manifest says pure) and whether the asker may
// have it: memo decides neither, so whoever asks it has checked policy and leases first. A key holds everything an answer
// depends on (see Key). In front is a W-TinyLFU cache bounded in bytes; behind it lie the bodies in the content store, whose
// digest is checked at every read, and an index in the database that survives a restart. Equal calls at the same time run
// once. Errors are never kept.
//
// A Memo is safe for concurrent use. Run owns its goroutines; without Run it keeps answers in memory only.
package memo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/manifests"
)

// Key is everything the answer of a pure tool depends on, and whose answer it is.
type Key struct {
	Pack    string // digest of the pack's manifest, which names its module
	Tool    string
	Input   []byte // JSON; spelling, key order and number forms do not matter (RFC 8785)
	Env     string // signature of what else decides: policy set, host's ABI
	Scope   string // leases in force: another scope is another key
	Project string // answers do not cross projects
}

// ID names a key.
type ID [sha256.Size]byte

// ID is the SHA-256 of the parts, each behind its length. Invalid when the input is not I-JSON.
func (k Key) ID() (ID, error) {
	in, err := manifests.CanonicalJSON(k.Input)
	if err != nil {
		return ID{}, err
	}
	h := sha256.New()
	h.Write([]byte("arw memo 1\x00"))
	for _, part := range [][]byte{[]byte(k.Pack), []byte(k.Tool), []byte(k.Env), []byte(k.Scope), []byte(k.Project), in} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return ID(h.Sum(nil)), nil
}

// Value is an answer.
type Value struct {
	Kind abi.FrameKind // FrameJSON or FrameBytes
	Body []byte
}

// Outcome says where an answer came from.
type Outcome string

// The outcomes. Coalesced waited for an equal call that ran meanwhile. Bypass never looked.
const (
	Hit       Outcome = "hit"
	Miss      Outcome = "miss"
	Coalesced Outcome = "coalesced"
	Bypass    Outcome = "bypass"
)

// Call is one use: the key, who to name in the event, and what to run when there is no answer.
type Call struct {
	Key
	Name   string // of the pack, for policy and event: "namespace/name"
	Corr   string
	Action string
	// NoWait runs the call beside an equal one instead of waiting for it. A call made in the course of another must not
	// wait: the equal one may be its own caller.
	NoWait bool
	// Run makes the answer; keep says whether it may be kept. It gets the caller's own context.
	Run func(ctx context.Context) (v Value, keep bool, err error)
}

// Memo is one cache. Make it with Open.
type Memo struct {
	db  *db.DB
	jrn *journal.Journal
	cas *cas.Store
	log *slog.Logger
	now func() time.Time

	front  *otter.Cache[ID, *entry]
	policy atomic.Pointer[Policy]
	back   chan task

	mu      sync.Mutex // guards flights
	flights map[ID]*flight

	stats counters
}

// entry is one answer in memory; its body is shared and never changed.
type entry struct {
	Value
	digest string
	made   time.Time
	cost   time.Duration // of the run that made it
}

// Options of Open; the zero value works.
type Options struct {
	Policy Policy           // the zero value is DefaultPolicy
	Now    func() time.Time // nil is the real clock
	Log    *slog.Logger     // nil discards
}

// Open makes a cache over what earlier ones left behind.
func Open(d *db.DB, j *journal.Journal, c *cas.Store, o Options) (*Memo, error) {
	if o.Policy.Memory == 0 {
		o.Policy = DefaultPolicy()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	front, err := otter.New(&otter.Options[ID, *entry]{
		MaximumWeight: uint64(o.Policy.Memory),
		Weigher:       func(_ ID, e *entry) uint32 { return uint32(min(int64(len(e.Body)), 1<<31) + 256) },
	})
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "open the cache: %w", err)
	}
	m := &Memo{db: d, jrn: j, cas: c, log: o.Log, now: o.Now, front: front, back: make(chan task, 1024), flights: map[ID]*flight{}}
	m.policy.Store(&o.Policy)
	return m, nil
}

// Do answers a call from the cache, from an equal call under way, or by running it. The body belongs to the caller.
//
// The one that runs is the leader; the others wait. A leader that fails for reasons of its own (its context, its leases,
// its budget) hands over to one that waits; a leader whose run fails is tried once more by another, and that second
// failure is everybody's, so that a tool that always fails is not run once for every caller. Errors: the run's, or the
// context's while waiting.
func (m *Memo) Do(ctx context.Context, c Call) (Value, Outcome, error) {
	p := m.policy.Load()
	if !p.Caches(c.Name, c.Tool) {
		return m.bypass(ctx, c)
	}
	id, err := c.ID()
	if err != nil { // not I-JSON: no canonical form, so no key
		return m.bypass(ctx, c)
	}
	start := m.now()
	if e := m.find(ctx, id, p); e != nil {
		m.hit(c, id, e, start)
		return Value{e.Kind, bytes.Clone(e.Body)}, Hit, nil
	}
	return m.fly(ctx, c, id, p, start)
}

func (m *Memo) bypass(ctx context.Context, c Call) (Value, Outcome, error) {
	m.stats.bypass.Add(1)
	v, _, err := c.Run(ctx)
	return v, Bypass, err
}

// find looks in memory, then on disk.
func (m *Memo) find(ctx context.Context, id ID, p *Policy) *entry {
	e, ok := m.front.GetIfPresent(id)
	if !ok {
		if e = m.load(ctx, id); e == nil {
			return nil
		}
		m.front.Set(id, e)
	}
	// An entry made after now is of a clock that was set back: its age is unknown, so it has none left.
	if age := m.now().Sub(e.made); age < 0 || age >= time.Duration(p.TTL) {
		m.front.Invalidate(id)
		m.later(task{drop: &id})
		return nil
	}
	return e
}

// keep puts an answer in front and hands it to the back.
func (m *Memo) keep(id ID, c Call, v Value, cost time.Duration, p *Policy) *entry {
	e := &entry{Value: Value{v.Kind, bytes.Clone(v.Body)}, digest: cas.Digest(v.Body), made: m.now(), cost: cost}
	if int64(len(v.Body)) > int64(p.Entry) {
		m.stats.tooLarge.Add(1)
		return e
	}
	m.front.Set(id, e)
	m.later(task{store: e, id: id, name: c.Name, tool: c.Tool})
	return e
}
