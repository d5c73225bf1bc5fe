package lease_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

func TestGrant(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	g := withBudget(grantOf(abi.FS, "read:/srv"), 10, 1<<20)
	g.Policies, g.Renewable, g.TTL = []string{"arw.link.ask"}, true, 90*time.Minute+time.Microsecond
	l := h.grant(t, g)
	g.Scope[0], g.Policies[0] = "write:/", "mine" // the caller's own again

	got, err := h.Get(l.ID)
	if err != nil || !reflect.DeepEqual(got, l) || !reflect.DeepEqual(h.List(lease.Filter{}), []lease.Lease{l}) {
		t.Errorf("got %+v, %v\ngranted %+v", got, err, l)
	}
	if l.State != lease.Live || l.Expires.Sub(l.Created) != 90*time.Minute || l.Scope[0] != "read:/srv" || !strings.HasPrefix(l.ID, "lea_") || l.Ended != nil {
		t.Errorf("lease: %+v", l)
	}
	events := h.events(t)
	if len(events) != 1 || !reflect.DeepEqual(events[0], event{"leases.granted", "cor_grant", "operator", pack, l.Wire()}) {
		t.Errorf("events: %+v", events)
	}
	again, err := h.reopen(t).Get(l.ID)
	if err != nil || !reflect.DeepEqual(again, l) {
		t.Errorf("after a restart %+v\ngranted %+v", again, l)
	}
}

func TestGrantRefuses(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	for name, tc := range map[string]struct {
		change func(*lease.Grant)
		want   string
	}{
		"no pack":            {func(g *lease.Grant) { g.Pack = "" }, "not named namespace/name"},
		"a pack in letters":  {func(g *lease.Grant) { g.Pack = "Arw/Research" }, "not named namespace/name"},
		"no digest":          {func(g *lease.Grant) { g.Digest = "sha256:0" }, "the digest is not"},
		"no capability":      {func(g *lease.Grant) { g.Capability = "" }, "leases no such capability"},
		"io":                 {func(g *lease.Grant) { g.Capability = abi.IO }, "leases no such capability"},
		"an unknown one":     {func(g *lease.Grant) { g.Capability = "net" }, "leases no such capability"},
		"no time":            {func(g *lease.Grant) { g.TTL = 0 }, "a lifetime lies between"},
		"too much time":      {func(g *lease.Grant) { g.TTL = lease.MaxTTL + 1 }, "a lifetime lies between"},
		"negative calls":     {func(g *lease.Grant) { g.Budget.Calls = -1 }, "a budget lies between"},
		"too many bytes":     {func(g *lease.Grant) { g.Budget.Bytes = lease.MaxBudget + 1 }, "a budget lies between"},
		"nobody":             {func(g *lease.Grant) { g.By = "" }, "somebody who does it"},
		"a name that cheats": {func(g *lease.Grant) { g.By = "a\nb" }, "without control characters"},
		"a long story":       {func(g *lease.Grant) { g.Reason = strings.Repeat("x", 1001) }, "at most 1000 bytes"},
		"no scope":           {func(g *lease.Grant) { g.Scope = nil }, "it needs a scope"},
		"a relative path":    {func(g *lease.Grant) { g.Scope = []string{"read:srv"} }, "absolute path"},
		"dots":               {func(g *lease.Grant) { g.Scope = []string{"read:/srv/../etc"} }, "absolute path"},
		"a slash at the end": {func(g *lease.Grant) { g.Scope = []string{"read:/srv/"} }, "absolute path"},
		"another mode":       {func(g *lease.Grant) { g.Scope = []string{"exec:/srv"} }, `begins with "read:" or "write:"`},
		"an empty entry":     {func(g *lease.Grant) { g.Scope = []string{""} }, "text of 1 to 4096 bytes"},
		"a line break":       {func(g *lease.Grant) { g.Scope = []string{"read:/a\nb"} }, "without control characters"},
		"no text":            {func(g *lease.Grant) { g.Scope = []string{"read:/a\xff"} }, "text of 1 to 4096 bytes"},
		"many entries":       {func(g *lease.Grant) { g.Scope = make([]string, 65) }, "65 scope entries, more than 64"},
		"kv with a scope":    {func(g *lease.Grant) { g.Capability = abi.KV }, "takes no scope"},
		"events, all":        {func(g *lease.Grant) { g.Capability, g.Scope = abi.Event, []string{"*"} }, "an entry is a name"},
		"events, a dot":      {func(g *lease.Grant) { g.Capability, g.Scope = abi.Event, []string{"."} }, "an entry is a name"},
		"tools, all":         {func(g *lease.Grant) { g.Capability, g.Scope = abi.Action, []string{"*"} }, `an entry is "namespace/name:tool"`},
		"tools, no tool":     {func(g *lease.Grant) { g.Capability, g.Scope = abi.Action, []string{"a/b:"} }, `an entry is "namespace/name:tool"`},
	} {
		t.Run(name, func(t *testing.T) {
			g := grantOf(abi.FS, "read:/srv")
			tc.change(&g)
			if _, err := h.Grant(t.Context(), "", g); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	if n := len(h.List(lease.Filter{})) + len(h.events(t)); n != 0 {
		t.Errorf("%d leases and events after refusals", n)
	}
}

// A lease granted inside a larger write exists exactly when that write does.
func TestGrantTx(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	failure := errors.New("the install failed")
	for _, outcome := range []error{failure, nil} {
		var inside abi.Code
		err := h.db.Write(t.Context(), func(tx *sql.Tx) error {
			if _, err := h.GrantTx(tx, "cor_install", grantOf(abi.KV)); err != nil {
				return err
			}
			_, err := h.holder().Use(context.Background(), abi.KV, "", 0)
			inside = abi.CodeOf(err)
			return outcome
		})
		if inside != abi.Denied {
			t.Errorf("before the commit: %v", inside)
		}
		_, use := h.holder().Use(t.Context(), abi.KV, "", 0)
		if !errors.Is(err, outcome) || (use == nil) != (outcome == nil) {
			t.Errorf("write: %v, use after it: %v", err, use)
		}
	}
	if list, events := h.List(lease.Filter{}), h.events(t); len(list) != 1 || len(events) != 1 {
		t.Errorf("%d leases, %d events", len(list), len(events))
	}
	if _, err := h.GrantTx(nil, "", grantOf(abi.KV)); abi.CodeOf(err) != abi.Internal {
		t.Errorf("outside of a write: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	a := h.grant(t, grantOf(abi.KV))
	b := h.grant(t, grantOf(abi.Log))
	c := h.grant(t, of("arw/other", grantOf(abi.KV)))
	if _, err := h.Revoke(t.Context(), "", b.ID, "operator", ""); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		filter lease.Filter
		want   []string
	}{
		"all":           {lease.Filter{}, []string{a.ID, b.ID, c.ID}},
		"of a pack":     {lease.Filter{Pack: pack}, []string{a.ID, b.ID}},
		"of a version":  {lease.Filter{Digest: "sha256:x"}, nil},
		"live":          {lease.Filter{State: lease.Live}, []string{a.ID, c.ID}},
		"revoked ones":  {lease.Filter{Pack: pack, Digest: digest, State: lease.Revoked}, []string{b.ID}},
		"expired: none": {lease.Filter{State: lease.Expired}, nil},
	} {
		var ids []string
		for _, l := range h.List(tc.filter) {
			ids = append(ids, l.ID)
		}
		if !reflect.DeepEqual(ids, tc.want) {
			t.Errorf("%s: %v, want %v", name, ids, tc.want)
		}
	}
	if _, err := h.Get("lea_none"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("unknown id: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := t.Context()
	l := h.grant(t, grantOf(abi.KV))
	if _, err := h.Revoke(ctx, "", l.ID, "", "nobody"); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("by nobody: %v", err)
	}
	if _, err := h.Revoke(ctx, "", "lea_none", "operator", ""); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("unknown id: %v", err)
	}
	got, err := h.Revoke(ctx, "cor_revoke", l.ID, "operator", "seen enough")
	if err != nil || got.State != lease.Revoked || got.Ended == nil || got.Ended.By != "operator" || got.Ended.Reason != "seen enough" {
		t.Errorf("revoked: %+v, %v", got, err)
	}
	twice, err := h.Revoke(ctx, "cor_again", l.ID, "somebody", "else")
	if err != nil || !reflect.DeepEqual(twice, got) {
		t.Errorf("again: %+v, %v", twice, err)
	}
	events := h.events(t)
	if len(events) != 2 || events[1].Kind != "leases.revoked" || events[1].Corr != "cor_revoke" || events[1].Actor != "operator" ||
		events[1].Lease.State != lease.Revoked || events[1].Lease.Ended.Reason != "seen enough" {
		t.Errorf("events: %+v", events)
	}
	after := h.reopen(t)
	if _, err := after.holder().Use(ctx, abi.KV, "", 0); abi.CodeOf(err) != abi.LeaseRevoked || !strings.Contains(err.Error(), "seen enough") {
		t.Errorf("after a restart: %v", err)
	}
}

func TestRevokeAll(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	old := grantOf(abi.KV)
	old.Digest = digest[:70] + "1"
	a, b, c := h.grant(t, grantOf(abi.KV)), h.grant(t, old), h.grant(t, of("arw/other", grantOf(abi.KV)))
	gone, err := h.RevokeAll(t.Context(), "cor_remove", pack, "operator", "pack removed")
	if err != nil || len(gone) != 2 || gone[0].State != lease.Revoked {
		t.Errorf("revoked %+v, %v", gone, err)
	}
	for id, want := range map[string]string{a.ID: "granted revoked", b.ID: "granted revoked", c.ID: "granted"} {
		if got := h.kinds(t, id); got != want {
			t.Errorf("events %q, want %q", got, want)
		}
	}
	if gone, err := h.RevokeAll(t.Context(), "", pack, "operator", ""); err != nil || len(gone) != 0 {
		t.Errorf("again: %+v, %v", gone, err)
	}
	if _, err := h.RevokeAll(t.Context(), "", pack, "", ""); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("by nobody: %v", err)
	}
}

// A revocation that cannot be written holds all the same as long as the host runs.
func TestRevokeWithoutDatabase(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	l := h.grant(t, grantOf(abi.KV))
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := h.Revoke(t.Context(), "", l.ID, "operator", "now")
	if abi.CodeOf(err) != abi.Unavailable || got.State != lease.Revoked {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); abi.CodeOf(err) != abi.LeaseRevoked {
		t.Errorf("use: %v", err)
	}
	if _, err := h.Revoke(t.Context(), "", l.ID, "operator", "now"); abi.CodeOf(err) != abi.Unavailable {
		t.Errorf("a second try says: %v", err)
	}
}

// A row that somebody changed stops the start: a lease is never guessed.
func TestCorruptRow(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"scope that is no list":    `scope = '{}'`,
		"scope that is no path":    `scope = '["read:../etc"]'`,
		"capability of no host":    `capability = 'net'`,
		"policies that are a word": `policies = '"x"'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.grant(t, grantOf(abi.FS, "read:/srv"))
			err := h.db.Write(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("UPDATE lease SET " + change)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			h.db.Close()
			if _, err := tryOpen(filepath.Dir(h.db.Path())); abi.CodeOf(err) != abi.Corrupt {
				t.Errorf("got %v", err)
			}
		})
	}
}
