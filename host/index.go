package host

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/index"
)

// Index is a signed index that decides what names and versions mean, and what must not run. The zero value is none.
type Index struct {
	// Location is where it is: dir:/path, https://host/path/ or oci:REFERENCE.
	Location string
	// Root is the root metadata that its keeper gave out.
	Root []byte
	// Every is how often the host asks for news; 0 means 15 minutes.
	Every time.Duration
	// Now is the clock that its expiry is measured by, and Tick what a refresh waits for; nil means the system's.
	Now  func() time.Time
	Tick <-chan time.Time
}

// catalogue is the index as the packs see it.
type catalogue struct {
	*index.Client
	location string
	journal  *journal.Journal
	last     int64  // snapshot that was journaled
	failed   string // refusal that was journaled
	turn     chan struct{}
}

// openIndex makes the client of the configured index; nil when there is none. Nothing is dialled.
func (h *Host) openIndex() (*catalogue, error) {
	c := h.cfg.Index
	if c.Location == "" {
		return nil, nil
	}
	if err := registry.CheckTree(c.Location); err != nil {
		return nil, err
	}
	client, err := index.NewClient(index.Options{
		Root: c.Root, Cache: filepath.Join(h.cfg.StateDir, "index"), Now: c.Now,
		Open: func(ctx context.Context) (registry.Tree, error) {
			return registry.OpenTree(ctx, c.Location, h.cfg.Registry)
		},
	})
	if err != nil {
		return nil, err
	}
	return &catalogue{Client: client, location: c.Location, journal: h.parts.Journal, turn: make(chan struct{}, 1)}, nil
}

// Revoked answers from what is at hand.
func (c *catalogue) Revoked(name, digest string) (pack.Revocation, bool) {
	m, bad := c.Client.Revoked(name, digest)
	return pack.Revocation{Reason: m.Reason, Source: "index", Time: m.Time}, bad
}

// State is for "arw why".
func (c *catalogue) State(name, digest string) any {
	st, known := c.Client.State()
	out := map[string]any{"index": c.location, "read": known}
	if known {
		out["snapshot"], out["refreshed"], out["expires"] = st.Version, st.Refreshed, st.Expires
	}
	if m, bad := c.Client.Revoked(name, digest); bad {
		out["revoked"] = m
	}
	return out
}

// Pick reads the index first when this process has not done so yet.
func (c *catalogue) Pick(ctx context.Context, name, version, digest string) (p pack.Picked, covered bool, err error) {
	if _, known := c.Client.State(); !known {
		if err := c.refresh(ctx); err != nil {
			return p, false, err
		}
	}
	namespace, _, _ := cutName(name)
	if covered, err = c.Covers(namespace); err != nil || !covered {
		return p, covered, err
	}
	v, warning, err := c.Client.Pick(ctx, name, version, digest)
	if err != nil {
		return p, true, err
	}
	return pack.Picked{Version: v.Version, Digest: v.Digest, Warning: warning}, true, nil
}

func cutName(name string) (namespace, short string, ok bool) {
	for i := range name {
		if name[i] == '/' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

// refresh asks for news and journals what is new: another snapshot, or another reason for refusing what came.
func (c *catalogue) refresh(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := c.Refresh(ctx)
	if err != nil {
		if ctx.Err() == nil && err.Error() != c.failed {
			c.failed = err.Error()
			_, _ = c.journal.Append(ctx, journal.Event{Kind: "index.refused", Actor: "host", Body: map[string]any{
				"index": c.location, "code": abi.CodeOf(err).String(), "message": err.Error(), "hint": abi.HintOf(err),
			}}) // the caller has the error itself
		}
		return err
	}
	c.failed = ""
	if st, _ := c.Client.State(); st.Version != c.last {
		c.last = st.Version
		_, err = c.journal.Append(ctx, journal.Event{Kind: "index.refreshed", Actor: "host", Body: map[string]any{
			"index": c.location, "snapshot": st.Version, "expires": st.Expires, "packs": st.Packs,
		}})
	}
	return err
}

// RefreshIndex asks the index for news now and suspends what it revoked. It returns what is known of the index then.
// NotFound when no index is configured; the errors of index.Client.Refresh.
func (h *Host) RefreshIndex(ctx context.Context) (index.State, error) {
	if h.index == nil {
		return index.State{}, abi.Errorf(abi.NotFound, "refresh the index: this host has none").WithHint("set index and index_root in arw.toml and restart")
	}
	if err := h.index.refresh(ctx); err != nil {
		return index.State{}, err
	}
	st, _ := h.index.Client.State()
	return st, h.parts.Packs.Recheck(ctx)
}

// news refreshes the index at the start and then again and again. A failure is journaled and leaves what is known in force.
func (h *Host) news(ctx context.Context) error {
	if h.index == nil {
		return nil
	}
	tick := h.cfg.Index.Tick
	if tick == nil {
		t := time.NewTicker(cmp.Or(h.cfg.Index.Every, 15*time.Minute))
		defer t.Stop()
		tick = t.C
	}
	for {
		if _, err := h.RefreshIndex(ctx); err != nil && ctx.Err() == nil {
			h.cfg.Log.Error("refresh the index", "code", abi.CodeOf(err).String(), "error", err, "next", abi.HintOf(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
	}
}
