package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/manifests/lockfile"
)

func (a *app) packAcceptCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "accept PACK [WHAT...]",
		Short: "Give a pack what its last upgrade widened: all of it, or what you name",
		Example: `  arw pack accept arw/research
  arw pack accept arw/research capability:clock tool:research.purge`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Accept(cmd.Context(), args[0], args[1:]...)
			if err != nil {
				return err
			}
			var doc api.List[pack.Item]
			if err := json.Unmarshal(raw, &doc); err != nil {
				return abi.Errorf(abi.Invalid, "read the answer: %w", err)
			}
			return a.print(raw, func(u ui) error {
				for _, i := range doc.Items {
					u.say("%s  %s", u.green("accepted"), i.Words)
				}
				if len(doc.Items) == 0 {
					u.say("nothing waits for you")
				}
				return nil
			})
		},
	}
}

func (a *app) packSuspendCmd() *cobra.Command {
	return a.standingCmd("suspend PACK", "Keep a pack from running until it is resumed; its calls end at once", func(ctx context.Context, name, reason string) (json.RawMessage, error) {
		c, err := a.client()
		if err != nil {
			return nil, err
		}
		return c.Suspend(ctx, name, reason)
	})
}

func (a *app) packResumeCmd() *cobra.Command {
	return a.standingCmd("resume PACK", "Let a suspended pack run again; not while its digest is revoked", func(ctx context.Context, name, reason string) (json.RawMessage, error) {
		c, err := a.client()
		if err != nil {
			return nil, err
		}
		return c.Resume(ctx, name, reason)
	})
}

func (a *app) standingCmd(use, short string, do func(context.Context, string, string) (json.RawMessage, error)) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := do(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			var p pack.Info
			if err := json.Unmarshal(raw, &p); err != nil {
				return abi.Errorf(abi.Invalid, "read pack %q: %w", args[0], err)
			}
			return a.print(raw, func(u ui) error {
				u.say("%s %s  %s", u.bold(p.Name), p.Version, p.State)
				u.facts("because", p.Reason)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func (a *app) packLockCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Write down what is installed: every pack by digest, with the proofs it was admitted on",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			text, err := c.Lock(cmd.Context())
			if err != nil {
				return err
			}
			lock, err := lockfile.Parse(out, text)
			if err != nil {
				return err
			}
			if out == "-" {
				_, err := a.std.out.Write(text)
				return err
			}
			if err := os.WriteFile(out, text, 0o644); err != nil {
				return abi.Errorf(abi.Invalid, "write %q: %w", out, err)
			}
			return a.print(lock, func(u ui) error {
				u.say("%s: %d packs", out, len(lock.Packs))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", lockfile.FileName, "file to write; - is standard output")
	return cmd
}

func (a *app) packSyncCmd() *cobra.Command {
	var in api.SyncPacks
	var file string
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Make the host equal to a lock file; all packs are checked before the first is changed",
		Example: `  arw pack sync --dry-run
  arw pack sync --lock production.lock --prune`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := os.ReadFile(file)
			if err != nil {
				return abi.Errorf(abi.NotFound, "read lock file %q: %w", file, err).WithHint("write one with arw pack lock, or name it with --lock")
			}
			if _, err := lockfile.Parse(file, text); err != nil {
				return err
			}
			in.Lock = string(text)
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Sync(cmd.Context(), in)
			if err != nil {
				return err
			}
			var doc api.List[pack.Synced]
			if err := json.Unmarshal(raw, &doc); err != nil {
				return abi.Errorf(abi.Invalid, "read the answer: %w", err)
			}
			return a.print(raw, func(u ui) error { return tellSync(u, doc.Items, in.DryRun) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "lock", lockfile.FileName, "the lock file")
	f.BoolVar(&in.DryRun, "dry-run", false, "check everything, and change nothing")
	f.BoolVar(&in.Prune, "prune", false, "remove packs that the file does not name")
	f.StringVar(&in.Registry, "registry", "", "take packs from here instead of where the file says")
	f.StringArrayVar(&in.AllowUnsigned, "allow-unsigned", nil, "manifest digest to admit although nothing trusted signed it; may be given again")
	return cmd
}

func tellSync(u ui, packs []pack.Synced, dry bool) error {
	changes := 0
	var rows [][]string
	for _, s := range packs {
		from, to := "", ""
		if s.From != nil {
			from = s.From.Version
		}
		if s.To != nil {
			to = s.To.Version
		}
		if s.Do != pack.SyncSame && s.Do != pack.SyncExtra {
			changes++
		}
		rows = append(rows, []string{s.Pack, s.Do, from, to, strings.Join(s.Held, " ")})
	}
	if err := u.table([]string{"PACK", "DO", "FROM", "TO", "WAITS FOR YOU"}, rows); err != nil {
		return err
	}
	switch {
	case changes == 0:
		u.say("the host is equal to the lock file")
	case dry:
		u.say("%s", fmt.Sprintf("%d changes would be made", changes))
	default:
		u.say("%s", fmt.Sprintf("%d changes made", changes))
	}
	return nil
}
