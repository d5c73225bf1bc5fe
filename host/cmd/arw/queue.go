package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) queueCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Hold the work of the host back, and let it go on"}
	var reason string
	pause := a.queueStep("pause", "Let nothing new begin; what runs goes on, what comes waits, also over a restart",
		func(ctx context.Context, c *client.Client) (api.Queue, error) {
			return c.PauseQueue(ctx, api.PauseQueue{Reason: reason})
		})
	pause.Flags().StringVar(&reason, "reason", "", "why, for the record")
	cmd.AddCommand(pause,
		a.queueStep("resume", "Let what waits begin", func(ctx context.Context, c *client.Client) (api.Queue, error) { return c.ResumeQueue(ctx) }),
		a.queueStep("status", "Say how the work stands", func(ctx context.Context, c *client.Client) (api.Queue, error) { return c.Queue(ctx) }))
	return cmd
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
			u.facts("queue", state, "running", strconv.Itoa(q.Running)+" of "+strconv.Itoa(q.Workers), "waiting", strconv.Itoa(q.Waiting)+" of "+strconv.Itoa(q.Limit))
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
