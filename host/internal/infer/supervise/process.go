package supervise

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/openai"
)

// process is one start of a runtime.
type process struct {
	cmd    *exec.Cmd
	pid    int
	dir    string
	key    string
	gone   chan struct{} // closed when it has ended
	err    error         // how; after gone
	ctx    context.Context
	cancel context.CancelCauseFunc // ends the requests
	client *http.Transport
}

// start brings a unit up, or says why not.
func (s *Supervisor) start(u *unit, victims []*unit) {
	s.announce(u)
	for _, v := range victims {
		s.end(v)
	}
	p, model, err := s.bring(u)
	s.mu.Lock()
	switch {
	case err != nil:
		u.proc, u.model = nil, nil
		u.fail(err.Error())
		u.startErr = err
	default:
		u.model = &lent{model, p}
		u.used = time.Now()
		u.set(Ready, "")
	}
	done := u.settled
	shut := s.closed && err == nil
	if shut {
		u.drain("the host stops")
	}
	s.mu.Unlock()
	s.announce(u)
	if shut {
		s.end(u) // closes settled
		return
	}
	close(done)
	if err == nil {
		go s.guard(u, p)
	}
}

// bring starts the process and waits until it answers.
func (s *Supervisor) bring(u *unit) (*process, infer.Model, error) {
	w := &u.want
	launch, ok := s.cfg.Launch[w.Profile.Runtime]
	if !ok {
		launch, ok = launchers[w.Profile.Runtime]
	}
	if !ok {
		return nil, nil, abi.Errorf(abi.Invalid, "start runtime %q: %q is no kind of runtime", u.id, w.Profile.Runtime)
	}
	p, err := s.launch(u, launch)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	u.proc = p
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.ctx, time.Duration(w.Profile.Grace))
	defer cancel()
	defer context.AfterFunc(s.base, cancel)()
	go func() {
		select {
		case <-p.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	var model infer.Model
	if err = p.ready(ctx, launch.Health); err == nil {
		model, err = openai.Open(ctx, openai.Config{Base: "http://runtime", Transport: p.client, Model: servedName, Dialect: launch.Dialect, Key: p.key})
	}
	if client, ok := model.(*openai.Client); ok && err == nil && launch.Dialect == openai.Llama {
		model, err = s.pooled(u, p, client)
	}
	if err == nil {
		return p, model, nil
	}
	switch {
	case p.ctx.Err() != nil: // only its end ends that before it is ready
		<-p.gone
		err = fmt.Errorf("it ended: %v", p.err)
	case s.base.Err() != nil:
		err = errors.New("the host is stopping")
	case ctx.Err() != nil:
		err = fmt.Errorf("it was not ready within %v", time.Duration(w.Profile.Grace))
	}
	p.stop(s.cfg.Term)
	return nil, nil, abi.Errorf(abi.Unavailable, "start runtime %q: %w", u.id, err).WithDetail(map[string]any{"log": u.logs.tail(20)}).
		WithHint("see what it wrote: arw runtime logs %s", u.id)
}

func (s *Supervisor) launch(u *unit, l Launch) (*process, error) {
	fault := func(err error) error { return abi.Errorf(abi.Unavailable, "start runtime %q: %w", u.id, err) }
	dir, err := os.MkdirTemp(s.cfg.Dir, "r")
	if err != nil {
		return nil, fault(err)
	}
	p := &process{dir: dir, key: rand.Text(), gone: make(chan struct{})}
	socket, keyFile := filepath.Join(dir, "s.sock"), filepath.Join(dir, "key")
	if err := os.Mkdir(filepath.Join(dir, "slots"), 0o700); err != nil {
		return nil, errors.Join(fault(err), os.RemoveAll(dir))
	}
	if err := os.WriteFile(keyFile, []byte(p.key+"\n"), 0o600); err != nil {
		return nil, errors.Join(fault(err), os.RemoveAll(dir))
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.client = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		// With kept connections answers of llama-server broke off now and then, with one for each request they did not: it seems
		// to close kept ones at times, and a POST that meets such a moment may not be sent again.
	}, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	prof := u.want.Profile
	p.cmd = exec.Command(prof.Binary, l.Args(&prof, u.want.File, socket, keyFile)...)
	p.cmd.Dir, p.cmd.Env = dir, []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Stdout, p.cmd.Stderr = u.logs, u.logs
	p.cmd.WaitDelay = time.Second // a grandchild that holds the pipe does not hold us
	if err := s.spawn.start(p.cmd); err != nil {
		return nil, errors.Join(fault(err), os.RemoveAll(dir))
	}
	p.pid = p.cmd.Process.Pid
	if err := bound(p.pid, uint64(prof.Files)); err != nil {
		s.cfg.Log.Warn("limit a runtime", "id", u.id, "error", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.cancel(abi.Errorf(abi.Unavailable, "ask runtime %q: the runtime ended", u.id))
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // what it left behind; none is no failure
		_ = os.RemoveAll(dir)                     // else the next Open does
		close(p.gone)
	}()
	if err := p.record(); err != nil {
		p.stop(0)
		return nil, fault(err)
	}
	return p, nil
}

// ready waits for a 200.
func (p *process) ready(ctx context.Context, path string) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://runtime"+path, nil)
		if err != nil {
			return err
		}
		if resp, err := p.client.RoundTrip(req); err == nil {
			_, _ = io.CopyN(io.Discard, resp.Body, 4096) // its words do not matter
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// guard waits for the end of a process that nobody asked to end.
func (s *Supervisor) guard(u *unit, p *process) {
	<-p.gone
	s.mu.Lock()
	lost := u.lose(p)
	s.mu.Unlock()
	if lost {
		s.announce(u)
	}
}

// lose notes that the process of a ready unit is gone, once; the caller holds mu.
func (u *unit) lose(p *process) bool {
	if u.proc != p || u.state != Ready {
		return false
	}
	u.proc, u.model = nil, nil
	u.fail(fmt.Sprintf("it ended by itself: %v", p.err))
	return true
}

// drain keeps new requests off; the caller holds mu and calls end.
func (u *unit) drain(reason string) {
	u.set(Draining, reason)
	u.settled, u.startErr = make(chan struct{}), nil
	if u.loans > 0 {
		u.idle = make(chan struct{})
	}
}

// end takes a draining unit down: wait, cancel, TERM, TERM again, KILL.
func (s *Supervisor) end(u *unit) {
	s.announce(u)
	s.mu.Lock()
	p, idle, wait, reason := u.proc, u.idle, s.cfg.Drain, u.reason
	s.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-p.gone:
		case <-time.After(wait):
		}
	}
	s.park(u)
	p.cancel(abi.Errorf(abi.Unavailable, "ask runtime %q: it is being stopped: %s", u.id, reason))
	p.stop(s.cfg.Term)
	s.mu.Lock()
	u.proc, u.model = nil, nil
	u.set(Stopped, reason)
	done := u.settled
	s.mu.Unlock()
	s.announce(u)
	close(done)
}

// stop ends the process and its group, and waits. A server in mid-answer may take 30 s over one TERM and goes at once at the
// second.
func (p *process) stop(term time.Duration) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(-p.pid, sig) // gone already is what we want
		if sig == syscall.SIGKILL {
			break
		}
		select {
		case <-p.gone:
			return
		case <-time.After(term):
		}
	}
	<-p.gone
}

// record says on disk which process this is, for the host that comes after a crash.
type record struct {
	PID     int    `json:"pid"`
	Started string `json:"started"` // in clock ticks since boot, so that a reused number is not taken for it
	Boot    string `json:"boot"`
}

const recordFile = "process.json"

func (p *process) record() error {
	text, err := json.Marshal(record{p.pid, startTime(p.pid), bootID()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, recordFile), text, 0o600)
}

// reap ends the runtimes of a host that crashed, and removes their folders.
func (s *Supervisor) reap() error {
	dirs, err := filepath.Glob(filepath.Join(s.cfg.Dir, "r*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		var r record
		text, err := os.ReadFile(filepath.Join(dir, recordFile))
		if err == nil && json.Unmarshal(text, &r) == nil && r.PID > 1 && r.Boot == bootID() && r.Started != "" && r.Started == startTime(r.PID) {
			s.cfg.Log.Warn("end a runtime that a crashed host left", "pid", r.PID)
			_ = syscall.Kill(-r.PID, syscall.SIGKILL) // the group's number is its leader's
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it nothing is reaped
	return strings.TrimSpace(string(text))
}

// startTime is field 22 of /proc/PID/stat; "" for a process that is gone or a zombie.
func startTime(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The name may hold anything, so fields are counted from its closing bracket.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return f[19]
}

// resident is the memory of a process, 0 when it cannot be told.
func resident(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if f := strings.Fields(string(text)); err == nil && len(f) > 1 {
		pages, _ := strconv.ParseInt(f[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}

// spawner starts processes from one thread that lives on: the kernel ties a child's death signal to the thread that made it.
type spawner struct {
	jobs chan func()
	once sync.Once
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.jobs <- func() { done <- cmd.Start() }
	return <-done
}

func (s *spawner) close() { s.once.Do(func() { close(s.jobs) }) }

// lent is a model whose requests end with its process.
type lent struct {
	infer.Model
	p *process
}

func (l *lent) tie(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.p.ctx, func() { cancel(context.Cause(l.p.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Generate implements infer.Model.
func (l *lent) Generate(ctx context.Context, r *infer.Request) iter.Seq2[infer.Part, error] {
	return func(yield func(infer.Part, error) bool) {
		ctx, done := l.tie(ctx)
		defer done()
		l.Model.Generate(ctx, r)(yield)
	}
}

// Embed implements infer.Model.
func (l *lent) Embed(ctx context.Context, texts []string) (infer.Vectors, error) {
	ctx, done := l.tie(ctx)
	defer done()
	return l.Model.Embed(ctx, texts)
}

// Rerank implements infer.Model.
func (l *lent) Rerank(ctx context.Context, query string, documents []string) (infer.Scores, error) {
	ctx, done := l.tie(ctx)
	defer done()
	return l.Model.Rerank(ctx, query, documents)
}

// Tokenize implements infer.Model.
func (l *lent) Tokenize(ctx context.Context, p infer.Prompt) ([]int32, error) {
	ctx, done := l.tie(ctx)
	defer done()
	return l.Model.Tokenize(ctx, p)
}

// logs keep the last lines a runtime wrote.
type logs struct {
	mu   sync.Mutex
	kept []string
	part []byte
}

const (
	maxLines = 500
	maxLine  = 1000
)

// Write implements io.Writer.
func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxLine-min(maxLine, len(l.part)))]...)
		if rest = after; whole {
			l.kept = append(l.kept, strings.Map(printable, string(l.part)))
			if l.part = l.part[:0]; len(l.kept) > maxLines {
				l.kept = append(l.kept[:0], l.kept[len(l.kept)-maxLines:]...)
			}
		}
	}
	return len(b), nil
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}

func (l *logs) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := append([]string(nil), l.kept...)
	if len(l.part) > 0 {
		out = append(out, strings.Map(printable, string(l.part)))
	}
	return out
}

func (l *logs) tail(n int) []string {
	all := l.lines()
	return all[max(0, len(all)-n):]
}
