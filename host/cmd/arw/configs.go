package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "See what the configuration is and why, change it by hand, go back",
		Long: `Configuration is a set of documents with a schema each. What a unit or a person changes lies on top of the defaults;
every value tells to what it is due, and every version can be gone back to.`,
	}
	cmd.AddCommand(a.configShowCmd(), a.configSetCmd(), a.configRevertCmd(), a.historyCmd())
	return cmd
}

func (a *app) configShowCmd() *cobra.Command {
	var project, agent string
	var version int64
	cmd := &cobra.Command{
		Use: "show [DOCUMENT]", Short: "Show the documents as a project and an agent see them, with the origin of each value", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{"project": {project}, "agent": {agent}, "origins": {"true"}}
			if len(args) > 0 {
				q.Set("target", args[0])
			}
			if version >= 0 {
				q.Set("version", strconv.FormatInt(version, 10))
			}
			var raw json.RawMessage
			if err := c.State(cmd.Context(), "config", q, &raw); err != nil {
				return err
			}
			return a.print(raw, func(u ui) error { return tellConfig(u, raw) })
		},
	}
	cmd.Flags().StringVar(&project, "project", "", "as this project sees them")
	cmd.Flags().StringVar(&agent, "agent", "", "as this agent sees them")
	cmd.Flags().Int64Var(&version, "version", -1, "as they were at this version (default now)")
	return cmd
}

func tellConfig(u ui, raw json.RawMessage) error {
	var doc struct {
		Version int64
		Items   []struct {
			Target, Digest string
			Body           map[string]json.RawMessage
			Origins        map[string]originInfo
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	u.say("%s", u.dim("version "+strconv.FormatInt(doc.Version, 10)))
	for _, d := range doc.Items {
		u.say("%s  %s", u.bold(d.Target), u.dim(shortDigest(d.Digest)))
		var rows [][]string
		for _, name := range sortedKeys(d.Body) {
			rows = append(rows, []string{"  " + name, string(d.Body[name]), originUnder(d.Origins, "/"+name)})
		}
		if err := u.table([]string{"  VALUE", "", "DUE TO"}, rows); err != nil {
			return err
		}
	}
	return nil
}

// originUnder names everything that has a part in a value.
func originUnder(origins map[string]originInfo, at string) string {
	var all []string
	for _, place := range sortedKeys(origins) {
		if place == at || strings.HasPrefix(place, at+"/") {
			all = append(all, origins[place].String())
		}
	}
	if len(all) == 0 {
		return origins[""].String()
	}
	return strings.Join(all, ", ")
}

func (a *app) configSetCmd() *cobra.Command {
	in := api.ChangeConfig{}
	var patch bool
	cmd := &cobra.Command{
		Use: "set DOCUMENT JSON", Short: "Change a document by hand: a merge patch, or with --patch a JSON patch",
		Example: `  arw config set recipes/retrieval '{"k":12}'
  arw config set recipes/retrieval '[{"op":"add","path":"/sources/-","value":"notes"}]' --patch --scope project/notes`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Target, in.Value = args[0], json.RawMessage(args[1])
			if patch {
				in.Op = "jsonpatch"
			}
			if !json.Valid(in.Value) {
				return abi.Errorf(abi.Invalid, "change document %q: %q is no JSON", in.Target, args[1]).WithHint("quote it: '{\"k\":12}'")
			}
			return a.plan(func(c *client.Client) (json.RawMessage, error) { return c.ChangeConfig(cmd.Context(), in) })
		},
	}
	cmd.Flags().StringVar(&in.Scope, "scope", "workspace", "where: workspace, project/ID or agent/ID")
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "only show what would change")
	cmd.Flags().StringVar(&in.Findings, "accept-findings", "", "answer for what the safety scan found, named by its digest")
	cmd.Flags().BoolVar(&patch, "patch", false, "the JSON is a JSON patch (RFC 6902)")
	return cmd
}

func (a *app) configRevertCmd() *cobra.Command {
	in := api.RevertConfig{}
	var version int64
	cmd := &cobra.Command{
		Use: "revert [DOCUMENT]", Short: "Take changes of a document by hand back, or go back to a version of everything", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case version >= 0 && len(args) == 0:
				in.Version = &version
			case version < 0 && len(args) == 1:
				in.Target = args[0]
			default:
				return &usageError{"name either a document or a version", "arw config revert recipes/retrieval, or arw config revert --version 3"}
			}
			return a.plan(func(c *client.Client) (json.RawMessage, error) { return c.RevertConfig(cmd.Context(), in) })
		},
	}
	cmd.Flags().StringVar(&in.Scope, "scope", "workspace", "where: workspace, project/ID or agent/ID")
	cmd.Flags().BoolVar(&in.Accept, "accept-permissions", false, "accept what packs may do more again")
	cmd.Flags().StringVar(&in.Findings, "accept-findings", "", "answer for what the safety scan found, named by its digest")
	cmd.Flags().Int64Var(&version, "version", -1, "go back to this version of the whole configuration")
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "only show what would change")
	return cmd
}

func (a *app) historyCmd() *cobra.Command {
	return &cobra.Command{
		Use: "history", Short: "List the versions of the configuration and what made them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Snapshots(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(raw, func(u ui) error {
				var doc struct {
					Items []struct {
						Version          int64
						Digest, What, By string
						Time             time.Time
					}
				}
				if err := json.Unmarshal(raw, &doc); err != nil {
					return err
				}
				if len(doc.Items) == 0 {
					u.say("nothing was changed yet: every document has its defaults")
					return nil
				}
				var rows [][]string
				for _, v := range doc.Items {
					rows = append(rows, []string{strconv.FormatInt(v.Version, 10), v.Time.Local().Format("2006-01-02 15:04:05"), shortDigest(v.Digest), v.By, v.What})
				}
				return u.table([]string{"VERSION", "AT", "DIGEST", "BY", "WHAT"}, rows)
			})
		},
	}
}
