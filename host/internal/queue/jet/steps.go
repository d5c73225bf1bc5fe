package jet

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// record commits what the caller writes beside a step.
func (q *Queue) record(ctx context.Context, also queue.Also) error {
	if also == nil {
		return nil
	}
	return q.o.Record(ctx, also)
}

// owe remembers a step that the record has and the server has not heard of.
func (q *Queue) owe(what string, pay func(ctx context.Context) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.owed = append(q.owed, debt{what, pay})
	q.wake()
}

// Put implements queue.Worker. It never gives the job out in the same step.
func (q *Queue) Put(ctx context.Context, in queue.Job, _ *queue.Ask, also queue.Also) (*queue.Lease, error) {
	if err := in.Check(); err != nil {
		return nil, err
	}
	in.Attempts = cmp.Or(in.Attempts, queue.DefaultAttempts)
	j := q.fromMessage(headOf(in), in.Payload, 0)
	q.mu.Lock()
	if old := q.jobs[in.ID]; old != nil {
		q.mu.Unlock()
		return nil, abi.Errorf(abi.Conflict, "put job %q: it is in the queue already, %s", in.ID, old.state)
	}
	j.busy, j.state = true, queue.Gone
	q.jobs[in.ID] = j
	q.mu.Unlock()

	err := q.record(ctx, also)
	if err == nil {
		j.later = !j.from.IsZero()
		err = q.store(ctx, j)
		if err != nil && also != nil && abi.CodeOf(err) != abi.Conflict {
			q.owe("put "+in.ID, func(ctx context.Context) error { return q.storeAgain(ctx, j) })
			err = nil
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rest(j)
	if err != nil {
		delete(q.jobs, in.ID)
		return nil, err
	}
	q.n.Put++
	if j.seq != 0 {
		j.state = queue.Ready
		q.add(j)
	}
	return nil, nil
}

// store publishes a job that is busy. A message of its id that is known to be over makes room.
func (q *Queue) store(ctx context.Context, j *job) error {
	subject := q.inLine(j.Job)
	if j.later {
		subject = q.subject("later." + token(j.ID))
	}
	seq, err := q.publish(ctx, subject, j.head, j.Payload)
	if abi.CodeOf(err) == abi.Conflict {
		last, lost := q.work.GetLastMsgForSubject(ctx, subject)
		q.mu.Lock()
		over := lost == nil && q.over[last.Sequence]
		q.mu.Unlock()
		if over || errors.Is(lost, jetstream.ErrMsgNotFound) {
			if over {
				if err := erase(ctx, q.work, last.Sequence); err != nil {
					return q.explain("write to", err)
				}
			}
			seq, err = q.publish(ctx, subject, j.head, j.Payload)
		}
	}
	if err != nil {
		return err
	}
	q.mu.Lock()
	j.seq, j.order = seq, cmp.Or(j.order, seq)
	q.mu.Unlock()
	return nil
}

// storeAgain publishes a job whose first publishing was not answered, though it may have arrived.
func (q *Queue) storeAgain(ctx context.Context, j *job) error {
	err := q.store(ctx, j)
	if abi.CodeOf(err) == abi.Conflict {
		last, lost := q.work.GetLastMsgForSubject(ctx, q.inLine(j.Job))
		if lost != nil {
			return lost
		}
		q.mu.Lock()
		j.seq, j.order = last.Sequence, last.Sequence
		q.mu.Unlock()
		err = nil
	}
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.jobs[j.ID] == j && j.state == queue.Gone {
		j.state = queue.Ready
		q.add(j)
	}
	return nil
}

// Take implements queue.Worker.
func (q *Queue) Take(ctx context.Context, a queue.Ask) ([]queue.Lease, error) {
	var jobs []*job
	var leases []queue.Lease
	tried := map[*stand]bool{}
	for len(jobs) < max(a.Max, 1) {
		q.mu.Lock()
		var st *stand
		if !q.held {
			st = q.next(&a, tried)
		}
		q.mu.Unlock()
		if st == nil {
			break
		}
		m, err := q.fetch(ctx, st.pool)
		j, lease := q.given(st, m, a.For)
		if j == nil {
			if tried[st] = m == nil; a.Free != nil {
				a.Free(st.lane)
			}
			if err != nil && len(jobs) == 0 {
				return nil, q.explain("take from", err)
			}
			continue
		}
		jobs, leases = append(jobs, j), append(leases, lease)
	}
	if len(jobs) == 0 {
		return nil, nil
	}
	var err error
	if a.Also != nil {
		err = q.o.Record(ctx, func(tx *sql.Tx) error { return a.Also(tx, leases) })
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		if q.rest(j); err == nil {
			q.n.Taken++
			continue
		}
		_ = j.msg.Nak() // without it the server waits for a sign of life, and gives it out then
		j.free++
		j.attempt--
		q.shift(j, queue.Ready)
		if a.Free != nil {
			a.Free(j.Lane)
		}
	}
	if err != nil {
		return nil, err
	}
	return leases, nil
}

// fetch asks the server for one message of a pool; nil when it has none now.
func (q *Queue) fetch(ctx context.Context, p pool) (jetstream.Msg, error) {
	if !q.conn.IsConnected() {
		return nil, nil // Run says when it is again
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := q.consumers.of(ctx, p)
	if err != nil {
		return nil, err
	}
	batch, err := c.FetchNoWait(1)
	if err != nil {
		q.consumers.forget(p)
		return nil, err
	}
	select {
	case m, ok := <-batch.Messages():
		if ok {
			return m, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := batch.Error(); err != nil {
		q.consumers.forget(p)
		q.log.Warn("the queue's server gave nothing", "lane", p.lane, "error", err)
	}
	return nil, nil
}

// given makes a lease of a message, if there is one in it.
func (q *Queue) given(st *stand, m jetstream.Msg, length time.Duration) (*job, queue.Lease) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rested(st, m != nil)
	if m == nil {
		return nil, queue.Lease{}
	}
	meta, err := m.Metadata()
	h, bad := parse(m.Headers())
	if err != nil || bad != nil || h.ID == "" {
		q.log.Error("a message in the queue's stream is not of this program, and waits", "subject", m.Subject())
		_ = m.NakWithDelay(time.Hour)
		return nil, queue.Lease{}
	}
	seq := meta.Sequence.Stream
	j := q.jobs[h.ID]
	switch {
	case q.over[seq]:
		_ = m.Ack()
		return nil, queue.Lease{}
	case j == nil: // another process put it in
		j = q.fromMessage(h, m.Data(), seq)
		q.add(j)
	case j.busy || j.state == queue.Dead || j.seq != seq && j.seq != 0: // a step of it is under way: it decides
		_ = m.NakWithDelay(firstPause * 10)
		return nil, queue.Lease{}
	}
	j.msg = m
	if j.state == queue.Leased { // the server had lost sight of us: the holder goes on
		_ = m.InProgress()
		return nil, queue.Lease{}
	}
	if j.state == queue.Gone { // its publishing is owed, and had arrived
		j.seq, j.order, j.state = seq, seq, queue.Ready
		q.add(j)
	}
	return q.lend(j, h, int(meta.NumDelivered), length)
}

// lend gives a job out whose message came. The caller holds mu.
func (q *Queue) lend(j *job, h header, deliveries int, length time.Duration) (*job, queue.Lease) {
	now := time.Now()
	attempt := h.Attempt + deliveries - j.free
	switch {
	case j.from.After(now): // the server forgot the delay
		_ = j.msg.NakWithDelay(j.from.Sub(now))
		j.free++
		return nil, queue.Lease{}
	case !j.late.IsZero() && !j.late.After(now):
		return nil, queue.Lease{} // its alarm is due
	case attempt > j.Attempts:
		j.doomed, j.attempt = true, attempt-1 // the process that had it last said nothing: Run makes a dead letter of it
		q.shift(j, queue.Ready)
		return nil, queue.Lease{}
	}
	j.attempt, j.token = attempt, h.Token+uint64(deliveries)
	j.until, j.moved, j.busy = now.Add(max(cmp.Or(length, queue.DefaultLease), queue.MinLease)), now, true
	q.shift(j, queue.Leased)
	return j, queue.Lease{Job: j.Job, Attempt: j.attempt, Token: j.token, Until: j.until}
}

// Renew implements queue.Worker. The servers hear of this process from Run, whatever the holders do.
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
		j.until = until
		q.setAlarm(j, until)
	}
	return lost, nil
}

// End implements queue.Worker.
func (q *Queue) End(ctx context.Context, l queue.Lease, e queue.End) ([]queue.Lease, error) {
	q.mu.Lock()
	j, err := q.claim(l.ID, e.How)
	if err == nil && j.token != l.Token {
		q.rest(j)
		err = abi.Errorf(abi.Conflict, "%s job %q: the lease has run out and the job was given on", e.How, l.ID)
	}
	q.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := q.record(ctx, e.Also); err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.rest(j)
		return nil, err
	}
	how := e.How
	if how == queue.Again && !e.Uncounted && l.Last() {
		how = queue.Bury
	}
	switch how {
	case queue.Done:
		q.done(j)
	case queue.Bury:
		q.bury(ctx, j, e.Why)
	default:
		q.again(j, e)
	}
	if e.Next == nil {
		return nil, nil
	}
	next, err := q.Take(ctx, *e.Next)
	if err != nil {
		q.log.Error("take the next job", "error", err) // the end has been told; whoever waits asks again
	}
	return next, nil
}

// done acknowledges. A lost acknowledgement costs a delivery, which is known to be over here and in the record.
func (q *Queue) done(j *job) {
	err := j.msg.Ack()
	q.mu.Lock()
	defer q.mu.Unlock()
	seq := j.seq
	q.finished(seq)
	if meta, merr := j.msg.Metadata(); merr == nil {
		q.acked[meta.Consumer] = j.msg.Reply()
	}
	q.rest(j)
	q.shift(j, queue.Gone)
	q.n.Done++
	if err != nil {
		q.owed = append(q.owed, debt{"done " + j.ID, func(ctx context.Context) error { return erase(ctx, q.work, seq) }})
		q.wake()
	}
}

// again gives a job back. Without the server's hearing it, it comes when the server misses a sign of life.
func (q *Queue) again(j *job, e queue.End) {
	var err error
	if e.Delay > 0 {
		err = j.msg.NakWithDelay(e.Delay)
	} else {
		err = j.msg.Nak()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.why, j.moved = cut(e.Why), time.Now(); e.Uncounted {
		j.free++
		j.attempt--
	}
	q.n.Again++
	q.rest(j)
	q.shift(j, queue.Gone) // and back, for from is of the new state
	q.jobs[j.ID] = j
	if e.Delay > 0 {
		j.from = time.Now().Add(e.Delay)
	}
	q.shift(j, queue.Ready)
	if err != nil {
		q.log.Warn("give a job back", "job", j.ID, "error", err)
	}
}

// bury makes a dead letter of a job that is busy.
func (q *Queue) bury(ctx context.Context, j *job, why string) {
	q.mu.Lock()
	j.why, j.moved = cut(why), time.Now()
	j.head.Why, j.head.Moved, j.head.Attempt, j.head.Token, j.head.Order = j.why, j.moved.UnixMilli(), j.attempt, j.token, j.order
	seq, head := j.seq, j.head
	q.mu.Unlock()
	move := func(ctx context.Context) error {
		dead, err := q.publish(ctx, q.subject("dead."+token(j.ID)), head, j.Payload)
		if err != nil && abi.CodeOf(err) != abi.Conflict {
			return err
		}
		q.mu.Lock()
		if dead != 0 {
			j.seq = dead
		}
		q.finished(seq)
		q.mu.Unlock()
		return erase(ctx, q.work, seq)
	}
	if err := move(ctx); err != nil {
		q.log.Warn("move a dead letter; it is done later", "job", j.ID, "error", err)
		q.owe("bury "+j.ID, move)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	j.doomed = false
	q.rest(j)
	q.shift(j, queue.Dead)
}
