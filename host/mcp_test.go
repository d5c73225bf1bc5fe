package host_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

// holdKV lets whoever wants keys be asked for.
const holdKV = `@id("hold-kv")
@mode("ask")
@hold("5m")
@reason("keys are asked for on this host")
permit (principal, action == Action::"link", resource == Capability::"kv");
`

// What stands in the journal of a call reaches its client while the call runs: that it waits, for which question, and that
// it goes on. Nothing that the client said answered the question.
func TestAnMCPClientSeesThatAPersonIsAsked(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Policies: map[string]string{"hold.cedar": holdKV}})
	h.Install(hosttest.SinkPack(t))
	notes := make(chan *mcp.ProgressNotificationParams, 64)
	session := mcpClient(t, h, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { notes <- r.Params }})
	answered := make(chan error, 1)
	go func() {
		for n := range notes {
			id, _ := n.Meta["arw/prompt"].(string)
			if id == "" {
				continue
			}
			_, err := h.Services().Packs.Answer(context.Background(), "", "operator", id, true, "calls=9", "for the test", nil)
			answered <- err
			return
		}
	}()
	params := &mcp.CallToolParams{Name: "sink.put", Arguments: map[string]any{"key": "a", "val": "b"}}
	params.SetProgressToken(7)
	res, err := session.CallTool(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if res.IsError {
		t.Fatalf("after the answer: %+v", res.Content[0])
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	for n := range notes {
		if n.Message == "a person said yes" {
			break // what stands in the journal before the answer comes before it
		}
	}
	for _, r := range h.Events(journal.Filter{Prefixes: []string{"leases.granted"}}) {
		if strings.HasPrefix(r.Actor, "agent:") {
			t.Errorf("an agent granted: %+v", r)
		}
	}
}

// What the host describes at /spec/mcp.json is what a client lists, before and after packs come and go.
func TestTheMCPListIsTheLiveTools(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Stopped: true})
	h.Install(hosttest.SinkPack(t))
	base, _ := serveAll(t, h)
	changed := make(chan struct{}, 8)
	session := mcpClient(t, h, &mcp.ClientOptions{ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} }})
	same := func() int {
		t.Helper()
		res, err := session.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		listed, err := json.Marshal(map[string]any{"tools": res.Tools})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(base + "/spec/mcp.json")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var doc struct {
			Tools []*mcp.Tool `json:"tools"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		described, _ := json.Marshal(map[string]any{"tools": doc.Tools})
		if string(listed) != string(described) {
			t.Errorf("a client sees\n%s\nand the host describes\n%s", listed, described)
		}
		return len(res.Tools)
	}
	if n := same(); n < 10 {
		t.Errorf("there are %d tools", n)
	}
	if err := h.Services().Packs.Remove(t.Context(), "test/sink", pack.Options{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if n := same(); n != 0 {
		t.Errorf("of a pack that is gone there are %d tools", n)
	}
}

// mcpClient speaks to a host's MCP listener.
func mcpClient(t *testing.T, h *hosttest.Host, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.ServeMCP(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve MCP: %v", err)
		}
	})
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://" + ln.Addr().String() + "/mcp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}
