package pack_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/lease"
)

// TestProjectsAreMadeByTheirOperator: a call names a project that is there or ends with the next step; one that calls made before stays;
// one that is archived keeps what it has and nobody enters, also after a restart.
func TestProjectsAreMadeByTheirOperator(t *testing.T) {
	t.Parallel()
	strict := false
	h := installed(t, hosttest.Options{Config: func(c *host.Config) { c.OpenProjects = !strict }})
	in := func(project string) action.Action {
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.put", Input: []byte(`{"key":"a","val":"b"}`), Actor: "operator", Project: project})
		if err != nil {
			t.Fatal(err)
		}
		return h.Wait(a.ID)
	}
	refused := func(project string, code abi.Code, next string) {
		t.Helper()
		if a := in(project); a.Failure == nil || a.Failure.Code != code || !strings.Contains(a.Failure.Hint, next) {
			t.Fatalf("%s: %+v", project, a.Failure)
		}
	}
	if a := in("old"); a.Failure != nil {
		t.Fatalf("%+v", a.Failure)
	}
	strict = true
	h.Restart()
	refused("made-up", abi.NotFound, "arw project add made-up")
	if a := in("old"); a.Failure != nil {
		t.Fatalf("a project of before: %+v", a.Failure)
	}
	_, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: sinkName, Capability: abi.KV, Reason: "x", Where: lease.Where{Project: "made-up"}})
	wantCode(t, err, abi.NotFound)
	if _, err := h.Services().Projects.Create(t.Context(), "", "operator", api.CreateProject{ID: "made-up"}); err != nil {
		t.Fatal(err)
	}
	if a := in("made-up"); a.Failure != nil {
		t.Fatalf("%+v", a.Failure)
	}
	if _, err := h.Services().Projects.Archive(t.Context(), "", "operator", "old", true); err != nil {
		t.Fatal(err)
	}
	_, err = h.Services().Projects.Archive(t.Context(), "", "operator", "old", true)
	wantCode(t, err, abi.Conflict)
	refused("old", abi.Conflict, "arw project restore old")
	h.Restart()
	refused("old", abi.Conflict, "arw project restore old")
	hosttest.Eventually(t, "the read model tells it", func() bool {
		doc, err := h.Services().View.Get(t.Context(), "projects")
		return err == nil && strings.Contains(string(doc.Body), `"archived":"2`)
	})
	if _, err := h.Services().Projects.Archive(t.Context(), "", "operator", "old", false); err != nil {
		t.Fatal(err)
	}
	if a := in("old"); a.Failure != nil {
		t.Fatalf("%+v", a.Failure)
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"project.archived", "project.restored"}}); len(rs) != 2 || rs[0].Project != "old" {
		t.Errorf("journal: %s", asJSON(t, rs))
	}
	for _, bad := range []string{"default", "nobody"} {
		if _, err := h.Services().Projects.Archive(t.Context(), "", "operator", bad, true); err == nil {
			t.Errorf("%s is archived", bad)
		}
	}
}
