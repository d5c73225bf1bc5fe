package jet

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// tellHeld leaves the mark that the queue is held, or takes it away.
func (q *Queue) tellHeld(ctx context.Context, on bool) error {
	if !on {
		return q.dead.Purge(ctx, jetstream.WithPurgeSubject(q.subject("held")))
	}
	_, err := q.publish(ctx, q.subject("held"), header{ID: "held"}, nil)
	if abi.CodeOf(err) == abi.Conflict {
		return nil
	}
	return err
}

// Run implements queue.Queue.
func (q *Queue) Run(ctx context.Context, buried queue.Buried) error {
	beat := time.NewTicker(q.o.Wait / 3)
	defer beat.Stop()
	wait := time.Duration(0)
	for {
		var timer <-chan time.Time
		if wait >= 0 {
			t := time.NewTimer(wait)
			timer = t.C
			defer t.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			q.heartbeat()
		case <-q.ring:
		case <-timer:
		}
		q.settle(ctx)
		wait = q.clockwork(ctx, buried)
	}
}

// heartbeat tells the servers that this process has what it has.
func (q *Queue) heartbeat() {
	q.mu.Lock()
	var msgs []jetstream.Msg
	for _, j := range q.leased {
		if !j.busy {
			msgs = append(msgs, j.msg)
		}
	}
	q.mu.Unlock()
	for _, m := range msgs {
		_ = m.InProgress() // the next beat comes soon; without any the job is given out again, to this index
	}
}

// reconnected makes Run look at what is owed, and tells the servers what is still held.
func (q *Queue) reconnected() {
	q.heartbeat()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, st := range q.pools {
		st.pause, st.wait = time.Time{}, 0
	}
	q.touch()
	q.wake()
}

// settle pays what is owed, in its order, as far as the server can be reached.
func (q *Queue) settle(ctx context.Context) {
	for q.conn.IsConnected() {
		q.mu.Lock()
		if len(q.owed) == 0 {
			q.mu.Unlock()
			return
		}
		d := q.owed[0]
		q.mu.Unlock()
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := d.pay(call)
		cancel()
		q.mu.Lock()
		if err != nil {
			q.alarms.set("", time.Now().Add(time.Second))
			q.mu.Unlock()
			q.log.Warn("a step of the queue is still to be told", "step", d.what, "error", err)
			return
		}
		q.owed = q.owed[1:]
		q.mu.Unlock()
	}
}

// clockwork does what is due and says how long there is nothing, negative for ever.
func (q *Queue) clockwork(ctx context.Context, buried queue.Buried) time.Duration {
	for {
		q.mu.Lock()
		id, ok, wait := q.alarms.due(time.Now())
		if !ok {
			q.mu.Unlock()
			return wait
		}
		j := q.jobs[id]
		if j == nil {
			q.touch()
			q.mu.Unlock()
			continue
		}
		if err := q.look(ctx, j, buried); err != nil { // gives mu back
			q.mu.Lock()
			q.setAlarm(j, time.Now().Add(time.Second))
			q.mu.Unlock()
		}
	}
}

// look does what a job's alarm is for. The caller holds mu; look gives it back.
func (q *Queue) look(ctx context.Context, j *job, buried queue.Buried) error {
	now := time.Now()
	late := !j.late.IsZero() && !j.late.After(now)
	switch {
	case j.busy || j.state == queue.Dead || j.state == queue.Gone || j.state == queue.Leased && j.until.After(now):
		if j.state == queue.Leased {
			q.alarms.set(j.ID, j.until.Add(time.Millisecond))
		}
		q.mu.Unlock()
		return nil
	case j.state == queue.Ready && !late && !j.doomed:
		due := j.later && !j.from.After(now)
		if !due {
			q.shift(j, queue.Ready)
			q.mu.Unlock()
			return nil
		}
		j.busy = true
		q.mu.Unlock()
		return q.intoLine(ctx, j)
	}
	l := queue.Lease{Job: j.Job, Attempt: j.attempt}
	if j.state == queue.Leased && queue.Back(l) == queue.Again {
		_ = j.msg.Nak()
		j.why, j.moved = "its lease ran out", now
		q.n.Expired++
		q.shift(j, queue.Ready)
		q.mu.Unlock()
		return nil
	}
	code, why := abi.Interrupted, "its lease ran out"
	if j.state == queue.Ready && !j.doomed {
		code, why = abi.Deadline, "its deadline passed while it waited"
	} else if j.doomed {
		why = "the process that held it ended"
	}
	if j.state == queue.Leased {
		q.n.Expired++
	}
	j.busy = true
	info := q.info(j)
	info.Why = why
	q.mu.Unlock()
	return q.giveUp(ctx, j, info, code, buried)
}

// giveUp buries a busy job that nobody holds, and tells the caller.
func (q *Queue) giveUp(ctx context.Context, j *job, info queue.Info, code abi.Code, buried queue.Buried) error {
	var after func()
	var err error
	if buried != nil {
		err = q.o.Record(ctx, func(tx *sql.Tx) (err error) {
			after, err = buried(tx, info, code)
			return err
		})
	}
	if err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.rest(j)
		return err
	}
	if after != nil {
		after()
	}
	q.bury(ctx, j, info.Why)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n.Lost++
	return nil
}

// intoLine moves a busy job whose time has come from "later" to its line.
func (q *Queue) intoLine(ctx context.Context, j *job) error {
	q.mu.Lock()
	old := j.seq
	j.later = false
	q.mu.Unlock()
	seq, err := q.publish(ctx, q.inLine(j.Job), j.head, j.Payload)
	if abi.CodeOf(err) == abi.Conflict { // a crash came between the two halves of this
		var last *jetstream.RawStreamMsg
		if last, err = q.work.GetLastMsgForSubject(ctx, q.inLine(j.Job)); err == nil {
			seq = last.Sequence
		}
	}
	if err == nil {
		if gone := erase(ctx, q.work, old); gone != nil {
			q.owe("move "+j.ID, func(ctx context.Context) error { return erase(ctx, q.work, old) })
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rest(j)
	if err != nil {
		j.later = true
		return errors.Join(err)
	}
	j.seq = seq
	q.shift(j, queue.Ready)
	return nil
}
