package host

import (
	"context"
	"errors"
	"sync"
	"time"
)

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
	keep(below, "secrets", h.tellFound)
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
	keep(below, "recall", h.recall)
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
