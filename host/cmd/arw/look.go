package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) eventsCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Watch what happens"}
	var f client.Follow
	var n int
	tail := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they happen",
		Example: `  arw events tail --prefix leases.,pack.
  arw events tail --replay 20 --count 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			u, enc := a.ui(a.std.out), json.NewEncoder(a.std.out)
			seen := 0
			for ev, err := range c.Events(ctx, f) {
				if err != nil {
					return err
				}
				if a.json {
					err = enc.Encode(ev)
				} else {
					err = tellEvent(u, &ev)
				}
				if seen++; err != nil || seen == n {
					return err
				}
			}
			return nil
		},
	}
	fl := tail.Flags()
	fl.StringSliceVar(&f.Prefixes, "prefix", nil, "only kinds that start so; may be a list")
	fl.IntVar(&f.Replay, "replay", 0, "print this many past events first")
	fl.Int64Var(&f.After, "after", 0, "start behind the event with this id")
	fl.StringVar(&f.Project, "project", "", "only events of this project; default has what names none")
	fl.StringVar(&f.Corr, "corr", "", "only events of this correlation id")
	fl.IntVar(&n, "count", 0, "end after this many (default never)")
	cmd.AddCommand(tail)
	return cmd
}

func tellEvent(u ui, ev *api.Event) error {
	_, err := fmt.Fprintf(u.w, "%s %6d  %-24s %s %s\n", u.dim(ev.Time.Local().Format("15:04:05.000")), ev.ID, u.bold(ev.Kind), ev.Pack, u.dim(clipWide(string(ev.Body))))
	return err
}

func clipWide(s string) string {
	if len(s) > 160 {
		return s[:157] + "..."
	}
	return s
}

func (a *app) actionsCmd() *cobra.Command {
	var state, kind, in string
	var limit int
	cmd := &cobra.Command{
		Use:   "actions [ID]",
		Short: "List what was asked for and what became of it, or show one action",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				act, err := c.Action(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				a.json = true // one action is a document, whoever asks
				return a.print(act, nil)
			}
			q := url.Values{"limit": {strconv.Itoa(limit)}, "state": {state}, "kind": {kind}, "project": {in}}
			var doc api.List[api.Action]
			if err := c.List(cmd.Context(), "actions", q, &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				var rows [][]string
				for _, act := range doc.Items {
					why := ""
					if act.Error != nil {
						why = act.Error.Code + ": " + clip(act.Error.Message)
					}
					rows = append(rows, []string{act.ID, act.Kind, act.State, act.Created.Local().Format("15:04:05"), why})
				}
				return u.table([]string{"ACTION", "TOOL", "STATE", "AT", "ERROR"}, rows)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&state, "in", "", "only this state: queued, running, completed, failed, cancelled")
	f.StringVar(&in, "project", "", "only this project's")
	f.StringVar(&kind, "tool", "", "only tools whose id starts so")
	f.IntVar(&limit, "limit", 50, "at most this many")
	return cmd
}
