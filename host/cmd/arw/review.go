package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

// reviewed is one kind of what waits for a person: how the command speaks of it and how the host is asked.
type reviewed struct {
	list   func(*client.Client, context.Context, url.Values) (api.List[api.Held], error)
	get    func(*client.Client, context.Context, string) (api.Held, error)
	decide func(*client.Client, context.Context, api.DecideHeld) (api.Held, error)
}

func (a *app) quarantineCmd() *cobra.Command {
	r := reviewed{(*client.Client).Quarantine, (*client.Client).Quarantined, (*client.Client).DecideMemory}
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "Look at writes of memory that are not trusted, and admit or reject them",
		Long: `What a pack would keep after it has seen something from outside waits here when the policies do not trust it. Admitting writes it,
once; rejecting never does; nobody's word in time is a no. No pack, no agent and no tool can admit.`,
	}
	cmd.AddCommand(a.heldListCmd(r), a.heldShowCmd(r), a.heldDecideCmd(r, "admit", "Write it, once"), a.heldDecideCmd(r, "reject", "Never write it"))
	return cmd
}

func (a *app) worldCmd() *cobra.Command {
	r := reviewed{(*client.Client).Diffs, (*client.Client).Diff, (*client.Client).DecideDiff}
	cmd := &cobra.Command{
		Use:   "world",
		Short: "Look at diffs that packs and other nodes propose, and apply or reject them",
		Long: `A diff is a list of changes of what a pack keeps in a project. It is shown, then applied whole in one transaction or not at all;
when something it changes is not what it was made for any more, it is a conflict and nothing is written.`,
	}
	apply := a.heldDecideCmd(r, "apply", "Apply it, whole")
	apply.Aliases = []string{"accept"}
	cmd.AddCommand(a.heldListCmd(r), a.heldShowCmd(r), apply, a.heldDecideCmd(r, "reject", "Never apply it"), a.heldDecideCmd(r, "defer", "Let it wait as long again"), a.worldProposeCmd())
	return cmd
}

func (a *app) heldListCmd(r reviewed) *cobra.Command {
	var state, in string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what waits",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{"state": {state}, "project": {in}}
			if state == "all" {
				q.Del("state")
			}
			doc, err := r.list(c, cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				if len(doc.Items) == 0 {
					u.say("  nothing waits")
					return nil
				}
				var rows [][]string
				for _, h := range doc.Items {
					names := make([]string, len(h.Changes))
					for i, ch := range h.Changes {
						names[i] = ch.Op + " " + ch.Store + ":" + ch.Name
					}
					rows = append(rows, []string{h.ID, h.State, h.Project, h.Pack, h.From, clip(strings.Join(names, ", ")), age(h.Expires)})
				}
				return u.table([]string{"ID", "STATE", "PROJECT", "PACK", "FROM", "CHANGES", "ENDS"}, rows)
			})
		},
	}
	cmd.Flags().StringVar(&state, "in", "queued", "only this state: queued, conflict, admitted, applied, rejected, expired, or all")
	cmd.Flags().StringVar(&in, "project", "", "only this project's")
	return cmd
}

func (a *app) heldShowCmd(r reviewed) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one as a diff",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			h, err := r.get(c, cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(h, func(u ui) error { return tellHeld(u, h) })
		},
	}
}

func tellHeld(u ui, h api.Held) error {
	u.facts("id", h.ID, "state", h.State, "pack", h.Pack, "from", h.From, "summary", h.Summary, "why", h.Reason,
		"seen", strings.Join(h.Provenance.From, " "), "markers", strings.Join(h.Markers, " "), "ends", age(h.Expires))
	for _, c := range h.Changes {
		u.say("  %s %s:%s", c.Op, c.Store, c.Name)
		if c.Conflict != "" {
			u.say("    %s %s", u.yellow("conflict:"), c.Conflict)
		}
		for _, side := range [][2]string{{"-", c.Before}, {"+", c.After}} {
			if side[1] == "" {
				continue
			}
			for line := range strings.Lines(side[1]) {
				u.say("    %s %s", side[0], printable(line))
			}
		}
	}
	return nil
}

// printable is a line without what could move a terminal.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, line)
}

func (a *app) heldDecideCmd(r reviewed, decision, short string) *cobra.Command {
	in := api.DecideHeld{Decision: decision}
	cmd := &cobra.Command{
		Use:   decision + " ID",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			in.ID = args[0]
			h, err := r.decide(c, cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(h, func(u ui) error {
				u.say("%s %s", u.green(h.State+":"), h.ID)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&in.Note, "note", "", "why, for the journal")
	if decision == "admit" || decision == "apply" {
		cmd.Flags().BoolVar(&in.Force, "force", false, "also over what changed in the meantime")
	}
	return cmd
}

func (a *app) worldProposeCmd() *cobra.Command {
	var in api.QueueDiff
	cmd := &cobra.Command{
		Use:     "propose PACK JSON",
		Short:   "Propose a diff: a list of changes {op, store, name, value}",
		Example: `  arw world propose arw/collaboration '[{"op":"put","store":"kv","name":"k","value":"v"}]' --summary "from the other host"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Pack = args[0]
			if err := json.Unmarshal([]byte(args[1]), &in.Changes); err != nil {
				return abi.Errorf(abi.Invalid, "propose a diff: %w", err).WithHint(`it is a list: [{"op":"put","store":"kv","name":"k","value":"v"}]`)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			h, err := c.ProposeDiff(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(h, func(u ui) error {
				_, err := fmt.Fprintln(a.std.out, h.ID)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&in.Summary, "summary", "", "what it is about")
	cmd.Flags().StringVar(&in.Project, "project", "", "project whose it is")
	cmd.Flags().StringVar(&in.From, "from", "", "the node it comes from")
	return cmd
}
