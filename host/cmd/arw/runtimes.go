package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	models "github.com/arw-project/arw/host/internal/infer/serve"
)

// asked submits an action of the host's own and reads its answer.
func (a *app) asked(cmd *cobra.Command, kind string, in, out any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	act, err := c.Submit(cmd.Context(), api.SubmitAction{Kind: kind, Input: raw}, true)
	if err != nil {
		return err
	}
	if act.Error != nil {
		return a.showAction(act)
	}
	if err := json.Unmarshal(act.Output, out); err != nil {
		return abi.Errorf(abi.Internal, "read the answer of %s: %w", kind, err)
	}
	return nil
}

func (a *app) runtimeCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "runtime", Short: "Look after the programs that run models"}
	start := &cobra.Command{Use: "start [MODEL]", Short: "Start the runtime of a model before anybody asks", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var got map[string]string
		if err := a.asked(cmd, "runtimes.start", api.RuntimeAsk{Model: strings.Join(args, "")}, &got); err != nil {
			return err
		}
		return a.print(got, func(u ui) error { u.facts("runtime", got["id"]); return nil })
	}}
	stop := &cobra.Command{Use: "stop RUNTIME", Short: "Stop a runtime: what it answers may end, then signals", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var got map[string]string
		if err := a.asked(cmd, "runtimes.stop", api.RuntimeAsk{ID: args[0]}, &got); err != nil {
			return err
		}
		return a.print(got, func(u ui) error { u.facts("stopped", got["id"]); return nil })
	}}
	logs := &cobra.Command{Use: "logs RUNTIME", Short: "Show the last lines that a runtime wrote", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		var got struct {
			ID    string   `json:"id"`
			Lines []string `json:"lines"`
		}
		if err := a.asked(cmd, "runtimes.logs", api.RuntimeAsk{ID: args[0]}, &got); err != nil {
			return err
		}
		return a.print(got, func(u ui) error {
			for _, line := range got.Lines {
				u.say("%s", line)
			}
			return nil
		})
	}}
	cmd.AddCommand(a.runtimeListCmd(), start, stop, logs, a.runtimeDoctorCmd())
	return cmd
}

func (a *app) runtimeDoctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with models, profiles and this machine, and what models would take",
		Long:  `Looks at the state directory and this machine, starts nothing and needs no running host. It ends with status 1 when it finds an error.`,
		Args:  cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			s, err := models.Open(dir, nil, nil)
			if err != nil {
				return err
			}
			r := s.Doctor()
			err = a.print(r, func(u ui) error {
				var table [][]string
				for _, f := range r.Findings {
					table = append(table, []string{f.Severity, f.About, f.Says, f.Next})
				}
				return u.table([]string{"", "ABOUT", "SAYS", "NEXT"}, table)
			})
			if err == nil && r.Findings[0].Severity == "error" {
				err = abi.Errorf(abi.Unavailable, "runtime doctor: %s: %s", r.Findings[0].About, r.Findings[0].Says).WithHint("%s", r.Findings[0].Next)
			}
			return err
		},
	}
}

func (a *app) runtimeListCmd() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the runtimes that were asked for since the host's start", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		doc := json.RawMessage(`{"runtimes":{}}`)
		if err := a.told(cmd, "runtimes", &doc); err != nil {
			return err
		}
		return a.print(doc, func(u ui) error {
			var list struct {
				Runtimes map[string]struct {
					State  string `json:"state"`
					Reason string `json:"reason"`
				} `json:"runtimes"`
			}
			if err := json.Unmarshal(doc, &list); err != nil {
				return err
			}
			var table [][]string
			for _, id := range slices.Sorted(maps.Keys(list.Runtimes)) {
				table = append(table, []string{id, list.Runtimes[id].State, list.Runtimes[id].Reason})
			}
			return u.table([]string{"RUNTIME", "STATE", "REASON"}, table)
		})
	}}
}
