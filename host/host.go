// Package host is the one place where the parts of an arw host are tied together: Open makes them in order, Run works,
// Close takes everything down. It holds no logic of its own beyond the layout of the state directory.
//
//	<state>/arw.db          journal, actions, leases, keys, read models, packs
//	<state>/cas/            blobs by digest
//	<state>/models.toml     which models may be asked; read again when it changes; may be missing
//	<state>/runtimes.toml   how runtimes are started; read again when it changes; may be missing
//	<state>/models/         model files by digest
//	<state>/run/            sockets of runtimes
//	<state>/cache/wasm/     compiled code; may be deleted at any time
//	<state>/vault.key       what secrets are sealed with, mode 0600
//	<state>/starts.json     whether the host ended well, and whether it runs safe
//	<state>/journal.key     what checkpoints of the journal are signed with, mode 0600
//	<state>/journal.pub     the public keys it was ever signed with
//	<state>/operator.token  the operator's credential, mode 0600
//	<state>/trust.toml      who may sign what; missing: nobody
//	<state>/policy/*.cedar  policies beside the shipped ones
//	<state>/cache.toml      which answers are kept and for how long; missing: the defaults; read again when it changes
//	<state>/posture         which posture was chosen; may be missing
//	<state>/capsules.toml   whose policy capsules may be adopted; missing: nobody's
//	<state>/quotas.toml     what may be used in which time; missing: as much as leases allow
//	<state>/grants.toml     grants the operator declares beforehand; may be missing
//
// A Host is safe for concurrent use. One state directory serves one Host at a time; a second Open answers Conflict.
package host

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/files"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/queue/local"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/schedule"
	"github.com/arw-project/arw/host/internal/snappy"
	"github.com/arw-project/arw/host/internal/starts"
	"github.com/arw-project/arw/host/internal/trace"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// Config of a host. StateDir is required; everything else has a default that works.
type Config struct {
	// StateDir holds all state. It is made, with mode 0700, when it is missing.
	StateDir string
	// TrustFile is trust.toml; empty means the one in StateDir. A missing file trusts nobody.
	TrustFile string
	// PolicyDir holds *.cedar files; empty means "policy" in StateDir.
	PolicyDir string
	// CacheDir keeps compiled code; empty means cache/wasm in StateDir. It must be the user's own.
	CacheDir string
	// Registries are asked, in order, for a pack whose reference names none: "dir:/path" or "host:port".
	Registries []string
	// Registry is how registries are spoken to.
	Registry registry.Options
	// OpenProjects lets the first call that names a project make it; else its operator makes one before.
	OpenProjects bool
	// Workers is how many actions run at once; 0 means twice the processors, between 4 and 32.
	Workers int
	// Limits bound the rest.
	Limits Limits
	// Queue is where actions wait.
	Queue Queue
	// Schedules are tools that are called at given times.
	Schedules []Schedule
	// Upgrade is how new versions of packs are watched, and what is kept of old ones.
	Upgrade Upgrade
	// Snappy is how fast the host means to answer, and from when on it says that it does not.
	Snappy snappy.Config
	// Journal is how the record of everything is signed and what is kept of it.
	Journal Journal
	// Egress is how the network is reached.
	Egress Egress
	// Edge is how the API is reached.
	Edge Edge
	// Index is the signed index that new installs are looked up in; the zero value is none.
	Index Index
	// Revocations knows which packs must not run; nil asks the Index, if there is one.
	Revocations pack.Revocations
	// Models are asked beside those of models.toml, by their names; their owner keeps them running. For tests and unusual houses.
	Models map[string]infer.Model
	// ModelsEvery is how long changes of read models are gathered before they become one version: 250 ms.
	ModelsEvery time.Duration
	// Telemetry is where traces go; the zero value is nowhere.
	Telemetry Telemetry
	// Crashes say when a host that keeps dying starts safe.
	Crashes starts.Limits
	// Safe, when not empty, starts the host safe, with this reason: nothing of any pack is loaded or run.
	Safe string
	// Version of the program, for the record.
	Version string
	// Log receives what has no caller to return to, and what guests log; nil means nowhere.
	Log *slog.Logger
}

// Limits of a host; a zero field means the default named behind it.
type Limits struct {
	Queue     int           // actions waiting: 1,024
	PerPack   int           // actions of one pack at once: Workers less a quarter
	Input     int64         // bytes into an action: 8 MiB
	Output    int64         // bytes out of an action: 8 MiB
	Depth     int           // tools calling tools: 8
	Instances int           // guests of one pack at once: the engine's choice
	Compiles  int           // modules compiling at once: 1
	Grace     time.Duration // running actions at a stop: 5 s
	Drain     time.Duration // running calls at an upgrade: 30 s
	Sweep     time.Duration // how often unused blobs are looked for: 1 h
	Record    int64         // bytes of the record of one call: 64 MiB
	Models    int64         // bytes of model files that the host fetched: no bound
	Review    time.Duration // how long a write waits for a person: 7 days
	BlobGrace time.Duration // how long an unused blob is kept: 24 h
}

// Upgrade says what is kept of a version that is replaced, and when its successor is taken back without being asked.
type Upgrade struct {
	Keep  int              // replaced versions of a pack that can come back without a registry: 3
	Guard pack.Guard       // see there
	Now   func() time.Time // the clock of it; nil means the real one
}

// Host is one running host.
type Host struct {
	cfg       Config
	parts     Services
	db        *db.DB
	engine    *wasm.Engine
	second    *wasm.Engine
	index     *catalogue     // nil when none is configured
	grants    *prompt.Grants // as read at the start
	quotas    *quota.Rules   // as read at the start
	authority authority
	rails     atomic.Pointer[capsule.Book] // Capsules, for who asks from a goroutine of its own
	tasks     tasks
	tracer    *trace.Tracer
	starts    *starts.Book
	normal    chan struct{}  // closed when packs may run
	infer     inference      // how models are asked
	undo      []func() error // what Close does, in reverse order
	closing   sync.Once
	closeErr  error
}

// Services are the parts an edge serves: HTTP handlers and the command line work with these. Each is safe for
// concurrent use and lives as long as the Host.
type Services struct {
	Actions   *action.Executor
	Schedules *schedule.Book
	Packs     *pack.Manager
	Leases    *lease.Book
	Journal   *journal.Journal
	View      *view.View
	CAS       *cas.Store
	Policy    *policy.Live
	Prompts   *prompt.Book
	Logic     *logic.Store
	// Experiments compare candidates of the configuration.
	Experiments *experiment.Book
	Egress      *egress.Guard
	// Capsules are the signed guard-rails that hold above leases and policies.
	Capsules *capsule.Book
	// Reviews are writes that wait for a person.
	Reviews *review.Book
	// Projects are which there are, and what one lets another read.
	Projects *project.Book
	Quotas   *quota.Book
	Trust    *signing.Policy
	Memo     *memo.Memo
	Snappy   *snappy.Governor
	Vault    *vault.Vault
	Redact   *redact.Redactor
	Engine   *wasm.Engine // the one that runs packs
	// Shelf holds model files.
	Shelf *shelf.Shelf
	// Models answers requests for inference.
	Models *serve.Service
	// Runtimes is the supervisor; nil until a runtime was needed.
	Runtimes func() *supervise.Supervisor
	DB       func() db.Stats
	// Operator reports in constant time whether a token is the operator's credential.
	Operator func(token string) bool
	Access   *access.Book
	Version  string
	Started  time.Time
	StateDir string
	Log      *slog.Logger
}

// Services returns the parts.
func (h *Host) Services() Services { return h.parts }

// Open makes a host out of its state directory, which it creates at the first time and heals after a crash. Nothing
// runs before Run. Errors, with the file and line where a file is at fault: Invalid (a broken trust.toml or policy, a
// bad path), Conflict (another host has the directory), Corrupt, StorageFull. After an error nothing is left open.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.StateDir == "" {
		return nil, abi.Errorf(abi.Invalid, "open host: no state directory was given")
	}
	dir, err := filepath.Abs(cfg.StateDir)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "open host %q: %w", cfg.StateDir, err)
	}
	cfg.StateDir = dir
	cfg.TrustFile = cmp.Or(cfg.TrustFile, filepath.Join(dir, "trust.toml"))
	cfg.PolicyDir = cmp.Or(cfg.PolicyDir, filepath.Join(dir, "policy"))
	cfg.Limits.Sweep = cmp.Or(cfg.Limits.Sweep, time.Hour)
	cfg.Limits.BlobGrace = cmp.Or(cfg.Limits.BlobGrace, 24*time.Hour)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = slog.New(trace.Handler(cfg.Log.Handler()))
	h := &Host{cfg: cfg}
	h.cfg.Registry.Deny = h.clientMay
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// open is the wiring. The database comes first: its lock keeps a second host out before anything is touched.
func (h *Host) open(ctx context.Context) (err error) {
	if err = h.hush(); err != nil {
		return err
	}
	cfg, s := h.cfg, &h.parts
	if err = h.openTrace(); err != nil {
		return err
	}
	s.Version, s.StateDir, s.Log, s.Started = cfg.Version, cfg.StateDir, cfg.Log, time.Now().UTC()
	path := func(names ...string) string { return filepath.Join(append([]string{cfg.StateDir}, names...)...) }

	if h.db, err = db.Open(ctx, path("arw.db"), schema()); err != nil {
		return err
	}
	h.onClose(h.db.Close)
	s.DB = h.db.Stats
	if err = h.begin(); err != nil {
		return err
	}
	if err = h.settings(); err != nil {
		return err
	}
	if s.CAS, err = cas.Open(path("cas")); err != nil {
		return err
	}
	h.onClose(s.CAS.Close)
	if err = h.openJournal(ctx); err != nil {
		return err
	}
	s.View = view.Open(h.db, s.Journal)
	s.Snappy = snappy.New(s.Journal, cfg.Snappy)
	if s.Leases, err = lease.Open(ctx, h.db, s.Journal); err != nil {
		return err
	}
	if err = h.openAccess(ctx); err != nil {
		return err
	}
	if err = h.openVault(ctx); err != nil {
		return err
	}
	if err = h.openProjects(ctx); err != nil {
		return err
	}
	h.openReviews()
	if err = h.openPrompts(ctx); err != nil {
		return err
	}
	if err = h.openCapsules(ctx); err != nil {
		return err
	}
	if s.Quotas, err = quota.Open(ctx, quota.Parts{DB: h.db, Journal: s.Journal, Rules: h.quotas, Log: cfg.Log}); err != nil {
		return err
	}
	if err = h.openEgress(ctx); err != nil {
		return err
	}
	if err = h.openInfer(ctx); err != nil {
		return err
	}
	if err = h.openLogic(ctx); err != nil {
		return err
	}
	if err = h.engines(); err != nil {
		return err
	}
	if err = h.openMemo(); err != nil {
		return err
	}
	if h.index, err = h.openIndex(); err != nil {
		return err
	}
	revocations, names := cfg.Revocations, pack.Catalogue(nil)
	if h.index != nil {
		names = h.index
		if revocations == nil {
			revocations = h.index
		}
	}
	s.Packs, err = pack.Open(ctx, pack.Parts{
		DB: h.db, Journal: s.Journal, CAS: s.CAS, KV: kv.Open(h.db), Files: files.New(), View: s.View, Leases: s.Leases, Policy: s.Policy, Prompts: s.Prompts, Projects: s.Projects, Reviews: s.Reviews, Trust: s.Trust, Vault: s.Vault, Redact: s.Redact,
		Engine: h.engine, Second: h.second, Egress: s.Egress, Memo: s.Memo, Units: s.Logic, Config: effective{s.Logic}, Models: h.infer, Revocations: revocations, Catalogue: names, Rails: s.Capsules, Quotas: s.Quotas, Log: cfg.Log,
	}, pack.Config{Registries: cfg.Registries, Registry: cfg.Registry, Instances: cfg.Limits.Instances, Drain: cfg.Limits.Drain,
		Keep: cfg.Upgrade.Keep, Guard: cfg.Upgrade.Guard, Now: cfg.Upgrade.Now, Record: cfg.Limits.Record, Held: h.held})
	if err != nil {
		return err
	}
	h.onClose(s.Packs.Close)
	s.Packs.Declare(h.grants)
	if err = h.openExperiments(ctx); err != nil {
		return err
	}
	line, err := h.openQueue(ctx)
	if err != nil {
		return err
	}
	s.Actions, err = action.Open(ctx, h.db, s.Journal, runner{packs: s.Packs, infer: h.infer, trace: h.tracer, held: h.held, rails: s.Capsules, known: s.Projects, world: proposals{s.Reviews}}, action.Config{
		Workers: cfg.Workers, PerPack: cfg.Limits.PerPack, Queue: cfg.Limits.Queue, MaxInput: cfg.Limits.Input,
		MaxOutput: cfg.Limits.Output, MaxDepth: cfg.Limits.Depth, Grace: cfg.Limits.Grace, Resume: s.Prompts.Resumes,
		Line: line, Backend: cfg.Queue.backend(), Lease: cfg.Queue.Lease, Attempts: cfg.Queue.Attempts,
	}, cfg.Log)
	if err != nil {
		return err
	}
	h.onClose(func() error { s.Actions.Close(); return nil })
	if err = h.openSchedules(ctx); err != nil {
		return err
	}
	return errors.Join(h.announce(ctx, "service.start"), h.tellSafe(ctx))
}

// settings reads what the operator decides: the credential, the policies and whom to trust.
func (h *Host) settings() (err error) {
	s := &h.parts
	if s.Operator, err = operator(filepath.Join(h.cfg.StateDir, "operator.token")); err != nil {
		return err
	}
	if err = h.loadAuthority(); err != nil {
		return err
	}
	s.Trust, err = loadTrust(h.cfg.TrustFile, h.cfg.Log)
	return err
}

// engines opens the one that runs packs and the one that checks their examples.
func (h *Host) engines() (err error) {
	cache := cmp.Or(h.cfg.CacheDir, filepath.Join(h.cfg.StateDir, "cache", "wasm"))
	if h.engine, err = wasm.Open(wasm.Options{CacheDir: cache, Compiles: h.cfg.Limits.Compiles, Log: h.cfg.Log}); err != nil {
		return err
	}
	h.parts.Engine = h.engine
	h.onClose(h.engine.Close)
	if h.second, err = wasm.Open(wasm.Options{Interpret: true, Log: h.cfg.Log}); err != nil {
		return err
	}
	h.onClose(h.second.Close)
	return nil
}

// schema is every owner's tables, in the order of the ladder.
func schema() []db.Migration {
	return []db.Migration{
		{Owner: "journal", Steps: journal.Schema},
		{Owner: "kv", Steps: kv.Schema},
		{Owner: "view", Steps: view.Schema},
		{Owner: "lease", Steps: lease.Schema},
		{Owner: "vault", Steps: vault.Schema},
		{Owner: "logic", Steps: logic.Schema},
		{Owner: "memo", Steps: memo.Schema},
		{Owner: "pack", Steps: pack.Schema},
		{Owner: "queue", Steps: local.Schema},
		{Owner: "action", Steps: action.Schema},
		{Owner: "schedule", Steps: schedule.Schema},
		{Owner: "egress", Steps: egress.Schema},
		{Owner: "prompt", Steps: prompt.Schema},
		{Owner: "project", Steps: project.Schema},
		{Owner: "review", Steps: review.Schema},
		{Owner: "access", Steps: access.Schema},
		{Owner: "capsule", Steps: capsule.Schema},
		{Owner: "quota", Steps: quota.Schema},
		{Owner: "experiment", Steps: experiment.Schema},
	}
}

func (h *Host) onClose(f func() error) { h.undo = append(h.undo, f) }

func (h *Host) announce(ctx context.Context, kind string) error {
	s := h.parts
	_, err := s.Journal.Append(ctx, journal.Event{Kind: kind, Actor: "host", Body: map[string]any{
		"version": s.Version, "abi": abi.Version, "policy_set": s.Policy.Digest(), "trust_policy": s.Trust.Digest(),
	}})
	return err
}

// Run works until ctx ends, then lets running actions finish (Limits.Grace) before the rest stops. It returns the first
// failure of a part, or nil. Call it once.
func (h *Host) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Calls that are still running need the lease book and the packs, so these stop after the executor has.
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	var wg sync.WaitGroup
	keep := func(ctx context.Context, name string, run func(context.Context) error) {
		wg.Go(func() {
			if err := h.tasks.watch(name, func() error { return run(ctx) }); err != nil && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	keep(below, "read_models", h.readModels)
	keep(below, "journal", h.keepJournal)
	keep(below, "snappy", h.parts.Snappy.Run)
	keep(below, "leases", h.parts.Leases.Run)
	keep(below, "quotas", h.parts.Quotas.Run)
	keep(below, "prompts", h.parts.Prompts.Run)
	keep(below, "reviews", h.parts.Reviews.Run)
	keep(below, "authority", h.followAuthority)
	keep(below, "capsules", h.parts.Capsules.Run)
	keep(below, "packs", h.unlessSafe(h.parts.Packs.Run))
	keep(below, "egress", h.parts.Egress.Run)
	keep(below, "runtimes", h.unlessSafe(h.runtimes))
	keep(below, "sweep", h.sweep)
	keep(below, "index", h.news)
	keep(below, "memory", h.memory)
	keep(below, "guards", h.parts.Logic.Guard)
	keep(ctx, "schedules", h.unlessSafe(h.parts.Schedules.Run))
	err := h.unlessSafe(h.parts.Actions.Run)(ctx)
	stopBelow()
	wg.Wait()
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = cause
	}
	return err
}

// sweep removes blobs that no installed pack and no record of an action refers to.
func (h *Host) sweep(ctx context.Context) error {
	tick := time.NewTicker(h.cfg.Limits.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := h.infer.sweepModels(ctx, h.cfg.Limits.BlobGrace); err != nil && ctx.Err() == nil {
			h.cfg.Log.Error("sweep model files", "error", err)
		}
		if _, err := h.parts.CAS.Sweep(ctx, h.live, h.cfg.Limits.BlobGrace); err != nil && ctx.Err() == nil {
			h.cfg.Log.Error("sweep blobs", "error", err)
		}
	}
}

// live reports whether anything refers to a blob.
func (h *Host) live(digest string) bool {
	return h.parts.Packs.Live(digest) || h.parts.Actions.Keeps(digest) || h.parts.Memo.Keeps(digest) || h.parts.Experiments.Keeps(digest)
}

// Close takes everything down in the reverse order of Open. Run must have returned. A second Close does nothing.
func (h *Host) Close() error {
	h.closing.Do(func() {
		var errs []error
		if h.parts.Actions != nil {
			errs = append(errs, h.announce(context.Background(), "service.stop"))
			_, err := h.parts.Journal.Checkpoint(context.Background()) // the last word is signed too
			errs = append(errs, err)
		}
		for i := len(h.undo) - 1; i >= 0; i-- {
			errs = append(errs, h.undo[i]())
		}
		h.closeErr = errors.Join(errs...)
	})
	return h.closeErr
}
