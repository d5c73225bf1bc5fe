package schedule

import (
	"context"
	"time"
)

// Step does what is due.
func (b *Book) Step(ctx context.Context) time.Duration { return b.step(ctx) }

// Next is the first tick of an expression behind a time.
func Next(expr, zone string, after time.Time) (time.Time, error) {
	it, err := check(Entry{Name: "x", Tool: "t", Cron: expr, Zone: zone})
	if err != nil {
		return time.Time{}, err
	}
	return it.next(after), nil
}
