package journal

import (
	"cmp"
	"context"
	"time"
)

// Upkeep says when Keep does what. Zero fields mean the defaults named behind them.
type Upkeep struct {
	Events    int64         // a checkpoint after this many records: 1,000
	Every     time.Duration // and after this long, if there are new ones: 1 minute
	Retention Retention
	// Look is how often retention is looked at: 1 minute.
	Look time.Duration
	// Free gives the last record that nobody needs any more; nil means that all are free.
	Free func(ctx context.Context) (int64, error)
	// Failed hears what went wrong; it is tried again. May be nil.
	Failed func(doing string, err error)
}

// Keep signs checkpoints and removes what Retention no longer keeps until ctx ends. It needs a key: without one it returns
// at once. It returns nil. When the clock runs ahead of the time that has passed by more than an hour, age removes nothing
// more in this run: either the machine slept, or its clock is wrong, and only a restart with the same clock tells which.
func (j *Journal) Keep(ctx context.Context, u Upkeep) error {
	if j.key == nil {
		return nil
	}
	u.Events, u.Every, u.Look = cmp.Or(u.Events, 1000), cmp.Or(u.Every, time.Minute), cmp.Or(u.Look, time.Minute)
	k := &keeper{j: j, u: u, began: time.Now(), wall: j.now()}
	k.sign(ctx) // for what an earlier run left, and so that no journal is without one
	k.prune(ctx)
	beat := time.NewTicker(min(u.Every, u.Look))
	defer beat.Stop()
	for {
		wake := j.pub.bell()
		if wake == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
			if j.Last()-k.signed >= u.Events {
				k.sign(ctx)
			}
		case <-beat.C:
			k.beat(ctx)
		}
	}
}

type keeper struct {
	j      *Journal
	u      Upkeep
	began  time.Time // monotonic
	wall   time.Time // what the clock said then
	signed int64
	last   struct{ sign, prune time.Time }
}

func (k *keeper) beat(ctx context.Context) {
	if time.Since(k.last.sign) >= k.u.Every && k.j.Last() > k.signed {
		k.sign(ctx)
	}
	if time.Since(k.last.prune) >= k.u.Look {
		k.prune(ctx)
	}
}

func (k *keeper) sign(ctx context.Context) {
	k.last.sign = time.Now()
	c, err := k.j.Checkpoint(ctx)
	if err != nil {
		k.failed(ctx, "sign a checkpoint of the journal", err)
		return
	}
	k.signed = c.ID
}

func (k *keeper) prune(ctx context.Context) {
	k.last.prune = time.Now()
	free, r := k.j.Last(), k.u.Retention
	now := k.j.now() // one reading for both: the clock may jump between two
	if k.ahead(now) {
		r.Age = 0
	}
	if k.u.Free != nil && !r.off() {
		var err error
		if free, err = k.u.Free(ctx); err != nil {
			k.failed(ctx, "ask what of the journal is still needed", err)
			return
		}
	}
	if _, err := k.j.pruneAt(ctx, r, free, now); err != nil {
		k.failed(ctx, "prune the journal", err)
	}
}

// ahead reports whether the clock made a jump since Keep began.
func (k *keeper) ahead(now time.Time) bool {
	return now.Round(0).Sub(k.wall.Round(0))-time.Since(k.began) > time.Hour
}

func (k *keeper) failed(ctx context.Context, doing string, err error) {
	if k.u.Failed != nil && ctx.Err() == nil {
		k.u.Failed(doing, err)
	}
}
