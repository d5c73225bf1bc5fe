// Package wasm runs packs: it admits a module, bounds it, and calls its tools. Its promise: whatever a guest does, the
// host goes on, the next call is fine, every call starts from the same state unless it asked for a session, and nothing
// outside the guest's memory happens without the Gate's consent.
//
// It is the only package that knows wazero and the Extism SDK. An Engine and its Programs are safe for concurrent use.
package wasm

import (
	"log/slog"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// Options of an engine.
type Options struct {
	// CacheDir keeps rewritten modules and compiled code between runs. Whoever can write to it can run code in this
	// process, so it is made with mode 0700 and must not be shared. Empty: nothing is kept.
	CacheDir string
	// Compiles bounds how many modules compile at once; 0 means 1.
	Compiles int
	// Log receives faults of the host that a guest must not see, and what a guest prints while it is loaded. nil: nowhere.
	Log *slog.Logger
	// Interpret runs every program on the interpreter: slow, but a second opinion on the compiler.
	Interpret bool
	// Portable keeps memory as systems do that have no faster way: on the heap, all of it compared after every call.
	Portable bool
	// Instances and MemoryBytes bound what all programs have together; 0 means 4096 and 8 GiB. How they are shared is
	// told at share.
	Instances   int
	MemoryBytes int64
}

// Engine compiles and runs modules.
type Engine struct {
	log       *slog.Logger
	cache     cache
	interpret bool
	portable  bool
	compiles  chan struct{}
	share     *share
	base      time.Time      // when the engine's clock was 0
	work      sync.WaitGroup // compilers in the background
	kin       kin
}

// now reads the engine's clock, at half the price of time.Now.
func (e *Engine) now() time.Duration { return time.Since(e.base) }

// Open makes an engine, and its cache directory when that is missing. Errors: Invalid when the directory cannot be used.
func Open(o Options) (*Engine, error) {
	e := &Engine{
		log: o.Log, interpret: o.Interpret, portable: o.Portable, compiles: make(chan struct{}, max(1, o.Compiles)),
		share: newShare(o.Instances, o.MemoryBytes), base: time.Now(),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.cache = cache{dir: o.CacheDir, log: e.log}
	if err := e.cache.open(); err != nil {
		return nil, abi.Errorf(abi.Invalid, "open engine cache %q: %w", o.CacheDir, err)
	}
	return e, nil
}

// Close waits for compilers in the background. Programs are closed before; those that were not keep what they have.
func (e *Engine) Close() error {
	e.work.Wait()
	return nil
}

// Limits bound a program and each call of it; a zero field means the default, and a call can only lower what the
// program was loaded with in memory.
type Limits struct {
	MemoryBytes int64         `json:"memory_bytes"`
	Gas         uint64        `json:"gas"`
	Time        time.Duration `json:"time_ns"`
	Input       int64         `json:"input"`
	Output      int64         `json:"output"`
	Depth       uint32        `json:"depth"`    // nested calls inside the guest
	Streamed    int64         `json:"streamed"` // bytes of output streams
}

// DefaultLimits are what a zero field stands for.
func DefaultLimits() Limits {
	return Limits{MemoryBytes: 64 << 20, Gas: 2e9, Time: 10 * time.Second, Input: 8 << 20, Output: 8 << 20, Depth: 16 << 10, Streamed: 1 << 30}
}

// or fills zero fields from d.
func (l Limits) or(d Limits) Limits {
	if l.MemoryBytes <= 0 {
		l.MemoryBytes = d.MemoryBytes
	}
	if l.Gas == 0 {
		l.Gas = d.Gas
	}
	if l.Time <= 0 {
		l.Time = d.Time
	}
	if l.Input <= 0 {
		l.Input = d.Input
	}
	if l.Output <= 0 {
		l.Output = d.Output
	}
	if l.Depth == 0 {
		l.Depth = d.Depth
	}
	if l.Streamed <= 0 {
		l.Streamed = d.Streamed
	}
	return l
}
