package local

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/arw-project/arw/host/internal/queue"
)

// Schema is the queue's part of the database. Times are milliseconds since 1970, 0 for none.
var Schema = []string{`
CREATE TABLE queue_job (
	seq        INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	lane       TEXT NOT NULL,
	priority   INTEGER NOT NULL,
	state      TEXT NOT NULL CHECK (state IN ('ready','leased','dead')),
	payload    BLOB,
	attempt    INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	token      INTEGER NOT NULL,
	not_before INTEGER NOT NULL,
	deadline   INTEGER NOT NULL,
	created    INTEGER NOT NULL,
	moved      INTEGER NOT NULL,
	why        TEXT NOT NULL
) STRICT;
CREATE TABLE queue_held (one INTEGER PRIMARY KEY CHECK (one = 1)) STRICT;
`}

func (q *Queue) insert(tx *sql.Tx, j *job) error {
	stmt, err := q.db.Stmt(tx, `INSERT INTO queue_job (seq, id, lane, priority, state, payload, attempt, attempts, token, not_before, deadline, created, moved, why)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`)
	if err == nil {
		_, err = stmt.Exec(j.seq, j.ID, j.Lane, int(j.Priority), string(j.state), j.Payload, j.attempt, j.Attempts, int64(j.token),
			ms(j.NotBefore), ms(j.Deadline), ms(j.created), ms(j.moved), j.why)
	}
	return err
}

func (q *Queue) update(tx *sql.Tx, j *job) error {
	stmt, err := q.db.Stmt(tx, `UPDATE queue_job SET state = ?, attempt = ?, token = ?, not_before = ?, moved = ?, why = ? WHERE seq = ?`)
	if err == nil {
		_, err = stmt.Exec(string(j.state), j.attempt, int64(j.token), ms(j.NotBefore), ms(j.moved), j.why, j.seq)
	}
	return err
}

func (q *Queue) remove(tx *sql.Tx, id string) error {
	stmt, err := q.db.Stmt(tx, `DELETE FROM queue_job WHERE id = ?`)
	if err == nil {
		_, err = stmt.Exec(id)
	}
	return err
}

// store writes a job as it stands.
func (q *Queue) store(tx *sql.Tx, j *job) error {
	if j.state == queue.Gone {
		return q.remove(tx, j.ID)
	}
	return q.update(tx, j)
}

func (q *Queue) writeHeld(tx *sql.Tx, on bool) error {
	text := `DELETE FROM queue_held`
	if on {
		text = `INSERT OR IGNORE INTO queue_held (one) VALUES (1)`
	}
	_, err := tx.Exec(text)
	return err
}

// load makes the line from the table and takes back what the last owner had given out.
func (q *Queue) load(ctx context.Context) error {
	var jobs []*job
	err := q.db.Write(ctx, func(tx *sql.Tx) (err error) {
		if jobs, err = readJobs(tx); err != nil {
			return err
		}
		for _, j := range jobs {
			if j.state != queue.Leased {
				continue
			}
			j.state, _ = queue.Next(j.ID, queue.Leased, queue.Back(q.leaseOf(j)))
			j.why, j.moved = "the process that held it ended", q.wall()
			if err := q.update(tx, j); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM queue_held`).Scan(&n); err != nil {
			return err
		}
		q.held = n > 0
		return nil
	})
	if err != nil {
		return err
	}
	for _, j := range jobs {
		q.jobs[j.ID] = j
		q.seq = max(q.seq, j.seq)
		j.from, j.late = q.mono(j.NotBefore), q.mono(j.Deadline)
		if j.state == queue.Dead {
			q.dead++
			continue
		}
		q.settle(j)
	}
	return nil
}

func readJobs(tx *sql.Tx) ([]*job, error) {
	rows, err := tx.Query(`SELECT seq, id, lane, priority, state, payload, attempt, attempts, token, not_before, deadline, created, moved, why FROM queue_job ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []*job
	for rows.Next() {
		j := &job{at: -1, rings: -1}
		var from, late, created, moved int64
		if err := rows.Scan(&j.seq, &j.ID, &j.Lane, &j.Priority, &j.state, &j.Payload, &j.attempt, &j.Attempts, &j.token, &from, &late, &created, &moved, &j.why); err != nil {
			return nil, err
		}
		j.NotBefore, j.Deadline, j.created, j.moved = at(from), at(late), at(created), at(moved)
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

// Restore implements queue.Keeper.
func (q *Queue) Restore(ctx context.Context, held []queue.Held, also queue.Also) error {
	var fresh []*job
	q.mu.Lock()
	for _, h := range held {
		if err := h.Job.Check(); err != nil {
			q.mu.Unlock()
			return err
		}
		fresh = append(fresh, q.restored(h))
	}
	q.mu.Unlock()
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		for _, j := range fresh {
			if err := q.remove(tx, j.ID); err != nil {
				return err
			}
			if err := q.insert(tx, j); err != nil {
				return err
			}
		}
		if also != nil {
			return also(tx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range fresh {
		if old := q.jobs[j.ID]; old != nil {
			q.lift(old)
			if old.state == queue.Dead {
				q.dead--
			}
		}
		if q.jobs[j.ID] = j; j.state == queue.Dead {
			q.dead++
			continue
		}
		q.settle(j)
	}
	q.touch()
	return nil
}

// restored is a job as the caller's record has it; what the queue knows beside that stays. The caller holds mu.
func (q *Queue) restored(h queue.Held) *job {
	now := q.wall()
	j := &job{Job: h.Job, state: h.State, attempt: h.Attempt, why: cut(h.Why), created: now, moved: now, at: -1, rings: -1}
	j.Attempts = cmp.Or(j.Attempts, queue.DefaultAttempts)
	if old := q.jobs[h.ID]; old != nil {
		j.seq, j.token, j.created = old.seq, old.token, old.created
		if j.Payload == nil {
			j.Payload = old.Payload
		}
	} else {
		q.seq++
		j.seq = q.seq
	}
	j.from, j.late = q.mono(j.NotBefore), q.mono(j.Deadline)
	return j
}

// List implements queue.Keeper.
func (q *Queue) List(_ context.Context, s queue.State, after string, n int) ([]queue.Info, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var from int64
	if j := q.jobs[after]; j != nil {
		from = j.seq
	}
	var found []*job
	for _, j := range q.jobs {
		if j.state == s && j.seq > from {
			found = append(found, j)
		}
	}
	slices.SortFunc(found, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	out := make([]queue.Info, 0, min(n, len(found)))
	for _, j := range found[:min(n, len(found))] {
		out = append(out, q.info(j))
	}
	return out, nil
}

func (q *Queue) info(j *job) queue.Info {
	return queue.Info{Job: j.Job, State: j.state, Attempt: j.attempt, Created: j.created, Moved: j.moved, Until: j.until, Why: j.why}
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
