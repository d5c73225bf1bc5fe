package host

import (
	"cmp"
	"context"
	"time"

	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
)

// Journal says how the record of everything is signed and what is kept of it; zero fields mean the defaults named.
type Journal struct {
	Events int64         // a signed checkpoint after this many records: 1,000
	Every  time.Duration // and after this long: 1 minute
	Keep   journal.Retention
	Look   time.Duration // how often what may go is looked for: 1 minute
}

// keepLeast are the newest records that stay whatever the limits say, where the configuration is silent.
const keepLeast = 10_000

// openJournal opens the journal with the host's own key, which it makes the first time.
func (h *Host) openJournal(ctx context.Context) error {
	key, err := journal.LoadKey(h.cfg.StateDir)
	if err != nil {
		return err
	}
	h.parts.Journal, err = journal.Open(ctx, h.db, journal.Signed(key), h.cleanEvents())
	return err
}

// keepJournal signs and prunes until ctx ends.
func (h *Host) keepJournal(ctx context.Context) error {
	c := h.cfg.Journal
	c.Keep.Least = cmp.Or(c.Keep.Least, keepLeast)
	return h.parts.Journal.Keep(ctx, journal.Upkeep{
		Events: c.Events, Every: c.Every, Retention: c.Keep, Look: c.Look, Free: h.journalFree,
		Failed: func(doing string, err error) { h.cfg.Log.Error(doing, "error", err) },
	})
}

// journalFree is the last record that may go: read models have told it durably, and no action that is not finished began
// at or before it. Nothing else is rebuilt from the journal: leases, prompts, packs and units have tables of their own.
func (h *Host) journalFree(ctx context.Context) (int64, error) {
	free, err := h.parts.View.Settled(ctx)
	if err != nil {
		return 0, err
	}
	for _, state := range []action.State{action.Queued, action.Running} {
		f := action.Filter{State: state, Limit: 1000}
		for {
			page, err := h.parts.Actions.List(ctx, f)
			if err != nil {
				return 0, err
			}
			for _, a := range page.Items {
				first, err := h.parts.Journal.FirstOf(ctx, a.Corr)
				if err != nil {
					return 0, err
				}
				if first > 0 {
					free = min(free, first-1)
				}
			}
			if page.Next == "" {
				break
			}
			f.Before = page.Next
		}
	}
	return free, nil
}
