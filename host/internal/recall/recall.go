// Package recall gives an answer again to a question that was asked before in other words, and keeps one promise about it: what
// is given was made for this person, in this project, by this version of the tool, out of what still is so; and how often a
// question that only seemed the same was answered wrongly is measured and acted upon.
//
// It looks up in four steps, the cheapest first: the same input; a SimHash of the question's vector, which leaves out what
// cannot be near; the cosine; and a verifier, which refuses what a vector does not see (numbers, names, negations, quotations:
// see marks.go). Every eighth answer that was given for a near question is made anew and compared (see trust.go); one that was
// wrong raises what counts as near, several let the space rest. An answer that says "nothing was found" is kept like any other;
// a write that could change it ends it.
//
// Only the caller knows whether an answer may be given again (a tool whose signed manifest says so), whether the asker may have
// it, and whether what it was made from still is so (Call.Holds). All is in memory, bounded, and gone at the next start.
//
// A Recall is safe for concurrent use. Run owns its goroutine; without Run no event is journaled.
package recall

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/manifests"
)

// Space is what never shares: a version of a tool, a project, a person.
type Space struct {
	Pack    string // "namespace/name"
	Digest  string // of the version
	Tool    string
	Project string
	Person  string // the actor of the call
}

// Dep is one thing that an answer was made from, and how it was then.
type Dep struct {
	What string // "kv", "state", "config" or "use"
	Name string
	Mark string
}

// Answer is what a run gave.
type Answer struct {
	Kind abi.FrameKind
	Body []byte
	Deps []Dep
	Keep bool // it may be given again as long as Deps hold
}

// Outcome says where an answer came from.
type Outcome string

// The outcomes. Audit ran although there was an answer, to compare the two. Bypass never looked.
const (
	Exact  Outcome = "exact" // the same input
	Near   Outcome = "near"  // a question that means the same
	Empty  Outcome = "empty" // either, and nothing had been found
	Miss   Outcome = "miss"
	Audit  Outcome = "audit"
	Bypass Outcome = "bypass"
)

// Hit reports whether the answer was not made by this call.
func (o Outcome) Hit() bool { return o == Exact || o == Near || o == Empty }

// Call is one use. All but Corr and Action is needed.
type Call struct {
	Space
	Input []byte
	Rule  *manifests.Recall
	// Env is what else decides: policies, leases, the host's ABI. An answer made under another is not given.
	Env          string
	Corr, Action string
	// Holds reports whether all of deps still is so. It is asked without a lock held.
	Holds func(ctx context.Context, deps []Dep) bool
	// Run makes the answer, in the caller's own context.
	Run func(ctx context.Context) (Answer, error)
}

// Vector is a question's place among others of one engine.
type Vector struct {
	infer.Engine
	Values []float32
}

// Embedder makes vectors. Those of two engines are never compared.
type Embedder interface {
	Embed(ctx context.Context, of Space, corr, question string) (Vector, error)
}

// Limits bound what is kept. The zero value is DefaultLimits.
type Limits struct {
	Off     bool
	Entries int           // of all spaces together
	Bytes   int64         // of all inputs, answers and vectors together
	TTL     time.Duration // the longest; a rule may say less
	Audit   int           // one of so many near answers is made anew
	Rest    time.Duration // how long a space that was wrong too often gives no near answers
	Allowed func(pack, tool string) bool
}

// DefaultLimits are what holds when nobody says otherwise.
func DefaultLimits() Limits {
	return Limits{Entries: 4096, Bytes: 32 << 20, TTL: time.Hour, Audit: 8, Rest: 10 * time.Minute}
}

// Options of New; the zero value works.
type Options struct {
	Limits  Limits
	Journal *journal.Journal // nil tells nobody
	Now     func() time.Time // nil is the real clock
	// Neural makes vectors when it is not nil; where it fails or gives none, words are counted (Lexical).
	Neural Embedder
}

// Recall is one cache. Make it with New.
type Recall struct {
	jrn    *journal.Journal
	now    func() time.Time
	neural Embedder
	limits atomic.Pointer[Limits]
	told   chan journal.Event
	lost   atomic.Int64
	planes planes

	mu     sync.Mutex // guards what follows; never held across a run, an embedding or Holds
	spaces map[Space]*space
	lru    lru
	bytes  int64
	epoch  uint64 // raised by every Forget: what was running then is not kept
	gone   Totals // of spaces that are no more
}

// New makes an empty cache.
func New(o Options) *Recall {
	r := &Recall{jrn: o.Journal, now: o.Now, neural: o.Neural, told: make(chan journal.Event, 1024), spaces: map[Space]*space{}}
	if r.now == nil {
		r.now = time.Now
	}
	r.lru.init()
	r.Bound(o.Limits)
	return r
}

// Bound puts other limits into force; what is beyond them goes.
func (r *Recall) Bound(l Limits) {
	d := DefaultLimits()
	if l.Entries == 0 {
		l.Entries = d.Entries
	}
	if l.Bytes == 0 {
		l.Bytes = d.Bytes
	}
	if l.TTL == 0 {
		l.TTL = d.TTL
	}
	if l.Audit == 0 {
		l.Audit = d.Audit
	}
	if l.Rest == 0 {
		l.Rest = d.Rest
	}
	r.limits.Store(&l)
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.Off {
		r.forget(func(Space) bool { return true })
	}
	r.trim(&l)
}

// Do answers a call from what was answered before, or by running it. The body belongs to the caller. Errors are the run's.
func (r *Recall) Do(ctx context.Context, c Call) (Answer, Outcome, error) {
	l := r.limits.Load()
	q, ok := read(&c)
	if l.Off || c.Rule == nil || !ok || l.Allowed != nil && !l.Allowed(c.Pack, c.Tool) {
		a, err := c.Run(ctx)
		return a, Bypass, err
	}
	s := &search{r: r, c: &c, q: q, l: l, start: r.now()}
	got := s.look(ctx)
	if got != nil && !got.audit {
		return s.give(got), got.outcome, nil
	}
	return s.run(ctx, got)
}

// search is one call on its way.
type search struct {
	r     *Recall
	c     *Call
	q     question
	l     *Limits
	start time.Time
	vec   Vector
	sum   uint64 // SimHash of vec
	epoch uint64
	near  float64 // what counted as near
}

// found is an answer that may be given.
type found struct {
	*entry
	outcome Outcome
	cosine  float64
	audit   bool
}

// look finds an answer whose ground still holds; what no longer holds goes.
func (s *search) look(ctx context.Context) *found {
	if e := s.exact(); e != nil && s.holds(ctx, e) {
		return &found{entry: e, outcome: e.word(Exact), cosine: 1}
	}
	if s.c.Rule.Near == 0 || s.q.text == "" || len(s.q.text) > maxQuestion {
		return nil
	}
	s.embed(ctx)
	for { // each turn that goes on has taken an entry out
		got, resting := s.nearest()
		if got == nil || resting {
			return nil
		}
		if s.holds(ctx, got.entry) {
			got.audit = s.due()
			return got
		}
	}
}

// maxQuestion is the longest text, in bytes, that is compared with others.
const maxQuestion = 4 << 10

func (s *search) exact() *entry {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.epoch = s.r.epoch
	sp := s.r.spaces[s.c.Space]
	if sp == nil {
		return nil
	}
	e := sp.inputs[s.q.input]
	if e == nil || !s.fresh(e) {
		return nil
	}
	s.r.lru.touch(e)
	return e
}

// fresh reports whether an entry may be given as far as it knows itself; one that is over goes. r.mu is held.
func (s *search) fresh(e *entry) bool {
	age := s.start.Sub(e.made)
	if e.env == s.c.Env && age >= 0 && age < min(s.c.Rule.TTL, s.l.TTL) {
		return true
	}
	s.r.drop(e)
	return false
}

func (s *search) holds(ctx context.Context, e *entry) bool {
	if s.c.Holds(ctx, e.deps) {
		return true
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !e.gone {
		s.r.drop(e)
		s.r.spaceOf(s.c).n.Stale++
	}
	return false
}

// embed places the question. Where no model does, its words are counted.
func (s *search) embed(ctx context.Context) {
	s.vec = s.place(ctx)
	s.sum = s.r.planes.simhash(s.vec.Values)
}

func (s *search) place(ctx context.Context) Vector {
	if s.r.neural != nil {
		if v, err := s.r.neural.Embed(ctx, s.c.Space, s.c.Corr, s.q.text); err == nil && len(v.Values) > 0 {
			v.Values = unit(v.Values)
			return v
		}
	}
	return lexicalVector(s.q.text)
}

// nearest is the entry of the highest cosine that the verifier lets pass.
func (s *search) nearest() (got *found, resting bool) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	sp := s.r.spaces[s.c.Space]
	if sp == nil || len(s.vec.Values) == 0 {
		return nil, false
	}
	if s.start.Before(sp.rests) {
		return nil, true
	}
	s.near = max(s.c.Rule.Near, sp.near)
	reach := reachOf(s.near)
	for i := len(sp.all) - 1; i >= 0; i-- { // backwards: what is over goes, and the last takes its place
		e := sp.all[i]
		if e.rest != s.q.rest || e.vec.Name != s.vec.Name || e.vec.Model != s.vec.Model || e.vec.Kind != s.vec.Kind || distance(e.sum, s.sum) > reach {
			continue
		}
		cos := cosine(e.vec.Values, s.vec.Values)
		if cos < s.near || got != nil && cos <= got.cosine {
			continue
		}
		if !same(s.q.says, e.says, s.vec.Kind == infer.Lexical || e.empty) {
			sp.n.Refused++
			continue
		}
		if !s.fresh(e) {
			continue
		}
		got = &found{entry: e, outcome: e.word(Near), cosine: cos}
	}
	if got != nil {
		s.r.lru.touch(got.entry)
	}
	return got, false
}

// give hands out a kept answer.
func (s *search) give(f *found) Answer {
	s.r.mu.Lock()
	n := &s.r.spaceOf(s.c).n
	switch {
	case f.outcome == Empty:
		n.Empty++
	case f.outcome == Near:
		n.Near++
	default:
		n.Exact++
	}
	saved := max(0, f.cost-s.r.now().Sub(s.start))
	n.SavedNS += int64(saved)
	n.SavedBytes += int64(len(f.body))
	s.r.mu.Unlock()
	s.tell(KindHit, Event{Outcome: string(f.outcome), Cosine: f.cosine, Near: s.near, Engine: f.vec.Name, EngineKind: string(f.vec.Kind), Age: int64(s.start.Sub(f.made)), Saved: int64(saved)})
	return Answer{Kind: f.kind, Body: append([]byte(nil), f.body...)}
}

// run makes the answer, keeps it, and compares it when it was made to be compared.
func (s *search) run(ctx context.Context, audited *found) (Answer, Outcome, error) {
	a, err := s.c.Run(ctx)
	cost := s.r.now().Sub(s.start)
	out := Miss
	if err == nil && audited != nil {
		out = Audit
		s.judge(audited, a)
	}
	if err != nil {
		return a, Miss, err
	}
	s.keep(a, cost)
	if audited == nil {
		s.tell(KindMiss, Event{Outcome: string(Miss), Elapsed: int64(cost)})
	}
	return a, out, nil
}

// keep puts an answer away, unless something was forgotten while it was made.
func (s *search) keep(a Answer, cost time.Duration) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	sp := s.r.spaceOf(s.c)
	sp.n.Misses++
	if !a.Keep || a.Kind != abi.FrameJSON || s.epoch != s.r.epoch {
		sp.n.Unkept++
		return
	}
	e := &entry{
		space: s.c.Space, input: s.q.input, rest: s.q.rest, says: s.q.says, env: s.c.Env, deps: a.Deps, vec: s.vec, sum: s.sum,
		kind: a.Kind, body: append([]byte(nil), a.Body...), made: s.start, cost: cost, empty: isEmpty(a.Body, s.c.Rule.Empty),
	}
	if e.weight() > s.l.Bytes/4 {
		sp.n.Unkept++
		return
	}
	if old := sp.inputs[e.input]; old != nil {
		s.r.drop(old)
	}
	s.r.add(e)
	s.r.trim(s.l)
}

// isEmpty reports whether the list at a pointer of an answer is there and has nothing in it.
func isEmpty(body []byte, pointer string) bool {
	if pointer == "" {
		return false
	}
	at, ok := value(body, pointer)
	if !ok {
		return false
	}
	var list []json.RawMessage
	return json.Unmarshal(at, &list) == nil && list != nil && len(list) == 0
}
