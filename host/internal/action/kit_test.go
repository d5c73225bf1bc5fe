package action_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/jet"
	"github.com/arw-project/arw/host/internal/queue/jet/embedded"
	"github.com/arw-project/arw/host/internal/queue/local"
)

// tools is a Runner of Go functions, named "pack:tool".
type tools struct {
	mu  sync.Mutex
	fns map[string]tool
}

type tool struct {
	effects  abi.Effect
	maxInput int64
	streams  []string
	validate func([]byte) error
	run      func(ctx context.Context, job action.Job) (action.Result, error)
}

func (r *tools) set(name string, t tool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fns == nil {
		r.fns = map[string]tool{}
	}
	r.fns[name] = t
}

func (r *tools) find(kind string) (string, tool, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, t := range r.fns {
		if name == kind || strings.HasSuffix(name, ":"+kind) {
			return name, t, true
		}
	}
	return "", tool{}, false
}

func (r *tools) Resolve(kind string) (action.Tool, error) {
	name, t, ok := r.find(kind)
	if !ok {
		return action.Tool{}, abi.Errorf(abi.NotFound, "find tool %q: there is none", kind)
	}
	pack, id, _ := strings.Cut(name, ":")
	return action.Tool{Kind: id, Pack: pack, Effects: t.effects, Validate: t.validate, MaxInput: t.maxInput, Streams: t.streams}, nil
}

func (r *tools) Run(ctx context.Context, job action.Job) (action.Result, error) {
	_, t, ok := r.find(job.Tool.Pack + ":" + job.Tool.Kind)
	if !ok {
		return action.Result{}, abi.Errorf(abi.NotFound, "find tool %q: there is none", job.Tool.Kind)
	}
	return t.run(ctx, job)
}

// echo answers with its input.
var echo = tool{run: func(_ context.Context, job action.Job) (action.Result, error) {
	return action.Result{Kind: abi.FrameJSON, Body: job.Action.Input, Usage: action.Usage{Gas: 7}}, nil
}}

// gate is a tool that announces each start and answers when it is let go.
type gate struct {
	started chan action.Job
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan action.Job, 64), make(chan struct{})} }

func (g *gate) tool() tool {
	return tool{run: func(ctx context.Context, job action.Job) (action.Result, error) {
		g.started <- job
		select {
		case <-g.open:
			return action.Result{Kind: abi.FrameJSON, Body: []byte(`"done"`)}, nil
		case <-ctx.Done():
			return action.Result{}, abi.Errorf(abi.CodeOf(ctx.Err()), "call: %w", ctx.Err())
		}
	}}
}

// bench is one executor over a real database.
type bench struct {
	*action.Executor
	tools *tools
	jrn   *journal.Journal
	db    *db.DB
	stop  func() // ends Run and waits for it
}

func open(t testing.TB, dir string, r *tools, cfg action.Config) *bench {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{
		{Owner: "journal", Steps: journal.Schema}, {Owner: "action", Steps: action.Schema}, {Owner: "queue", Steps: local.Schema},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	j, err := journal.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Line == nil {
		cfg.Line = line(t, dir, d)
	}
	e, err := action.Open(ctx, d, j, r, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Executor: e, tools: r, jrn: j, db: d, stop: func() {}}
}

// servers are those of ARW_TEST_QUEUE=nats, by the folder of their executor: a second opening of one finds what the first left.
var servers sync.Map

// line opens the backend that ARW_TEST_QUEUE names: "sqlite", or "nats" with a server of its own beside the database.
func line(t testing.TB, dir string, d *db.DB) queue.Queue {
	t.Helper()
	ctx := context.Background()
	if os.Getenv("ARW_TEST_QUEUE") != "nats" {
		q, err := local.Open(ctx, d, local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	s, known := servers.Load(dir)
	if !known {
		started, err := embedded.Start(filepath.Join(dir, "nats"), false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { started.Close() })
		servers.Store(dir, started)
		s = started
	}
	link, err := jet.Dial(ctx, jet.Server{Pipe: s.(*embedded.Server).Conn})
	if err != nil {
		t.Fatal(err)
	}
	q, err := jet.Open(ctx, link, jet.Options{Name: "test", Record: func(ctx context.Context, also queue.Also) error { return d.Write(ctx, also) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// start opens an executor in a fresh folder and runs it until the test ends.
func start(t testing.TB, cfg action.Config) *bench {
	t.Helper()
	b := open(t, t.TempDir(), &tools{}, cfg)
	b.start(t)
	return b
}

func (b *bench) start(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	until(t, "the workers are on", func() bool { return b.Stats().Working })
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(b.stop)
}

func (b *bench) submit(t testing.TB, r action.Request) action.Action {
	t.Helper()
	a, _, err := b.Submit(t.Context(), r)
	if err != nil {
		t.Fatalf("submit %q: %v", r.Kind, err)
	}
	return a
}

func (b *bench) wait(t testing.TB, id string) action.Action {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, err := b.Wait(ctx, id)
	if err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
	return a
}

// events are the kinds journaled for one action, in order.
func (b *bench) events(t testing.TB, id string) []string {
	t.Helper()
	var kinds []string
	for _, r := range b.records(t, journal.Filter{Action: id}) {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

func (b *bench) records(t testing.TB, f journal.Filter) []journal.Record {
	t.Helper()
	rs, err := b.jrn.Read(t.Context(), 0, 10000, f)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// until polls a condition; it fails the test when the condition does not come true in twenty seconds.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		<-tick.C
	}
}

func wantCode(t testing.TB, err error, want abi.Code) {
	t.Helper()
	if got := abi.CodeOf(err); got != want {
		t.Fatalf("got %v (%v), want code %v", got, err, want)
	}
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
