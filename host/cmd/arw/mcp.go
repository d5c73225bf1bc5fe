package main

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/mcp"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) mcpCmd() *cobra.Command {
	var in string
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Offer the tools of installed packs to an MCP client on standard input and output",
		Long: `Offer the tools of installed packs to a client of the Model Context Protocol. The client starts this command and speaks
to it on standard input and output; the command speaks to the running host, as an agent and never with the operator's token.
Nothing a client can ask for widens what a pack may do: a denial tells which command you have to type.

  arw mcp config claude-code      prints what to type, or to paste, for your client`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agentClient()
			if err != nil {
				return err
			}
			return mcp.New(bridge{c}, mcp.Options{Version: version, Project: in}).Stdio(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&in, "project", "", "project of the client's calls")
	cmd.AddCommand(a.mcpConfigCmd())
	return cmd
}

// agentClient speaks to the host without the operator's token: a client of MCP is an agent.
func (a *app) agentClient() (*client.Client, error) {
	with, err := a.client()
	if err != nil {
		return nil, err
	}
	return client.New(with.Base(), ""), nil
}

// bridge is a running host as the MCP server sees it.
type bridge struct{ host *client.Client }

// Tools implements mcp.Backend.
func (b bridge) Tools(ctx context.Context) ([]mcp.Tool, error) {
	var doc api.List[pack.Info]
	if err := b.host.List(ctx, "packs", url.Values{}, &doc); err != nil {
		return nil, err
	}
	return mcp.Offered(doc.Items), nil
}

// Call implements mcp.Backend.
func (b bridge) Call(ctx context.Context, c mcp.Call) (mcp.Result, error) {
	health, err := b.host.Health(ctx)
	if err != nil {
		return mcp.Result{}, err
	}
	act, err := b.host.Submit(ctx, api.SubmitAction{Kind: c.Tool, Input: c.Input, Session: c.Session, Project: c.Project}, false)
	if err == nil && !act.Final() {
		told := b.tell(ctx, act.ID, health.Events, c.Step)
		defer told()
		if act, err = b.host.Await(ctx, act.ID); err != nil {
			grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			_, _ = b.host.Cancel(grace, act.ID) // it may have ended meanwhile; the caller is gone either way
		}
	}
	switch {
	case err != nil:
		return mcp.Result{}, err
	case act.Error != nil:
		return mcp.Result{}, act.Error.Err()
	case act.Bytes != nil:
		return mcp.Result{Action: act.ID, Bytes: act.Bytes}, nil
	}
	return mcp.Result{Action: act.ID, JSON: act.Output}, nil
}

// tell passes the events of an action behind from on as steps until the action is over; the function it returns waits for that, for two
// seconds at most: news are a courtesy, and the answer is there.
func (b bridge) tell(ctx context.Context, id string, from int64, step func(mcp.Step)) (end func()) {
	follow, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev, err := range b.host.Events(follow, client.Follow{Action: id, After: from}) {
			if err != nil || ev.Kind == "actions.completed" || ev.Kind == "actions.failed" || ev.Kind == "actions.cancelled" {
				return
			}
			if s, ok := mcp.StepOf(ev.Kind, ev.Body); ok {
				step(s)
			}
		}
	}()
	return func() {
		defer stop()
		select {
		case <-done:
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
		stop()
		<-done
	}
}

// Watch implements mcp.Backend.
func (b bridge) Watch(ctx context.Context, changed func()) error {
	for _, err := range b.host.Events(ctx, client.Follow{Prefixes: []string{"pack."}}) {
		if err != nil {
			return err
		}
		changed()
	}
	return nil
}

// mcpClients is how each client is told of a server, by the name one types.
var mcpClients = map[string]struct{ how, text string }{
	"claude-code":    {"run", `claude mcp add arw -- {{command}}`},
	"claude-desktop": {"add to claude_desktop_config.json", `{"mcpServers":{"arw":{{object}}}}`},
	"codex":          {"add to ~/.codex/config.toml", "[mcp_servers.arw]\ncommand = {{exe}}\nargs = {{args}}"},
	"cursor":         {"add to .cursor/mcp.json", `{"mcpServers":{"arw":{{object}}}}`},
	"gemini":         {"run", `gemini mcp add arw {{command}}`},
	"vscode":         {"add to .vscode/mcp.json", `{"servers":{"arw":{{object}}}}`},
	"json":           {"the server, for any other client", `{{object}}`},
}

func (a *app) mcpConfigCmd() *cobra.Command {
	names := sortedKeys(mcpClients)
	return &cobra.Command{
		Use:       "config CLIENT",
		Short:     "Print how a client is told of arw: " + strings.Join(names, ", "),
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			c, ok := mcpClients[args[0]]
			if !ok {
				return &usageError{"there is no client " + args[0] + " in the list", "the clients are " + strings.Join(names, ", ")}
			}
			text, err := a.mcpConfig(c.text)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"client": args[0], "how": c.how, "text": text}, func(u ui) error {
				a.ui(a.std.err).say("%s:", c.how)
				u.say("%s", text)
				return nil
			})
		},
	}
}

// mcpConfig fills a client's text with the way to start this command against this state directory.
func (a *app) mcpConfig(text string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", abi.Errorf(abi.Unavailable, "find this program: %w", err)
	}
	dir, err := a.stateDir()
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	args := []string{"--state", dir, "mcp"}
	object, _ := json.Marshal(map[string]any{"command": exe, "args": args}) // strings always marshal
	exeText, _ := json.Marshal(exe)
	argsText, _ := json.Marshal(args)
	return strings.NewReplacer("{{object}}", string(object), "{{exe}}", string(exeText), "{{args}}", string(argsText),
		"{{command}}", strings.Join(slices.Concat([]string{shellWord(exe)}, []string{"--state", shellWord(dir), "mcp"}), " ")).Replace(text), nil
}

// shellWord quotes a word for a shell when it needs that.
func shellWord(s string) string {
	if !strings.ContainsAny(s, " '\"$\\&|;<>()*?[]#~`!\t\n") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
