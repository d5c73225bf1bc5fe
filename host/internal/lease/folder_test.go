package lease_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

// A folder belongs to one project: a lease serves its own project alone, and none in another reaches it.
func TestFolderBelongsToOneProject(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		first, second lease.Grant
		meet          bool
	}{
		{"the same folder", in("a", "write:/srv/x"), in("b", "read:/srv/x"), true},
		{"a folder within", in("a", "write:/srv"), in("b", "read:/srv/x"), true},
		{"a folder around", in("a", "write:/srv/x"), in("b", "read:/srv"), true},
		{"any folder", in("a", "write:/srv/x"), in("b", "read:*"), true},
		{"the default project's", in("", "write:/srv/x"), in("b", "read:/srv/x"), true},
		{"one of several entries", in("a", "read:/etc", "write:/srv/x"), in("b", "read:/tmp", "read:/srv/x"), true},
		{"stars that meet", in("a", "write:/home/*/docs"), in("b", "read:/home/ann/*"), true},
		{"stars that do not", in("a", "write:/home/*/docs"), in("b", "read:/home/ann/private"), false},
		{"one project", in("a", "write:/srv/x"), in("a", "read:/srv/x"), false},
		{"the default project, by name", in("", "write:/srv/x"), in("default", "read:/srv/x"), false},
		{"stars that may name one folder", in("a", "write:/srv/*/x"), in("b", "read:/srv/y/*"), true},
		{"a star beside", in("a", "write:/srv/*/x"), in("b", "read:/var/y"), false},
		{"a neighbour", in("a", "write:/srv/x"), in("b", "read:/srv/xy"), false},
		{"no folders", grantOf(abi.Event, "research."), grantOf(abi.Event, "research."), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			first := h.grant(t, tc.first)
			_, err := h.Grant(t.Context(), "cor_second", tc.second)
			if met := abi.CodeOf(err) == abi.Conflict; met != tc.meet || err != nil && !met {
				t.Fatalf("got %v", err)
			}
			if !tc.meet {
				return
			}
			// Both in one write are no way around it, and when the first is taken back the folder is free.
			if _, err := h.Revoke(t.Context(), "cor_end", first.ID, "operator", "moved"); err != nil {
				t.Fatal(err)
			}
			err = h.db.Write(t.Context(), func(tx *sql.Tx) error {
				if _, err := h.GrantTx(tx, "cor_both", tc.first); err != nil {
					return err
				}
				_, err := h.GrantTx(tx, "cor_both", tc.second)
				return err
			})
			if abi.CodeOf(err) != abi.Conflict {
				t.Fatalf("both in one write: %v", err)
			}
			h.grant(t, tc.second)
		})
	}
}

func in(project string, scope ...string) lease.Grant {
	g := grantOf(abi.FS, scope...)
	g.Project = project
	return g
}

func TestFolderLeaseServesItsOwnProjectAlone(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.grant(t, in("", "read:/srv/default"))
	h.grant(t, in("a", "read:/srv/a"))
	h.grant(t, lease.Grant{Pack: pack, Digest: digest, Capability: abi.Event, Scope: []string{"research."}, TTL: lease.MinTTL * 60, By: "operator", Where: lease.Where{Project: "default"}})
	for _, tc := range []struct {
		project string
		c       abi.Capability
		target  string
		want    abi.Code
	}{
		{"", abi.FS, "read:/srv/default/x", abi.OK},
		{"default", abi.FS, "read:/srv/default/x", abi.OK},
		{"a", abi.FS, "read:/srv/default/x", abi.Denied},
		{"a", abi.FS, "read:/srv/a/x", abi.OK},
		{"", abi.FS, "read:/srv/a/x", abi.Denied},
		{"b", abi.FS, "read:/srv/a/x", abi.Denied},
		{"", abi.Event, "research.x", abi.OK}, // a lease may name the default project
		{"a", abi.Event, "research.x", abi.Denied},
	} {
		_, err := h.holder().At(lease.Where{Project: tc.project}).Use(context.Background(), tc.c, tc.target, 0)
		if abi.CodeOf(err) != tc.want {
			t.Errorf("%s %q in %q: %v, want %v", tc.c, tc.target, tc.project, err, tc.want)
		}
	}
}
