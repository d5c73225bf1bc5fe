// Package server is the edge: it turns HTTP requests into calls on the services and their answers into JSON, and decides
// nothing else. Who may do what is decided where the effect happens; here stand only the door's own locks: the Host and
// Origin guard against web pages, the operator's token for whatever changes authority, and the limits on size and time.
//
// The wire form is host/api and docs/spec/http.md. Routes are one table (routes.go); errors become RFC 9457 problem
// documents in one place (problem.go). A Server is made with New, serves with Run and owns every goroutine it starts.
package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/recall"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/snappy"
	"github.com/arw-project/arw/host/internal/trace"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
)

// Services are what the edge speaks for; every field is needed.
type Services struct {
	// Schedules lists what is called at given times; nil is none.
	Schedules   func() []api.Schedule
	Actions     *action.Executor
	Packs       *pack.Manager
	Leases      *lease.Book
	Journal     *journal.Journal
	View        *view.View
	Policy      *policy.Live
	Prompts     *prompt.Book
	Logic       *logic.Store
	Experiments *experiment.Book
	Vault       *vault.Vault
	// Redact knows what must not pass; nil knows nothing.
	Redact *redact.Redactor
	Egress *egress.Guard
	// Shelf holds model files; Runtimes gives their supervisor, nil until one was needed.
	Shelf    *shelf.Shelf
	Models   *serve.Service
	Runtimes func() *supervise.Supervisor
	// Capsules are the signed guard-rails.
	Capsules *capsule.Book
	Quotas   *quota.Book
	// Snappy measures how fast the host answers; nil measures nothing.
	Snappy *snappy.Governor
	// Memo keeps answers of pure tools; nil where none are kept.
	Memo *memo.Memo
	// Recall gives answers again; nil where none is.
	Recall *recall.Recall
	// RecallNow tells what is kept and how often it was wrong.
	RecallNow func() api.Recall
	// ForgetRecall lets answers go that could have been given again.
	ForgetRecall func(ctx context.Context, f api.RecallForgotten, actor, corr string) (api.RecallForgotten, error)
	// TrustDigest names the trust policy in force.
	TrustDigest string
	// Reviews are writes that wait for a person.
	Reviews *review.Book
	// Projects are which there are, and what one lets another read.
	Projects *project.Book
	// Access knows who holds which credential.
	Access *access.Book
	// MCP describes the tools as MCP clients see them; nil where none are offered.
	MCP func(ctx context.Context) ([]byte, error)
	// RefreshIndex asks the signed index for news and returns what is known of it then.
	RefreshIndex func(ctx context.Context) (any, error)
	// Safe says why no pack runs, "" when all may; LeaveSafe lets them run again.
	Safe      func() string
	LeaveSafe func(ctx context.Context, corr, by string) error
	// Authority reads, reloads and replaces the policies in force.
	Authority Authority
}

// Authority is the host's say over its own policies; the answers are passed on as they are.
type Authority struct {
	State   func() (posture, stale string)
	Reload  func(ctx context.Context, corr, by string) (any, error)
	Posture func(ctx context.Context, corr, by, name string, dry bool) (any, error)
	Diff    func(files []policy.Source, cases []policy.Case) (any, error)
}

// Options bound a Server; the zero value works.
type Options struct {
	Version   string        // of the host, shown by /healthz
	MaxBody   int           // bytes of a request body; 0 means api.MaxBody
	MaxStream int           // open event streams; 0 means 10,000
	Heartbeat time.Duration // between comments on a silent stream; 0 means 10 seconds
	Names     []string      // what a request may call this host beside the names of loopback
	NeedToken bool          // also whoever is at this machine shows a token
	Trace     *trace.Tracer // nil records no traces
	Log       *slog.Logger  // nil discards
}

// Server answers HTTP on one listener.
type Server struct {
	app     *fiber.App
	svc     Services
	opts    Options
	guard   attempts
	metrics *metrics
	frames  frames
	log     *slog.Logger
	ctx     context.Context // of Run: what every request's work hangs on
	streams atomic.Int64
	waiting atomic.Int64
}

// New makes a server; nothing listens before Run.
func New(svc Services, o Options) *Server {
	if o.MaxBody == 0 {
		o.MaxBody = api.MaxBody
	}
	if o.MaxStream == 0 {
		o.MaxStream = 10_000
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{svc: svc, opts: o, log: o.Log, ctx: context.Background()}
	s.metrics = newMetrics(s)
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true,
		Immutable:             true, // strings of a request outlive it: they reach the journal
		BodyLimit:             o.MaxBody,
		ReadTimeout:           30 * time.Second,
		IdleTimeout:           2 * time.Minute,
		ErrorHandler:          s.problem,
		StrictRouting:         true,
	})
	s.app.Use(s.observe, s.shield, s.sameSite, s.noGate)
	for _, r := range s.routes() {
		s.app.Add(r.method, r.path, s.need(r), r.handle)
		if r.Ranges { // how long it is, before a part of it is asked for
			s.app.Add(fiber.MethodHead, r.path, s.need(r), r.handle)
		}
	}
	s.app.Use(func(c *fiber.Ctx) error {
		return abi.Errorf(abi.NotFound, "%s %s: there is no such route", c.Method(), c.Path()).WithHint("see docs/spec/http.md")
	})
	return s
}

// Run serves until ctx ends, then ends the event streams, lets requests in flight finish for five seconds and returns
// nil. The listeners are closed in every case. Whoever comes through a unix socket is taken for the operator.
func (s *Server) Run(ctx context.Context, lns ...net.Listener) error {
	s.ctx = ctx
	failed := make(chan error, len(lns))
	for _, ln := range lns {
		go func() {
			err := s.app.Listener(ln)
			if err != nil && !errors.Is(err, net.ErrClosed) {
				err = abi.Errorf(abi.Unavailable, "serve http on %s: %w", ln.Addr(), err)
			}
			failed <- err
		}()
	}
	left := len(lns)
	var first error
	select {
	case first = <-failed:
		left--
	case <-ctx.Done():
	}
	err := s.app.ShutdownWithTimeout(5 * time.Second)
	for _, ln := range lns { // one whose serving had not begun yet is not known to the framework, and would be served for ever
		_ = ln.Close()
	}
	for ; left > 0; left-- {
		if serveErr := <-failed; first == nil && !errors.Is(serveErr, net.ErrClosed) {
			first = serveErr
		}
	}
	return cmp.Or(first, err)
}
