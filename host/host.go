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
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/files"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/snappy"
	"github.com/arw-project/arw/host/internal/starts"
	"github.com/arw-project/arw/host/internal/trace"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/host/internal/wasm"
)

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
	s.View = view.Open(h.db, s.Journal, h.cleanDocuments())
	cfg.Snappy.Hints = h.hints
	s.Snappy = snappy.New(s.Journal, cfg.Snappy)
	if s.Leases, err = lease.Open(ctx, h.db, s.Journal, lease.Worded(s.Redact.At("reason").Text)); err != nil {
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
		Engine: h.engine, Second: h.second, Egress: s.Egress, Memo: s.Memo, Recall: s.Recall, Units: s.Logic, Config: effective{s.Logic}, Models: h.infer, Revocations: revocations, Catalogue: names, Rails: s.Capsules, Quotas: s.Quotas, Log: cfg.Log,
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
	s.Actions, err = action.Open(ctx, h.db, s.Journal, runner{packs: s.Packs, infer: h.infer, trace: h.tracer, held: h.held, rails: s.Capsules, known: s.Projects, world: proposals{s.Reviews}, redact: s.Redact}, action.Config{
		Workers: cfg.Workers, PerPack: cfg.Limits.PerPack, Queue: cfg.Limits.Queue, MaxInput: cfg.Limits.Input,
		MaxOutput: cfg.Limits.Output, MaxDepth: cfg.Limits.Depth, Grace: cfg.Limits.Grace, Resume: s.Prompts.Resumes,
		Line: line, Backend: cfg.Queue.backend(), Lease: cfg.Queue.Lease, Attempts: cfg.Queue.Attempts, Name: h.cleanName,
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

func (h *Host) onClose(f func() error) { h.undo = append(h.undo, f) }

func (h *Host) announce(ctx context.Context, kind string) error {
	s := h.parts
	_, err := s.Journal.Append(ctx, journal.Event{Kind: kind, Actor: "host", Body: map[string]any{
		"version": s.Version, "abi": abi.Version, "policy_set": s.Policy.Digest(), "trust_policy": s.Trust.Digest(),
	}})
	return err
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
