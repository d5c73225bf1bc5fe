package schedule

import (
	"context"
	"database/sql"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// The kinds of events.
const (
	EventFired  = "schedule.fired"
	EventMissed = "schedule.missed"
	EventFailed = "schedule.failed"
)

// body is what they say.
type body struct {
	Name    string    `json:"name"`
	Tick    time.Time `json:"tick"`
	Action  string    `json:"action,omitempty"`
	LateMS  int64     `json:"late_ms,omitempty"`
	Count   int       `json:"count,omitempty"` // of missed ticks
	From    string    `json:"from,omitempty"`  // the first of them
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// How often the clock is looked at although nothing is due, so that a clock that was set is noticed; how late a tick may be and
// not count as missed; and when a tick that found the host too busy is tried again.
const (
	glance = 30 * time.Second
	grace  = time.Minute
	retry  = 5 * time.Second
)

// Run submits ticks until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	for {
		wait := b.step(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// step does what is due and says how long there is nothing.
func (b *Book) step(ctx context.Context) time.Duration {
	wait := glance
	for _, it := range b.items {
		if ctx.Err() != nil {
			return 0
		}
		wait = min(wait, b.look(ctx, it))
	}
	return max(wait, 0)
}

// look deals with the ticks of one schedule that are due.
func (b *Book) look(ctx context.Context, it *item) time.Duration {
	now := b.now()
	due, count := it.due(now)
	if count == 0 {
		if next := it.next(it.last); !next.IsZero() {
			return next.Sub(now)
		}
		return glance
	}
	run := it.chosen(due, now)
	if missed := count - len(run); missed > 0 {
		last := due[len(due)-1]
		if len(run) > 0 {
			last = run[0].Add(-time.Millisecond) // those behind it are to come
		}
		if err := b.tell(ctx, it, last, it.action, it.err, journal.Event{Kind: EventMissed, Body: body{
			Name: it.Name, Tick: due[len(due)-1], Count: missed, From: it.next(it.last).Format(time.RFC3339),
		}}); err != nil {
			return retry
		}
	}
	for _, at := range run {
		if !b.fire(ctx, it, at, now) {
			return retry
		}
	}
	return it.next(it.last).Sub(now)
}

// due is the ticks behind the last up to now, the newest MaxMissed+1 of them, and how many there were.
func (it *item) due(now time.Time) (ticks []time.Time, count int) {
	if it.cron == nil && now.Sub(it.last) > it.Every*(MaxMissed+2) { // counted, not walked
		first := it.next(it.last)
		newest := now.Truncate(it.Every).UTC()
		count = int(newest.Sub(first)/it.Every) + 1
		for i := MaxMissed; i >= 0; i-- {
			ticks = append(ticks, newest.Add(-time.Duration(i)*it.Every))
		}
		return ticks, count
	}
	for t := it.next(it.last); !t.IsZero() && !t.After(now); t = it.next(t) {
		count++
		if ticks = append(ticks, t); len(ticks) > MaxMissed+1 {
			ticks = ticks[1:]
		}
	}
	return ticks, count
}

// chosen is which of the due ticks are submitted. The newest is not missed while it is hardly late, or was put off.
func (it *item) chosen(due []time.Time, now time.Time) []time.Time {
	newest := due[len(due)-1]
	fresh := now.Sub(newest) <= grace || it.waiting && len(due) == 1
	switch {
	case it.Missed == All && fresh:
		return due
	case it.Missed == All:
		return due[max(0, len(due)-MaxMissed):]
	case it.Missed == Once || fresh:
		return due[len(due)-1:]
	}
	return nil
}

// fire submits one tick; false when the host could not take it and it is to be tried again.
func (b *Book) fire(ctx context.Context, it *item, at, now time.Time) bool {
	id, err := b.submit(ctx, Tick{Entry: it.Entry, At: at, Key: "schedule:" + it.Name + "@" + at.UTC().Format(time.RFC3339)})
	if err != nil {
		switch abi.CodeOf(err) {
		case abi.Busy, abi.Unavailable, abi.StorageFull, abi.Cancelled:
			it.waiting = true
			b.log.Warn("a schedule's tick is tried again", "schedule", it.Name, "tick", at, "error", err)
			return false
		}
		return b.tell(ctx, it, at, "", err.Error(), journal.Event{Kind: EventFailed, Body: body{
			Name: it.Name, Tick: at, Code: abi.CodeOf(err).String(), Message: err.Error(),
		}}) == nil
	}
	return b.tell(ctx, it, at, id, "", journal.Event{Kind: EventFired, Action: id, Body: body{
		Name: it.Name, Tick: at, Action: id, LateMS: max(0, now.Sub(at).Milliseconds()),
	}}) == nil
}

// tell remembers how far a schedule is, with the event that says why.
func (b *Book) tell(ctx context.Context, it *item, last time.Time, action, failed string, ev journal.Event) error {
	ev.Actor, ev.Project = "agent:schedule."+it.Name, it.Project
	next := &item{Entry: it.Entry, last: last, action: action, err: failed}
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		if err := b.save(tx, next); err != nil {
			return err
		}
		_, err := b.jrn.AppendTx(tx, ev)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			b.log.Error("remember a schedule's tick", "schedule", it.Name, "error", err)
		}
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	it.last, it.action, it.err, it.waiting = last, action, failed, false
	return nil
}
