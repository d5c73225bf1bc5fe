package wasm

import (
	"sync"
	"sync/atomic"
	"time"
)

// A call that lasts less than a tick is never touched by the watch; a longer one gets a timer of its own.
const (
	watchTick  = time.Millisecond
	watchIdles = 100 // ticks without a call before the watch sleeps
)

// watch looks after calls that last: arming a timer for every call would cost a third of a short one. It sleeps while
// nothing runs.
type watch struct {
	mu        sync.Mutex
	instances map[*instance]struct{}
	asleep    atomic.Bool
	wake      chan struct{}
	quit      chan struct{}
	ended     sync.WaitGroup
	closing   sync.Once
}

func newWatch() *watch {
	w := &watch{instances: map[*instance]struct{}{}, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	w.ended.Go(w.run)
	return w
}

func (w *watch) close() {
	w.closing.Do(func() { close(w.quit) })
	w.ended.Wait()
}

func (w *watch) add(in *instance) {
	w.mu.Lock()
	w.instances[in] = struct{}{}
	w.mu.Unlock()
}

func (w *watch) remove(in *instance) {
	w.mu.Lock()
	delete(w.instances, in)
	w.mu.Unlock()
}

// began tells of a call that was published in its instance.
func (w *watch) began() {
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *watch) run() {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for idle := 0; ; {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		if w.sweep() {
			idle = 0
		} else if idle++; idle > watchIdles {
			// A call that begins between the sweep and the flag sees the flag; one that began before is seen here.
			w.asleep.Store(true)
			if !w.sweep() {
				tick.Stop()
				select {
				case <-w.quit:
					return
				case <-w.wake:
				}
				tick.Reset(watchTick)
			}
			w.asleep.Store(false)
			idle = 0
		}
	}
}

// sweep arms the calls it finds for the first time and reports whether there were any calls.
func (w *watch) sweep() (busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for in := range w.instances {
		c := in.current.Load()
		if c == nil {
			continue
		}
		busy = true
		if in.watched != c {
			in.watched = c
			c.arm()
		}
	}
	return busy
}
