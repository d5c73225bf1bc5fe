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
	"github.com/arw-project/arw/host/internal/stream"
)

// Causes with which a running call's context ends; finish reads them back to name the end.
var (
	errCancel   = errors.New("cancelled")
	errStopping = errors.New("the host is stopping")
)

// ErrHeld is what a Runner's error wraps when the job had done nothing yet but wait for somebody. If the host is stopping then,
// the action stays as it is for the next Open, which asks Config.Resume.
var ErrHeld = errors.New("the action was waiting for somebody")

// Executor takes actions in, runs them and keeps their record. Make one with Open; nothing runs before Run.
type Executor struct {
	db     *db.DB
	jrn    *journal.Journal
	runner Runner
	log    *slog.Logger
	cfg    Config

	mu    sync.Mutex // guards what follows; never held across I/O or a call
	queue queue
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

// Open reads the record and heals it: what was running when the host last stopped has failed (code interrupted, with
// its event), what was queued waits to be run again. The runner is first asked when Run is called.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, r Runner, cfg Config, log *slog.Logger) (*Executor, error) {
	cfg = cfg.withDefaults()
	e := &Executor{
		db: d, jrn: j, runner: r, log: log, cfg: cfg,
		live:  map[string]*entry{},
		queue: queue{perPack: cfg.PerPack, limit: cfg.Queue, lanes: map[string]*lane{}},
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
		Streams: r.Streams, Effects: tool.Effects, Trace: r.Trace,
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

// enter writes a judged action, running if a worker is free and queued otherwise.
func (e *Executor) enter(ctx context.Context, ent *entry) (Action, bool, error) {
	started, err := e.place(ent)
	if err != nil {
		return Action{}, false, err
	}
	var earlier *Action
	err = e.db.Write(ctx, func(tx *sql.Tx) error {
		var err error
		if earlier, err = e.findKey(tx, ent.act); err != nil || earlier != nil {
			return err
		}
		if err := e.insert(tx, ent.act); err != nil || !started {
			return err
		}
		return e.move(tx, Queued, ent.act.running())
	})
	if err != nil || earlier != nil {
		e.unplace(ent, started)
	}
	switch {
	case err != nil:
		return Action{}, false, err
	case earlier != nil:
		e.reused.Add(1)
		return *earlier, true, nil
	}
	e.submitted.Add(1)
	if started {
		ent.act = ent.act.running()
	}
	out := ent.act
	if ent.streams != nil {
		e.streams.Add(ent.id, ent.streams)
	}
	e.goOn(ent, started)
	return out, false, nil
}

// place finds room for an action, a free worker (true) or a place in the queue (false), and makes it live: a follower
// of the journal may ask for it before its submitter hears of the commit.
func (e *Executor) place(ent *entry) (started bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.phase == stopping:
		return false, abi.Errorf(abi.Unavailable, "submit %q: the host is stopping", ent.act.Kind)
	case e.phase == working && !e.held && e.queue.takeSlot(ent.pack):
		e.wg.Add(1) // the slot is a goroutine of Run from here on
		started = true
	case !e.queue.reserve():
		return false, abi.Errorf(abi.Busy, "submit %q: %d actions are waiting, the most this host keeps", ent.act.Kind, e.queue.limit).
			WithDetail(map[string]int{"queued": e.queue.waiting, "limit": e.queue.limit})
	}
	e.live[ent.id] = ent
	return started, nil
}

// unplace takes place back after a write that added nothing.
func (e *Executor) unplace(ent *entry, started bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, ent.id)
	close(ent.done)
	if !started {
		e.queue.unreserve()
		return
	}
	e.queue.freeSlot(ent.pack)
	e.dispatch()
	e.wg.Done()
}

// goOn lets a durable action proceed: its goroutine starts, or it stands in line.
func (e *Executor) goOn(ent *entry, started bool) {
	if started {
		go e.work(ent)
		return
	}
	if len(ent.act.Input) > keepInput {
		ent.act.Input = nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.push(ent)
	e.dispatch()
}

// dispatch starts whatever may run now. The caller holds mu.
func (e *Executor) dispatch() {
	if e.phase != working || e.held {
		return
	}
	for ent := e.queue.pop(); ent != nil; ent = e.queue.pop() {
		e.wg.Add(1)
		go e.work(ent)
	}
}

// handOver gives the pack's worker slot to the next action that may have it; nil when none waits.
func (e *Executor) handOver(pack string) *entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.freeSlot(pack)
	if e.phase != working || e.held {
		return nil
	}
	return e.queue.pop()
}

// Run works until ctx ends. Then it takes no more work, lets running calls finish for Config.Grace, cancels the rest
// (they end as failed, code interrupted) and returns nil; queued actions stay queued for the next start. Call it once.
func (e *Executor) Run(ctx context.Context) error {
	calls, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	e.mu.Lock()
	if e.phase != idle {
		e.mu.Unlock()
		return abi.Errorf(abi.Conflict, "run actions: already running or closed")
	}
	e.phase, e.ctx, e.queue.workers = working, calls, e.cfg.Workers
	e.dispatch()
	e.mu.Unlock()

	<-ctx.Done()
	e.Close()
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
	return nil
}

// Close makes Submit refuse. Run, when it is on, is ended by its own context.
func (e *Executor) Close() {
	e.mu.Lock()
	e.phase = stopping
	e.mu.Unlock()
}

// Stats is a snapshot; the counters count since Open.
func (e *Executor) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{
		Working: e.phase == working, Paused: e.held, Workers: e.cfg.Workers, Running: e.queue.running, Waiting: e.queue.waiting, Queue: e.cfg.Queue,
		Submitted: e.submitted.Load(), Completed: e.completed.Load(), Failed: e.failed.Load(),
		Cancelled: e.cancelled.Load(), Reused: e.reused.Load(),
	}
}
