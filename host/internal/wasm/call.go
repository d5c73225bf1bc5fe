package wasm

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
)

// Phases of a call. Whoever moves it out of running decides how it ended: the owner with done, anyone else with
// stopping, after which the allowance of the instance is lowered and the instance never used again.
const (
	running int32 = iota
	stopping
	stopped
	done
)

// call is one call in flight and, at the same time, the context its host functions receive: they find it by a type
// assertion, so that nothing is looked up, locked or allocated on their way. It is made anew for every call, since an
// implementation may keep a context longer than it should.
type call struct {
	parent  context.Context
	due     time.Duration // deadline on the engine's clock
	in      *instance
	tool    string
	effects abi.Effect
	output  int64
	gate    Gate
	host    Host

	phase  atomic.Int32
	armed  atomic.Bool
	mu     sync.Mutex // guards the two below
	inner  context.Context
	cancel context.CancelFunc

	pending   []byte // a reply or message that io.take collects
	hostCalls int
	moved     int64  // bytes moved by host functions, not yet charged
	inside    string // the host function being run
	booting   bool   // the module's start, not a tool
	exited    bool
	exitCode  uint32
	wasi      *wasiState // nil until used
}

// Deadline implements context.Context.
func (c *call) Deadline() (time.Time, bool) { return c.in.p.engine.base.Add(c.due), true }

// Err implements context.Context.
func (c *call) Err() error {
	if err := c.parent.Err(); err != nil {
		return err
	}
	if c.phase.Load() == done {
		return context.Canceled
	}
	if c.in.p.engine.now() >= c.due {
		return context.DeadlineExceeded
	}
	return nil
}

// Done implements context.Context. The channel is made when somebody asks for it: most host functions never do.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		deadline, _ := c.Deadline()
		c.inner, c.cancel = context.WithDeadline(c.parent, deadline)
		c.armed.Store(true)
		if c.phase.Load() == done {
			c.cancel()
		}
	}
	return c.inner.Done()
}

// Value implements context.Context.
func (c *call) Value(key any) any { return c.parent.Value(key) }

// stop ends the guest's code at its next loop or call, unless the call is over.
func (c *call) stop() {
	if c.phase.CompareAndSwap(running, stopping) {
		if !c.in.p.engine.interpret { // the interpreter looks at the context itself
			c.in.limit.Set(^uint64(0))
		}
		c.phase.Store(stopped)
	}
}

// finish ends the call; it reports whether somebody stopped it.
func (c *call) finish() (wasStopped bool) {
	if !c.phase.CompareAndSwap(running, done) {
		for c.phase.Load() == stopping {
			runtime.Gosched() // the other side is between two instructions
		}
		wasStopped = c.phase.Swap(done) == stopped
	}
	if c.armed.Load() {
		c.mu.Lock()
		if c.cancel != nil {
			c.cancel()
		}
		c.mu.Unlock()
	}
	return wasStopped
}

// arm makes the deadline and the caller's context stop the guest. The watch does it for calls that live long enough to
// matter.
func (c *call) arm() {
	c.Done()
	c.mu.Lock()
	ctx := c.inner
	c.mu.Unlock()
	context.AfterFunc(ctx, c.stop)
}
