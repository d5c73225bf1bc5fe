package lease_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

// Whatever is done to leases at once, the journal tells each one's whole story: every change exactly once, in an order
// that makes sense, and its last word is what the book says, also after a restart.
func TestJournalTellsTheWholeStory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() { mischief(t, h, rand.New(rand.NewPCG(1, uint64(worker)))) })
		}
		wg.Wait()
		<-time.After(time.Minute) // what is left expires
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		before := h.List(lease.Filter{})
		checkStories(t, h)
		h = h.reopen(t)
		checkStories(t, h)
		if after := h.List(lease.Filter{}); fmt.Sprint(wires(after)) != fmt.Sprint(wires(before)) || len(after) < 30 {
			t.Errorf("after a restart:\n%v\nbefore:\n%v", wires(after), wires(before))
		}
		h.db.Close()
	})
}

// mischief does what people and packs do, quickly and without plan.
func mischief(t *testing.T, h *house, r *rand.Rand) {
	ctx := context.Background()
	pick := ""
	for i := range 120 {
		var err error
		if i%5 == 0 { // five things to one lease
			if list := h.List(lease.Filter{}); len(list) > 0 {
				pick = list[r.IntN(len(list))].ID
			}
		}
		switch n := r.IntN(100); {
		case n < 15:
			g := withBudget(grantOf(abi.KV), int64(r.IntN(3)*20), int64(r.IntN(2)*500))
			g.TTL, g.Renewable = time.Duration(1+r.IntN(20))*time.Second, r.IntN(2) == 0
			_, err = h.Grant(ctx, "", g)
		case n < 25 && pick != "":
			_, err = h.Revoke(ctx, "", pick, "operator", "test")
		case n < 27:
			_, err = h.RevokeAll(ctx, "", pack, "operator", "test")
		case n < 45 && pick != "":
			if _, e := h.Renew(ctx, "", pick, time.Duration(1+r.IntN(20))*time.Second); abi.CodeOf(e) == abi.Internal {
				err = e
			}
		case n < 50:
			<-time.After(time.Duration(r.IntN(2000)) * time.Millisecond)
		default:
			_, _ = h.holder().Use(ctx, abi.KV, "", r.IntN(20))
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func wires(leases []lease.Lease) (w []string) {
	for _, l := range leases {
		text, _ := json.Marshal(l)
		w = append(w, string(text))
	}
	return w
}

var story = regexp.MustCompile(`^granted( renewed)*( expired( renewed)+)*( expired| exhausted)?( revoked)?$`)

func checkStories(t *testing.T, h *house) {
	t.Helper()
	last := map[string]string{}
	for _, e := range h.events(t) {
		last[e.Lease.ID] = e.Lease.State
	}
	stories := h.stories(t)
	for _, l := range h.List(lease.Filter{}) {
		if told := stories[l.ID]; !story.MatchString(told) || last[l.ID] != l.State {
			t.Errorf("lease %s is %s, journal: %s", l.ID, l.State, told)
		}
		delete(last, l.ID)
	}
	if len(last) > 0 {
		t.Errorf("journaled but not in the book: %v", last)
	}
}

// hold keeps the database's writer busy, so that what is asked for meanwhile becomes one group behind it.
func (h *house) hold(t *testing.T) (release func()) {
	t.Helper()
	gate, holding := make(chan struct{}), make(chan struct{})
	go func() {
		_ = h.db.Write(context.Background(), func(*sql.Tx) error {
			close(holding)
			<-gate
			return nil
		})
	}()
	<-holding
	return func() { close(gate) }
}

// A renewal that was asked for in time wins over the expiry that was noticed while it waited.
func TestRenewalAgainstExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		g := grantOf(abi.KV)
		g.TTL, g.Renewable = time.Second, true
		l := h.grant(t, g)
		release := h.hold(t)
		renewed := make(chan error)
		go func() {
			_, err := h.Renew(context.Background(), "", l.ID, time.Hour)
			renewed <- err
		}()
		<-time.After(time.Second)
		synctest.Wait()
		if now, _ := h.Get(l.ID); now.State != lease.Expired {
			t.Errorf("while it waits: %s", now.State)
		}
		release()
		if err := <-renewed; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if now, _ := h.Get(l.ID); now.State != lease.Live || h.kinds(t, l.ID) != "granted renewed" {
			t.Errorf("lease %s, journal: %s", now.State, h.kinds(t, l.ID))
		}
		_ = stop()
		h = h.reopen(t)
		if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		h.db.Close()
	})
}

// A budget that is spent while a renewal is on its way to the disk stays spent.
func TestRenewalAgainstExhaustion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		g := withBudget(grantOf(abi.KV), 2, 0)
		g.Renewable = true
		l := h.grant(t, g)
		if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); err != nil { // reserves the other one too
			t.Fatal(err)
		}
		synctest.Wait()
		release := h.hold(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := h.Renew(context.Background(), "", l.ID, time.Hour); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the renewal stands in the queue first
		wg.Go(func() {
			_ = h.db.Write(context.Background(), func(*sql.Tx) error {
				_, err := h.holder().Use(context.Background(), abi.KV, "", 0)
				return err
			})
		})
		synctest.Wait()
		release()
		wg.Wait()
		synctest.Wait()
		if now, _ := h.Get(l.ID); now.State != lease.Exhausted || h.kinds(t, l.ID) != "granted renewed exhausted" {
			t.Errorf("lease %s, journal: %s", now.State, h.kinds(t, l.ID))
		}
		_ = stop()
		h.db.Close()
	})
}

// Many who revoke one lease at once make one event.
func TestRevokedOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	l := h.grant(t, grantOf(abi.KV))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := h.Revoke(context.Background(), "", l.ID, fmt.Sprint("person", i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := h.kinds(t, l.ID); got != "granted revoked" {
		t.Errorf("events: %q", got)
	}
}

// What could not be written is written later: the end holds at once, the journal hears of it when the disk recovers.
func TestWritesAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		revoked, spent := h.grant(t, grantOf(abi.KV)), h.grant(t, withBudget(grantOf(abi.Log), 2, 0))
		expiring := grantOf(abi.Rand)
		expiring.TTL = time.Second
		expired := h.grant(t, expiring)
		if _, err := h.holder().Use(t.Context(), abi.Log, "", 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.exec(t, "CREATE TRIGGER broken BEFORE UPDATE ON lease BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END")
		if _, err := h.Revoke(t.Context(), "", revoked.ID, "operator", "now"); err == nil {
			t.Error("a revocation that could not be written says nothing")
		}
		if _, err := h.holder().Use(t.Context(), abi.Log, "", 0); err != nil {
			t.Errorf("the last use, reserved before: %v", err)
		}
		<-time.After(5 * time.Second)
		synctest.Wait()
		for l, state := range map[string]string{revoked.ID: lease.Revoked, spent.ID: lease.Exhausted, expired.ID: lease.Expired} {
			if now, _ := h.Get(l); now.State != state || h.kinds(t, l) != "granted" {
				t.Errorf("while broken: %s, %q", now.State, h.kinds(t, l))
			}
		}
		h.exec(t, "DROP TRIGGER broken")
		<-time.After(2 * time.Second)
		synctest.Wait()
		for l, want := range map[string]string{revoked.ID: "granted revoked", spent.ID: "granted exhausted", expired.ID: "granted expired"} {
			if got := h.kinds(t, l); got != want {
				t.Errorf("after it was mended: %q, want %q", got, want)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		h.db.Close()
	})
}

func (h *house) exec(t *testing.T, query string) {
	t.Helper()
	err := h.db.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(query)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The JSON of a lease, as events and the API carry it, is the specification's example.
func TestWire(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/spec/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?ms)^```json lease\n(.*?)^```").FindSubmatch(doc)
	if example == nil {
		t.Fatal("docs/spec/policy.md holds no example of a lease")
	}
	created := time.Date(2026, 11, 24, 9, 30, 0, 125e6, time.FixedZone("", 3600))
	l := lease.Lease{
		ID: "lea_019ab4f2-7c3e-7d10-9f6a-2b8c4d5e6f70", Created: created, Expires: created.Add(time.Hour), State: lease.Revoked,
		Grant: lease.Grant{
			Pack: pack, Digest: digest, Capability: abi.FS, Scope: []string{"read:/srv/docs"}, TTL: time.Hour,
			Budget: lease.Budget{Bytes: 64 << 20}, By: "operator", Reason: "to read the documents",
			Policies: []string{"arw.grant.operator"},
		},
		Used:  lease.Budget{Calls: 12, Bytes: 48000},
		Ended: &lease.Ending{Time: created.Add(time.Minute), By: "operator", Reason: "seen enough"},
	}
	got, err := json.MarshalIndent(l, "", "  ")
	if err != nil || string(got)+"\n" != string(example[1]) {
		t.Errorf("%v\ngot\n%s\nthe specification says\n%s", err, got, example[1])
	}
	if text, _ := json.Marshal(lease.Lease{}); !regexp.MustCompile(`"scope":\[\].*"policies":\[\]`).Match(text) {
		t.Errorf("empty lists are lists: %s", text)
	}
}
