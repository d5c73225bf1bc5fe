package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
)

// scenarios of the public runner that speak of what this server offers. It offers tools whose results are text and
// objects; so those about images, audio, embedded resources, resources, prompts, completion, sampling, elicitation and
// log messages are not asked.
var scenarios = []string{
	"server-initialize", "ping", "logging-set-level", "tools-list", "tools-call-simple-text", "tools-call-error", "tools-call-with-progress",
	"json-schema-2020-12", "server-sse-multiple-streams", "dns-rebinding-protection",
}

// TestConformance runs the public conformance runner, where "make mcp-conformance" has put it.
func TestConformance(t *testing.T) {
	dir := os.Getenv("ARW_MCP_CONFORMANCE")
	if dir == "" {
		t.Skip("the runner is not here: make mcp-conformance")
	}
	_, url := connect(t, newFake(runnersTools()...).answering(), nil)
	node := filepath.Join(dir, "node_modules", "node", "bin", "node")
	index := filepath.Join(dir, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")
	for _, name := range scenarios {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), node, index, "server", "--url", url, "--scenario", name).CombinedOutput()
			_, result, found := bytes.Cut(out, []byte("Test Results:"))
			if err != nil || !found || strings.Contains(string(result), "Passed: 0/") {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", bytes.TrimSpace(result))
		})
	}
}

// runnersTools are the tools that the runner calls by their names.
func runnersTools() []Tool {
	object := json.RawMessage(`{"type":"object"}`)
	schema := json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
		"$defs":{"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
		"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"}},"additionalProperties":false}`)
	var tools []Tool
	for _, name := range []string{"test_simple_text", "test_error_handling", "test_tool_with_progress"} {
		tools = append(tools, Tool{ID: name, Pack: "test/runner", Digest: "sha256:1", Description: "For the runner.", Effects: "reads", Input: object})
	}
	return append(tools, Tool{ID: "json_schema_2020_12_tool", Pack: "test/runner", Digest: "sha256:1", Description: "Tool with JSON Schema 2020-12 features", Effects: "reads", Input: schema})
}

// answering makes the fake do what the runner's scenarios ask of the tools.
func (f *fake) answering() *fake {
	f.call = func(_ context.Context, c Call) (Result, error) {
		switch c.Tool {
		case "test_error_handling":
			return Result{}, abi.Errorf(abi.ToolFailed, "This tool intentionally returns an error for testing")
		case "test_tool_with_progress":
			for _, done := range []float64{0, 50, 100} {
				c.Step(Step{Counted: true, Done: done, Total: 100})
			}
		}
		return Result{JSON: json.RawMessage(`"This is a simple text response for testing."`)}, nil
	}
	return f
}
