package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
)

// scheduleConfig is a table [[schedule]]: docs/spec/schedule.md.
type scheduleConfig struct {
	Name     string         `toml:"name"`
	Cron     string         `toml:"cron"`
	Zone     string         `toml:"zone"`
	Every    string         `toml:"every"`
	Tool     string         `toml:"tool"`
	Input    map[string]any `toml:"input"`
	Project  string         `toml:"project"`
	Priority string         `toml:"priority"`
	Deadline string         `toml:"deadline"`
	Missed   string         `toml:"missed"`
}

// schedules are the tables as the host takes them.
func schedules(tables []scheduleConfig) ([]host.Schedule, error) {
	out := make([]host.Schedule, 0, len(tables))
	for _, t := range tables {
		s := host.Schedule{Name: t.Name, Cron: t.Cron, Zone: t.Zone, Tool: t.Tool, Project: t.Project, Priority: t.Priority, Missed: t.Missed}
		if t.Input != nil {
			raw, err := json.Marshal(t.Input)
			if err != nil {
				return nil, abi.Errorf(abi.Invalid, "read schedule %q: its input is no JSON: %w", t.Name, err)
			}
			s.Input = raw
		}
		for key, to := range map[string]struct {
			text string
			into *time.Duration
		}{"every": {t.Every, &s.Every}, "deadline": {t.Deadline, &s.Deadline}} {
			if to.text == "" {
				continue
			}
			d, err := time.ParseDuration(to.text)
			if err != nil || d <= 0 {
				return nil, abi.Errorf(abi.Invalid, "read schedule %q: %s = %q is no duration above zero", t.Name, key, to.text).WithHint(`write it as "15m"`)
			}
			*to.into = d
		}
		out = append(out, s)
	}
	return out, nil
}

func (a *app) scheduleCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "schedule", Short: "See what the host calls by itself, and when"}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List the schedules: when they are due, and what came of the last time", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Schedules(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list.Items, func(u ui) error {
				rows := [][]string{}
				for _, s := range list.Items {
					next, last := "", ""
					if s.Next != nil {
						next = s.Next.Format(time.DateTime)
					}
					if s.Last != nil {
						last = s.Last.Format(time.DateTime)
					}
					came := s.Action
					if s.LastError != "" {
						came = s.LastError
					}
					rows = append(rows, []string{s.Name, s.When, s.Tool, next, last, came})
				}
				return u.table([]string{"schedule", "when", "tool", "next (UTC)", "last (UTC)", "what came of it"}, rows)
			})
		},
	})
	return cmd
}
