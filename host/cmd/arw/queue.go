package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) queueCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "See what waits, hold it back, and decide about what could not end"}
	var reason string
	var wait time.Duration
	pause := a.queueStep("pause", "Let nothing new begin; what runs goes on, what comes waits, also over a restart",
		func(ctx context.Context, c *client.Client) (api.Queue, error) {
			return c.PauseQueue(ctx, api.PauseQueue{Reason: reason})
		})
	drain := a.queueStep("drain", "Pause, and wait until nothing runs: for an update of the machine, say",
		func(ctx context.Context, c *client.Client) (api.Queue, error) {
			return c.DrainQueue(ctx, api.DrainQueue{Reason: reason, WaitMS: wait.Milliseconds()})
		})
	for _, step := range []*cobra.Command{pause, drain} {
		step.Flags().StringVar(&reason, "reason", "", "why, for the record")
	}
	drain.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for what runs, at most 60s; the queue stays paused either way")
	cmd.AddCommand(pause, drain,
		a.queueStep("resume", "Let what waits begin", func(ctx context.Context, c *client.Client) (api.Queue, error) { return c.ResumeQueue(ctx) }),
		a.queueStep("status", "Say how the work stands", func(ctx context.Context, c *client.Client) (api.Queue, error) { return c.Queue(ctx) }),
		a.queueList("list", "List what waits; with --state leased, what runs", "ready"),
		a.queueList("dead", "List the dead letters: actions that do not begin again by themselves", "dead"),
		a.queueRequeue(), a.queueDrop())
	return cmd
}

// queueList lists jobs of a state.
func (a *app) queueList(use, short, state string) *cobra.Command {
	var after string
	var limit int
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list, err := c.Jobs(cmd.Context(), state, after, limit)
		if err != nil {
			return err
		}
		return a.print(list.Items, func(u ui) error {
			rows := [][]string{}
			for _, j := range list.Items {
				rows = append(rows, []string{j.ID, j.Kind, j.State, fmt.Sprintf("%d of %d", j.Attempt, j.Attempts), j.Priority, jobTime(j), j.LastError})
			}
			return u.table([]string{"action", "tool", "state", "attempt", "priority", "when", "last error"}, rows)
		})
	}}
	if state == "ready" {
		cmd.Flags().StringVar(&state, "state", state, `"ready", "leased" or "dead"`)
	}
	cmd.Flags().StringVar(&after, "after", "", "only those behind this action")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many, up to 1000")
	return cmd
}

// jobTime is when something happens to a job next, or happened last.
func jobTime(j api.QueueJob) string {
	switch {
	case j.LeaseUntil != nil:
		return "leased until " + j.LeaseUntil.Format(time.TimeOnly)
	case j.NextRun != nil:
		return "next run " + j.NextRun.Format(time.TimeOnly)
	}
	return j.Moved.Format(time.DateTime)
}

func (a *app) queueRequeue() *cobra.Command {
	return &cobra.Command{
		Use: "requeue ID", Short: "Submit a dead letter again, as a new action; policy is asked again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			act, err := c.Requeue(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(act, func(u ui) error {
				u.facts("action", act.ID, "tool", act.Kind, "state", act.State)
				return nil
			})
		},
	}
}

func (a *app) queueDrop() *cobra.Command {
	return &cobra.Command{
		Use: "drop ID", Short: "Forget a dead letter; the action stays in the record as it ended", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.DropDead(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.print(map[string]string{"dropped": args[0]}, func(u ui) error {
				u.facts("dropped", args[0])
				return nil
			})
		},
	}
}

func (a *app) queueStep(use, short string, ask func(context.Context, *client.Client) (api.Queue, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		q, err := ask(cmd.Context(), c)
		if err != nil {
			return err
		}
		return a.print(q, func(u ui) error {
			state := u.green("open")
			if q.Paused {
				state = u.bold("paused")
			}
			u.facts("queue", state, "running", strconv.Itoa(q.Running)+" of "+strconv.Itoa(q.Workers), "waiting", strconv.Itoa(q.Waiting)+" of "+strconv.Itoa(q.Limit),
				"delayed", strconv.Itoa(q.Delayed), "dead letters", strconv.Itoa(q.Dead), "kept by", q.Backend)
			return nil
		})
	}}
}

func (a *app) actionCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "action", Short: "Cancel an action, or run a failed one again"}
	step := func(use, short string, do func(context.Context, *client.Client, string) (api.Action, error)) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			act, err := do(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.print(act, func(u ui) error {
				u.facts("action", act.ID, "tool", act.Kind, "state", act.State)
				return nil
			})
		}}
	}
	cmd.AddCommand(
		step("cancel ID", "Take an action back: a waiting one never runs, a running one is ended", func(ctx context.Context, c *client.Client, id string) (api.Action, error) {
			return c.Cancel(ctx, id)
		}),
		step("retry ID", "Submit a failed or cancelled action again, as a new one", func(ctx context.Context, c *client.Client, id string) (api.Action, error) {
			return c.Retry(ctx, id)
		}))
	return cmd
}
