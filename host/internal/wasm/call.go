package wasm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
)

// slice is how much gas a guest may use before it must come back to the host for more. A guest's code cannot be
// interrupted from outside, and while it runs the process cannot collect garbage; this bounds both to some tens of microseconds.
const slice = 50_000

// call is one call in flight and, at the same time, the context its host functions receive: they find it by a type
// assertion, so that nothing is looked up, locked or allocated on their way. It is made anew for every call, since an
// implementation may keep a context longer than it should.
type call struct {
	parent  context.Context
	due     atomic.Int64 // deadline on the engine's clock; Hold moves it
	in      *instance
	tool    string
	effects abi.Effect
	booting bool // the module's start, not a tool
	kept    bool // it continues a session, whose instance is its own
	allowed uint64
	output  int64
	gate    Gate
	host    Host
	streams streams
	handles handles
	web     pluginHTTP // an Extism guest's last answer

	recorder *Recorder // of at most one of the two
	player   *player

	over   atomic.Bool
	armed  atomic.Bool
	mu     sync.Mutex // guards the three below
	inner  context.Context
	cancel context.CancelFunc
	timer  *time.Timer

	blocks    *linear // where host functions find their arguments when it is not the guest's memory
	refused   error   // what ends the call of a guest that cannot be told
	printed   int     // bytes of an Extism guest's log
	pending   []byte  // a reply or message that io.take collects
	hostCalls int
	moved     int64  // bytes moved by host functions, not yet charged
	inside    string // the host function being run
	stopped   error  // why the host ended it
	exited    bool
	exitCode  uint32
	wasi      *wasiState // nil until used
}

// Deadline implements context.Context.
func (c *call) Deadline() (time.Time, bool) {
	return c.in.p.engine.base.Add(time.Duration(c.due.Load())), true
}

// Err implements context.Context.
func (c *call) Err() error {
	if err := c.parent.Err(); err != nil {
		return err
	}
	if c.over.Load() {
		return context.Canceled
	}
	if c.in.p.engine.now() >= time.Duration(c.due.Load()) {
		return context.DeadlineExceeded
	}
	return nil
}

// Done implements context.Context. The channel is made when somebody asks for it: most host functions never do.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.cancel = context.WithCancel(c.parent)
		c.timer = time.AfterFunc(c.left(), c.ring)
		c.armed.Store(true)
		if c.over.Load() {
			c.cancel()
		}
	}
	return c.inner.Done()
}

// Value implements context.Context.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.parent.Value(key)
}

// finish ends the call as a context.
func (c *call) finish() {
	c.over.Store(true)
	if c.armed.Load() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer.Stop()
		c.cancel()
	}
}

// tick is where a guest that has used its slice comes back. It gets the next one unless its gas or its time is over;
// without one its code ends.
func (c *call) tick() {
	used := c.in.gas.Get()
	if used > c.allowed {
		return
	}
	if c.player != nil {
		if c.stopped = c.player.stops(used); c.stopped != nil {
			return
		}
	}
	if c.stopped = c.Err(); c.stopped == nil {
		c.in.limit.Set(min(c.allowed, used+slice))
	}
}
