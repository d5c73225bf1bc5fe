package local

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// Run implements queue.Queue.
func (q *Queue) Run(ctx context.Context, buried queue.Buried) error {
	for wait := time.Duration(0); ; {
		if !q.sleep(ctx, wait) {
			return nil
		}
		for {
			q.mu.Lock()
			j, next := q.alarms.due(time.Now())
			if wait = next; j == nil {
				q.mu.Unlock()
				break
			}
			again := q.look(ctx, j, buried) // gives mu back
			if again != nil {
				wait = time.Second // the disk is full, say
				break
			}
		}
	}
}

// sleep waits until the next alarm; negative waits for a new one.
func (q *Queue) sleep(ctx context.Context, wait time.Duration) bool {
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-q.ring:
	case <-timer:
	}
	return true
}

// look does what a job's alarm is for. The caller holds mu; look gives it back. An error leaves the job with its alarm.
func (q *Queue) look(ctx context.Context, j *job, buried queue.Buried) error {
	now := time.Now()
	switch {
	case j.busy:
		q.mu.Unlock()
		return nil
	case j.state == queue.Ready && (j.late.IsZero() || j.late.After(now)):
		q.settle(j) // its time has come
		q.mu.Unlock()
		return nil
	}
	before, code, move := *j, abi.Interrupted, queue.Bury
	if j.state == queue.Leased {
		move = queue.Back(q.leaseOf(j))
		j.why = "its lease ran out"
	} else {
		code, j.why = abi.Deadline, "its deadline passed while it waited"
	}
	q.line.remove(j)
	j.busy, j.moved = true, q.wall()
	j.state, _ = queue.Next(j.ID, j.state, move) // both states have both moves
	info := q.info(j)
	q.mu.Unlock()

	var after func()
	err := q.db.Write(ctx, func(tx *sql.Tx) (err error) {
		if err = q.store(tx, j); err == nil && move == queue.Bury && buried != nil {
			after, err = buried(tx, info, code)
		}
		return err
	})
	if err == nil && after != nil {
		after()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rest(j); err != nil {
		j.state, j.why, j.moved = before.state, before.why, before.moved
		if j.state == queue.Ready {
			q.settle(j)
		} else {
			q.watch(j)
		}
		return err
	}
	if before.state == queue.Leased {
		q.leased--
		q.n.Expired++
	}
	if j.state == queue.Ready {
		q.settle(j)
		return nil
	}
	q.dead++
	q.n.Lost++
	q.touch()
	return nil
}
