package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
)

// tellGates tells what packs may do more or no more, what a promotion's gates say, and what a replay in its shadow found.
func tellGates(u ui, p planInfo) {
	for _, permit := range p.Permits {
		if permit.Widens {
			u.say("%s", u.yellow("more: "+permit.Text))
		} else {
			u.say("less: %s", permit.Text)
		}
	}
	if len(p.Safety) > 0 && !p.Done {
		u.say("safety: %d findings, named by %s", len(p.Safety), p.Digest)
	}
	for _, g := range p.Gates {
		tellGate(u, g)
	}
	if p.Shadow == nil {
		return
	}
	for _, a := range p.Shadow.Actions {
		u.say("  %s %s  %s  %s", a.Action, a.Tool, a.Outcome, u.dim(strings.Join(append(a.Changes, a.Why), " ")))
	}
}

func tellGate(u ui, g gateInfo) {
	if g.Passed {
		u.say("%s %s: %s", u.green("passed"), g.Name, g.Text)
	} else {
		u.say("%s %s: %s", u.red("open  "), g.Name, g.Text)
	}
}

func (a *app) unitApproveCmd() *cobra.Command {
	var in api.ApproveUnit
	cmd := &cobra.Command{
		Use: "approve UNIT", Short: "Agree to the promotion of a unit as it is on trial, with its parameters", Args: cobra.ExactArgs(1),
		Long: `Agree to the promotion of a unit as it is on trial: this revision with these parameters, for a week unless --ttl says
otherwise. Another revision or other parameters need another yes. Each person counts once.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Unit = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.ApproveUnit(cmd.Context(), in)
			if err != nil {
				return err
			}
			var got struct {
				By      string
				Expires time.Time
			}
			if err := json.Unmarshal(raw, &got); err != nil {
				return err
			}
			return a.print(raw, func(u ui) error {
				u.say("%s agrees to the promotion of %s, until %s", got.By, u.bold(in.Unit), got.Expires.Local().Format("2006-01-02 15:04"))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&in.Scope, "scope", "workspace", "where it is on trial")
	cmd.Flags().StringVar(&in.TTL, "ttl", "", "how long the yes holds, such as 72h (default a week)")
	cmd.Flags().StringVar(&in.Note, "note", "", "why, for the record")
	return cmd
}

func (a *app) unitGatesCmd() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use: "gates UNIT", Short: "Show what stands between a unit on trial and its promotion", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Gates(cmd.Context(), args[0], from)
			if err != nil {
				return err
			}
			var doc struct{ Gates []gateInfo }
			if err := json.Unmarshal(raw, &doc); err != nil {
				return err
			}
			return a.print(raw, func(u ui) error {
				for _, g := range doc.Gates {
					tellGate(u, g)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "workspace", "the scope in which it is on trial")
	return cmd
}

// unitMoveCmd is take and archive.
func (a *app) unitMoveCmd(verb string) *cobra.Command {
	var in api.MoveUnit
	short := "Put a unit away; installing it again brings it back"
	if verb == "take" {
		short = "Make a suggested unit an installed one"
	}
	cmd := &cobra.Command{
		Use: verb + " UNIT", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Unit = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.MoveUnit(cmd.Context(), verb, in)
			if err != nil {
				return err
			}
			return a.print(raw, func(u ui) error { return tellUnit(u, raw) })
		},
	}
	if verb == "take" {
		cmd.Flags().StringVar(&in.OverrideUnsigned, "override-unsigned", "", "answer for this digest of a unit that runs code and that nobody signed")
	}
	return cmd
}

func (a *app) unitRevertCmd() *cobra.Command {
	var in api.ChangeLogic
	cmd := &cobra.Command{
		Use: "revert UNIT", Short: "Take a unit out of a scope; what others changed since stays", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Unit = args[0]
			return a.changeLogic(cmd.Context(), "revert", in)
		},
	}
	cmd.Flags().StringVar(&in.Scope, "scope", "workspace", "where: workspace, project/ID or agent/ID")
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "only show what would change")
	return cmd
}

func (a *app) unitPromoteCmd() *cobra.Command {
	var in api.ChangeLogic
	cmd := &cobra.Command{
		Use: "promote UNIT", Short: "Make a unit that was tried in a scope the workspace's default", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Unit = args[0]
			return a.changeLogic(cmd.Context(), "promote", in)
		},
	}
	cmd.Flags().StringVar(&in.Scope, "from", "workspace", "the scope in which it was tried")
	cmd.Flags().BoolVar(&in.Shadow, "shadow", false, "first replay what was recorded there with the unit as the default, and show the difference")
	cmd.Flags().BoolVar(&in.Accept, "accept-permissions", false, "accept what packs may do more with the unit")
	cmd.Flags().StringVar(&in.Findings, "accept-findings", "", "answer for what the safety scan found, named by its digest")
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "only show what would change")
	return cmd
}
