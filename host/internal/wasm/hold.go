package wasm

import (
	"context"
	"math"
	"time"
)

// Hold lets a host function's implementation wait for something that is not the guest's doing, a person's answer for one:
// while wait runs, the time of the call ctx belongs to stands still, and that of every call that waits for it, and another call
// may have its place among the instances. wait gets the
// context of whoever made the outermost of them, which ends with the action and not with the guest's time. Outside a call
// it is wait(ctx).
func Hold(ctx context.Context, wait func(context.Context) error) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return wait(ctx)
	}
	return Hold(c.parent, func(outer context.Context) error {
		if !c.kept {
			c.in.p.pool.lend()
			defer c.in.p.pool.reclaim()
		}
		start := c.in.p.engine.now()
		due := c.due.Swap(math.MaxInt64)
		defer func() {
			c.due.Store(due + int64(c.in.p.engine.now()-start))
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.timer != nil && !c.over.Load() {
				c.timer.Reset(c.left())
			}
		}()
		return wait(outer)
	})
}

// lend lets another call have the place of one that is held.
func (po *pool) lend() {
	po.mu.Lock()
	po.unpermit()
	po.mu.Unlock()
}

// reclaim is for a call that goes on, whether or not a place is free.
func (po *pool) reclaim() {
	po.mu.Lock()
	po.busy++
	po.mu.Unlock()
}

// left is the time of the call that is left.
func (c *call) left() time.Duration {
	return max(0, time.Duration(c.due.Load())-c.in.p.engine.now())
}

// ring ends the call as a context when its time is over; a call that was held in between goes on.
func (c *call) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := c.left(); left > 0 {
		if c.due.Load() != math.MaxInt64 {
			c.timer.Reset(left)
		}
		return
	}
	c.cancel()
}
