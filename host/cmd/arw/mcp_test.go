package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
)

// mcp FILE list | mcp FILE call TOOL JSON starts "arw mcp" as a client of the protocol does, asks it one thing, and
// writes the answer to FILE.
func mcpClient(ts *testscript.TestScript, _ bool, args []string) {
	out, err := askMCP(ts, args[1:])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out), 0o644))
}

func askMCP(ts *testscript.TestScript, args []string) (string, error) {
	ctx := context.Background()
	cmd := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "arw"), "mcp")
	for _, name := range []string{"PATH", "HOME", "ARW_STATE_DIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Stderr = ts.Stderr()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "story", Version: "1"}, nil).Connect(ctx, &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer session.Close()
	if args[0] == "list" {
		res, err := session.ListTools(ctx, nil)
		if err != nil {
			return "", err
		}
		text := ""
		for _, t := range res.Tools {
			text += fmt.Sprintf("%s  read only: %v  %v  %s\n", t.Name, t.Annotations.ReadOnlyHint, t.Meta["arw/pack"], t.Description)
		}
		return text, nil
	}
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: args[1], Arguments: json.RawMessage(args[2])})
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("error: %v\n", res.IsError)
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			text += t.Text + "\n"
		}
	}
	return text, nil
}
