package access_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

func open(t *testing.T, path string) (*access.Book, *db.DB) {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, path, []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "access", Steps: access.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	b, err := access.Open(ctx, d, j, func(s string) bool { return s == "the operator's" })
	if err != nil {
		t.Fatal(err)
	}
	return b, d
}

func TestTokensOutliveARestartAndTheirSecretsDoNot(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "arw.db")
	b, d := open(t, path)
	kept, err := b.Create(ctx, "c", "operator", "kept", access.User, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := b.Create(ctx, "c", "operator", "gone", access.Guest, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	short, err := b.Create(ctx, "c", "operator", "short", access.Pack, time.Nanosecond, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Who(gone.Secret); !ok {
		t.Error("a fresh token is not known")
	}
	if _, err := b.Revoke(ctx, "c", "operator", "gone"); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal"} {
		raw, err := os.ReadFile(name)
		if err == nil && (bytes.Contains(raw, []byte(kept.Secret)) || bytes.Contains(raw, []byte(strings.TrimPrefix(kept.Secret, "arw_")))) {
			t.Errorf("%s has the secret", name)
		}
	}
	b, d = open(t, path)
	defer d.Close()
	if p, ok := b.Who(kept.Secret); !ok || p.Actor() != "person:kept" || p.Role != access.User {
		t.Errorf("after a restart: %+v, %v", p, ok)
	}
	for what, secret := range map[string]string{"revoked": gone.Secret, "over": short.Secret, "unknown": "arw_x", "empty": ""} {
		if p, ok := b.Who(secret); ok {
			t.Errorf("%s: taken for %+v", what, p)
		}
	}
	if p, ok := b.Who("the operator's"); !ok || p != access.Operator || p.Actor() != "operator" {
		t.Errorf("the operator is %+v, %v", p, ok)
	}
	if _, err := b.Revoke(ctx, "c", "operator", "gone"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("revoked twice: %v", err)
	}
	if got := b.List(); len(got) != 3 || got[0].Name != "kept" {
		t.Errorf("list %+v", got)
	}
}

func TestNamesAndRolesAreHeldToTheirForm(t *testing.T) {
	t.Parallel()
	b, d := open(t, filepath.Join(t.TempDir(), "arw.db"))
	defer d.Close()
	for _, c := range []struct{ name, role string }{
		{"", "user"}, {"local", "user"}, {"operator", "operator"}, {"a b", "user"}, {"a:b", "user"}, {"ok", "root"}, {"ok", ""},
	} {
		if _, err := b.Create(context.Background(), "c", "operator", c.name, access.Role(c.role), 0, ""); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q as %q: %v", c.name, c.role, err)
		}
	}
}

// The table, written a second time: a line that is moved by mistake shows here.
func TestRoles(t *testing.T) {
	t.Parallel()
	authority := []access.Capability{
		access.ActionRecord, access.EgressManage, access.PackInstall, access.PackControl, access.LeaseGrant, access.PromptAnswer,
		access.SecretManage, access.LogicChange, access.Manage,
	}
	for _, c := range authority {
		for _, r := range []access.Role{access.User, access.Guest, access.Pack, "", "root"} {
			if r.May(c) {
				t.Errorf("%q may %q", r, c)
			}
		}
		if !access.RoleOperator.May(c) {
			t.Errorf("the operator may not %q", c)
		}
	}
	for _, c := range []struct {
		role access.Role
		may  access.Capability
		want bool
	}{
		{access.User, access.ActionSubmit, true}, {access.Guest, access.ActionSubmit, false}, {access.Guest, access.StateRead, true},
		{access.Pack, access.ActionSubmit, true}, {access.Pack, access.StateRead, false}, {"", "", true}, {"", access.StateRead, false},
	} {
		if got := c.role.May(c.may); got != c.want {
			t.Errorf("%q may %q: %v", c.role, c.may, got)
		}
	}
}
