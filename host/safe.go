package host

import (
	"context"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/starts"
)

// StartsName is the memory of starts in the state directory.
const StartsName = "starts.json"

// begin notes the start, before anything is done that could end the process, and its end after everything has ended.
func (h *Host) begin() (err error) {
	h.normal = make(chan struct{})
	if h.starts, err = starts.Open(filepath.Join(h.cfg.StateDir, StartsName), h.cfg.Crashes, h.cfg.Safe, nil); err != nil {
		return err
	}
	h.onClose(h.starts.End)
	if h.starts.Safe() == nil {
		close(h.normal)
	}
	return nil
}

// held is why nothing of any pack may run.
func (h *Host) held() error {
	s := h.starts.Safe()
	if s == nil {
		return nil
	}
	return abi.Errorf(abi.Unavailable, "run a pack: the host is in safe mode: %s", s.Reason).
		WithHint("look at arw doctor and arw events tail; remove what does it, then arw safe-mode exit").WithDetail(s)
}

// unlessSafe runs something once packs may run.
func (h *Host) unlessSafe(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-h.normal:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// tellSafe says in the journal and in the log that the host started safe.
func (h *Host) tellSafe(ctx context.Context) error {
	s := h.starts.Safe()
	if s == nil {
		return nil
	}
	names := []string{}
	for _, p := range h.parts.Packs.List() {
		names = append(names, p.Name)
	}
	h.cfg.Log.Warn("the host is in safe mode: no pack runs", "reason", s.Reason, "next", "arw doctor; arw safe-mode exit")
	_, err := h.parts.Journal.Append(ctx, journal.Event{Kind: "service.safe", Actor: "host", Body: api.SafeEvent{Reason: s.Reason, Crashes: s.Crashes, Packs: names}})
	return err
}

// SafeMode says why no pack runs; "" when all may.
func (h *Host) SafeMode() string {
	if s := h.starts.Safe(); s != nil {
		return s.Reason
	}
	return ""
}

// LeaveSafeMode lets packs run from here on, and what waits in the queue begin. Errors: Conflict when the host is not in it.
func (h *Host) LeaveSafeMode(ctx context.Context, corr, by string) error {
	if err := h.starts.Leave(); err != nil {
		return err
	}
	close(h.normal) // Leave succeeds once
	_, err := h.parts.Journal.Append(ctx, journal.Event{Kind: "service.safe.left", Corr: corr, Actor: by, Body: api.SafeLeft{By: by}})
	return err
}
