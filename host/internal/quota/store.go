package quota

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
)

// Schema is the table of this package, for db.Open.
var Schema = []string{`
CREATE TABLE quota (
	quota TEXT NOT NULL,
	subject TEXT NOT NULL,
	seq INTEGER NOT NULL, -- of the window
	wall_ms INTEGER NOT NULL, -- when it began
	boot TEXT NOT NULL,
	up_ms INTEGER NOT NULL,
	calls INTEGER NOT NULL, -- reserved, at least what was used
	bytes INTEGER NOT NULL,
	tokens INTEGER NOT NULL,
	gas INTEGER NOT NULL,
	money INTEGER NOT NULL,
	told INTEGER NOT NULL,
	PRIMARY KEY (quota, subject)
) STRICT, WITHOUT ROWID;
`}

const (
	putCounter = `INSERT INTO quota VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
		ON CONFLICT (quota, subject) DO UPDATE SET seq = ?3, wall_ms = ?4, boot = ?5, up_ms = ?6,
		calls = CASE WHEN seq = ?3 THEN max(calls, ?7) ELSE ?7 END, bytes = CASE WHEN seq = ?3 THEN max(bytes, ?8) ELSE ?8 END,
		tokens = CASE WHEN seq = ?3 THEN max(tokens, ?9) ELSE ?9 END, gas = CASE WHEN seq = ?3 THEN max(gas, ?10) ELSE ?10 END,
		money = CASE WHEN seq = ?3 THEN max(money, ?11) ELSE ?11 END, told = CASE WHEN seq = ?3 THEN told | ?12 ELSE ?12 END
		WHERE seq <= ?3`
	exactCounter = `UPDATE quota SET calls = ?4, bytes = ?5, tokens = ?6, gas = ?7, money = ?8 WHERE quota = ?1 AND subject = ?2 AND seq = ?3`
	dropCounter  = `DELETE FROM quota WHERE quota = ?1 AND subject = ?2 AND seq = ?3`
)

// line is a counter on its way into the table.
type line struct {
	c      *counter
	seq    int64
	began  stamp
	amount [sides]int64
	told   uint8
	news   uint8 // of told, what has to be journaled
	shown  api.Quota
}

// settle writes what the counters have to hold before a use counts, with the events that tell of it, as one.
func (b *Book) settle(ctx context.Context, who *Who, due []*counter) error {
	if len(due) == 0 {
		return nil
	}
	lines := make([]line, len(due))
	b.mu.Lock()
	for i, c := range due {
		lines[i] = line{c, c.seq, c.began, c.want(), c.told, c.told &^ c.written, b.show(c)}
		c.written |= c.told
	}
	b.mu.Unlock()
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		for _, l := range lines {
			if err := b.put(tx, who, l); err != nil {
				return err
			}
		}
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range lines {
		if l.c.seq != l.seq {
			continue
		}
		if err != nil {
			l.c.written &^= l.news
			l.c.told &^= l.news
			continue
		}
		for i := range l.amount {
			l.c.reserved[i] = max(l.c.reserved[i], l.amount[i])
		}
	}
	return b.db.Explain("count a quota", err)
}

func (b *Book) put(tx *sql.Tx, who *Who, l line) error {
	stmt, err := b.db.Stmt(tx, putCounter)
	if err != nil {
		return err
	}
	a := l.amount
	if _, err := stmt.Exec(l.c.key.quota, l.c.key.subject, l.seq, l.began.wall, l.began.boot, l.began.up, a[0], a[1], a[2], a[3], a[4], l.told); err != nil {
		return err
	}
	for _, n := range []struct {
		bit  uint8
		kind string
	}{{toldNearing, KindNearing}, {toldExhausted, KindExhausted}} {
		if l.news&n.bit == 0 {
			continue
		}
		e := journal.Event{Kind: n.kind, Corr: who.Corr, Actor: "host", Pack: who.Pack, Project: who.Project, Body: l.shown}
		if _, err := b.journal.AppendTx(tx, e); err != nil {
			return err
		}
	}
	return nil
}

func (b *Book) load(ctx context.Context) error {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT quota, subject, seq, wall_ms, boot, up_ms, calls, bytes, tokens, gas, money, told FROM quota`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		c := &counter{}
		if err := rows.Scan(&c.key.quota, &c.key.subject, &c.seq, &c.began.wall, &c.began.boot, &c.began.up,
			&c.used[0], &c.used[1], &c.used[2], &c.used[3], &c.used[4], &c.told); err != nil {
			return err
		}
		c.reserved, c.written = c.used, c.told
		c.at = b.clock.Mono() - b.clock.since(c.began)
		b.counters[c.key] = c
		b.windows = max(b.windows, c.seq)
	}
	return rows.Err()
}

// sweepEvery is how often windows that are over are forgotten.
const sweepEvery = time.Minute

// Run forgets windows that are over until ctx ends, then writes down exactly what was used: an orderly stop takes nothing.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return b.exact(last)
		case <-tick.C:
			if err := b.sweep(ctx); err != nil && ctx.Err() == nil {
				b.log.Error("forget windows of quotas that are over", "error", err)
			}
		}
	}
}

func (b *Book) exact(ctx context.Context) error {
	type row struct {
		key  key
		seq  int64
		used [sides]int64
	}
	var rows []row
	b.mu.Lock()
	for k, c := range b.counters {
		if c.used != c.reserved {
			rows = append(rows, row{k, c.seq, c.used})
			c.reserved = c.used // a use that comes later reserves for itself
		}
	}
	b.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	return b.db.Explain("write down quotas", b.db.Write(ctx, func(tx *sql.Tx) error {
		for _, r := range rows {
			if _, err := tx.Exec(exactCounter, r.key.quota, r.key.subject, r.seq, r.used[0], r.used[1], r.used[2], r.used[3], r.used[4]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// over lists the counters whose window is over, or whose rule is gone for longer than any window; mu is held.
func (b *Book) over() []*counter {
	windows := map[string]time.Duration{}
	for _, r := range b.rules.Load().rules.list {
		windows[r.ID] = r.Window
	}
	var out []*counter
	now := b.clock.Mono()
	for _, c := range b.counters {
		if now-c.at >= cmp.Or(windows[c.key.quota], MaxWindow) {
			out = append(out, c)
		}
	}
	return out
}

func (b *Book) sweep(ctx context.Context) error {
	b.mu.Lock()
	old := b.over()
	for _, c := range old {
		delete(b.counters, c.key)
	}
	b.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	return b.db.Write(ctx, func(tx *sql.Tx) error {
		for _, c := range old { // a new window of the same account has another number
			if _, err := tx.Exec(dropCounter, c.key.quota, c.key.subject, c.seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// show is a counter as others see it; mu is held and the counter has its rule.
func (b *Book) show(c *counter) api.Quota {
	left := max(0, c.rule.Window-(b.clock.Mono()-c.at))
	near, full := c.level()
	return api.Quota{
		ID: c.rule.ID, Subject: c.key.subject, On: c.rule.On, Per: c.rule.Per, Reason: c.rule.Reason, WindowMS: c.rule.Window.Milliseconds(),
		Limit: api.Budget(c.rule.Limit), Used: api.Budget(amountOf(c.used)), Nearing: near, Exhausted: full || c.told&toldExhausted != 0, Refused: c.refused,
		Resets: b.clock.Wall().Add(left).UTC().Truncate(time.Second),
	}
}

// List is every counter whose window runs, by quota and subject; of a nil Book none.
func (b *Book) List() []api.Quota {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out, now := []api.Quota{}, b.clock.Mono()
	rules := b.rules.Load().rules
	for _, c := range b.counters {
		if r := rules.find(c.key.quota); r != nil && now-c.at < r.Window {
			c.rule = r
			out = append(out, b.show(c))
		}
	}
	slices.SortFunc(out, func(x, y api.Quota) int { return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Subject, y.Subject)) })
	return out
}

// Rules lists the rules in force.
func (b *Book) Rules() []Rule { return slices.Clone(b.rules.Load().rules.list) }

// Reset lets the windows of a quota begin anew, of one subject when it is named; it returns what they were. NotFound when no rule has the id,
// or the subject no window.
func (b *Book) Reset(ctx context.Context, corr, by, id, subject string) ([]api.Quota, error) {
	rule := b.rules.Load().rules.find(id)
	if rule == nil {
		return nil, abi.Errorf(abi.NotFound, "reset quota %.80q: there is none of that id", id).WithHint("arw quota list")
	}
	out := []api.Quota{}
	for _, q := range b.List() {
		if q.ID == id && (subject == "" || q.Subject == subject) {
			out = append(out, q)
		}
	}
	if len(out) == 0 && subject != "" {
		return nil, abi.Errorf(abi.NotFound, "reset quota %q: %.80q has used nothing of it", id, subject).WithHint("arw quota list")
	}
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		for _, q := range out {
			if _, err := tx.Exec(`DELETE FROM quota WHERE quota = ? AND subject = ?`, q.ID, q.Subject); err != nil {
				return err
			}
			if _, err := b.journal.AppendTx(tx, journal.Event{Kind: KindReset, Corr: corr, Actor: by, Body: q}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, b.db.Explain("reset a quota", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range out {
		if c := b.counters[key{q.ID, q.Subject}]; c != nil {
			b.begin(c)
		}
	}
	return out, nil
}
