package mcp

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// fake is a host with tools that a test may exchange.
type fake struct {
	mu      sync.Mutex
	tools   []Tool
	changed func()
	watched chan struct{}
	call    func(context.Context, Call) (Result, error)
}

func (f *fake) Tools(context.Context) ([]Tool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tools), nil
}

func (f *fake) Call(ctx context.Context, c Call) (Result, error) { return f.call(ctx, c) }

func (f *fake) Watch(ctx context.Context, changed func()) error {
	f.mu.Lock()
	f.changed = changed
	f.mu.Unlock()
	close(f.watched)
	<-ctx.Done()
	return ctx.Err()
}

func (f *fake) set(tools ...Tool) {
	f.mu.Lock()
	f.tools = tools
	changed := f.changed
	f.mu.Unlock()
	changed()
}

var search = Tool{
	ID: "research.search", Pack: "arw/research", Digest: "sha256:1", Title: "Search", Description: "Finds passages.", Effects: "reads",
	Input:  json.RawMessage(`{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}`),
	Output: json.RawMessage(`{"type":"object"}`),
}

func newFake(tools ...Tool) *fake {
	return &fake{tools: tools, watched: make(chan struct{}), call: func(_ context.Context, c Call) (Result, error) {
		return Result{Action: "act_1", JSON: json.RawMessage(`{"tool":"` + c.Tool + `","input":` + string(c.Input) + `}`)}, nil
	}}
}

// connect speaks to a server over HTTP as a client does.
func connect(t *testing.T, f *fake, o *sdk.ClientOptions) (*sdk.ClientSession, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(f, Options{Version: "test", Patience: time.Millisecond}).Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	<-f.watched // the first list is made
	url := "http://" + ln.Addr().String() + Path
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, url
}

func list(t *testing.T, s *sdk.ClientSession) []*sdk.Tool {
	t.Helper()
	res, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.Tools
}

func said(r *sdk.CallToolResult) string {
	var all []string
	for _, c := range r.Content {
		if text, ok := c.(*sdk.TextContent); ok {
			all = append(all, text.Text)
		}
	}
	return strings.Join(all, "\n")
}

func TestToolsAreTheManifests(t *testing.T) {
	t.Parallel()
	wild := Tool{ID: "web.post", Pack: "acme/web", Digest: "sha256:2", Description: "Posts.", Effects: "open_world", Input: json.RawMessage(`true`), Output: json.RawMessage(`{"type":"string"}`)}
	session, _ := connect(t, newFake(search, wild), nil)
	tools := list(t, session)
	if len(tools) != 2 {
		t.Fatalf("there are %d tools", len(tools))
	}
	s, w := tools[0], tools[1]
	if s.Name != search.ID || s.Title != "Search" || s.Description != search.Description || !s.Annotations.ReadOnlyHint || *s.Annotations.OpenWorldHint || s.OutputSchema == nil {
		t.Errorf("the search is %+v %+v", s, s.Annotations)
	}
	if s.Meta["arw/pack"] != "arw/research" || s.Meta["arw/digest"] != "sha256:1" {
		t.Errorf("its meta is %v", s.Meta)
	}
	schema, _ := json.Marshal(s.InputSchema)
	if !strings.Contains(string(schema), `"required":["query"]`) {
		t.Errorf("its input is %s", schema)
	}
	if w.Annotations.ReadOnlyHint || !*w.Annotations.DestructiveHint || !*w.Annotations.OpenWorldHint || w.OutputSchema != nil {
		t.Errorf("the post is %+v %+v", w, w.Annotations)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		result Result
		err    error
		is     bool // an error
		says   []string
		not    string
	}{
		{"an object", Result{Action: "act_1", JSON: json.RawMessage(`{"n":9007199254740993}`)}, nil, false, []string{`{"n":9007199254740993}`}, ""},
		{"another value", Result{JSON: json.RawMessage(`[1]`)}, nil, false, []string{"[1]"}, ""},
		{"bytes", Result{Bytes: []byte{0, 255}}, nil, false, []string{"AP8="}, ""},
		{"denied", Result{}, abi.Errorf(abi.Denied, "use fs").WithHint("arw lease grant arw/research fs"), true, []string{"denied: use fs", "next: arw lease grant arw/research fs", "no tool can do it"}, ""},
		{"failed", Result{}, abi.Errorf(abi.ToolFailed, "no such city"), true, []string{"tool_failed: no such city"}, "no tool can do it"},
		{"our fault", Result{}, abi.Errorf(abi.Internal, "nil pointer in /secret/path"), true, []string{"internal"}, "/secret/path"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(search)
			f.call = func(context.Context, Call) (Result, error) { return c.result, c.err }
			session, _ := connect(t, f, nil)
			res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: search.ID, Arguments: map[string]any{"query": "x"}})
			if err != nil {
				t.Fatal(err)
			}
			text := said(res)
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q: %s", want, text)
				}
			}
			if object := len(c.result.JSON) > 0 && c.result.JSON[0] == '{'; object != (res.StructuredContent != nil) {
				t.Errorf("its structured content is %v", res.StructuredContent)
			}
			if res.IsError != c.is || c.not != "" && strings.Contains(text, c.not) {
				t.Errorf("error %v: %s", res.IsError, text)
			}
		})
	}
}

func TestAClientThatGoesAwayCancelsItsCall(t *testing.T) {
	t.Parallel()
	f := newFake(search)
	began, ended := make(chan struct{}), make(chan error, 1)
	f.call = func(ctx context.Context, _ Call) (Result, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return Result{}, ctx.Err()
	}
	session, _ := connect(t, f, nil)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-began
		stop()
	}()
	if _, err := session.CallTool(ctx, &sdk.CallToolParams{Name: search.ID}); err == nil {
		t.Error("the call ended well")
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the call was not cancelled")
	}
}

func TestAToolThatChangedIsRefusedUntilItIsListedAgain(t *testing.T) {
	t.Parallel()
	f := newFake(search)
	told := make(chan struct{}, 8)
	session, _ := connect(t, f, &sdk.ClientOptions{ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { told <- struct{}{} }})
	first := list(t, session)
	call := func(meta sdk.Meta) *sdk.CallToolResult {
		t.Helper()
		res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: search.ID, Arguments: map[string]any{"query": "x"}, Meta: meta})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := call(nil); res.IsError {
		t.Fatalf("before: %s", said(res))
	}
	upgraded := search
	upgraded.Digest = "sha256:other"
	f.set(upgraded)
	<-told
	if res := call(nil); !res.IsError || !strings.Contains(said(res), "its pack changed") {
		t.Errorf("a tool that changed was called: %s", said(res))
	}
	list(t, session)
	if res := call(nil); res.IsError {
		t.Errorf("after listing again: %s", said(res))
	}
	if res := call(sdk.Meta{MetaDefinition: first[0].Meta[MetaDefinition]}); !res.IsError {
		t.Error("a call that names the old definition was made")
	}
	f.set()
	<-told
	if tools := list(t, session); len(tools) != 0 {
		t.Errorf("a removed pack's tools are listed: %v", tools)
	}
}

// Pages in a browser reach this machine's ports: they must not reach its tools.
func TestPagesAreKeptOut(t *testing.T) {
	t.Parallel()
	_, url := connect(t, newFake(search), nil)
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`
	for name, change := range map[string]func(*http.Request){
		"another name for this machine": func(r *http.Request) { r.Host = "evil.example:80" },
		"a page of another site": func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"an old browser's page": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
}

// headers sends a header with every request of a client.
type headers struct{ name, value string }

func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.name, h.value)
	return http.DefaultTransport.RoundTrip(r)
}

// A client names its project in the address that it was given, or with a header; it is that of its calls and of no others.
func TestAClientNamesItsProject(t *testing.T) {
	t.Parallel()
	f := newFake(search)
	f.call = func(_ context.Context, c Call) (Result, error) {
		return Result{Action: "act_1", JSON: json.RawMessage(`{"in":"` + c.Project + `"}`)}, nil
	}
	plain, url := connect(t, f, nil)
	call := func(s *sdk.ClientSession) string {
		t.Helper()
		got, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "research.search", Arguments: map[string]any{"query": "x"}})
		if err != nil {
			t.Fatal(err)
		}
		return said(got)
	}
	dial := func(endpoint string, c *http.Client) *sdk.ClientSession {
		t.Helper()
		s, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: endpoint, HTTPClient: c}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	addressed, headed := dial(url+"?project=notes", nil), dial(url, &http.Client{Transport: headers{api.HeaderProject, "report"}})
	for range 2 {
		if a, b, c := call(plain), call(addressed), call(headed); a != `{"in":""}` || b != `{"in":"notes"}` || c != `{"in":"report"}` {
			t.Fatalf("got %s, %s and %s", a, b, c)
		}
	}
}
