package lease

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
)

// FlushEvery is how often the use of unlimited budgets is written down; a crash may forget that much of it.
const FlushEvery = 5 * time.Second

const (
	retryEvery  = time.Second      // after a write that failed
	finalFlush  = 5 * time.Second  // for the last write when Run is told to stop
	forgetEvery = 10 * time.Minute // for leases past their Retention
)

// Run journals what nobody asked for: leases that expired or are spent, each exactly once, and keeps reservations ahead of
// use. It returns when ctx ends, after it has written the exact use of every lease, so that an orderly stop loses nothing
// of a budget; the error is that of the last write. A database that fails in between is tried again. One Run per book.
func (b *Book) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var flushed, forgotten time.Duration
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalFlush)
			defer cancel()
			return errors.Join(b.settleAll(last), b.finish(last))
		case <-b.wake:
		case <-timer.C:
		}
		now := time.Duration(b.now())
		flush, forget := now-flushed >= FlushEvery, now-forgotten >= forgetEvery
		wait, err := b.round(ctx, flush, forget)
		if err != nil {
			wait = retryEvery
		}
		if flush {
			flushed = now
		}
		if forget {
			forgotten = now
		}
		timer.Reset(wait)
	}
}

// round does what is due and says when to look again.
func (b *Book) round(ctx context.Context, flush, forget bool) (wait time.Duration, err error) {
	next := b.expire()
	err = b.settleAll(ctx)
	var due []*entry
	b.mu.Lock()
	for _, e := range b.leases {
		if e.state.Load() == stateLive && (e.watched() || (flush && e.unlimited() && e.used() != e.flushed)) {
			due = append(due, e)
		}
	}
	b.mu.Unlock()
	err = errors.Join(err, b.reserve(ctx, due))
	if forget {
		err = errors.Join(err, b.forget(ctx))
	}
	return min(FlushEvery, time.Duration(max(0, next-b.now()))), err
}

// expire ends every lease past its deadline and returns the next deadline.
func (b *Book) expire() (next int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = math.MaxInt64
	now := b.now()
	for _, e := range b.leases {
		if e.state.Load() != stateLive {
			continue
		}
		if deadline := e.deadline.Load(); deadline > now {
			next = min(next, deadline)
			continue
		}
		b.end(e, stateExpired, e.corr, Ending{Time: e.expires})
	}
	return next
}

func (b *Book) settleAll(ctx context.Context) error {
	b.mu.Lock()
	entries := slices.Collect(maps.Keys(b.pending))
	b.mu.Unlock()
	return b.settle(ctx, entries)
}

// attend looks after a lease whose use went past its mark: the use waits when it is not reserved yet, and a use that
// emptied the budget ends the lease. A use that cannot be reserved did not happen.
func (b *Book) attend(ctx context.Context, e *entry, amount [dims]int64) error {
	if e.overdrawn() {
		if err := b.waitReserved(ctx, e); err != nil {
			e.giveBack(amount)
			return err
		}
	}
	if e.spent() {
		b.exhaust(e)
	} else {
		b.poke()
	}
	return nil
}

func (b *Book) waitReserved(ctx context.Context, e *entry) error {
	select {
	case e.gate <- struct{}{}:
		defer func() { <-e.gate }()
	case <-ctx.Done():
		return abi.Errorf(abi.CodeOf(ctx.Err()), "reserve budget of lease %q: %w", e.id, ctx.Err())
	}
	if !e.overdrawn() {
		return nil // whoever had the gate reserved for us too
	}
	return b.count(ctx, []*entry{e}, true)
}

// reserve writes reservations ahead for those entries that nobody else is doing it for.
func (b *Book) reserve(ctx context.Context, entries []*entry) error {
	mine := slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool {
		select {
		case e.gate <- struct{}{}:
			return false
		default:
			return true
		}
	})
	defer func() {
		for _, e := range mine {
			<-e.gate
		}
	}()
	return b.count(ctx, mine, true)
}

// count writes what is used, ahead of use or exactly; the caller holds the gates.
func (b *Book) count(ctx context.Context, entries []*entry, ahead bool) error {
	if len(entries) == 0 {
		return nil
	}
	amounts := make([]Budget, len(entries))
	for i, e := range entries {
		amounts[i] = e.used()
		if ahead {
			amounts[i] = e.want()
		}
	}
	err := b.write(ctx, "reserve lease budgets", func(tx *sql.Tx) error {
		for i, e := range entries {
			if _, err := b.exec(tx, countLease, amounts[i].Calls, amounts[i].Bytes, amounts[i].Tokens, amounts[i].Gas, amounts[i].Money, e.id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, e := range entries {
		e.flushed = amounts[i]
		if ahead {
			for side, n := range amounts[i].sides() {
				e.count[side].raise(n)
			}
		}
	}
	return nil
}

// finish takes all reservations back and writes the exact use. A use that comes later reserves for itself.
func (b *Book) finish(ctx context.Context) error {
	b.mu.Lock()
	entries := slices.Collect(maps.Values(b.leases))
	b.mu.Unlock()
	var held []*entry
	defer func() {
		for _, e := range held {
			<-e.gate
		}
	}()
	for _, e := range entries {
		if e.state.Load() == stateExhausted {
			continue
		}
		select {
		case e.gate <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		held = append(held, e)
		for side := range e.count {
			e.count[side].lower(0)
		}
	}
	b.mu.Lock()
	inexact := slices.DeleteFunc(slices.Clone(held), func(e *entry) bool { return e.used() == e.flushed })
	b.mu.Unlock()
	return b.count(ctx, inexact, false)
}

// forget removes leases that ended longer than Retention ago.
func (b *Book) forget(ctx context.Context) error {
	old := map[*entry]bool{}
	b.mu.Lock()
	for _, e := range b.leases {
		if _, unwritten := b.pending[e]; e.ended != nil && !unwritten && time.Since(e.ended.Time) > Retention {
			old[e] = true
		}
	}
	b.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	return b.write(ctx, "forget old leases", func(tx *sql.Tx) error {
		for e := range old {
			gone, err := b.exec(tx, forgetLease, e.id)
			if err != nil {
				return err
			}
			if gone {
				b.stage(func() { b.drop(e) })
			}
		}
		return nil
	})
}

func bounded(limit int64) int64 {
	if limit == 0 {
		return math.MaxInt64
	}
	return limit
}
