package server_test

import (
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/server"
)

// answer reads a body of 200.
func (e *edge) answer(path string, into any) string {
	e.t.Helper()
	resp := e.ask("GET", path, "", "Authorization", "Bearer "+e.token)
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		e.t.Fatalf("GET %s: status %d, %s, %v", path, resp.StatusCode, raw, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		e.t.Fatalf("GET %s: %s: %v", path, raw, err)
	}
	return resp.Header.Get("ETag")
}

// The host's documents appear with the version and validator that their patch events name.
func TestHostPublishesItsReadModels(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.note("test.happened")
	want := map[string]bool{}
	for _, id := range []string{"events", "observations", "packs", "leases", "policy", "metrics", "tasks"} {
		want[id] = true
	}
	for r, err := range e.Services().Journal.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{"state.read.model.patch"}}) {
		if err != nil {
			t.Fatal(err)
		}
		var p struct{ ID string }
		if err := json.Unmarshal(r.Body, &p); err != nil {
			t.Fatal(err)
		}
		if delete(want, p.ID); len(want) == 0 {
			break
		}
	}
	var doc struct {
		Items map[string]struct{ Kind string }
	}
	etag := e.answer("/state/events", &doc)
	found := false
	for _, it := range doc.Items {
		found = found || it.Kind == "test.happened"
		if it.Kind == "state.read.model.patch" {
			t.Error("the document tells of patches")
		}
	}
	if !found || !strings.HasPrefix(etag, `"state-events-v`) {
		t.Errorf("ETag %s, items %v", etag, doc.Items)
	}
	var views struct{ Items []struct{ ID, ETag string } }
	if e.answer("/state?prefix=pol", &views); len(views.Items) == 0 || views.Items[0].ID != "policy" {
		t.Errorf("views %v", views)
	}
	if again := e.ask("GET", "/state/policy", "", "Authorization", "Bearer "+e.token, "If-None-Match", views.Items[0].ETag); again.StatusCode != 304 {
		t.Errorf("the listed validator answers %d, want 304", again.StatusCode)
	}
}

func TestEpisodeSnapshot(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	for _, kind := range []string{"test.begun", "test.failed", "test.ended"} {
		if _, err := e.Services().Journal.Append(t.Context(), journal.Event{Kind: kind, Corr: "c/1"}, journal.Event{Kind: "test.other"}); err != nil {
			t.Fatal(err)
		}
	}
	var snap struct {
		Episode   struct{ Count, Errors int }
		Items     []api.Event
		Truncated bool
	}
	e.answer("/state/episode/c%2F1/snapshot", &snap)
	if snap.Episode.Count != 3 || snap.Episode.Errors != 1 || len(snap.Items) != 3 || snap.Items[2].Kind != "test.ended" || snap.Truncated {
		t.Errorf("got %+v", snap)
	}
	e.answer("/state/episode/c%2F1/snapshot?limit=2", &snap)
	if snap.Episode.Count != 2 || !snap.Truncated {
		t.Errorf("limited: %+v", snap)
	}
	if p := problem(t, e.ask("GET", "/state/episode/nobody/snapshot", "", "Authorization", "Bearer "+e.token)); p.Code != abi.NotFound.String() {
		t.Errorf("unknown answers %s", p.Code)
	}
}

// TestEpisodeKnowsTheConfigurationItRanUnder: a later change does not rewrite what an episode saw.
func TestEpisodeKnowsTheConfigurationItRanUnder(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	set := func(scope logic.Scope, k int) {
		t.Helper()
		if _, err := e.Services().Logic.Edit(t.Context(), scope, "recipes/retrieval", "merge", map[string]any{"k": k}, logic.How{By: "operator"}); err != nil {
			t.Fatal(err)
		}
	}
	run := func(corr, project, actor string) {
		t.Helper()
		if _, err := e.Services().Journal.Append(t.Context(), journal.Event{
			Kind: "actions.completed", Corr: corr, Project: project, Actor: actor, Body: api.ActionEvent{ID: "act_" + corr, Kind: "test.run", State: "completed"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	run("before", "p", "operator")
	nextMilli()
	set("project/p", 11)
	set("agent/bob", 12)
	run("project", "p", "agent:ann")
	run("agent", "p", "agent:bob")
	run("elsewhere", "q", "operator")
	nextMilli()
	set("project/p", 13)
	for corr, want := range map[string][2]int{"before": {0, 8}, "project": {2, 11}, "agent": {2, 12}, "elsewhere": {2, 8}} {
		var snap struct {
			ConfigVersion int `json:"config_version"`
			Effective     []struct {
				Target string
				Body   struct{ K int }
			} `json:"effective_config"`
		}
		e.answer("/state/episode/"+corr+"/snapshot", &snap)
		k := -1
		for _, d := range snap.Effective {
			if d.Target == "recipes/retrieval" {
				k = d.Body.K
			}
		}
		if snap.ConfigVersion != want[0] || k != want[1] {
			t.Errorf("%s: version %d with k = %d, want %v", corr, snap.ConfigVersion, k, want)
		}
	}
}

// nextMilli waits until the clock, by whose milliseconds versions are told apart, has moved on.
func nextMilli() {
	for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; {
		runtime.Gosched()
	}
}

func TestJournalIsReadPageByPage(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	recs := e.note("test.a", "test.b", "test.c")
	path := "/admin/events/journal?limit=2&prefix=test."
	var got []string
	for after := ""; ; {
		var page api.JournalPage
		e.answer(path+after, &page)
		if len(page.Items) == 0 {
			break
		}
		for _, it := range page.Items {
			got = append(got, it.Kind)
		}
		after = "&after=" + json.Number(mustJSON(t, page.Next)).String()
	}
	if strings.Join(got, " ") != "test.a test.b test.c" {
		t.Errorf("got %v", got)
	}
	var page api.JournalPage
	e.answer(path+"&until="+recs[0].Time.Add(-time.Hour).Format(time.RFC3339), &page)
	if len(page.Items) != 0 {
		t.Errorf("%d records from before the first", len(page.Items))
	}
	for _, bad := range []string{"after=x", "after=-1", "since=yesterday", "limit=0"} {
		if p := problem(t, e.ask("GET", "/admin/events/journal?"+bad, "", "Authorization", "Bearer "+e.token)); p.Code != abi.Invalid.String() {
			t.Errorf("%s answers %s", bad, p.Code)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
