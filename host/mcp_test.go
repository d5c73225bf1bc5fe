package host_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
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
