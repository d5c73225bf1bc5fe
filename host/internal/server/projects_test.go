package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/server"
)

// confinedTo gives a token that has to do with one project alone.
func (e *edge) confinedTo(project, role string) string {
	e.t.Helper()
	t, err := e.Services().Access.Create(e.t.Context(), "c", "operator", "of-"+project+"-"+role, "user", 0, project)
	if err != nil {
		e.t.Fatal(err)
	}
	return "Bearer " + t.Secret
}

// TestATokenOfOneProjectSeesNoOther is the table of every door of HTTP: what a call wrote in project b is nowhere to be found by
// the holder of a token for project a, nor can it be touched.
func TestATokenOfOneProjectSeesNoOther(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.Keeper(t))
	const mark = "written-in-b"
	write := func(project string) action.Action {
		t.Helper()
		a, _, err := e.Services().Actions.Submit(t.Context(), action.Request{
			Kind: "keeper.run", Project: project, Actor: "operator", Corr: "cor_" + project, IdemKey: "k",
			Input: hosttest.Steps(hosttest.Step{"put", "k", "written-in-" + project}, hosttest.Step{"show", "keeper.doc", `{"by":"written-in-` + project + `"}`},
				hosttest.Step{"emit", "keeper.said", `{"by":"written-in-` + project + `"}`}),
		})
		if err != nil {
			t.Fatal(err)
		}
		return e.Wait(a.ID)
	}
	mine, theirs := write("a"), write("b")
	token := e.confinedTo("a", "user")
	as := func(method, path, body string) (int, string) {
		t.Helper()
		headers := []string{"Authorization", token}
		if body != "" {
			headers = append(headers, "Content-Type", "application/json")
		}
		resp := e.ask(method, path, body, headers...)
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			return resp.StatusCode, readEvents(t, resp, e.Services().Journal.Last(), "a")
		}
		return resp.StatusCode, bodyOf(t, resp)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/actions", "", 200, mine.ID},
		{"GET", "/actions?project=a", "", 200, mine.ID},
		{"GET", "/actions?project=b", "", 403, ""},
		{"GET", "/actions?corr_id=cor_b", "", 200, ""},
		{"GET", "/actions/" + mine.ID, "", 200, "written-in-a"},
		{"GET", "/actions/" + theirs.ID, "", 404, ""},
		{"POST", "/actions/" + theirs.ID + "/cancel", "", 404, ""},
		{"GET", "/actions/" + theirs.ID + "/stream", "", 404, ""},
		{"PUT", "/actions/" + theirs.ID + "/stream?offset=0", "x", 404, ""},
		{"GET", "/actions/" + theirs.ID + "/record", "", 403, ""},
		{"GET", "/state", "", 200, "project/a/keeper.doc"},
		{"GET", "/state?project=b", "", 403, ""},
		{"GET", "/state?prefix=project/b", "", 200, ""},
		{"GET", "/state/keeper.doc", "", 200, "written-in-a"},
		{"GET", "/state/keeper.doc?project=b", "", 403, ""},
		{"GET", "/state/" + url.PathEscape("project/b/keeper.doc"), "", 404, ""},
		{"GET", "/state/actions", "", 404, ""}, // the host's own documents speak of everybody
		{"GET", "/state/policy", "", 404, ""},
		{"GET", "/state/episode/cor_a/snapshot", "", 200, "written-in-a"},
		{"GET", "/state/episode/cor_b/snapshot", "", 404, ""},
		{"GET", "/admin/events/journal?limit=1000", "", 200, "written-in-a"},
		{"GET", "/admin/events/journal?project=b", "", 403, ""},
		{"GET", "/admin/events/journal?corr_id=cor_b", "", 200, ""},
		{"GET", "/events?after=0", "", 200, "written-in-a"},
		{"GET", "/events?after=0&project=b", "", 403, ""},
		{"GET", "/leases", "", 403, ""},
		{"GET", "/policy/prompts", "", 403, ""},
		{"GET", "/egress/log", "", 403, ""},
		{"GET", "/projects", "", 403, ""},
		{"GET", "/projects/exports", "", 403, ""},
		{"POST", "/projects/exports", `{"from":"b","to":"a","pack":"test/keeper","what":"kv:"}`, 403, ""},
		{"POST", "/actions", `{"kind":"keeper.run","project":"b","input":{"steps":[]}}`, 403, ""},
		{"POST", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}]}`, 503, ""},
	} {
		status, got := as(tc.method, tc.path, tc.body)
		if status != tc.status || !strings.Contains(got, tc.says) || strings.Contains(got, mark) || strings.Contains(got, theirs.ID) && !strings.Contains(tc.path, theirs.ID) {
			t.Errorf("%s %s: %d, want %d and %q: %.300s", tc.method, tc.path, status, tc.status, tc.says, got)
		}
	}
	if status, got := as("POST", "/v1/chat/completions", `{}`); strings.Contains(got, mark) || status == 200 {
		t.Errorf("got %d %s", status, got)
	}
	// A call that names no project is one in the token's.
	req := e.ask("POST", "/actions", `{"kind":"keeper.run","input":`+string(hosttest.Steps(hosttest.Step{"get", "k"}))+`}`, "Authorization", token, "Content-Type", "application/json", "Prefer", "wait=30")
	if got := bodyOf(t, req); !strings.Contains(got, `"got":["written-in-a"]`) || !strings.Contains(got, `"project":"a"`) {
		t.Errorf("got %s", got)
	}
}

// readEvents reads a stream of events up to the last one that the project has.
func readEvents(t *testing.T, resp *http.Response, last int64, project string) string {
	t.Helper()
	var all strings.Builder
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		var ev api.Event
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || json.Unmarshal([]byte(data), &ev) != nil {
			continue
		}
		if ev.ID != 0 && ev.Project != project {
			t.Errorf("event %d %s of project %q", ev.ID, ev.Kind, ev.Project)
		}
		if ev.Kind == "actions.completed" || ev.ID >= last {
			break
		}
	}
	return all.String()
}

// With the operator's eyes, one project is seen at a time or all of them are.
func TestOneProjectAtATime(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.Keeper(t))
	for _, p := range []string{"a", "b", ""} {
		e.Keep(p, hosttest.Step{"show", "keeper.doc", fmt.Sprintf(`{"of":%q}`, p)})
	}
	for path, want := range map[string]string{
		"/state/keeper.doc": `{"of":""}`, "/state/keeper.doc?project=default": `{"of":""}`, "/state/keeper.doc?project=a": `{"of":"a"}`, "/state/keeper.doc?project=b": `{"of":"b"}`,
		"/state/" + url.PathEscape("project/a/keeper.doc"): `{"of":"a"}`,
	} {
		if got := bodyOf(t, e.ask("GET", path, "")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for path, n := range map[string]int{"/actions": 3, "/actions?project=a": 1, "/actions?project=default": 1, "/actions?project=none": 0} {
		var page api.List[api.Action]
		if err := json.Unmarshal([]byte(bodyOf(t, e.ask("GET", path, ""))), &page); err != nil || len(page.Items) != n {
			t.Errorf("%s: %d items, want %d, %v", path, len(page.Items), n, err)
		}
	}
	for project, n := range map[string]int{"a": 1, "default": 1, "": 3} {
		if got := e.Events(journal.Filter{Project: project, Prefixes: []string{"actions.submitted"}}); len(got) != n {
			t.Errorf("journal of %q: %d, want %d", project, len(got), n)
		}
	}
	if resp := e.ask("GET", "/actions?project=A%2Fb", ""); resp.StatusCode != 400 {
		t.Errorf("a bad name: %d", resp.StatusCode)
	}
}

// Pages of one project's jobs are full, whatever stands between them, and the last item of one is the next one's cursor.
func TestJobsOfOneProjectComeInFullPages(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.Keeper(t))
	if _, err := e.Services().Actions.Pause(t.Context(), "operator", "for the test"); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 9 {
		p := "b"
		if i%4 == 3 || i == 8 { // the third, behind two pages of others
			p = "a"
		}
		a, _, err := e.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.run", Input: hosttest.Steps(), Actor: "operator", Project: p})
		if err != nil {
			t.Fatal(err)
		}
		if p == "a" {
			want = append(want, a.ID)
		}
	}
	var got []string
	for after, full := "", true; full; {
		var page api.List[api.QueueJob]
		if err := json.Unmarshal([]byte(bodyOf(t, e.ask("GET", "/queue/jobs?project=a&limit=2&after="+after, ""))), &page); err != nil {
			t.Fatal(err)
		}
		for _, job := range page.Items {
			after = job.ID
			got = append(got, job.ID)
		}
		full = len(page.Items) == 2
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of two gave %v, want %v", got, want)
	}
}

func TestProjectsOverHTTP(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.Keeper(t))
	e.Keep("a", hosttest.Step{"put", "k", "v"})
	op := []string{"Authorization", "Bearer " + e.token, "Content-Type", "application/json"}
	if resp := e.ask("POST", "/projects", `{"id":"report","title":"the report"}`, op...); resp.StatusCode != 201 {
		t.Fatalf("create: %d %s", resp.StatusCode, bodyOf(t, resp))
	}
	if p := problem(t, e.ask("POST", "/projects", `{"id":"report"}`, op...)); p.Code != abi.Conflict.String() {
		t.Errorf("twice: %+v", p)
	}
	for _, headers := range [][]string{{"Content-Type", "application/json"}} { // whoever is at this machine is an agent
		for _, body := range []string{`{"id":"x"}`} {
			if p := problem(t, e.ask("POST", "/projects", body, headers...)); p.Code != abi.Unauthenticated.String() {
				t.Errorf("without a token: %+v", p)
			}
		}
		if p := problem(t, e.ask("POST", "/projects/exports", `{"from":"a","to":"report","pack":"test/keeper","what":"kv:"}`, headers...)); p.Code != abi.Unauthenticated.String() {
			t.Errorf("without a token: %+v", p)
		}
	}
	var made api.ProjectExport
	resp := e.ask("POST", "/projects/exports", `{"from":"a","to":"report","pack":"test/keeper","what":"kv:k","ttl":"1h","reason":"to quote it"}`, op...)
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != 201 || made.State != "live" {
		t.Fatalf("export: %d %+v %v", resp.StatusCode, made, err)
	}
	if got := e.Keep("report", hosttest.Step{"get", "//a/k"})[0]; got != "v" {
		t.Errorf("under the export: %q", got)
	}
	var show api.ShowProject
	if err := json.Unmarshal([]byte(bodyOf(t, e.ask("GET", "/projects/report", ""))), &show); err != nil || len(show.In) != 1 || show.In[0].ID != made.ID || len(show.Out) != 0 {
		t.Errorf("show: %+v %v", show, err)
	}
	hosttest.Eventually(t, "the document has it", func() bool {
		doc, err := e.Services().View.Get(t.Context(), "projects")
		return err == nil && strings.Contains(string(doc.Body), made.ID) && strings.Contains(string(doc.Body), `"the report"`)
	})
	if resp := e.ask("DELETE", "/projects/exports/"+made.ID+"?reason=enough", "", op...); resp.StatusCode != 200 {
		t.Fatalf("revoke: %d %s", resp.StatusCode, bodyOf(t, resp))
	}
	if got := e.Keep("report", hosttest.Step{"get", "//a/k"})[0]; got != "!lease_revoked" {
		t.Errorf("after it: %q", got)
	}
	for what, code := range map[string]abi.Code{
		`"from":"a","to":"a","what":"kv:"`: abi.Invalid, `"from":"a","to":"","what":"kv:"`: abi.Invalid, `"from":"a","to":"b","what":"kv:*"`: abi.Invalid,
		`"from":"a","to":"b","what":"files:/"`: abi.Invalid, `"from":"a","to":"b","what":"files:relative"`: abi.Invalid, `"from":"a","to":"b","what":"files:/a/../b"`: abi.Invalid,
		`"from":"a","to":"b","what":"all"`: abi.Invalid, `"from":"a","to":"b","what":"kv:","ttl":"never"`: abi.Invalid, `"from":"a","to":"b","what":"kv:","ttl":"1ns"`: abi.Invalid,
		`"from":"A","to":"b","what":"kv:"`: abi.Invalid, `"from":"a:b","to":"b","what":"kv:"`: abi.Invalid,
	} {
		if p := problem(t, e.ask("POST", "/projects/exports", `{"pack":"test/keeper",`+what+`}`, op...)); p.Code != code.String() {
			t.Errorf("%s: %+v", what, p)
		}
	}
	kinds := map[string]int{}
	for _, r := range e.Events(journal.Filter{Prefixes: []string{"project."}}) {
		kinds[r.Kind]++
	}
	if kinds["project.created"] != 2 || kinds["project.export.created"] != 1 || kinds["project.export.revoked"] != 1 {
		t.Errorf("events: %v", kinds)
	}
	// A project's name is no way to be the operator of one.
	for _, body := range []string{`{"name":"x","role":"operator","project":"a"}`, `{"name":"x","role":"user","project":"default"}`, `{"name":"x","role":"user","project":"A"}`} {
		if p := problem(t, e.ask("POST", "/access/tokens", body, op...)); p.Code != abi.Invalid.String() {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	return string(readAll(t, resp.Body))
}
