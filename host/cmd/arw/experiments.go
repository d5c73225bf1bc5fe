package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) experimentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "experiment",
		Short: "Compare ways of configuring a tool on the same items, and say what can be said",
		Long: `An experiment calls a tool with every item once for each variant, which is the live configuration with units applied, and
compares what comes of it. It changes nothing; a winner is named only where chance is no explanation.

  arw experiment run compare.json        the form is docs/spec/experiment.md
  arw experiment list
  arw experiment show 3 --csv > calls.csv`,
	}
	cmd.AddCommand(a.experimentRunCmd(), a.experimentListCmd(), a.experimentShowCmd())
	return cmd
}

// experimentInfo is a run as a host answers it.
type experimentInfo struct {
	ID, Title, Status, Tool, Primary, Winner, Why, Spent, Error, Report, CSV string
	Run                                                                      int64
	Items                                                                    int
	Started                                                                  time.Time
	Variants                                                                 []struct{ Name string }
	Metrics                                                                  map[string]map[string]struct {
		Mean, Diff, Low, High float64
		Verdict               string
	}
}

func (e experimentInfo) tell(u ui) error {
	u.say("%s  run %d  %s  %s", u.bold(e.ID), e.Run, e.Status, e.Title)
	u.facts("tool", e.Tool, "items", strconv.Itoa(e.Items))
	var rows [][]string
	for _, name := range sortedKeys(e.Metrics) {
		for i, v := range e.Variants {
			c := e.Metrics[name][v.Name]
			row := []string{"  " + name, v.Name, fmt.Sprintf("%.4g", c.Mean), "", ""}
			if i > 0 {
				row[3], row[4] = fmt.Sprintf("%+.4g [%+.4g, %+.4g]", c.Diff, c.Low, c.High), c.Verdict
			}
			rows = append(rows, row)
		}
	}
	if len(rows) > 0 {
		if err := u.table([]string{"  METRIC", "VARIANT", "MEAN", "DIFFERENCE [95 %]", ""}, rows); err != nil {
			return err
		}
	}
	switch {
	case e.Error != "":
		u.say("%s", u.red(e.Error))
	case e.Winner != "":
		u.say("winner: %s, %s", u.bold(e.Winner), e.Why)
	default:
		u.say("%s", e.Why)
	}
	if e.Report != "" {
		u.facts("report", e.Report, "calls", e.CSV)
	}
	return nil
}

func (a *app) experimentRunCmd() *cobra.Command {
	return &cobra.Command{
		Use: "run FILE", Short: "Run the experiment that a JSON file defines", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := readSmall("experiment", args[0])
			if err != nil {
				return err
			}
			if !json.Valid(src) {
				return abi.Errorf(abi.Invalid, "read experiment %q: it is no JSON", args[0])
			}
			return a.experiment(func(c *client.Client) (json.RawMessage, error) { return c.RunExperiment(cmd.Context(), src) })
		},
	}
}

func (a *app) experiment(ask func(*client.Client) (json.RawMessage, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	raw, err := ask(c)
	if err != nil {
		return err
	}
	var e experimentInfo
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	return a.print(raw, e.tell)
}

func (a *app) experimentListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the newest runs of experiments", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.State(cmd.Context(), "experiments", nil, &raw); err != nil {
				return err
			}
			var doc struct{ Items map[string]experimentInfo }
			if err := json.Unmarshal(raw, &doc); err != nil {
				return err
			}
			return a.print(raw, func(u ui) error {
				if len(doc.Items) == 0 {
					u.say("no experiment was run; next: arw experiment run FILE")
					return nil
				}
				var rows [][]string
				for _, run := range sortedKeys(doc.Items) {
					e := doc.Items[run]
					said := e.Why
					if e.Winner != "" {
						said = e.Winner
					}
					rows = append(rows, []string{run, e.ID, e.Status, e.Started.Local().Format("2006-01-02 15:04"), said})
				}
				return u.table([]string{"RUN", "EXPERIMENT", "STATUS", "AT", "WINNER"}, rows)
			})
		},
	}
}

func (a *app) experimentShowCmd() *cobra.Command {
	var csv bool
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show one run, or with --csv every call of it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !csv {
				return a.experiment(func(c *client.Client) (json.RawMessage, error) { return c.Experiment(cmd.Context(), args[0], "") })
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Experiment(cmd.Context(), args[0], "csv")
			if err != nil {
				return err
			}
			_, err = a.std.out.Write(raw)
			return err
		},
	}
	cmd.Flags().BoolVar(&csv, "csv", false, "print every call with its measures, as CSV")
	return cmd
}
