package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) promptsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prompts",
		Short: "Answer what packs ask for in the middle of a call",
		Long: `Where a policy says so (@mode("ask") with @hold), a pack that needs a lease waits for a person. The answer makes the lease, and
the call goes on; no answer in time is no. Answering needs the operator's token: no pack and no agent can do it.`,
	}
	cmd.AddCommand(a.promptsListCmd(), a.promptsShowCmd(), a.promptsAnswerCmd(true), a.promptsAnswerCmd(false), a.promptsWatchCmd())
	return cmd
}

func (a *app) promptsListCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what waits for an answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			state := "pending"
			if all {
				state = ""
			}
			doc, err := c.Prompts(cmd.Context(), state)
			if err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				if len(doc.Items) == 0 {
					u.say("nothing waits for you")
					return nil
				}
				var rows [][]string
				for _, p := range doc.Items {
					rows = append(rows, []string{p.ID, p.Pack, p.Tool, p.Capability, p.Target, p.State, age(p.Expires), fmt.Sprint(len(p.Waiting))})
				}
				return u.table([]string{"PROMPT", "PACK", "TOOL", "WANTS", "ON", "STATE", "ENDS", "CALLS"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those of the last day that were answered or ended")
	return cmd
}

func (a *app) promptsShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show PROMPT",
		Short: "Show who wants what, why and for how long",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.Prompt(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(p, func(u ui) error { return tellPrompt(u, &p) })
		},
	}
}

// tellPrompt shows a question with everything that an answer rests on. What the pack's author and its input say is quoted: it
// is theirs, and could look like ours.
func tellPrompt(u ui, p *api.Prompt) error {
	u.say("%s  %s %s asks: %s on %q", u.bold(p.ID), p.Pack, p.Version, p.Capability, p.Target)
	answer := ""
	if p.Answer != nil {
		answer = fmt.Sprintf("by %s for %s", p.Answer.By, p.Answer.For)
	}
	u.facts("tool", p.Tool, "for", p.Actor, "it says why", fmt.Sprintf("%q", p.Why), "the policy says", p.Rule, "would cover", quoteAll(p.Scope),
		"for how long", (time.Duration(p.TTLMS) * time.Millisecond).String(), "how much", boundWords(p.Budget), "project", p.Project, "session", p.Session, "action", p.Action,
		"undertaking", p.Corr, "state", p.State, "ends", age(p.Expires), "calls that wait", strings.Join(p.Waiting, " "), "answer", answer)
	return nil
}

// boundWords says what a lease would be bounded by; "" when by nothing.
func boundWords(b api.Budget) string {
	var parts []string
	for _, side := range []struct {
		name string
		n    int64
	}{{"calls", b.Calls}, {"bytes", b.Bytes}, {"tokens", b.Tokens}, {"gas", b.Gas}} {
		if side.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", side.n, side.name))
		}
	}
	if b.Money > 0 {
		parts = append(parts, fmt.Sprintf("%d.%06d USD", b.Money/1e6, b.Money%1e6))
	}
	return strings.Join(parts, ", ")
}

func quoteAll(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, " ")
}

func (a *app) promptsAnswerCmd(allow bool) *cobra.Command {
	var in api.AnswerPrompt
	use, short := "deny PROMPT", "Say no; the call ends denied, and for a while the same is not asked again"
	example := "  arw prompts deny prm_… --reason \"not on this host\""
	if allow {
		use, short = "allow PROMPT", "Say yes, once or for longer; the call goes on"
		example = "  arw prompts allow prm_…\n  arw prompts allow prm_… --for 15m --scope read:/srv/docs"
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.Answer(cmd.Context(), args[0], allow, in)
			if err != nil {
				return err
			}
			return a.print(p, func(u ui) error {
				u.say("%s  %s %s, for %s", u.bold(p.ID), p.Pack, p.State, p.Answer.For)
				if len(p.Answer.Leases) > 0 {
					u.facts("leases", strings.Join(p.Answer.Leases, " "))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.For, "for", "once", "once, calls=N, a duration such as 15m, session or project")
	f.StringVar(&in.Reason, "reason", "", "why, for the journal")
	if allow {
		f.StringArrayVar(&in.Scope, "scope", nil, "where it holds, instead of what is proposed; may be given again")
	}
	return cmd
}

func (a *app) promptsWatchCmd() *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show questions as they come, and what becomes of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.watchPrompts(cmd.Context(), c, n)
		},
	}
	cmd.Flags().IntVar(&n, "count", 0, "end after this many (default never)")
	return cmd
}

// watchPrompts shows what waits and then what comes. The stream begins before the list is read, so that nothing falls between.
func (a *app) watchPrompts(ctx context.Context, c *client.Client, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	health, err := c.Health(ctx)
	if err != nil {
		return err
	}
	waiting, err := c.Prompts(ctx, "pending")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	u, enc := a.ui(a.std.out), json.NewEncoder(a.std.out)
	show := func(p *api.Prompt) error {
		key := p.ID + p.State
		if seen[key] {
			return nil
		}
		seen[key] = true
		if a.json {
			return enc.Encode(p)
		}
		if p.State != "pending" {
			u.say("%s  %s", u.bold(p.ID), p.State)
			return nil
		}
		err := tellPrompt(u, p)
		u.say("  arw prompts allow %s      arw prompts deny %s", p.ID, p.ID)
		return err
	}
	for i := len(waiting.Items) - 1; i >= 0; i-- {
		if err := show(&waiting.Items[i]); err != nil {
			return err
		}
		if n > 0 && len(seen) >= n {
			return nil
		}
	}
	follow := client.Follow{Prefixes: []string{"policy.prompt", "policy.allow", "policy.deny", "policy.expired"}, After: health.Events}
	for ev, err := range c.Events(ctx, follow) {
		if err != nil {
			return err
		}
		var p api.Prompt
		if err := json.Unmarshal(ev.Body, &p); err != nil {
			return abi.Errorf(abi.Invalid, "read event %d: %w", ev.ID, err)
		}
		if p.ID == "" {
			u.say("%s", u.yellow(ev.Kind+": "+string(ev.Body)))
			continue
		}
		if err := show(&p); err != nil {
			return err
		}
		if n > 0 && len(seen) >= n {
			return nil
		}
	}
	return nil
}
