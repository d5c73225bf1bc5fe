package action

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// job is an action as the queue knows it: an id in the lane of its pack. What it is stands in the record.
func (e *Executor) job(a Action) queue.Job {
	return queue.Job{ID: a.ID, Lane: a.Pack, Priority: a.Priority, Deadline: a.Deadline, Attempts: e.cfg.Attempts}
}

// claim takes a worker for a pack, if anything may begin; release gives it back.
func (e *Executor) claim(pack string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase == working && !e.held && e.slots.take(pack)
}

func (e *Executor) release(pack string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slots.free(pack)
}

// taking is one step of the queue that gives jobs out: what began by it, once it is committed.
type taking struct {
	e     *Executor
	begun []begun
	stale []queue.Lease // of actions that have ended: a crash came between the record's commit and the queue's
	alien []queue.Lease // of actions that are not in this record
}

type begun struct {
	ent   *entry
	start Action
	lease queue.Lease
	again bool // it runs here already: the lease is another, the run is the same
}

// ask is what the executor wants of the queue: up to n actions, which become running in the same commit.
func (e *Executor) ask(n int) (*queue.Ask, *taking) {
	t := &taking{e: e}
	return &queue.Ask{Max: n, For: e.cfg.Lease, Slot: e.claim, Free: e.release, Also: t.also}, t
}

// also moves what was given out to running. The record decides: an action that has ended does not begin again.
func (t *taking) also(tx *sql.Tx, leases []queue.Lease) error {
	t.begun, t.stale, t.alien = nil, nil, nil
	for _, l := range leases {
		t.e.mu.Lock()
		ent := t.e.live[l.ID]
		runs := ent != nil && ent.runs
		var start Action
		if ent != nil && !runs {
			start = ent.act.running()
		}
		t.e.mu.Unlock()
		switch {
		case runs:
			t.begun = append(t.begun, begun{ent: ent, lease: l, again: true})
		case ent == nil:
			if err := t.sort(tx, l); err != nil {
				return err
			}
		default:
			err := t.e.move(tx, Queued, start)
			if abi.CodeOf(err) == abi.Conflict {
				t.stale = append(t.stale, l)
			} else if err != nil {
				return err
			} else {
				t.begun = append(t.begun, begun{ent: ent, start: start, lease: l})
			}
		}
	}
	return nil
}

// sort tells a job of an action that has ended from one that is somebody else's.
func (t *taking) sort(tx *sql.Tx, l queue.Lease) error {
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM action WHERE id = ?`, l.ID).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		t.stale = append(t.stale, l)
	} else {
		t.alien = append(t.alien, l)
	}
	return nil
}

// started finishes the step: it returns the actions whose calls are to be made now, each with a worker claimed.
func (t *taking) started() []*entry {
	var out []*entry
	t.e.mu.Lock()
	for _, b := range t.begun {
		b.ent.lease = b.lease
		if b.again {
			t.e.slots.free(b.lease.Lane)
			continue
		}
		b.ent.act, b.ent.runs = b.start, true
		if b.ent.waits {
			b.ent.waits = false
			t.e.slots.waiting--
		}
		out = append(out, b.ent)
	}
	for _, l := range append(t.stale, t.alien...) {
		t.e.slots.free(l.Lane)
	}
	t.e.mu.Unlock()
	for _, l := range t.stale {
		t.e.settle(l, queue.End{How: queue.Done})
	}
	for _, l := range t.alien {
		t.e.log.Error("the queue holds a job that is not in this host's record; is another host using the same queue?", "job", l.ID, "lane", l.Lane)
		t.e.settle(l, queue.End{How: queue.Again, Delay: time.Minute, Uncounted: true, Why: "not in the record of the host that took it"})
	}
	return out
}

// settle ends a lease that no action of this process stands behind.
func (e *Executor) settle(l queue.Lease, end queue.End) {
	if _, err := e.line.End(context.WithoutCancel(e.ctx), l, end); err != nil {
		e.log.Error("settle a job that is over", "job", l.ID, "error", err)
	}
}

// dispatch begins whatever may run, until ctx ends.
func (e *Executor) dispatch(ctx context.Context) {
	for {
		changed := e.line.Changed()
		ask, t := e.ask(e.cfg.Workers)
		leases, err := e.line.Take(ctx, *ask)
		var again <-chan time.Time
		switch {
		case err != nil && ctx.Err() == nil:
			e.log.Error("take work from the queue", "error", err)
			again = time.After(time.Second)
		case len(leases) > 0:
			for _, ent := range t.started() {
				e.wg.Add(1)
				go e.work(ent)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-e.kick:
		case <-again:
		}
	}
}

// nudge makes dispatch look again: a worker is free that was not.
func (e *Executor) nudge() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// heartbeat keeps the leases of what runs, until ctx ends.
func (e *Executor) heartbeat(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.mu.Lock()
		var leases []queue.Lease
		for _, ent := range e.live {
			if ent.runs {
				leases = append(leases, ent.lease)
			}
		}
		e.mu.Unlock()
		lost, err := e.line.Renew(ctx, e.cfg.Lease, leases...)
		if err != nil && ctx.Err() == nil {
			e.log.Error("renew the leases of what runs", "error", err)
		}
		for _, l := range lost {
			e.log.Warn("a running action's lease ran out; it goes on here and its end counts", "action", l.ID)
		}
	}
}

// errRuns keeps the queue from giving up what runs in this very process.
var errRuns = errors.New("it still runs here")

// buried records that the queue gave a waiting action up.
func (e *Executor) buried(tx *sql.Tx, j queue.Info, code abi.Code) (func(), error) {
	e.mu.Lock()
	ent := e.live[j.ID]
	runs := ent != nil && ent.runs
	var a Action
	if ent != nil && !runs {
		a = ent.act
	}
	e.mu.Unlock()
	if runs {
		return nil, errRuns
	}
	if ent == nil {
		return nil, nil
	}
	a.State, a.Ended = Failed, time.Now().UTC().Truncate(time.Millisecond)
	if code == abi.Deadline {
		a.Failure = failure(abi.Errorf(abi.Deadline, "run %q: its deadline passed while it waited", a.Kind))
	} else {
		a.Failure = failure(interrupted(a))
	}
	if err := e.move(tx, Queued, a); err != nil {
		return nil, err
	}
	if err := e.tellDead(tx, a, j.Why); err != nil {
		return nil, err
	}
	return func() {
		e.publish(ent, a)
	}, nil
}
