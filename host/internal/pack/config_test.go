package pack_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
)

// TestAUnitChangesWhatAPackReads: what is applied to a project or an agent is seen by its calls alone, from the next read
// on, and taken back it is gone.
func TestAUnitChangesWhatAPackReads(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Reader(t))
	units, ctx := h.Services().Logic, t.Context()
	read := func(project, actor string) string {
		t.Helper()
		a, _, err := h.Services().Actions.Submit(ctx, action.Request{Kind: "reader.read", Input: []byte(`{"name":"recipes/retrieval"}`), Project: project, Actor: actor})
		if err != nil {
			t.Fatal(err)
		}
		if a = h.Wait(a.ID); a.State != action.Completed {
			t.Fatalf("read as %s in %q: %s %+v", actor, project, a.State, a.Failure)
		}
		return string(a.Output)
	}
	if _, err := units.Install(ctx, []byte(unitTOML("nine", "recipes/retrieval")), logic.Installed, "nine.toml", "operator", ""); err != nil {
		t.Fatal(err)
	}
	how := logic.How{By: "operator"}
	if _, err := units.Apply(ctx, "project/p", []logic.Use{{Unit: "nine"}}, how); err != nil {
		t.Fatal(err)
	}
	if _, err := units.Edit(ctx, "agent/bob", "recipes/retrieval", "merge", map[string]any{"k": 3}, how); err != nil {
		t.Fatal(err)
	}
	changes := func() int { return len(h.Events(journal.Filter{Prefixes: []string{"config.", "logic."}})) }
	before := changes()
	for _, tc := range []struct{ project, actor, want string }{
		{"", "operator", `{"k":8}`}, {"p", "operator", `{"k":9}`}, {"other", "agent:ann", `{"k":8}`},
		{"p", "agent:ann", `{"k":9}`}, {"p", "agent:bob", `{"k":3}`}, {"", "agent:bob", `{"k":3}`},
		{"", "person:bob", `{"k":8}`},
	} {
		if got := read(tc.project, tc.actor); got != tc.want {
			t.Errorf("%s in %q reads %s, want %s", tc.actor, tc.project, got, tc.want)
		}
	}
	if n := changes(); before < 2 || n != before {
		t.Errorf("reads add to the %d events of the changes: %d", before, n)
	}
	if _, err := units.Revert(ctx, "nine", "project/p", how); err != nil {
		t.Fatal(err)
	}
	if got := read("p", "operator"); got != `{"k":8}` {
		t.Errorf("after the revert it reads %s", got)
	}

	h.FailCall("reader.read", `{"name":"policies/budget"}`, abi.Denied)
	h.FailCall("reader.read", `{"name":"recipes/nothing"}`, abi.NotFound)
	if a := h.Call("reader.pure", `{"name":"recipes/retrieval"}`); a.State != action.Failed || !strings.Contains(a.Failure.Message, "effect") {
		t.Errorf("a pure tool reads the configuration: %s %+v", a.State, a.Failure)
	}
}
