package mcp

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/abi"
)

func TestStepOf(t *testing.T) {
	t.Parallel()
	cases := []struct {
		kind, body string
		want       Step
		is         bool
	}{
		{"actions.running", `{"id":"act_1"}`, Step{Message: "running"}, true},
		{"policy.allow", `{"id":"prm_1"}`, Step{Message: "a person said yes"}, true},
		{"research.progress", `{"progress":3,"total":9,"message":"pages"}`, Step{Counted: true, Done: 3, Total: 9, Message: "pages"}, true},
		{"research.ingest.progress", `{"progress":0}`, Step{Counted: true}, true},
		{"research.progress", `{"total":9}`, Step{}, false},
		{"research.progress", `{"progress":"3"}`, Step{}, false},
		{"research.ingested", `{"progress":3}`, Step{}, false},
		{"policy.prompt", `{}`, Step{}, false},
		{"actions.completed", `{}`, Step{}, false},
	}
	for _, c := range cases {
		if got, is := StepOf(c.kind, json.RawMessage(c.body)); got != c.want || is != c.is {
			t.Errorf("%s %s: got %+v %v", c.kind, c.body, got, is)
		}
	}
	got, is := StepOf("policy.prompt", json.RawMessage(`{"id":"prm_1","pack":"acme/x","capability":"fs"}`))
	if !is || got.Prompt != "prm_1" || !strings.Contains(got.Message, "arw prompts show prm_1") {
		t.Errorf("a prompt is %+v", got)
	}
}

// A client that gives a token hears of every step, and the numbers only grow, whatever the tool counts.
func TestProgressReachesTheClient(t *testing.T) {
	t.Parallel()
	f := newFake(search)
	f.call = func(_ context.Context, c Call) (Result, error) {
		for _, s := range []Step{
			{Message: "running"}, {Counted: true, Done: 1, Total: 3, Message: "one"}, {Counted: true, Done: 1, Message: "again"},
			{Counted: true, Done: 0.5, Message: "back"}, {Prompt: "prm_7", Message: "waiting"}, {Counted: true, Done: 3, Total: 3, Message: "three"},
		} {
			c.Step(s)
		}
		return Result{JSON: json.RawMessage(`{}`)}, nil
	}
	notes := make(chan *sdk.ProgressNotificationParams, 16)
	session, _ := connect(t, f, &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { notes <- r.Params }})
	params := &sdk.CallToolParams{Name: search.ID, Arguments: map[string]any{"query": "x"}}
	params.SetProgressToken("tok")
	if res, err := session.CallTool(t.Context(), params); err != nil || res.IsError {
		t.Fatal(err, res)
	}
	var said []string
	last := -1.0
	for range 4 {
		n := <-notes
		if n.ProgressToken != "tok" || n.Progress <= last {
			t.Errorf("a note is %+v after %v", n, last)
		}
		if n.Message == "waiting" && n.Meta[MetaPrompt] != "prm_7" {
			t.Errorf("the prompt is not named: %+v", n)
		}
		last, said = n.Progress, append(said, n.Message)
	}
	if want := []string{"running", "one", "waiting", "three"}; !slices.Equal(said, want) || last != 3 {
		t.Errorf("it heard %q up to %v, want %q", said, last, want)
	}
}

// A client that cannot know that a person is asked gets the reference of the question, and no grant; one that can waits.
func TestAPromptIsNamed(t *testing.T) {
	t.Parallel()
	f := newFake(search)
	over := make(chan struct{}, 2)
	f.call = func(ctx context.Context, c Call) (Result, error) {
		c.Step(Step{Prompt: "prm_1", Message: "waiting for a person"})
		if c.Input != nil && strings.Contains(string(c.Input), "answered") {
			c.Step(Step{Message: "a person said yes"})
			return Result{JSON: json.RawMessage(`{}`)}, nil
		}
		<-ctx.Done()
		over <- struct{}{}
		return Result{}, ctx.Err()
	}
	session, _ := connect(t, f, nil)
	call := func(query string) *sdk.CallToolResult {
		t.Helper()
		res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: search.ID, Arguments: map[string]any{"query": query}})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := call("x")
	<-over // the action is not left behind
	if !res.IsError || res.Meta[MetaPrompt] != "prm_1" || res.Meta["arw/code"] != "denied" || !strings.Contains(said(res), "arw prompts allow prm_1") {
		t.Errorf("it was told %+v %s", res.Meta, said(res))
	}
	if res := call("answered"); res.IsError {
		t.Errorf("an answer that came was not waited for: %s", said(res))
	}
	f.call = func(context.Context, Call) (Result, error) {
		return Result{}, abi.Errorf(abi.Denied, "nobody answered").WithDetail(json.RawMessage(`{"id":"prm_2","state":"expired"}`))
	}
	if res := call("x"); res.Meta[MetaPrompt] != "prm_2" {
		t.Errorf("a refusal by a prompt names it not: %+v", res.Meta)
	}
	f.call = func(context.Context, Call) (Result, error) {
		return Result{}, abi.Errorf(abi.Denied, "no lease").WithDetail(json.RawMessage(`{"id":"lse_2"}`))
	}
	if res := call("x"); res.Meta[MetaPrompt] != nil {
		t.Errorf("another refusal names a prompt: %+v", res.Meta)
	}
}

// Only tools that keep sessions are told of one: the others would refuse the call.
func TestSessionsAreForToolsThatKeepThem(t *testing.T) {
	t.Parallel()
	keeps := search
	keeps.ID, keeps.Sessions = "research.chat", true
	f := newFake(search, keeps)
	got := map[string]string{}
	f.call = func(_ context.Context, c Call) (Result, error) {
		got[c.Tool] = c.Session
		return Result{JSON: json.RawMessage(`{}`)}, nil
	}
	session, _ := connect(t, f, nil)
	for _, name := range []string{search.ID, keeps.ID} {
		if _, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: map[string]any{"query": "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	if got[search.ID] != "" || got[keeps.ID] != session.ID() || session.ID() == "" {
		t.Errorf("sessions were %q of %q", got, session.ID())
	}
}
