package db

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/arw-project/arw/abi"
)

// maxBatch bounds a group: above it throughput no longer rises and the first writer of the group only waits longer.
const maxBatch = 512

// Watcher hears what becomes of transactions, so that a package can keep a copy of its state in memory that never runs
// ahead of the disk. All methods but Closed run on the writer's goroutine, in order and never at the same time; they
// must return quickly and must not call Write.
type Watcher interface {
	// Mark says that a write begins; Undo, that everything done since the last Mark was rolled back.
	Mark()
	Undo()
	// Seal runs once per transaction that will be committed, behind all of its writes. What it does through tx is part
	// of the transaction; its error fails the whole group.
	Seal(tx *sql.Tx) error
	// Commit says that everything since the last Commit or Abort is durable. It runs before the writers are told, for
	// the last watcher first: who stands on another's package has its state ready when the other passes the news on.
	Commit()
	// Abort says that the transaction failed. What it held is gone from the database's view, but after a failing disk
	// the fate of the last bytes is unknown: read the truth again from the table.
	Abort()
	// Closed says that there will be no further writes.
	Closed()
}

// Watch adds a watcher, to be called before the first write that the watcher cares about. There is no way to remove
// one: it lives as long as the DB.
func (d *DB) Watch(w Watcher) {
	d.watchMu.Lock()
	defer d.watchMu.Unlock()
	d.watchers = append(d.watchers[:len(d.watchers):len(d.watchers)], w)
}

const (
	waiting int32 = iota
	taken         // the writer runs it: the outcome will come
	givenUp       // the caller's context ended first: it must not run
)

type request struct {
	fn    func(*sql.Tx) error
	sure  bool // without a savepoint
	state atomic.Int32
	err   error
	done  chan struct{}
}

// Write runs fn inside the next transaction and returns when that is durably committed (nil) or known to have failed.
// fn runs at most once, on the writer's goroutine, together with other callers' functions but inside a savepoint of its
// own: if it returns an error or panics, its changes alone are undone. It must not call Write, Commit or Rollback, wait
// for anything, or keep tx.
//
// When ctx ends before fn began, fn never runs and the error is the context's; once begun, ctx has no effect, so the
// answer is always true. Errors: fn's own, with driver errors explained (see Explain); StorageFull when the disk is
// full, which may fail every write of one group; Unavailable after Close; Internal when fn panicked. After any of them the
// database remains usable.
func (d *DB) Write(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return d.submit(ctx, &request{fn: fn, done: make(chan struct{})})
}

// WriteSure is Write for a function that fails only if the database does. It saves the savepoint (a sixth of a small
// write's cost); in return an error or a panic of fn fails every write of its group.
func (d *DB) WriteSure(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return d.submit(ctx, &request{fn: fn, sure: true, done: make(chan struct{})})
}

func (d *DB) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case d.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.stop:
		return d.closed()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, givenUp) {
			return ctx.Err()
		}
	case <-d.ended:
		if r.state.CompareAndSwap(waiting, givenUp) {
			return d.closed()
		}
	}
	<-r.done
	return r.err
}

func (d *DB) closed() error {
	return abi.Errorf(abi.Unavailable, "write to %q: the database is closed", d.path)
}

// Stmt is a statement of the writer's connection, prepared at its first use and kept until Close. It may be used only
// inside the function that was given tx, and must not be closed. Write it once per query text: the cache never shrinks.
func (d *DB) Stmt(tx *sql.Tx, query string) (*sql.Stmt, error) {
	if tx == nil || tx != d.tx {
		return nil, abi.Errorf(abi.Internal, "prepare %q: used outside of the write it was given to", query)
	}
	if s, ok := d.stmts[query]; ok {
		return s, nil
	}
	s, err := d.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	d.stmts[query] = s
	return s, nil
}

// loop is the writer. It ends when Close was called and nothing is queued any more.
func (d *DB) loop() {
	batch := make([]*request, 0, maxBatch)
	for {
		var first *request
		select {
		case first = <-d.queue:
		default:
			select {
			case first = <-d.queue:
			case <-d.stop:
				if len(d.queue) == 0 {
					close(d.ended)
					return
				}
				continue
			}
		}
		// The writers of the last group have just been woken: let them queue again before the door closes, or groups
		// would alternate between large and tiny.
		runtime.Gosched()
		batch = d.drain(append(batch[:0], first))
		for rest := batch; len(rest) > 0; {
			rest = rest[d.transact(rest):]
		}
		clear(batch)
	}
}

func (d *DB) drain(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r := <-d.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// transact runs as much of the batch as one transaction can carry, acknowledges that part and returns its length, which
// is at least 1.
func (d *DB) transact(batch []*request) (n int) {
	returned := false
	defer func() {
		if !returned { // a function called runtime.Goexit (t.FailNow does): this goroutine is lost, the group failed
			d.abort(batch[:n], abi.Errorf(abi.Internal, "write to %q: a function of the same group ended the writer's goroutine", d.path))
			d.acknowledge(batch[:n])
			go d.resume(batch[n:])
		}
	}()
	tx, err := d.conn.BeginTx(context.Background(), nil)
	if err != nil {
		n = len(batch)
		fail(batch, d.Explain("begin a write", err))
		d.acknowledge(batch)
		returned = true
		return n
	}
	d.tx = tx
	for _, r := range batch {
		n++
		if !r.state.CompareAndSwap(waiting, taken) {
			continue
		}
		if err = d.run(r); err != nil {
			err = sharedFate(d.Explain("write", err))
			break
		}
	}
	if err == nil {
		err = d.seal()
	}
	if err != nil {
		d.abort(batch[:n], d.Explain("commit", err))
	} else {
		d.tx = nil
		d.commits.Add(1)
		for _, w := range slices.Backward(d.watching()) {
			w.Commit()
		}
	}
	d.acknowledge(batch[:n])
	returned = true
	return n
}

// resume takes over from a goroutine that a function ended.
func (d *DB) resume(rest []*request) {
	for len(rest) > 0 {
		rest = rest[d.transact(rest):]
	}
	d.loop()
}

// run executes one function in its savepoint. An error means that the whole transaction is lost: SQLite rolls
// everything back by itself when the disk fills up or fails in the middle.
func (d *DB) run(r *request) error {
	if r.sure {
		err := d.call(r.fn)
		r.err = d.Explain("write", err)
		return err
	}
	d.tell(Watcher.Mark)
	if err := d.exec("SAVEPOINT w"); err != nil {
		return err
	}
	if r.err = d.call(r.fn); r.err == nil {
		return d.exec("RELEASE w")
	}
	cause := r.err
	r.err = d.Explain("write", cause)
	err := d.exec("ROLLBACK TO w")
	if err == nil {
		err = d.exec("RELEASE w")
	}
	if err != nil {
		// What broke the function's own statement tells the others more than a savepoint that is no longer there.
		return errors.Join(driverError(cause), err)
	}
	d.tell(Watcher.Undo)
	return nil
}

func (d *DB) call(fn func(*sql.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := make([]byte, 4096)
			stack = stack[:runtime.Stack(stack, false)]
			err = abi.Errorf(abi.Internal, "write to %q: the function panicked: %v", d.path, p).WithDetail(map[string]string{"stack": string(stack)})
		}
	}()
	return fn(d.tx)
}

func (d *DB) exec(query string) error {
	s, err := d.Stmt(d.tx, query)
	if err == nil {
		_, err = s.ExecContext(context.Background())
	}
	return err
}

// abort rolls the transaction back and fails those of the batch that had not failed already.
func (d *DB) abort(batch []*request, err error) {
	if d.tx != nil {
		// The transaction may be gone already, and a function may have ended it in ways database/sql did not see.
		if d.tx.Rollback() != nil {
			_, _ = d.conn.ExecContext(context.Background(), "ROLLBACK")
		}
		d.tx = nil
	}
	fail(batch, err)
	d.tell(Watcher.Abort)
}

// sharedFate is what the others of a group are told when one of them took the transaction down.
func sharedFate(err error) error {
	return abi.Errorf(abi.CodeOf(err), "write: another write of the same group failed: %w", err).WithHint("%s", abi.HintOf(err))
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.state.CompareAndSwap(waiting, taken)
		if r.err == nil {
			r.err = err
		}
	}
}

func (d *DB) acknowledge(batch []*request) {
	for _, r := range batch {
		if r.state.Load() == givenUp {
			continue
		}
		if r.err == nil {
			d.writes.Add(1)
		} else {
			d.failed.Add(1)
		}
		close(r.done)
	}
}

// seal lets the watchers have the last word and commits.
func (d *DB) seal() error {
	for _, w := range d.watching() {
		if err := w.Seal(d.tx); err != nil {
			return err
		}
	}
	return d.tx.Commit()
}

func (d *DB) watching() []Watcher {
	d.watchMu.Lock()
	defer d.watchMu.Unlock()
	return d.watchers
}

func (d *DB) tell(what func(Watcher)) {
	for _, w := range d.watching() {
		what(w)
	}
}
