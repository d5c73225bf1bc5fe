package action

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/stream"
)

// Causes with which a running call's context ends; finish reads them back to name the end.
var (
	errCancel   = errors.New("cancelled")
	errStopping = errors.New("the host is stopping")
)

// ErrHeld is what a Runner's error wraps when the job had done nothing yet but wait for somebody. If the host is stopping then,
// the action waits for the next start, and this attempt does not count for the queue.
var ErrHeld = errors.New("the action was waiting for somebody")

// Again is what a Runner returns when a job had no effect and is better tried later: it goes back to the queue until its
// attempts are used up, and then fails with Err.
type Again struct {
	After time.Duration
	Err   error
}

func (a *Again) Error() string { return a.Err.Error() }

// Unwrap is the reason.
func (a *Again) Unwrap() error { return a.Err }

// Executor takes actions in, runs them and keeps their record. Make one with Open; nothing runs before Run.
type Executor struct {
	db     *db.DB
	jrn    *journal.Journal
	runner Runner
	log    *slog.Logger
	cfg    Config

	line queue.Queue
	kick chan struct{} // a worker is free: see dispatch

	mu    sync.Mutex // guards what follows; never held across I/O or a call
	slots slots
	live  map[string]*entry // every action that is not final, by id
	phase phase
	held  bool            // Pause
	ctx   context.Context // of Run, parent of every call's context; a goroutine's lifetime, not a request's
	wg    sync.WaitGroup

	streams stream.Hub

	submitted, completed, failed, cancelled, reused atomic.Uint64
}

type phase int

const (
	idle     phase = iota // opened: takes work, runs none
	working               // Run is on
	stopping              // Run was told to end, or Close was called: takes no work
)

// entry is one action that is not final yet. Its act belongs to whoever moves it: the submitter, then the worker.
type entry struct {
	id, kind, pack string // of act; these never change and anyone may read them
	slot           string // the pack whose worker it runs on: its own, or that of the action at the root of the calls

	tool    Tool         // zero after a restart, until it runs
	act     Action       // Input is nil when it was too large to keep
	streams *stream.Pair // nil when the caller attached none, and after a restart
	done    chan struct{}
	last    Action // the final action, set before done is closed; empty when its end could not be recorded

	waits  bool                    // it is counted among the waiting; guarded by Executor.mu
	runs   bool                    // a worker has it; guarded by Executor.mu
	lease  queue.Lease             // while it runs, of a submitted action; guarded by Executor.mu
	cancel context.CancelCauseFunc // set while running; guarded by Executor.mu
	why    *Failure                // a requested cancel; guarded by Executor.mu
}

func newEntry(a Action, tool Tool) *entry {
	return &entry{id: a.ID, kind: a.Kind, pack: a.Pack, slot: a.Pack, tool: tool, act: a, done: make(chan struct{})}
}

// keepInput is the largest input kept in memory while an action waits; larger ones are read back when it runs, so that
// a full queue of large inputs does not fill the memory.
const keepInput = 64 << 10

// maxKey bounds what a client chooses freely; the journal bounds the other names the same.
const maxKey = 256

// Open reads the record and heals it: what was running when the host was killed waits to be run again, or has failed (code
// interrupted, with its event), what was queued waits; and the queue is made to agree. The runner is first asked when Run is
// called. Invalid without Config.Line.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, r Runner, cfg Config, log *slog.Logger) (*Executor, error) {
	cfg = cfg.withDefaults()
	if cfg.Line == nil {
		return nil, abi.Errorf(abi.Invalid, "open actions: no queue was given")
	}
	e := &Executor{
		db: d, jrn: j, runner: r, log: log, cfg: cfg, line: cfg.Line, kick: make(chan struct{}, 1),
		live:  map[string]*entry{},
		slots: slots{perPack: cfg.PerPack, limit: cfg.Queue, packs: map[string]int{}},
		ctx:   context.WithoutCancel(ctx), // Run has its own
	}
	if err := e.recover(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, min(max(4, 2*runtime.GOMAXPROCS(0)), 32))
	c.PerPack = cmp.Or(c.PerPack, max(1, c.Workers-(c.Workers+3)/4))
	c.Queue = cmp.Or(c.Queue, 1024)
	c.MaxInput = cmp.Or(c.MaxInput, 8<<20)
	c.MaxOutput = cmp.Or(c.MaxOutput, 8<<20)
	c.MaxDepth = cmp.Or(c.MaxDepth, 8)
	c.IdemTTL = cmp.Or(c.IdemTTL, 24*time.Hour)
	c.Attempts = cmp.Or(c.Attempts, 3)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	c.Lease = max(cmp.Or(c.Lease, queue.DefaultLease), queue.MinLease)
	return c
}

// Submit records an action and returns it once it is durable. With a known IdemKey it returns the earlier action and
// true. Errors: NotFound (no such tool), Invalid (input is not JSON or does not fit the schema), TooLarge, Busy (the
// queue is full), Conflict (the key was used with another input), Unavailable (the host is stopping), StorageFull.
//
// When a worker is free the action is already running in the same commit; otherwise it is queued.
func (e *Executor) Submit(ctx context.Context, r Request) (Action, bool, error) {
	if err := ctx.Err(); err != nil {
		return Action{}, false, abi.Errorf(abi.CodeOf(err), "submit %q: %w", r.Kind, err)
	}
	ent, err := e.admit(r)
	if err != nil {
		return Action{}, false, err
	}
	return e.enter(ctx, ent)
}

// admit judges a request before anything is written.
func (e *Executor) admit(r Request) (*entry, error) {
	var err error
	if r.Project, err = project.Of(r.Project); err != nil {
		return nil, err
	}
	tool, err := e.runner.Resolve(r.Kind)
	if err != nil {
		return nil, err
	}
	in, err := e.input(tool, r.Input)
	if err != nil {
		return nil, err
	}
	if len(r.IdemKey) > maxKey || len(r.Session) > maxKey {
		return nil, abi.Errorf(abi.Invalid, "submit %q: a key or session has at most %d bytes", tool.Kind, maxKey)
	}
	if name := e.cfg.Name; name != nil {
		r.IdemKey, r.Session, r.Corr = name(r.IdemKey), name(r.Session), name(r.Corr)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	if !r.Deadline.IsZero() && !r.Deadline.After(now) {
		return nil, abi.Errorf(abi.Deadline, "submit %q: its deadline %s has passed", r.Kind, r.Deadline.UTC().Format(time.RFC3339Nano))
	}
	if err := streamsFit(tool, r); err != nil {
		return nil, err
	}
	a := Action{
		ID: newID("act_"), Kind: tool.Kind, Pack: tool.Pack, State: Queued, Input: in, IdemKey: r.IdemKey,
		Actor: r.Actor, Project: r.Project, Corr: r.Corr, Session: r.Session, Deadline: r.Deadline, Created: now,
		Streams: r.Streams, Effects: tool.Effects, Priority: r.Priority, Trace: r.Trace,
	}
	if r.Record {
		a.Record = &Recording{}
	}
	if a.Corr == "" {
		a.Corr = newID("cor_")
	}
	ent := newEntry(a, tool)
	ent.streams = stream.New(a.Streams)
	return ent, nil
}

// input checks and compacts one input, so that spelling does not matter to idempotency.
func (e *Executor) input(tool Tool, in []byte) (json.RawMessage, error) {
	limit := cmp.Or(tool.MaxInput, e.cfg.MaxInput)
	if int64(len(in)) > limit {
		return nil, abi.Errorf(abi.TooLarge, "submit %q: input of %d bytes, limit %d", tool.Kind, len(in), limit)
	}
	if len(in) == 0 {
		in = []byte("{}")
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, in); err != nil {
		return nil, abi.Errorf(abi.Invalid, "submit %q: input is not JSON: %w", tool.Kind, err)
	}
	if tool.Validate != nil {
		if err := tool.Validate(buf.Bytes()); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), nil
}

// errKnown takes back the step of a request whose key is known.
var errKnown = errors.New("the key is known")

// enter writes a judged action, running if a worker is free and queued otherwise.
func (e *Executor) enter(ctx context.Context, ent *entry) (Action, bool, error) {
	claimed, err := e.place(ent)
	if err != nil {
		return Action{}, false, err
	}
	var earlier *Action
	also := func(tx *sql.Tx) (err error) {
		if earlier, err = e.findKey(tx, ent.act); err != nil {
			return err
		}
		if earlier != nil {
			return errKnown
		}
		return e.insert(tx, ent.act)
	}
	ask, t := e.ask(1)
	ask.Slot = func(string) bool { return claimed }
	ask.Free = nil
	out := ent.act // from here on it may belong to a worker
	lease, err := e.line.Put(ctx, e.job(out), ask, also)
	if err != nil {
		e.unplace(ent, claimed)
	}
	switch {
	case earlier != nil:
		e.reused.Add(1)
		return *earlier, true, nil
	case err != nil:
		return Action{}, false, err
	}
	e.submitted.Add(1)
	if ent.streams != nil {
		e.streams.Add(ent.id, ent.streams)
	}
	if e.goOn(ent, claimed, lease, t) {
		out = t.begun[0].start
	}
	return out, false, nil
}

// place finds room for an action, a free worker (true) or a place in the queue (false), and makes it live: a follower
// of the journal may ask for it before its submitter hears of the commit.
func (e *Executor) place(ent *entry) (claimed bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.phase == stopping:
		return false, abi.Errorf(abi.Unavailable, "submit %q: the host is stopping", ent.act.Kind)
	case e.phase == working && !e.held && e.slots.take(ent.pack):
		e.wg.Add(1) // the slot is a goroutine of Run from here on
		claimed = true
	case !e.slots.reserve():
		return false, abi.Errorf(abi.Busy, "submit %q: %d actions are waiting, the most this host keeps", ent.act.Kind, e.slots.limit).
			WithDetail(map[string]int{"queued": e.slots.waiting, "limit": e.slots.limit})
	}
	ent.waits = !claimed
	e.live[ent.id] = ent
	return claimed, nil
}

// unplace takes place back after a write that added nothing.
func (e *Executor) unplace(ent *entry, claimed bool) {
	e.mu.Lock()
	delete(e.live, ent.id)
	if claimed {
		e.slots.free(ent.pack)
	} else {
		e.slots.waiting--
	}
	e.mu.Unlock()
	close(ent.done)
	if claimed {
		e.nudge()
		e.wg.Done()
	}
}

// goOn lets a durable action proceed: its goroutine starts, or it waits in the queue, and the worker that was kept for it, if
// one was, is free again. The action may have begun by then: it belongs to its worker.
func (e *Executor) goOn(ent *entry, claimed bool, lease *queue.Lease, t *taking) (started bool) {
	if lease != nil && len(t.started()) == 1 {
		go e.work(ent)
		return true
	}
	e.mu.Lock()
	if !ent.runs && !ent.waits {
		ent.waits = true
		e.slots.waiting++
	}
	if !ent.runs && len(ent.act.Input) > keepInput {
		ent.act.Input = nil
	}
	if claimed {
		e.slots.free(ent.pack)
	}
	e.mu.Unlock()
	if claimed {
		e.nudge()
		e.wg.Done()
	}
	return false
}

// Run works until ctx ends. Then it takes no more work and lets running calls finish for Config.Grace. What still runs then is
// cut off: it waits for the next start where running it twice does no harm, and has failed (interrupted) otherwise. Queued
// actions stay queued. Call it once.
func (e *Executor) Run(ctx context.Context) error {
	calls, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	e.mu.Lock()
	if e.phase != idle {
		e.mu.Unlock()
		return abi.Errorf(abi.Conflict, "run actions: already running or closed")
	}
	e.phase, e.ctx, e.slots.workers = working, calls, e.cfg.Workers
	e.mu.Unlock()
	below, end := context.WithCancel(calls) // what running calls need, until the last has ended
	var parts sync.WaitGroup
	defer parts.Wait()
	defer end()
	failed := make(chan error, 1)
	parts.Go(func() { e.heartbeat(below) })
	parts.Go(func() {
		if err := e.line.Run(below, e.buried); err != nil && below.Err() == nil {
			failed <- err
		}
	})
	taking, enough := context.WithCancel(ctx)
	defer enough()
	dispatching := make(chan struct{})
	go func() { defer close(dispatching); e.dispatch(taking) }()

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	e.Close()
	enough()
	<-dispatching
	quiet := make(chan struct{})
	go func() { e.wg.Wait(); close(quiet) }()
	grace := time.NewTimer(e.cfg.Grace)
	defer grace.Stop()
	select {
	case <-quiet:
	case <-grace.C:
		stop(errStopping)
		<-quiet
	}
	return err
}

// Close makes Submit refuse. Run, when it is on, is ended by its own context.
func (e *Executor) Close() {
	e.mu.Lock()
	e.phase = stopping
	e.mu.Unlock()
}

// Stats is a snapshot; the counters count since Open.
func (e *Executor) Stats() Stats {
	line := e.line.Stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{
		Backend: e.cfg.Backend, Line: line, Working: e.phase == working, Paused: e.held, Workers: e.cfg.Workers, Running: e.slots.running, Waiting: e.slots.waiting, Queue: e.cfg.Queue,
		Submitted: e.submitted.Load(), Completed: e.completed.Load(), Failed: e.failed.Load(),
		Cancelled: e.cancelled.Load(), Reused: e.reused.Load(),
	}
}
