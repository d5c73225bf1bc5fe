package host_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry/index"
	"github.com/arw-project/arw/signing"
)

// keeper is an index with its keys, on a clock of its own.
type keeper struct {
	*index.Publisher
	now atomic.Pointer[time.Time]
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	keys := map[string]*signing.Key{}
	k := &keeper{}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k.now.Store(&start)
	k.Publisher = &index.Publisher{Dir: filepath.Join(t.TempDir(), "index"), Now: k.time, Key: func(role string) ([]*signing.Key, error) {
		if keys[role] == nil {
			key, err := signing.GenerateKey()
			if err != nil {
				return nil, err
			}
			keys[role] = key
		}
		return []*signing.Key{keys[role]}, nil
	}}
	for _, err := range []error{k.Init(t.Context(), 1), k.Delegate(t.Context(), "test")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func (k *keeper) time() time.Time { return *k.now.Load() }

func (k *keeper) pass(d time.Duration) {
	later := k.time().Add(d)
	k.now.Store(&later)
}

// TestIndexTurns: the host asks at its start and at every turn; it journals what is new, says why it refuses, and once the
// index has expired it installs nothing that the index decides about.
func TestIndexTurns(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	root, err := os.ReadFile(filepath.Join(k.Dir, "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	tick := make(chan time.Time)
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) {
		c.Index = host.Index{Location: "dir:" + k.Dir, Root: root, Now: k.time, Tick: tick}
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var after int64
	next := func(kind string) journal.Record {
		t.Helper()
		for r, err := range h.Services().Journal.Follow(ctx, after, journal.Filter{Prefixes: []string{"index"}}) {
			if err != nil {
				t.Fatal(err)
			}
			if after = r.ID; r.Kind != kind {
				t.Fatalf("event %s, want %s: %s", r.Kind, kind, r.Body)
			}
			return r
		}
		t.Fatal("no event came")
		return journal.Record{}
	}
	next("index.refreshed") // at the start
	tick <- k.time()        // nothing is new: no event
	if err := k.Add(t.Context(), "test/none", "Not published anywhere", index.Version{Version: "1.0.0", Digest: digestA}); err != nil {
		t.Fatal(err)
	}
	tick <- k.time()
	next("index.refreshed")
	k.pass(25 * time.Hour) // and nobody signs the timestamp anew
	tick <- k.time()
	next("index.refused")
	tick <- k.time() // the same refusal again: no event
	_, err = h.Services().Packs.Install(t.Context(), h.Location+"//test/none:1.0.0", packOptions())
	if abi.CodeOf(err) != abi.Untrusted || abi.HintOf(err) == "" {
		t.Errorf("an install under an expired index: %v", err)
	}
	if _, err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RefreshIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = h.Services().Packs.Install(t.Context(), h.Location+"//test/none:1.0.0", packOptions())
	if abi.CodeOf(err) != abi.NotFound {
		t.Errorf("an install of what is nowhere: %v", err)
	}
	_, err = h.Services().Packs.Install(t.Context(), h.Location+"//test/unlisted:1.0.0", packOptions())
	if abi.CodeOf(err) != abi.NotFound {
		t.Errorf("an install of what the index does not list: %v", err)
	}
}

// TestIndexConfig: an index that cannot be one is told at the start.
func TestIndexConfig(t *testing.T) {
	t.Parallel()
	for name, ix := range map[string]host.Index{
		"no place": {Location: "somewhere", Root: []byte("{}")}, "no root": {Location: "dir:/x"}, "a root that is none": {Location: "dir:/x", Root: []byte("{}")},
	} {
		h, err := host.Open(t.Context(), host.Config{StateDir: t.TempDir(), Index: ix})
		if err == nil {
			h.Close()
		}
		if abi.CodeOf(err) != abi.Invalid || abi.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := hosttest.New(t, hosttest.Options{})
	if _, err := h.RefreshIndex(t.Context()); abi.CodeOf(err) != abi.NotFound {
		t.Error(err)
	}
}

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func packOptions() pack.Options { return pack.Options{By: "test"} }
