package lease_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
)

const pack = "arw/research"

var digest = "sha256:" + strings.Repeat("0", 64)

// house is a book on a database of its own.
type house struct {
	*lease.Book
	db      *db.DB
	journal *journal.Journal
}

func open(t testing.TB, dir string) *house {
	t.Helper()
	h, err := tryOpen(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.db.Close() })
	return h
}

func tryOpen(dir string) (*house, error) {
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "lease", Steps: lease.Schema}})
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	b, err := lease.Open(ctx, d, j)
	if err != nil {
		return nil, err
	}
	return &house{b, d, j}, nil
}

// reopen is a restart: the book, journal and database again from the same folder.
func (h *house) reopen(t testing.TB) *house {
	t.Helper()
	dir := filepath.Dir(h.db.Path())
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

// run runs the book until the test, or the returned function, stops it.
func (h *house) run(t testing.TB) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// grantOf is a grant of a capability with an hour to live.
func grantOf(c abi.Capability, scope ...string) lease.Grant {
	return lease.Grant{Pack: pack, Digest: digest, Capability: c, Scope: scope, TTL: time.Hour, By: "operator", Reason: "test"}
}

func (h *house) grant(t testing.TB, g lease.Grant) lease.Lease {
	t.Helper()
	l, err := h.Grant(context.Background(), "cor_grant", g)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (h *house) holder() *lease.Holder { return h.Holder(pack, digest) }

// event is what a journaled lease event says.
type event struct {
	Kind, Corr, Actor, Pack string
	Lease                   lease.Wire
}

func (h *house) events(t testing.TB) []event {
	t.Helper()
	var events []event
	for last := int64(0); ; {
		records, err := h.journal.Read(context.Background(), last, 1000, journal.Filter{Prefixes: []string{"leases."}})
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return events
		}
		for _, r := range records {
			e := event{Kind: r.Kind, Corr: r.Corr, Actor: r.Actor, Pack: r.Pack}
			if err := json.Unmarshal(r.Body, &e.Lease); err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
			last = r.ID
		}
	}
}

// stories are the last words of the journaled events of each lease, kinds those of one.
func (h *house) stories(t testing.TB) map[string]string {
	t.Helper()
	stories := map[string]string{}
	for _, e := range h.events(t) {
		stories[e.Lease.ID] = strings.TrimSpace(stories[e.Lease.ID] + " " + strings.TrimPrefix(e.Kind, "leases."))
	}
	return stories
}

func (h *house) kinds(t testing.TB, id string) string {
	t.Helper()
	return h.stories(t)[id]
}

// until polls a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}
