package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) packUpgradeCmd() *cobra.Command {
	var in api.UpgradePack
	var yes bool
	cmd := &cobra.Command{
		Use:   "upgrade PACK",
		Short: "Put another version of an installed pack in its place, after showing what it changes",
		Long: `Upgrade an installed pack: show its signer and what it asks for beyond the version before, ask, and swap. Calls in
flight end on the old version; no call fails. Leases go over as they are. What widened waits until you accept it: the pack
goes without, and its errors name the command. The old version is kept: "arw pack rollback" brings it back at once.`,
		Example: `  arw pack upgrade arw/research --dry-run
  arw pack upgrade arw/research --to 0.2.0 --yes
  arw pack upgrade arw/research --accept        # and give what widened`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, plan, err := a.upgradePlan(cmd, c, args[0], in)
			if err != nil {
				return err
			}
			if in.DryRun || plan.Same {
				return a.print(raw, func(u ui) error { return tellUpgrade(u, plan) })
			}
			return a.upgrade(cmd, c, plan, in, yes)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.To, "to", "", "version (default the newest)")
	f.StringVar(&in.Ref, "ref", "", "whole reference instead, to take it from another registry")
	f.BoolVar(&in.DryRun, "dry-run", false, "show what would change, and change nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&in.Accept, "accept", false, "also give what widened, as far as the policies let you")
	f.BoolVar(&in.AcceptSigner, "accept-signer", false, "take a version signed by somebody else")
	f.BoolVar(&in.Downgrade, "downgrade", false, "take a lower version")
	f.BoolVar(&in.Again, "again", false, "take a version that was rolled back")
	f.StringVar(&in.Reason, "reason", "", "why, for the history")
	f.StringVar(&in.AllowUnsigned, "allow-unsigned", "", "manifest digest to admit although nothing trusted signed it")
	return cmd
}

func (a *app) upgradePlan(cmd *cobra.Command, c *client.Client, name string, in api.UpgradePack) (json.RawMessage, *pack.Plan, error) {
	raw, err := c.PlanUpgrade(cmd.Context(), name, in)
	if err != nil {
		return nil, nil, err
	}
	plan := &pack.Plan{}
	if err := json.Unmarshal(raw, plan); err != nil {
		return nil, nil, abi.Errorf(abi.Invalid, "read the plan: %w", err)
	}
	return raw, plan, nil
}

// upgrade asks and does what the plan says, by digest: what was shown is what is installed.
func (a *app) upgrade(cmd *cobra.Command, c *client.Client, plan *pack.Plan, in api.UpgradePack, yes bool) error {
	if !yes {
		u := a.ui(a.std.err)
		if err := tellUpgrade(u, plan); err != nil {
			return err
		}
		sure, err := a.ask(fmt.Sprintf("Upgrade %s to %s?", plan.Pack, plan.To.Version))
		if err != nil {
			return err
		}
		if !sure {
			u.say("nothing was changed")
			return nil
		}
	}
	in.To, in.Ref = "", plan.Ref
	update, end := a.progress()
	raw, err := c.Upgrade(cmd.Context(), plan.Pack, in, func(p api.Progress) { update(p.What, p.Done, p.Total) })
	end()
	if err != nil {
		return err
	}
	var v pack.Verdict
	if err := json.Unmarshal(raw, &v); err != nil {
		return abi.Errorf(abi.Invalid, "read the verdict: %w", err)
	}
	return a.print(raw, func(u ui) error {
		u.say("%s %s  %s (was %s)", u.bold(v.Pack), v.Version, u.green("upgraded"), version0(plan.From))
		u.say("  %d leases go over; %d things wait for you", len(v.Carried), len(v.Held))
		if len(v.Held) > 0 {
			u.say("  %s", strings.Join(v.Held, " "))
			u.say("  next: arw pack accept %s", v.Pack)
		}
		return nil
	})
}

func version0(r *pack.Release) string {
	if r == nil {
		return "not installed"
	}
	return r.Version
}

// ask wants a yes from the terminal; without one it wants --yes.
func (a *app) ask(question string) (bool, error) {
	if !isTerminal(a.std.err) || !isTerminal(os.Stdin) {
		return false, abi.Errorf(abi.Invalid, "%s There is no terminal to ask on", question).WithHint("say --yes, or look first with --dry-run")
	}
	fmt.Fprintf(a.std.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return false, abi.Errorf(abi.Cancelled, "%s no answer came", question)
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

func tellUpgrade(u ui, p *pack.Plan) error {
	if p.Same {
		u.say("%s %s  is installed already: the digest is the same", u.bold(p.Pack), p.To.Version)
		return nil
	}
	u.say("%s  %s → %s", u.bold(p.Pack), version0(p.From), p.To.Version)
	u.facts("digest", p.To.Digest)
	if v := p.Verdict; v != nil {
		tellSigners(u, v)
	}
	if s := p.Signer; s != nil {
		u.say("\n%s %s signed it, the version before was signed by %s; say --accept-signer if you know why", u.red("Another signer:"), strings.Join(s.After, ", "), strings.Join(s.Before, ", "))
	}
	if p.Downgrade {
		u.say("\n%s it is lower than what is installed; say --downgrade", u.yellow("Downgrade:"))
	}
	if p.HeldBack != "" {
		u.say("\n%s %s; say --again if you know better", u.red("It was rolled back:"), p.HeldBack)
	}
	if p.Diff == nil {
		return nil
	}
	return tellDiff(u, p.Diff)
}

// tellDiff prints a permission diff, what widened first.
func tellDiff(u ui, d *pack.Diff) error {
	if len(d.Items) == 0 {
		u.say("\n%s", u.green("It asks for nothing more and nothing less."))
		return nil
	}
	for _, part := range []struct {
		class pack.Class
		head  string
	}{
		{pack.Wider, u.yellow("Wider")}, {pack.Narrower, u.green("Narrower")}, {pack.Same, u.bold("Otherwise")},
	} {
		var rows [][]string
		for _, i := range d.Items {
			if i.Class != part.class {
				continue
			}
			waits := ""
			if i.Holds {
				waits = "waits for you"
			}
			rows = append(rows, []string{"  " + i.ID, i.Words, waits})
		}
		if len(rows) == 0 {
			continue
		}
		u.say("\n%s", part.head)
		if err := u.table([]string{"  WHAT", "CHANGE", ""}, rows); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) packRollbackCmd() *cobra.Command {
	var in api.RollbackPack
	cmd := &cobra.Command{
		Use:   "rollback PACK",
		Short: "Bring back the version that the last upgrade replaced; no registry is needed",
		Example: `  arw pack rollback arw/research --reason "it forgets things"
  arw pack rollback arw/research --to 0.1.0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Rollback(cmd.Context(), args[0], in)
			if err != nil {
				return err
			}
			var ch pack.Change
			if err := json.Unmarshal(raw, &ch); err != nil {
				return abi.Errorf(abi.Invalid, "read the answer: %w", err)
			}
			return a.print(raw, func(u ui) error {
				u.say("%s %s  %s", u.bold(args[0]), ch.Version, u.green("is back"))
				u.facts("digest", ch.Digest, "held back", ch.From)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&in.To, "to", "", "version or digest that is kept (default the last one replaced)")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the history")
	return cmd
}

func (a *app) packHistoryCmd() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history PACK",
		Short: "Tell every version a pack had here: what decided, who, when and why",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.History(cmd.Context(), args[0], limit)
			if err != nil {
				return err
			}
			var doc api.List[pack.Change]
			if err := json.Unmarshal(raw, &doc); err != nil {
				return abi.Errorf(abi.Invalid, "read the history: %w", err)
			}
			return a.print(raw, func(u ui) error { return tellHistory(u, doc.Items) })
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many, the newest (default all that are kept)")
	return cmd
}

func tellHistory(u ui, changes []pack.Change) error {
	var rows [][]string
	for _, c := range changes {
		var notes []string
		if c.Current {
			notes = append(notes, "current")
		}
		if c.Kept {
			notes = append(notes, "kept")
		}
		if c.Held != "" {
			notes = append(notes, "held back")
		}
		signed := ""
		if c.Verdict != nil {
			signed = strings.Join(c.Verdict.Signers, " ")
			if c.Verdict.Override {
				signed = "admitted by hand"
			}
		}
		rows = append(rows, []string{
			"  " + c.Time.Local().Format("2006-01-02 15:04:05"), c.Change, c.Version, shortDigest(c.Digest), signed, c.By, strings.Join(notes, ", "), oneLine(c.Why),
		})
	}
	return u.table([]string{"  WHEN", "WHAT", "VERSION", "DIGEST", "SIGNED BY", "BY", "NOW", "WHY"}, rows)
}

func oneLine(s string) string {
	s, _, cut := strings.Cut(s, "\n")
	if r := []rune(s); len(r) > 100 {
		s, cut = string(r[:100]), true
	}
	if cut {
		s += "…"
	}
	return s
}
