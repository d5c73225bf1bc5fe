package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/policy"
)

func (a *app) policyDiffCmd() *cobra.Command {
	var cases []string
	var events int
	cmd := &cobra.Command{
		Use:   "diff [OLD] NEW",
		Short: "What other policies would change: which are new, gone or different, and which answers",
		Long: `NEW is a folder of *.cedar files. Alone it is compared with what the running host has in force, and answered for the packs that are
installed, the leases that people gave them, calls of their tools, and what the journal has recorded: calls, requests to the network and grants that
would newly be allowed or denied. With OLD the two folders are compared offline. Cases as "arw policy test"
has them are asked of both sets.`,
		Example: "  arw policy diff ./policy\n  arw policy diff ./policy-of-today ./policy --cases cases.txtar",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			after, err := a.policyFiles(args[len(args)-1])
			if err != nil {
				return err
			}
			archives, err := readCases(cases)
			if err != nil {
				return err
			}
			var d host.PolicyDiff
			var raw json.RawMessage
			if len(args) == 2 {
				if d.Difference, err = a.offlineDiff(args[0], after, archives); err == nil {
					raw, err = json.Marshal(d.Difference)
				}
			} else {
				raw, err = a.hostDiff(cmd, api.DiffPolicy{Files: named(after), Cases: named(archives), Events: events}, &d)
			}
			if err != nil {
				return err
			}
			return a.print(raw, func(u ui) error { return showDiff(u, d) })
		},
	}
	cmd.Flags().StringArrayVar(&cases, "cases", nil, "an archive or list of cases to ask of both; may be given again")
	cmd.Flags().IntVar(&events, "events", 0, "how many of the journal's last events to look through for recorded decisions (default and at most 20000)")
	return cmd
}

// named are files as the host takes them.
func named(files []policy.Source) []api.NamedText {
	out := make([]api.NamedText, len(files))
	for i, f := range files {
		out[i] = api.NamedText{Name: f.Name, Text: string(f.Text)}
	}
	return out
}

func readCases(names []string) (out []policy.Source, err error) {
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, abi.Errorf(abi.NotFound, "read cases %q: %w", name, err)
		}
		out = append(out, policy.Source{Name: name, Text: text})
	}
	return out, nil
}

func (a *app) offlineDiff(old string, after, archives []policy.Source) (policy.Difference, error) {
	before, err := a.policyFiles(old)
	if err != nil {
		return policy.Difference{}, err
	}
	was, err := policy.Load(before)
	if err != nil {
		return policy.Difference{}, err
	}
	now, err := policy.Load(after)
	if err != nil {
		return policy.Difference{}, err
	}
	var cases []policy.Case
	for _, archive := range archives {
		more, err := policy.Cases(archive)
		if err != nil {
			return policy.Difference{}, err
		}
		cases = append(cases, more...)
	}
	return policy.Diff(was, now, cases), nil
}

func (a *app) hostDiff(cmd *cobra.Command, body api.DiffPolicy, d *host.PolicyDiff) (json.RawMessage, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	raw, err := c.Policy(cmd.Context(), "diff", body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read the answer: %w", err)
	}
	return raw, nil
}

func showDiff(u ui, d host.PolicyDiff) error {
	if d.Empty() && len(d.Shifts)+len(d.Recorded.Changes) == 0 {
		u.say("nothing changes (%d cases and %d recorded decisions asked)", d.Cases, d.Recorded.Asked)
		return nil
	}
	var rows [][]string
	for _, r := range d.Added {
		rows = append(rows, []string{"+", r.ID, r.Effect, r.Reason})
	}
	for _, r := range d.Removed {
		rows = append(rows, []string{"-", r.ID, r.Effect, r.Reason})
	}
	for _, c := range d.Changed {
		rows = append(rows, []string{"~", c.After.ID, c.After.Effect, c.After.Reason})
	}
	if len(rows) > 0 {
		if err := u.table([]string{"", "POLICY", "EFFECT", "BECAUSE"}, rows); err != nil {
			return err
		}
	}
	rows = nil
	for _, s := range d.Difference.Shifts {
		rows = append(rows, []string{"case: " + s.Case, "", string(s.Before.Outcome), string(s.After.Outcome), s.After.Reason})
	}
	for _, s := range d.Shifts {
		rows = append(rows, []string{fmt.Sprintf("%s %s", s.Action, s.Pack), s.Capability + s.Tool, string(s.Before.Outcome), string(s.After.Outcome), s.After.Reason})
	}
	for _, r := range d.Recorded.Changes {
		rows = append(rows, []string{
			fmt.Sprintf("recorded %s %s (%dx, last event %d)", r.Action, r.Pack, r.Times, r.Event), strings.TrimSpace(r.Capability + r.Tool + " " + r.Target), string(r.Was), string(r.Would.Outcome), r.Would.Reason,
		})
	}
	if len(rows) == 0 {
		u.say("no answer changes (%d cases and %d recorded decisions asked)", d.Cases, d.Recorded.Asked)
		return nil
	}
	return u.table([]string{"ANSWER", "ABOUT", "WAS", "IS", "BECAUSE"}, rows)
}
