package jet

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// maxOver bounds the sequences that are remembered as over although the server may still give them out.
const maxOver = 8192

// finished remembers a message that nobody must run any more. The caller holds mu.
func (q *Queue) finished(seq uint64) {
	if seq == 0 || q.over[seq] {
		return
	}
	q.over[seq] = true
	q.overOrder = append(q.overOrder, seq)
	if len(q.overOrder) > maxOver {
		delete(q.over, q.overOrder[0])
		q.overOrder = q.overOrder[1:]
	}
}

// shift moves a job to a state, keeping the counts, the line and the alarms. The caller holds mu.
func (q *Queue) shift(j *job, to queue.State) {
	now := time.Now()
	switch j.state {
	case queue.Ready:
		if j.lined {
			q.ready(j, -1)
			j.lined = false
		}
		if !j.from.IsZero() {
			q.delayed--
		}
		q.count.ready--
	case queue.Leased:
		q.count.leased--
		delete(q.leased, j.ID)
	case queue.Dead:
		q.count.dead--
	}
	if !j.from.After(now) || to != queue.Ready {
		j.from = time.Time{}
	}
	j.state = to
	var alarm time.Time
	switch to {
	case queue.Ready:
		q.count.ready++
		if alarm = j.late; !j.from.IsZero() {
			q.delayed++
			if alarm.IsZero() || j.from.Before(alarm) {
				alarm = j.from
			}
		}
		if !j.doomed {
			q.ready(j, 1)
			j.lined = true
		} else {
			alarm = now
		}
	case queue.Leased:
		q.count.leased++
		q.leased[j.ID] = j
		alarm = j.until
	case queue.Dead:
		q.count.dead++
	}
	q.setAlarm(j, alarm)
	if to == queue.Gone {
		delete(q.jobs, j.ID)
	}
	q.touch()
}

func (q *Queue) setAlarm(j *job, t time.Time) {
	if q.alarms.set(j.ID, t); !t.IsZero() {
		q.wake()
	}
}

// add makes a job known. The caller holds mu.
func (q *Queue) add(j *job) {
	q.jobs[j.ID] = j
	to := j.state
	j.state = queue.Gone
	q.shift(j, to)
}

// rest says that no step of a job is under way any more. The caller holds mu.
func (q *Queue) rest(j *job) {
	j.busy = false
	q.quiet.Broadcast()
}

// claim finds a job for a step and makes it busy. It waits for a step that is under way. The caller holds mu.
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
	return j, nil
}

// load reads what the streams hold. Of two messages of one id, which a crash in the middle of a step leaves behind, the one
// of the later life counts; a dead letter before one in line, that before one which is to come later.
func (q *Queue) load(ctx context.Context) error {
	read := func(s jetstream.Stream, subject string, state queue.State, later bool) error {
		return each(ctx, s, q.subject(subject), func(m *jetstream.RawStreamMsg) error {
			h, err := parse(m.Header)
			if err != nil || h.ID == "" {
				q.log.Error("a message in the queue's stream is not of this program, and stays", "subject", m.Subject, "sequence", m.Sequence)
				return nil
			}
			j := q.fromMessage(h, m.Data, m.Sequence)
			j.state, j.later = state, later
			if old := q.jobs[h.ID]; old != nil {
				if old.head.Life >= h.Life {
					return erase(ctx, s, m.Sequence)
				}
				if err := erase(ctx, q.dead, old.seq); err != nil {
					return err
				}
				q.shift(old, queue.Gone)
			}
			q.add(j)
			return nil
		})
	}
	q.mu.Lock()
	defer q.mu.Unlock() // nobody else is here yet
	if err := read(q.dead, "dead.*", queue.Dead, false); err != nil {
		return err
	}
	if err := read(q.work, "q.>", queue.Ready, false); err != nil {
		return err
	}
	if err := read(q.work, "later.*", queue.Ready, true); err != nil {
		return err
	}
	return each(ctx, q.dead, q.subject("held"), func(*jetstream.RawStreamMsg) error { q.held = true; return nil })
}

func (q *Queue) fromMessage(h header, payload []byte, seq uint64) *job {
	j := &job{Job: h.job(payload), head: h, seq: seq, order: cmp.Or(h.Order, seq), state: queue.Ready, attempt: h.Attempt, token: h.Token, why: h.Why}
	j.moved = at(cmp.Or(h.Moved, h.Created))
	if j.from = mono(j.NotBefore); !j.from.After(time.Now()) {
		j.from = time.Time{}
	}
	j.late = mono(j.Deadline)
	return j
}

// List implements queue.Keeper.
func (q *Queue) List(_ context.Context, s queue.State, after string, n int) ([]queue.Info, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var from uint64
	if j := q.jobs[after]; j != nil {
		from = j.order
	}
	var found []*job
	for _, j := range q.jobs {
		if j.state == s && (j.order > from || after == "") {
			found = append(found, j)
		}
	}
	slices.SortFunc(found, func(a, b *job) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.ID, b.ID)) })
	found = found[:min(n, len(found))]
	out := make([]queue.Info, 0, len(found))
	for _, j := range found {
		out = append(out, q.info(j))
	}
	return out, nil
}

func (q *Queue) info(j *job) queue.Info {
	i := queue.Info{Job: j.Job, State: j.state, Attempt: j.attempt, Created: at(j.head.Created), Moved: j.moved, Until: j.until, Why: j.why}
	i.NotBefore = time.Time{}
	if !j.from.IsZero() {
		i.NotBefore = time.Now().Add(time.Until(j.from)).Round(0)
	}
	return i
}

// Restore implements queue.Keeper. A job that was given out to the process before is published anew, at the end of its line: the
// server would wait for that process first.
func (q *Queue) Restore(ctx context.Context, held []queue.Held, also queue.Also) error {
	for _, h := range held {
		if err := h.Job.Check(); err != nil {
			return err
		}
	}
	if err := q.record(ctx, also); err != nil {
		return err
	}
	for _, h := range held {
		if err := q.restore(ctx, h); err != nil {
			return q.explain("restore job "+h.ID+" in", err)
		}
	}
	return nil
}

func (q *Queue) restore(ctx context.Context, h queue.Held) error {
	h.Attempts = cmp.Or(h.Attempts, queue.DefaultAttempts)
	q.mu.Lock()
	old := q.jobs[h.ID]
	q.mu.Unlock()
	if old != nil && old.state == h.State && (h.State == queue.Dead || h.Attempt == 0) {
		return nil
	}
	head := headOf(h.Job)
	head.Attempt, head.Why = h.Attempt, cut(h.Why)
	payload := h.Payload
	if old != nil {
		head.Token, head.Life, head.Created = old.token+uint64(h.Attempt)+1, old.head.Life+1, old.head.Created
		if payload == nil {
			payload = old.Payload
		}
		from := q.work
		if old.state == queue.Dead {
			from = q.dead
		}
		if err := erase(ctx, from, old.seq); err != nil {
			return err
		}
		q.mu.Lock()
		q.finished(old.seq)
		q.shift(old, queue.Gone)
		q.mu.Unlock()
	}
	j := q.fromMessage(head, payload, 0)
	subject := q.inLine(h.Job)
	if j.state = h.State; h.State == queue.Dead {
		subject = q.subject("dead." + token(h.ID))
	}
	seq, err := q.publish(ctx, subject, head, payload)
	if err != nil && abi.CodeOf(err) != abi.Conflict {
		return err
	}
	j.seq, j.order = seq, cmp.Or(j.order, seq)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(j)
	return nil
}

func cut(why string) string {
	if len(why) > queue.MaxWhy {
		return why[:queue.MaxWhy] + "…"
	}
	return why
}
