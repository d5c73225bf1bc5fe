package lease_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
)

var second = "sha256:" + strings.Repeat("2", 64)

func (h *house) carry(t *testing.T, id, from, to string) error {
	t.Helper()
	return h.db.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := h.CarryTx(tx, "cor_c", "operator", id, from, to)
		return err
	})
}

func TestACarriedLeaseIsOneLease(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := context.Background()
	l, err := h.Grant(ctx, "", lease.Grant{Pack: pack, Digest: digest, Capability: abi.KV, TTL: time.Hour, Budget: lease.Budget{Calls: 3}, By: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	old, fresh := h.Holder(pack, digest), h.Holder(pack, second)
	use := func(who *lease.Holder, want abi.Code) {
		t.Helper()
		if _, err := who.Use(ctx, abi.KV, "", 1); abi.CodeOf(err) != want {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	use(old, abi.OK)
	use(fresh, abi.Denied)
	if err := h.carry(t, l.ID, digest, second); err != nil {
		t.Fatal(err)
	}
	use(fresh, abi.OK) // both, of one budget
	use(old, abi.OK)
	use(old, abi.BudgetExhausted)
	use(fresh, abi.BudgetExhausted)
	got, err := h.Get(l.ID)
	if err != nil || got.Digest != second || got.Used.Calls != 3 || !got.Expires.Equal(l.Expires) {
		t.Fatalf("%+v, %v", got, err)
	}
	rs, err := h.journal.Read(ctx, 0, 100, journal.Filter{Prefixes: []string{"leases.carried"}})
	if err != nil || len(rs) != 1 || !strings.Contains(string(rs[0].Body), `"from_digest":"`+digest+`"`) {
		t.Fatalf("journal: %+v, %v", rs, err)
	}
	h = h.reopen(t)
	if got, err := h.Get(l.ID); err != nil || got.Digest != second {
		t.Fatalf("after a restart: %+v, %v", got, err)
	}
}

func TestReleaseEndsWhatTheOldVersionCouldUse(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := context.Background()
	give := func(c abi.Capability) lease.Lease {
		t.Helper()
		l, err := h.Grant(ctx, "", lease.Grant{Pack: pack, Digest: digest, Capability: c, TTL: time.Hour, By: "operator"})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	carried, own := give(abi.KV), give(abi.Log)
	if err := h.carry(t, carried.ID, digest, second); err != nil {
		t.Fatal(err)
	}
	old, fresh := h.Holder(pack, digest), h.Holder(pack, second)
	if err := h.Release(ctx, "cor_r", pack, digest, "host", "it was replaced", []string{own.ID, carried.ID, "lea_none"}); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Use(ctx, abi.KV, "", 1); abi.CodeOf(err) != abi.Denied {
		t.Errorf("the old version: %v", err)
	}
	if _, err := old.Use(ctx, abi.Log, "", 1); abi.CodeOf(err) != abi.LeaseRevoked {
		t.Errorf("the old version's own: %v", err)
	}
	if _, err := fresh.Use(ctx, abi.KV, "", 1); err != nil {
		t.Errorf("the new version: %v", err)
	}
}

func TestCarryRefuses(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	l, err := h.Grant(context.Background(), "", lease.Grant{Pack: pack, Digest: digest, Capability: abi.KV, TTL: time.Hour, By: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, id, from, to string
		want               abi.Code
	}{
		{"none of that id", "lea_none", digest, second, abi.NotFound},
		{"another version's", l.ID, second, "sha256:" + strings.Repeat("3", 64), abi.Conflict},
		{"to no digest", l.ID, digest, "latest", abi.Invalid},
	} {
		if err := h.carry(t, c.id, c.from, c.to); abi.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if got, _ := h.Get(l.ID); got.Digest != digest {
		t.Errorf("a write that failed moved it to %s", got.Digest)
	}
}
