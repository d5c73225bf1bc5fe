// Package supervise keeps one promise: a runtime that somebody needs runs, once, within its bounds, and none runs that
// nobody asked for, not even after a crash of the host.
//
// Runtimes are processes of their own, each listening on a unix socket in a folder that only the host's user may enter, with
// an empty environment and arguments made of a Profile's typed fields. Lend starts one on demand; however many ask at once,
// one process starts. It is stopped when it was idle for long, when memory is needed, or when it takes too much. A runtime
// that fails is restarted with growing, jittered pauses, and rests after five failures in ten minutes.
//
// A Supervisor is safe for concurrent use. Run owns its clockwork; Close stops every process and waits for it.
package supervise

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/slots"
)

// State of a runtime.
type State string

// The states. A stopped one starts when it is asked for, a failed one after its pause.
const (
	Starting State = "starting"
	Ready    State = "ready"
	Draining State = "draining"
	Stopped  State = "stopped"
	Failed   State = "failed"
)

// Bounds of restarts.
const (
	Failures   = 5 // within Window: then the runtime rests until they are older
	Window     = 10 * time.Minute
	firstPause = 500 * time.Millisecond
	lastPause  = time.Minute
)

// Config of a supervisor. Dir is required.
type Config struct {
	// Dir holds sockets, keys and process records. It is made with mode 0700, and one supervisor at a time has it. Its path
	// must be short: a socket's name has 107 bytes at most.
	Dir string
	// Memory that all runtimes together may take, by their estimate; 0: no bound.
	Memory int64
	// Drain is how long running requests may go on when a runtime is to stop; 0: 10 s. Term is how long it then has after a
	// signal; 0: 3 s.
	Drain, Term time.Duration
	// Prompts is where memories of prompts are kept from one start of a runtime to the next; "" keeps none.
	Prompts string
	// Changed hears of every change of a runtime's status, in order, one at a time. It must not call the supervisor.
	Changed func(Status)
	// Launch replaces how a kind of runtime is started, for tests.
	Launch map[string]Launch
	Log    *slog.Logger
}

// Status is what is known of one runtime.
type Status struct {
	ID       string `json:"id"`
	Model    string `json:"model"` // digest
	Profile  string `json:"profile"`
	Runtime  string `json:"runtime"`
	State    State  `json:"state"`
	Severity string `json:"severity"` // ok, warning or error
	Reason   string `json:"reason,omitempty"`
	// Accelerator is "gpu" where the profile asks for one, else "cpu".
	Accelerator string    `json:"accelerator"`
	Generation  int       `json:"generation"` // counts starts
	PID         int       `json:"pid,omitempty"`
	Since       time.Time `json:"since"`
	Requests    int       `json:"requests"`
	Memory      int64     `json:"memory_bytes,omitempty"`    // resident when last looked at; before that the estimate
	Restarts    int       `json:"restart_budget"`            // failures left before it rests
	Rests       time.Time `json:"rests_until,omitzero"`      // no start before
	Version     string    `json:"runtime_version,omitempty"` // as it says
	// Cache is how prompts are reused; nil where the runtime has no slots.
	Cache *slots.Stats `json:"prompt_cache,omitempty"`
}

// Want names a model file and how to run it.
type Want struct {
	Digest  string // of the file
	File    string // absolute path; what it holds must have the digest, see package models
	Size    int64
	Profile Profile
}

// Supervisor runs runtimes.
type Supervisor struct {
	cfg   Config
	lock  *os.File
	spawn *spawner
	// base ends when Close begins: a start is then given up.
	base  context.Context
	abort context.CancelFunc

	// mu guards what follows; it is never held across I/O or Changed.
	mu     sync.Mutex
	units  map[string]*unit
	closed bool

	tell sync.Mutex // orders Changed; taken after mu is given back
}

// Open takes the folder and ends what a crashed host left running. Errors: Conflict when another supervisor has the folder,
// Invalid, Unavailable.
func Open(cfg Config) (*Supervisor, error) {
	doing := func(err error) error { return abi.Errorf(abi.Unavailable, "open runtimes %q: %w", cfg.Dir, err) }
	if cfg.Drain == 0 {
		cfg.Drain = 10 * time.Second
	}
	if cfg.Term == 0 {
		cfg.Term = 3 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !filepath.IsAbs(cfg.Dir) || len(cfg.Dir) > 80 {
		return nil, abi.Errorf(abi.Invalid, "open runtimes %q: the folder's path is relative or above 80 bytes, too long for sockets in it", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, doing(err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		return nil, doing(err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, doing(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(abi.Errorf(abi.Conflict, "open runtimes %q: another host has the folder", cfg.Dir), lock.Close())
	}
	s := &Supervisor{cfg: cfg, lock: lock, units: map[string]*unit{}, spawn: newSpawner()}
	s.base, s.abort = context.WithCancel(context.Background())
	if err := s.reap(); err != nil {
		return nil, errors.Join(doing(err), s.Close())
	}
	return s, nil
}

// unit is one (model, profile): at most one process at a time.
type unit struct {
	id    string
	want  Want
	state State
	// The rest is guarded by Supervisor.mu like state.
	reason   string
	gen      int
	since    time.Time
	used     time.Time
	loans    int
	idle     chan struct{} // closed when loans is 0 while draining
	proc     *process      // nil when nothing runs
	model    infer.Model   // while ready
	settled  chan struct{} // closed when a start has ended, well or not
	startErr error
	failures []time.Time
	rests    time.Time
	memory   int64
	logs     *logs
}

func (w *Want) id() string {
	name := strings.TrimPrefix(w.Digest, "sha256:")
	return name[:min(12, len(name))] + "." + w.Profile.Name + "." + w.Profile.digest()[:6]
}

// Loan is a ready runtime that is not stopped while it is lent. Release it once.
type Loan struct {
	Model   infer.Model
	Runtime string // id
	release func()
}

// Release gives the runtime back.
func (l *Loan) Release() { l.release() }

// Lend gives a runtime that is ready, starting one when there is none. Waiting callers share one start. Errors: Busy when its
// queue or the memory is full, Quarantined while it rests, Unavailable when it does not start (with the end of its log as
// detail), Cancelled and Deadline of ctx; a start goes on when its first caller leaves.
func (s *Supervisor) Lend(ctx context.Context, want Want) (*Loan, error) {
	want.Profile.fill()
	for {
		u, model, wait, err := s.join(want)
		switch {
		case err != nil:
			return nil, err
		case wait == nil:
			return &Loan{Model: model, Runtime: u.id, release: sync.OnceFunc(func() { s.giveBack(u) })}, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, abi.Errorf(abi.CodeOf(ctx.Err()), "wait for runtime %q: %w", u.id, ctx.Err())
		}
		s.mu.Lock()
		err = u.startErr
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// join takes a loan of a ready unit, or gives what to wait for.
func (s *Supervisor) join(want Want) (*unit, infer.Model, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, nil, abi.Errorf(abi.Unavailable, "start runtime: the host is stopping")
	}
	id := want.id()
	u := s.units[id]
	if u == nil {
		u = &unit{id: id, want: want, state: Stopped, logs: &logs{}}
		s.units[id] = u
	}
	now := time.Now()
	if u.state == Ready {
		select {
		case <-u.proc.gone:
			u.lose(u.proc)
		default:
		}
	}
	switch u.state {
	case Ready:
		if u.proc.ctx.Err() != nil {
			return u, nil, u.proc.gone, nil
		}
		if u.loans >= u.want.Profile.Slots+u.want.Profile.Queue {
			return nil, nil, nil, abi.Errorf(abi.Busy, "ask runtime %q: %d requests run and wait already", id, u.loans)
		}
		u.loans++
		u.used = now
		return u, u.model, nil, nil
	case Starting, Draining:
		return u, nil, u.settled, nil
	}
	if now.Before(u.rests) {
		code := abi.Unavailable
		if len(u.failures) >= Failures {
			code = abi.Quarantined
		}
		return nil, nil, nil, abi.Errorf(code, "start runtime %q: it failed %d times lately and rests for %v: %s", id, len(u.failures), u.rests.Sub(now).Round(100*time.Millisecond), u.reason).
			WithHint("see why: arw runtime logs %s", id).WithDetail(u.status())
	}
	u.want = want
	victims, err := s.makeRoom(u)
	if err != nil {
		return nil, nil, nil, err
	}
	u.set(Starting, "")
	u.gen++
	u.settled, u.startErr = make(chan struct{}), nil
	go s.start(u, victims)
	return u, nil, u.settled, nil
}

// estimate is what a runtime will take: the weights, and as much again at most for its context.
func (u *unit) estimate() int64 { return min(int64(u.want.Profile.Memory), 2*u.want.Size+64<<20) }

// makeRoom chooses the runtimes that go, least recently used first, so that u fits.
func (s *Supervisor) makeRoom(u *unit) (victims []*unit, err error) {
	u.memory = u.estimate()
	if s.cfg.Memory == 0 {
		return nil, nil
	}
	total, idle := u.memory, []*unit{}
	for _, o := range s.units {
		if o != u && o.proc != nil || o.state == Starting {
			total += o.memory
			if o.state == Ready && o.loans == 0 {
				idle = append(idle, o)
			}
		}
	}
	slices.SortFunc(idle, func(a, b *unit) int { return a.used.Compare(b.used) })
	for _, o := range idle {
		if total <= s.cfg.Memory {
			break
		}
		total -= o.memory
		victims = append(victims, o)
	}
	if total > s.cfg.Memory {
		return nil, abi.Errorf(abi.Busy, "start runtime %q: it needs %d bytes of memory, and what runs leaves less of %d", u.id, u.memory, s.cfg.Memory).
			WithHint("stop one: arw runtime stop; or raise the limit")
	}
	for _, o := range victims {
		o.drain("memory is needed for " + u.id)
	}
	return victims, nil
}

func (s *Supervisor) giveBack(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.loans--
	u.used = time.Now()
	if u.loans == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// set moves a unit; the caller holds mu.
func (u *unit) set(state State, reason string) {
	u.state, u.reason, u.since = state, reason, time.Now().UTC()
}

// fail counts a failure and says when the next start may be.
func (u *unit) fail(reason string) {
	now := time.Now()
	u.failures = append(slices.DeleteFunc(u.failures, func(t time.Time) bool { return now.Sub(t) > Window }), now)
	pause := min(firstPause<<(len(u.failures)-1), lastPause)
	pause = pause/2 + rand.N(pause/2+1)
	if len(u.failures) >= Failures {
		pause = Window
	}
	u.rests = now.Add(pause)
	u.set(Failed, reason)
}

func (u *unit) status() Status {
	now := time.Now()
	recent := 0
	for _, t := range u.failures {
		if now.Sub(t) <= Window {
			recent++
		}
	}
	st := Status{ID: u.id, Model: u.want.Digest, Profile: u.want.Profile.Name, Runtime: u.want.Profile.Runtime, State: u.state, Reason: u.reason,
		Generation: u.gen, Since: u.since, Requests: u.loans, Restarts: max(0, Failures-recent), Severity: "ok", Accelerator: "cpu"}
	if u.want.Profile.GPULayers > 0 {
		st.Accelerator = "gpu"
	}
	if u.proc != nil {
		st.PID, st.Memory = u.proc.pid, u.memory
	}
	if u.model != nil {
		st.Version = u.model.Info().Version
		if pool := u.pool(); pool != nil {
			stats := pool.Stats()
			st.Cache = &stats
		}
	}
	switch {
	case u.state == Failed:
		st.Severity, st.Rests = "error", u.rests
	case recent > 0:
		st.Severity = "warning"
	}
	return st
}

// List is the status of all that was ever asked for, by id.
func (s *Supervisor) List() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Status{}
	for _, u := range s.units {
		out = append(out, u.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Uses reports whether a runtime of a model file runs, starts or stops.
func (s *Supervisor) Uses(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.units {
		if u.want.Digest == digest && u.state != Stopped && u.state != Failed {
			return true
		}
	}
	return false
}

// Logs are the last lines a runtime wrote, cleaned of control characters. Errors: NotFound.
func (s *Supervisor) Logs(id string) ([]string, error) {
	u, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return u.logs.lines(), nil
}

func (s *Supervisor) find(id string) (*unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil {
		return u, nil
	}
	return nil, abi.Errorf(abi.NotFound, "find runtime %q: there is none of that name", id).WithHint("arw runtime list")
}

// announce tells Changed how a unit stands now.
func (s *Supervisor) announce(u *unit) {
	s.tell.Lock()
	defer s.tell.Unlock()
	s.mu.Lock()
	st := u.status()
	s.mu.Unlock()
	s.cfg.Log.Debug("runtime", "id", st.ID, "state", st.State, "generation", st.Generation, "reason", st.Reason)
	if s.cfg.Changed != nil {
		s.cfg.Changed(st)
	}
}

// Run stops what is idle and what takes too much memory, until ctx ends.
func (s *Supervisor) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.watch(time.Now())
		}
	}
}

// watch looks at every process once.
func (s *Supervisor) watch(now time.Time) {
	s.mu.Lock()
	var going []*unit
	for _, u := range s.units {
		if u.state != Ready {
			continue
		}
		if rss := resident(u.proc.pid); rss > 0 {
			u.memory = rss
		}
		switch p := &u.want.Profile; {
		case u.memory > int64(p.Memory):
			u.drain("it takes more memory than its profile allows")
			going = append(going, u)
		case u.loans == 0 && now.Sub(u.used) > time.Duration(p.Idle):
			u.drain("idle")
			going = append(going, u)
		}
	}
	s.mu.Unlock()
	for _, u := range going {
		go s.end(u)
	}
}

// Stop ends a runtime: no new request, those that run may end, then signals. It starts again when it is asked for. Errors:
// NotFound, those of ctx (the stop goes on).
func (s *Supervisor) Stop(ctx context.Context, id string) error {
	u, err := s.find(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	begin := u.state == Ready
	if begin {
		u.drain("stopped by hand")
	}
	wait := u.settled
	s.mu.Unlock()
	if begin {
		go s.end(u)
	}
	if wait == nil {
		return nil
	}
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops everything, without waiting for requests, and gives the folder back.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	s.closed = true
	s.abort()
	s.cfg.Drain = 0
	var all []*unit
	for _, u := range s.units {
		if u.state == Ready {
			u.drain("the host stops")
			go s.end(u)
		}
		if u.settled != nil {
			all = append(all, u)
		}
	}
	s.mu.Unlock()
	for _, u := range all {
		<-u.settled
	}
	s.spawn.close()
	return s.lock.Close()
}
