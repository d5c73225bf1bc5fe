package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// work runs actions on one worker slot until none waits. The end of one and the start of the next are one commit.
func (e *Executor) work(ent *entry) {
	defer e.wg.Done()
	for ent != nil {
		ran, err := e.run(e.ctx, ent)
		end, how := e.verdict(ent.act, ran, err)
		ent = e.finish(ent, end, how)
	}
}

// verdict says what the queue is told about a run.
func (e *Executor) verdict(ran, end Action, err error) (Action, queue.End) {
	var again *Again
	stopped := end.Failure != nil && end.Failure.Code == abi.Interrupted && e.ctx.Err() != nil
	switch {
	case stopped && e.cutOff(ran, err):
		ran.State, ran.note = Queued, "the host stopped while it ran"
		return ran, queue.End{How: queue.Again, Uncounted: errors.Is(err, ErrHeld), Why: ran.note}
	case stopped:
		return end, queue.End{How: queue.Bury, Why: end.Failure.Message}
	case end.State == Failed && errors.As(err, &again) && ran.Attempt < e.cfg.Attempts && len(ran.Streams) == 0:
		ran.State, ran.note, ran.delay = Queued, clip(err.Error(), maxMessage), again.After
		return ran, queue.End{How: queue.Again, Delay: again.After, Why: ran.note}
	case end.State == Failed && errors.As(err, &again):
		return end, queue.End{How: queue.Bury, Why: end.Failure.Message}
	}
	return end, queue.End{How: queue.Done}
}

// finish makes durable, in one commit, that one action has ended or goes back, and that the next has started, and tells the
// waiters. It returns the next. When nothing could be written before the host stopped, the record still says running, and the
// next Open tells the truth about it.
func (e *Executor) finish(ent *entry, end Action, how queue.End) *entry {
	e.mu.Lock()
	e.slots.free(ent.slot)
	if !end.State.Final() {
		// Before the queue has it: it may be given out again at once.
		ent.act, ent.runs, ent.cancel, ent.waits = end, false, nil, true
		e.slots.waiting++
	}
	e.mu.Unlock()
	var t *taking
	taken := false
	err := e.persist(func(ctx context.Context) error {
		lease := e.leaseOf(ent)
		var refused error
		how.Also = func(tx *sql.Tx) error {
			refused = e.ending(tx, end, how.How)
			return refused
		}
		how.Next, t = e.ask(1)
		next, err := e.line.End(ctx, lease, how)
		taken = len(next) > 0
		if code := abi.CodeOf(err); err == nil || refused != nil || code != abi.Conflict && code != abi.NotFound {
			return err
		}
		if e.leaseOf(ent).Token != lease.Token {
			return errors.New("the lease was renewed under another token")
		}
		// The queue has given the job up meanwhile; the record has not, and the record decides.
		return e.db.Write(ctx, func(tx *sql.Tx) error { return e.ending(tx, end, how.How) })
	})
	switch {
	case err == nil && end.State.Final():
		e.publish(ent, end)
	case err != nil || e.stopping(): // who waits for it is told how it stands
		e.forget(ent)
	}
	if err == nil && taken {
		if next := t.started(); len(next) == 1 {
			return next[0]
		}
	}
	e.nudge()
	return nil
}

// ending moves a running action, and tells of those that need a person.
func (e *Executor) ending(tx *sql.Tx, end Action, how queue.Move) error {
	err := e.move(tx, Running, end)
	if err == nil && how == queue.Bury {
		err = e.tellDead(tx, end, end.Failure.Message)
	}
	return err
}

func (e *Executor) leaseOf(ent *entry) queue.Lease {
	e.mu.Lock()
	defer e.mu.Unlock()
	return ent.lease
}

func (e *Executor) stopping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase == stopping
}

// persist writes until it succeeds: a full disk must not turn a finished call into a lie. It gives up when the host
// stops; then the row still says running and the next Open tells the truth about it. A Conflict is never retried.
func (e *Executor) persist(write func(ctx context.Context) error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := write(context.WithoutCancel(e.ctx))
		if err == nil || abi.CodeOf(err) == abi.Conflict {
			return err
		}
		e.log.Error("record an action", "error", err, "again_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// publish ends an action for those who wait in this process.
func (e *Executor) publish(ent *entry, end Action) {
	ent.last = end
	switch end.State {
	case Completed:
		e.completed.Add(1)
	case Failed:
		e.failed.Add(1)
	case Cancelled:
		e.cancelled.Add(1)
	}
	e.forget(ent)
}

func (e *Executor) forget(ent *entry) {
	e.mu.Lock()
	delete(e.live, ent.id)
	if ent.waits {
		ent.waits = false
		e.slots.waiting--
	}
	e.mu.Unlock()
	close(ent.done)
	if ent.streams != nil { // after done: whoever sees the stream end finds the action final
		e.streams.End(ent.id)
	}
}

// run calls the tool and says how the action ended, beside what the runner said. Nothing is written.
func (e *Executor) run(parent context.Context, ent *entry) (Action, error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	if !ent.act.Deadline.IsZero() {
		var done context.CancelFunc
		ctx, done = context.WithDeadline(ctx, ent.act.Deadline)
		defer done()
	}
	e.mu.Lock()
	ent.cancel = stop
	if ent.why != nil {
		stop(errCancel)
	}
	e.mu.Unlock()
	res, err := e.call(ctx, ent)
	return e.judge(ctx, ent, res, err), err
}

// call resolves what a restart forgot and runs the tool; a panic below is an error of this one action.
func (e *Executor) call(ctx context.Context, ent *entry) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.ErrorContext(ctx, "a tool's runner panicked", "action", ent.act.ID, "corr_id", ent.act.Corr, "kind", ent.act.Kind, "panic", p, "stack", string(debug.Stack()))
			err = abi.Errorf(abi.Internal, "run %q: a fault of the host", ent.act.Kind)
		}
	}()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if ent.act.Input == nil {
		if ent.act.Input, err = e.readInput(ctx, ent.id); err != nil {
			return Result{}, err
		}
	}
	if ent.tool.Kind == "" { // from before a restart: the tool may have changed since
		if ent.tool, err = e.runner.Resolve(ent.pack + ":" + ent.kind); err != nil {
			return Result{}, err
		}
		if _, err := e.input(ent.tool, ent.act.Input); err != nil {
			return Result{}, err
		}
	}
	if len(ent.act.Streams) > 0 && ent.streams == nil {
		return Result{}, abi.Errorf(abi.Interrupted, "run %q: the host stopped before it ran, and its caller's streams ended with it", ent.act.Kind)
	}
	job := Job{Action: ent.act, Tool: ent.tool, Streams: ent.streams}
	job.call = func(ctx context.Context, kind string, input []byte) (Result, error) {
		return e.nested(ctx, ent, kind, input)
	}
	job.idle = func(wait func() error) error { return e.idle(ent, wait) }
	return e.runner.Run(ctx, job)
}

// idle lends the action's worker to others while wait runs.
func (e *Executor) idle(ent *entry, wait func() error) error {
	e.release(ent.slot)
	e.nudge()
	defer func() {
		e.mu.Lock()
		e.slots.force(ent.slot)
		e.mu.Unlock()
	}()
	return wait()
}

// judge turns what a run returned into the action's end. Why the context ended outranks what the runner made of it.
func (e *Executor) judge(ctx context.Context, ent *entry, res Result, err error) Action {
	a := ent.act
	a.Ended, a.Usage = time.Now().UTC().Truncate(time.Millisecond), res.Usage
	if a.Record != nil && res.Record != nil {
		a.Record = res.Record
	}
	if err == nil {
		err = e.fits(a.Kind, res)
	}
	if err == nil {
		a.State, a.OutKind, a.Output = Completed, res.Kind, res.Body
		return a
	}
	a.State = Failed
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCancel):
		a.State, a.Failure = Cancelled, e.cancelledBy(ent)
	case errors.Is(cause, errStopping):
		a.Failure = failure(interrupted(a))
	case errors.Is(cause, context.DeadlineExceeded) && abi.CodeOf(err) != abi.Deadline:
		a.Failure = failure(abi.Errorf(abi.Deadline, "run %q: its deadline passed: %w", a.Kind, err))
	default:
		a.Failure = failure(err)
	}
	return a
}

// fits checks what a completed action is about to promise its readers.
func (e *Executor) fits(kind string, res Result) error {
	if n := int64(len(res.Body)); n > e.cfg.MaxOutput {
		return abi.Errorf(abi.TooLarge, "run %q: output of %d bytes, limit %d", kind, n, e.cfg.MaxOutput)
	}
	switch res.Kind {
	case abi.FrameBytes:
		return nil
	case abi.FrameJSON:
		if json.Valid(res.Body) {
			return nil
		}
		return abi.Errorf(abi.ToolFailed, "run %q: its output is not JSON", kind)
	}
	return abi.Errorf(abi.ToolFailed, "run %q: a reply of kind %d is neither JSON nor bytes", kind, res.Kind)
}

func (e *Executor) cancelledBy(ent *entry) *Failure {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ent.why != nil {
		return ent.why
	}
	return failure(abi.Errorf(abi.Cancelled, "run %q: the action that called it was cancelled", ent.act.Kind))
}

// Bounds on what a guest can make the record carry in one failure.
const (
	maxMessage = 4 << 10
	maxDetail  = 64 << 10
)

// failure is an error as the record keeps it.
func failure(err error) *Failure {
	f := &Failure{Code: abi.CodeOf(err), Message: clip(err.Error(), maxMessage), Hint: clip(abi.HintOf(err), maxMessage)}
	f.Name = f.Code.String()
	if e, ok := errors.AsType[*abi.Error](err); ok && e.Detail != nil {
		detail, err := json.Marshal(e.Detail)
		switch {
		case err != nil:
			f.Detail = mustJSON(fmt.Sprintf("the detail does not marshal: %v", err))
		case len(detail) > maxDetail:
			f.Detail = mustJSON(fmt.Sprintf("the detail of %d bytes is above the limit of %d", len(detail), maxDetail))
		default:
			f.Detail = detail
		}
	}
	return f
}

// mustJSON marshals a string, which cannot fail.
func mustJSON(s string) json.RawMessage {
	b, _ := json.Marshal(s)
	return b
}

// clip shortens text to n bytes at a rune's boundary and replaces what is not UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return string([]rune(s))
}

// running is the action as it starts.
func (a Action) running() Action {
	a.State = Running
	a.Attempt++
	a.Started = time.Now().UTC().Truncate(time.Millisecond)
	return a
}

// nested runs a call that one tool makes of another, in the caller's own goroutine, on its worker and under its lease: if nested
// calls queued for workers, callers could hold them all and wait for ever.
func (e *Executor) nested(ctx context.Context, parent *entry, kind string, input []byte) (Result, error) {
	depth := parent.act.Depth + 1
	if depth > e.cfg.MaxDepth {
		return Result{}, abi.Errorf(abi.DepthExceeded, "call %q from %q: nested %d deep, limit %d", kind, parent.act.Kind, depth, e.cfg.MaxDepth)
	}
	ent, err := e.admit(Request{
		Kind: kind, Input: input, Actor: "pack:" + parent.act.Pack, Project: parent.act.Project, Corr: parent.act.Corr,
	})
	if err != nil {
		return Result{}, err
	}
	ent.act.Parent, ent.act.Depth, ent.slot = parent.act.ID, depth, parent.slot
	if err := e.enterNested(ctx, ent); err != nil {
		return Result{}, err
	}
	var end Action
	if ent.tool.Effects > parent.tool.Effects {
		end = e.judge(ctx, ent, Result{}, abi.Errorf(abi.Denied, "call %q from %q: a tool that declares %q may not call one that declares %q",
			ent.kind, parent.kind, parent.tool.Effects, ent.tool.Effects).
			WithHint("declare effects = %q for %q in pack.toml", ent.tool.Effects, parent.kind))
	} else {
		end, _ = e.run(ctx, ent)
	}
	err = e.persist(func(ctx context.Context) error {
		return e.db.Write(ctx, func(tx *sql.Tx) error { return e.move(tx, Running, end) })
	})
	if err != nil {
		e.forget(ent)
		return Result{Usage: end.Usage}, err
	}
	e.publish(ent, end)
	if end.Failure != nil {
		return Result{Kind: abi.FrameError, Usage: end.Usage}, end.Failure.Err()
	}
	return Result{Kind: end.OutKind, Body: end.Output, Usage: end.Usage}, nil
}

// enterNested records a nested action as running; it takes no worker and no place in the queue.
func (e *Executor) enterNested(ctx context.Context, ent *entry) error {
	e.mu.Lock()
	e.live[ent.id] = ent
	e.mu.Unlock()
	queued := ent.act
	ent.act = ent.act.running()
	err := e.db.Write(ctx, func(tx *sql.Tx) error {
		if err := e.insert(tx, queued); err != nil {
			return err
		}
		return e.move(tx, Queued, ent.act)
	})
	if err != nil {
		e.forget(ent)
		return err
	}
	e.submitted.Add(1)
	return nil
}
