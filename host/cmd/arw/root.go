package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/client"
)

// app is one run of the command.
type app struct {
	std   streams
	json  bool
	plain bool
	state string
	host  string
	token string
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "arw",
		Short: "Run signed WebAssembly packs under leases",
		Long: `arw runs packs: WebAssembly modules that do nothing unless their signature satisfies your trust policy,
Cedar admits them, and a live lease covers the call.

Start here:
  arw demo                      see the whole path in seconds, in a throw-away folder
  arw serve                     run the host
  arw install arw/research      install a pack from the registry
  arw call research.search '{"query":"..."}'
  arw why arw/research          who signed it, what decided, what it may and may not do`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print JSON instead of text")
	f.BoolVar(&a.plain, "no-color", false, "no colour and no progress bars")
	f.StringVar(&a.state, "state", "", "state directory (default $ARW_STATE_DIR, else ~/.local/state/arw)")
	f.StringVar(&a.host, "host", "", "address of a running host (default $ARW_HOST, else the one in the state directory)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{err.Error(), fmt.Sprintf("see \"%s --help\"", c.CommandPath())}
	})
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "packs", Title: "Packs:"},
		&cobra.Group{ID: "authority", Title: "Authority:"}, &cobra.Group{ID: "logic", Title: "Logic:"}, &cobra.Group{ID: "look", Title: "Look:"})
	for group, cmds := range map[string][]*cobra.Command{
		"run":       {a.serveCmd(), a.safeModeCmd(), a.demoCmd(), a.callCmd(), a.replayCmd(), a.mcpCmd(), a.queueCmd(), a.scheduleCmd(), a.actionCmd(), a.modelCmd(), a.runtimeCmd()},
		"packs":     {a.packCmd(), a.installCmd(), a.listCmd(), a.showCmd(), a.removeCmd(), a.registryCmd(), a.bundleCmd()},
		"logic":     {a.unitCmd(), a.configCmd(), a.experimentCmd()},
		"authority": {a.projectCmd(), a.quarantineCmd(), a.worldCmd(), a.leaseCmd(), a.promptsCmd(), a.policyCmd(), a.quotaCmd(), a.recallCmd(), a.capsuleCmd(), a.secretCmd(), a.tokenCmd(), a.egressCmd(), a.trustCmd(), a.verifyCmd(), a.keyCmd()},
		"look":      {a.whyCmd(), a.eventsCmd(), a.journalCmd(), a.backupCmd(), a.doctorCmd(), a.actionsCmd(), a.usageCmd(), a.benchCmd()},
	} {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(a.onnxWorkerCmd())
	teach(root)
	return root
}

// teach makes every command answer a wrong number of arguments with its own usage line, and a folder of commands answer
// an unknown one.
func teach(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return &usageError{err.Error(), "usage: " + c.UseLine()}
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil {
		c.Args = nil
		c.RunE = func(c *cobra.Command, given []string) error {
			if len(given) == 0 {
				return c.Help()
			}
			return &usageError{fmt.Sprintf("there is no command %q", c.CommandPath()+" "+given[0]), fmt.Sprintf("see \"%s --help\"", c.CommandPath())}
		}
	}
	for _, sub := range c.Commands() {
		teach(sub)
	}
}

// stateDir is where the host's state is, by flag, environment or convention.
func (a *app) stateDir() (string, error) {
	dir := a.state
	if dir == "" {
		dir = a.std.env("ARW_STATE_DIR")
	}
	if dir == "" {
		if base := a.std.env("XDG_STATE_HOME"); base != "" {
			dir = filepath.Join(base, "arw")
		} else if home := a.std.env("HOME"); home != "" {
			dir = filepath.Join(home, ".local", "state", "arw")
		}
	}
	if dir == "" {
		return "", abi.Errorf(abi.Invalid, "find the state directory: neither --state, ARW_STATE_DIR nor HOME is set").
			WithHint("name one with --state DIR")
	}
	return filepath.Abs(dir)
}

// client speaks to the running host. The address and the operator's token come from the state directory when they are
// not given; a token that cannot be read is no error until the host asks for one.
func (a *app) client() (*client.Client, error) {
	base, token := a.host, a.token
	if base == "" {
		base = a.std.env("ARW_HOST")
	}
	if token == "" {
		token = a.std.env("ARW_TOKEN")
	}
	dir, err := a.stateDir()
	if err != nil && base == "" {
		return nil, err
	}
	if base == "" {
		raw, err := os.ReadFile(filepath.Join(dir, addressFile))
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "find the host: none has left its address in %q", dir).
				WithHint("start it with \"arw serve\", or name it with --host http://127.0.0.1:8091")
		}
		base = strings.TrimSpace(string(raw))
	}
	if token == "" && dir != "" {
		if raw, err := os.ReadFile(filepath.Join(dir, "operator.token")); err == nil {
			token = strings.TrimSpace(string(raw))
		}
	}
	if !strings.Contains(base, "://") && !strings.HasPrefix(base, "unix:") {
		base = "http://" + base
	}
	return client.New(base, token), nil
}

// print writes one answer: JSON when asked for, else as text has it.
func (a *app) print(doc any, text func(ui) error) error {
	if !a.json {
		return text(a.ui(a.std.out))
	}
	enc := json.NewEncoder(a.std.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}
