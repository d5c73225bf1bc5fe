package lease_test

import (
	"database/sql"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

// A lease ends at its time, in mid-call too, whether or not anybody has noticed; the journal hears of it exactly once.
func TestExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		l := h.grant(t, grantOf(abi.KV))
		short := grantOf(abi.Log)
		short.TTL = time.Minute
		other := h.grant(t, short)
		<-time.After(time.Hour - 1)
		if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); err != nil {
			t.Errorf("a moment before: %v", err)
		}
		<-time.After(1)
		_, err := h.holder().Use(t.Context(), abi.KV, "", 0)
		if abi.CodeOf(err) != abi.LeaseExpired || !strings.Contains(err.Error(), "expired at "+l.Wire().Expires) {
			t.Errorf("at its end: %v", err)
		}
		if now, _ := h.Get(l.ID); now.State != lease.Expired || now.Ended == nil || !now.Ended.Time.Equal(l.Expires) {
			t.Errorf("lease: %+v", now)
		}
		if got := h.kinds(t, l.ID); got != "granted" {
			t.Errorf("before Run: %q", got)
		}
		stop := h.run(t)
		synctest.Wait()
		<-time.After(2 * lease.FlushEvery)
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		again := h.reopen(t)
		stop = again.run(t)
		<-time.After(2 * lease.FlushEvery)
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, id := range []string{l.ID, other.ID} {
			if got := again.kinds(t, id); got != "granted expired" {
				t.Errorf("events: %q", got)
			}
		}
		if events := again.events(t); events[2].Actor != "host" || events[2].Corr != "cor_grant" || events[2].Lease.State != lease.Expired {
			t.Errorf("event: %+v", events[2])
		}
		again.db.Close()
	})
}

// Run wakes for each end, however far, and for one that a grant brings nearer.
func TestExpiryIsTimely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		for _, ttl := range []time.Duration{time.Hour, time.Second, 90 * time.Second} {
			g := grantOf(abi.KV)
			g.TTL = ttl
			l := h.grant(t, g)
			<-time.After(ttl)
			synctest.Wait()
			if got := h.kinds(t, l.ID); got != "granted expired" {
				t.Errorf("after %v: %q", ttl, got)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		h.db.Close()
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		ctx := t.Context()
		g := withBudget(grantOf(abi.KV), 10, 0)
		g.Renewable = true
		l := h.grant(t, g)
		if _, err := h.holder().Use(ctx, abi.KV, "", 0); err != nil {
			t.Fatal(err)
		}
		<-time.After(30 * time.Minute)
		renewed, err := h.Renew(ctx, "cor_renew", l.ID, 2*time.Hour)
		if err != nil || renewed.TTL != 2*time.Hour || !renewed.Expires.Equal(time.Now().Add(2*time.Hour).UTC()) || renewed.Used.Calls != 1 {
			t.Errorf("renewed: %+v, %v", renewed, err)
		}
		<-time.After(2*time.Hour - time.Second)
		if _, err := h.holder().Use(ctx, abi.KV, "", 0); err != nil {
			t.Errorf("within the new time: %v", err)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if _, err := h.holder().Use(ctx, abi.KV, "", 0); abi.CodeOf(err) != abi.LeaseExpired {
			t.Errorf("after the new time: %v", err)
		}
		if back, err := h.Renew(ctx, "cor_renew", l.ID, time.Minute); err != nil || back.State != lease.Live || back.Ended != nil {
			t.Errorf("back from expiry: %+v, %v", back, err)
		}
		if _, err := h.holder().Use(ctx, abi.KV, "", 0); err != nil {
			t.Errorf("back from expiry: %v", err)
		}
		<-time.After(time.Minute) // shorter than what it had before
		synctest.Wait()
		if got := h.kinds(t, l.ID); got != "granted renewed expired renewed expired" {
			t.Errorf("events: %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		again := h.reopen(t)
		if now, _ := again.Get(l.ID); now.State != lease.Expired || now.Used.Calls != 3 || now.TTL != time.Minute {
			t.Errorf("after a restart: %+v", now)
		}
		again.db.Close()
	})
}

func TestRenewRefuses(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := t.Context()
	renewable := withBudget(grantOf(abi.KV), 1, 0)
	renewable.Renewable = true
	once, spent, revoked := h.grant(t, grantOf(abi.Log)), h.grant(t, renewable), h.grant(t, renewable)
	for range 2 {
		_, _ = h.holder().Use(ctx, abi.KV, "", 0)
	}
	if _, err := h.Revoke(ctx, "", revoked.ID, "operator", "no"); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		id   string
		ttl  time.Duration
		code abi.Code
	}{
		"unknown":        {"lea_none", time.Hour, abi.NotFound},
		"not renewable":  {once.ID, time.Hour, abi.Denied},
		"exhausted":      {spent.ID, time.Hour, abi.BudgetExhausted},
		"revoked":        {revoked.ID, time.Hour, abi.LeaseRevoked},
		"no time":        {once.ID, 0, abi.Invalid},
		"too much time":  {once.ID, lease.MaxTTL + 1, abi.Invalid},
		"negative time":  {once.ID, -time.Hour, abi.Invalid},
		"an endless id":  {strings.Repeat("x", 1<<16), time.Hour, abi.NotFound},
		"another string": {"", time.Hour, abi.NotFound},
	} {
		if _, err := h.Renew(ctx, "", tc.id, tc.ttl); abi.CodeOf(err) != tc.code || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, e := range h.events(t) {
		if e.Kind == "leases.renewed" {
			t.Errorf("journaled %+v", e)
		}
	}
}

// An orderly stop writes exactly what was used; what comes after it is still counted.
func TestRestartKeepsBudgets(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	stop := h.run(t)
	bounded := h.grant(t, withBudget(grantOf(abi.KV), 1000, 0))
	counted := h.grant(t, grantOf(abi.Log))
	for range 300 {
		for _, c := range []abi.Capability{abi.KV, abi.Log} {
			if _, err := h.holder().Use(t.Context(), c, "", 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.holder().Use(t.Context(), abi.KV, "", 10); err != nil { // between Run and the end
		t.Fatal(err)
	}
	h = h.reopen(t)
	if l, _ := h.Get(counted.ID); l.Used != (lease.Budget{Calls: 300, Bytes: 3000}) {
		t.Errorf("unlimited: %+v", l.Used)
	}
	// The late use reserved for itself and nobody took that back.
	if l, _ := h.Get(bounded.ID); l.Used.Calls < 301 || l.Used.Calls > 301+125 || l.Used.Bytes < 3010 {
		t.Errorf("bounded: %+v", l.Used)
	}
	stop = h.run(t)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	before, _ := h.Get(bounded.ID)
	h = h.reopen(t)
	if after, _ := h.Get(bounded.ID); after.Used != before.Used {
		t.Errorf("an orderly restart changes %+v to %+v", before.Used, after.Used)
	}
}

// What an unlimited lease was used for is written down now and then, so that a crash forgets little of it.
func TestUnlimitedUseIsWrittenDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		stop := h.run(t)
		l := h.grant(t, grantOf(abi.Log))
		for range 5 {
			if _, err := h.holder().Use(t.Context(), abi.Log, "", 10); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(2 * lease.FlushEvery)
		synctest.Wait()
		again := h.reopen(t) // Run was not told to stop
		if now, _ := again.Get(l.ID); now.Used != (lease.Budget{Calls: 5, Bytes: 50}) {
			t.Errorf("used %+v", now.Used)
		}
		_ = stop()
		again.db.Close()
	})
}

// The wall clock counts across a restart, but setting it back cannot lengthen a lease beyond its lifetime.
func TestClockAcrossRestart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		clock time.Duration // how far the wall clock is ahead of the one that wrote the lease
		after time.Duration
		code  abi.Code
	}{
		"half its time later":      {30 * time.Minute, 0, abi.OK},
		"its rest is kept":         {30 * time.Minute, 29 * time.Minute, abi.OK},
		"its rest ends":            {30 * time.Minute, 30 * time.Minute, abi.LeaseExpired},
		"a day later":              {24 * time.Hour, 0, abi.LeaseExpired},
		"the clock was set back":   {-24 * time.Hour, 59 * time.Minute, abi.OK},
		"but no further than that": {-24 * time.Hour, time.Hour, abi.LeaseExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := open(t, t.TempDir())
				l := h.grant(t, grantOf(abi.KV))
				// Moving what was written is moving the clock the other way.
				err := h.db.Write(t.Context(), func(tx *sql.Tx) error {
					_, err := tx.Exec("UPDATE lease SET created_ms = created_ms - ?, expires_ms = expires_ms - ?", tc.clock.Milliseconds(), tc.clock.Milliseconds())
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				h = h.reopen(t)
				<-time.After(tc.after)
				if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); abi.CodeOf(err) != tc.code {
					t.Errorf("use: %v", err)
				}
				stop := h.run(t)
				synctest.Wait()
				want := "granted"
				if tc.code != abi.OK {
					want = "granted expired"
				}
				if got := h.kinds(t, l.ID); got != want {
					t.Errorf("events: %q", got)
				}
				_ = stop()
				h.db.Close()
			})
		})
	}
}

// A lease that ended is forgotten in the end; one that lives or waits to be renewed is not.
func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, t.TempDir())
		g := grantOf(abi.Log)
		g.TTL = 100 * 24 * time.Hour
		ended, alive := h.grant(t, grantOf(abi.KV)), h.grant(t, g)
		round := func() {
			stop := h.run(t)
			synctest.Wait()
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		<-time.After(lease.Retention + time.Hour)
		round()
		if _, err := h.Get(ended.ID); err != nil {
			t.Errorf("too early: %v", err)
		}
		<-time.After(1)
		round()
		h = h.reopen(t)
		if _, err := h.Get(ended.ID); abi.CodeOf(err) != abi.NotFound {
			t.Errorf("the old one: %v", err)
		}
		if _, err := h.Get(alive.ID); err != nil {
			t.Errorf("the live one: %v", err)
		}
		if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); abi.CodeOf(err) != abi.Denied {
			t.Errorf("use: %v", err)
		}
		h.db.Close()
	})
}
