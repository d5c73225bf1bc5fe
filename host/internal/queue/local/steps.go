package local

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// Take implements queue.Worker.
func (q *Queue) Take(ctx context.Context, a queue.Ask) ([]queue.Lease, error) {
	q.mu.Lock()
	jobs, leases := q.pick(&a)
	q.mu.Unlock()
	if len(jobs) == 0 {
		return nil, nil
	}
	err := q.db.Write(ctx, func(tx *sql.Tx) error { return q.writeTaken(tx, &a, jobs, leases) })
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken(&a, jobs, err == nil)
	if err != nil {
		return nil, err
	}
	return leases, nil
}

// pick takes out of the line what a may have. The caller holds mu.
func (q *Queue) pick(a *queue.Ask) (jobs []*job, leases []queue.Lease) {
	if a == nil || q.held {
		return nil, nil
	}
	for len(jobs) < max(a.Max, 1) {
		j := q.line.pop(a.Slot)
		if j == nil {
			break
		}
		if !j.late.IsZero() && !j.late.After(time.Now()) {
			give(a, j.Lane)
			continue // too late: its alarm is due, and the clockwork buries it
		}
		q.alarms.remove(j)
		jobs, leases = append(jobs, j), append(leases, q.lend(j, a.For))
	}
	return jobs, leases
}

func (q *Queue) writeTaken(tx *sql.Tx, a *queue.Ask, jobs []*job, leases []queue.Lease) error {
	for _, j := range jobs {
		if err := q.update(tx, j); err != nil {
			return err
		}
	}
	if len(jobs) > 0 && a.Also != nil {
		return a.Also(tx, leases)
	}
	return nil
}

// taken finishes what pick began. The caller holds mu.
func (q *Queue) taken(a *queue.Ask, jobs []*job, ok bool) {
	for _, j := range jobs {
		if !ok {
			q.unlend(j, a)
			continue
		}
		q.rest(j)
		q.n.Taken++
		q.watch(j)
	}
}

// claim finds a job for a step and makes it busy: nobody else moves it until the step is written. It waits for a step that is
// being written. The caller holds mu.
func (q *Queue) claim(id string, m queue.Move) (*job, error) {
	j := q.jobs[id]
	for ; j != nil && j.busy; j = q.jobs[id] {
		q.quiet.Wait()
	}
	if j == nil {
		_, err := queue.Next(id, queue.Gone, m)
		return nil, err
	}
	if _, err := queue.Next(id, j.state, m); err != nil {
		return nil, err
	}
	j.busy = true
	q.lift(j)
	return j, nil
}

// End implements queue.Worker.
func (q *Queue) End(ctx context.Context, l queue.Lease, e queue.End) ([]queue.Lease, error) {
	q.mu.Lock()
	j, err := q.claim(l.ID, e.How)
	if err == nil && j.token != l.Token {
		q.rest(j)
		q.watch(j)
		err = abi.Errorf(abi.Conflict, "%s job %q: the lease has run out and the job was given on", e.How, l.ID)
	}
	if err != nil {
		q.mu.Unlock()
		return nil, err
	}
	before := *j
	q.fate(j, e)
	jobs, leases := q.pick(e.Next)
	q.mu.Unlock()

	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		if err := q.store(tx, j); err != nil {
			return err
		}
		if e.Also != nil {
			if err := e.Also(tx); err != nil {
				return err
			}
		}
		return q.writeTaken(tx, e.Next, jobs, leases)
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken(e.Next, jobs, err == nil)
	q.rest(j)
	if err != nil {
		j.state, j.attempt, j.why, j.from, j.NotBefore, j.moved = before.state, before.attempt, before.why, before.from, before.NotBefore, before.moved
		q.watch(j)
		return nil, err
	}
	q.leased--
	q.ended(j, e.How)
	return leases, nil
}

// fate is what becomes of a leased job. The caller holds mu.
func (q *Queue) fate(j *job, e queue.End) {
	if e.Uncounted {
		j.attempt--
	} else if e.How == queue.Again && q.leaseOf(j).Last() {
		e.How = queue.Bury
	}
	j.state, _ = queue.Next(j.ID, queue.Leased, e.How) // claim has asked
	j.moved, j.why = q.wall(), cut(e.Why)
	j.NotBefore, j.from = time.Time{}, time.Time{}
	if e.How == queue.Again && e.Delay > 0 {
		j.NotBefore, j.from = j.moved.Add(e.Delay), time.Now().Add(e.Delay)
	}
}

// ended places a job that is leased no more. The caller holds mu.
func (q *Queue) ended(j *job, how queue.Move) {
	switch j.state {
	case queue.Gone:
		delete(q.jobs, j.ID)
		q.n.Done++
		q.touch()
	case queue.Dead:
		q.dead++
		if how == queue.Again {
			q.n.Lost++
		}
		q.touch()
	default:
		q.n.Again++
		q.settle(j)
	}
}

// Renew implements queue.Worker. Nothing is written: a lease does not outlive the process.
func (q *Queue) Renew(_ context.Context, length time.Duration, leases ...queue.Lease) (lost []queue.Lease, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	until := time.Now().Add(max(length, queue.MinLease))
	for _, l := range leases {
		j := q.jobs[l.ID]
		if j == nil || j.token != l.Token || j.state != queue.Leased {
			lost = append(lost, l)
			continue
		}
		if j.until = until; !j.busy {
			q.watch(j)
		}
	}
	return lost, nil
}

// Cancel implements queue.Worker.
func (q *Queue) Cancel(ctx context.Context, id string, also queue.Also) error {
	return q.step(ctx, id, queue.Cancel, also)
}

// Drop implements queue.Keeper.
func (q *Queue) Drop(ctx context.Context, id string, also queue.Also) error {
	return q.step(ctx, id, queue.Drop, also)
}

// step takes out of the queue a job that nobody holds.
func (q *Queue) step(ctx context.Context, id string, m queue.Move, also queue.Also) error {
	q.mu.Lock()
	j, err := q.claim(id, m)
	q.mu.Unlock()
	if err != nil {
		return err
	}
	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		if err := q.remove(tx, id); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rest(j)
	switch {
	case err == nil:
		if delete(q.jobs, id); j.state == queue.Dead {
			q.dead--
		}
		q.touch()
	case j.state == queue.Ready:
		q.settle(j)
	}
	return err
}

// Requeue implements queue.Keeper.
func (q *Queue) Requeue(ctx context.Context, id string, as queue.Job, also queue.Also) error {
	if err := as.Check(); err != nil {
		return err
	}
	if as.Attempts == 0 {
		as.Attempts = queue.DefaultAttempts
	}
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
	q.seq++
	now := q.wall()
	j := &job{Job: as, seq: q.seq, state: queue.Ready, busy: true, token: old.token, created: now, moved: now, at: -1, rings: -1}
	j.from, j.late = q.mono(as.NotBefore), q.mono(as.Deadline)
	if as.ID != id {
		q.jobs[as.ID] = j
	}
	q.mu.Unlock()
	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		if err := q.remove(tx, id); err != nil {
			return err
		}
		if err := q.insert(tx, j); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	old.busy, j.busy = false, false
	q.quiet.Broadcast()
	if err != nil {
		if as.ID != id {
			delete(q.jobs, as.ID)
		}
		return err
	}
	delete(q.jobs, id)
	q.jobs[as.ID] = j
	q.dead--
	q.n.Put++
	q.settle(j)
	return nil
}

// Hold implements queue.Keeper.
func (q *Queue) Hold(ctx context.Context, on bool, also queue.Also) error {
	q.mu.Lock()
	was := q.held
	q.held = was || on // before it is written: nothing is given out behind the row that says so
	q.mu.Unlock()
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		if err := q.writeHeld(tx, on); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held = on; err != nil {
		q.held = was
	}
	if !q.held {
		q.touch()
	}
	return err
}

func cut(why string) string {
	if len(why) > queue.MaxWhy {
		return why[:queue.MaxWhy] + "…"
	}
	return why
}
