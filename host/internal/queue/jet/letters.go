package jet

import (
	"cmp"
	"context"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// Cancel implements queue.Worker.
func (q *Queue) Cancel(ctx context.Context, id string, also queue.Also) error {
	return q.forgetJob(ctx, id, queue.Cancel, also)
}

// Drop implements queue.Keeper.
func (q *Queue) Drop(ctx context.Context, id string, also queue.Also) error {
	return q.forgetJob(ctx, id, queue.Drop, also)
}

func (q *Queue) forgetJob(ctx context.Context, id string, m queue.Move, also queue.Also) error {
	q.mu.Lock()
	j, err := q.claim(id, m)
	q.mu.Unlock()
	if err != nil {
		return err
	}
	if err := q.record(ctx, also); err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.rest(j)
		return err
	}
	from, seq := q.work, j.seq
	if m == queue.Drop {
		from = q.dead
	}
	pay := func(ctx context.Context) error { return erase(ctx, from, seq) }
	if err := pay(ctx); err != nil {
		q.owe(string(m)+" "+id, pay)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if m == queue.Cancel {
		q.finished(seq)
	}
	q.rest(j)
	q.shift(j, queue.Gone)
	return nil
}

// Requeue implements queue.Keeper.
func (q *Queue) Requeue(ctx context.Context, id string, as queue.Job, also queue.Also) error {
	if err := as.Check(); err != nil {
		return err
	}
	as.Attempts = cmp.Or(as.Attempts, queue.DefaultAttempts)
	q.mu.Lock()
	old, err := q.claim(id, queue.Requeue)
	if err == nil && as.ID != id && q.jobs[as.ID] != nil {
		q.rest(old)
		err = abi.Errorf(abi.Conflict, "requeue job %q as %q: that is in the queue already", id, as.ID)
	}
	if err != nil {
		q.mu.Unlock()
		return err
	}
	head := headOf(as)
	head.Life, head.Token = old.head.Life+1, old.token+1
	j := q.fromMessage(head, as.Payload, 0)
	j.state, j.busy = queue.Gone, true
	if as.ID != id {
		q.jobs[as.ID] = j
	}
	q.mu.Unlock()
	if err := q.record(ctx, also); err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.rest(old)
		if as.ID != id {
			delete(q.jobs, as.ID)
		}
		return err
	}
	pay := func(ctx context.Context) error {
		if err := q.storeAgain(ctx, j); err != nil {
			return err
		}
		return erase(ctx, q.dead, old.seq)
	}
	j.later = !j.from.IsZero()
	q.mu.Lock()
	q.rest(old)
	q.shift(old, queue.Gone)
	j.busy = false
	q.jobs[as.ID] = j
	q.n.Put++
	q.mu.Unlock()
	if err := pay(ctx); err != nil {
		if also == nil {
			return q.explain("requeue in", err)
		}
		q.owe("requeue "+id, pay)
	}
	return nil
}

// Hold implements queue.Keeper.
func (q *Queue) Hold(ctx context.Context, on bool, also queue.Also) error {
	q.mu.Lock()
	was := q.held
	q.held = was || on // before it is written: nothing is given out behind the record that says so
	q.mu.Unlock()
	err := q.record(ctx, also)
	if err == nil {
		pay := func(ctx context.Context) error { return q.tellHeld(ctx, on) }
		if err = pay(ctx); err != nil && also != nil {
			q.owe("hold", pay)
			err = nil
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held = on; err != nil {
		q.held = was
	}
	if !q.held {
		q.touch()
	}
	return q.explain("hold", err)
}
