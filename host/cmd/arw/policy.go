package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/policy"
)

func (a *app) policyCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Test, explain and change what the policies decide"}
	cmd.AddCommand(a.policyTestCmd(), a.policyExplainCmd(), a.policySimulateCmd(), a.policyDiffCmd(), a.policyReloadCmd(), a.policyPostureCmd())
	return cmd
}

func (a *app) policyTestCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run cases against the policies of a folder, offline",
		Long:  `Each file is an archive of policies and cases, as docs/spec/policy.md has it.`,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := a.policyFiles(dir)
			if err != nil {
				return err
			}
			var all []policy.Result
			failed := 0
			for _, name := range args {
				text, err := os.ReadFile(name)
				if err != nil {
					return abi.Errorf(abi.NotFound, "read cases %q: %w", name, err)
				}
				results, err := policy.Test(base, policy.Source{Name: name, Text: text})
				if err != nil {
					return err
				}
				all = append(all, results...)
			}
			for _, r := range all {
				if len(r.Wrong) > 0 {
					failed++
				}
			}
			err = a.print(all, func(u ui) error {
				for _, r := range all {
					mark := u.green("ok  ")
					if len(r.Wrong) > 0 {
						mark = u.red("FAIL")
					}
					u.say("%s %s: %s", mark, r.File, r.Case)
					for _, w := range r.Wrong {
						u.say("     %s", w)
					}
				}
				return nil
			})
			if err == nil && failed > 0 {
				err = abi.Errorf(abi.Conflict, "test policies: %d of %d cases failed", failed, len(all)).WithHint("mend the policies, or what the cases want of them")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "policies", "", "folder of *.cedar files (default: policy in the state directory)")
	return cmd
}

// policyFiles reads a folder of policies; a missing one is empty unless somebody named it.
func (a *app) policyFiles(dir string) ([]policy.Source, error) {
	named := dir != ""
	if !named {
		state, err := a.stateDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(state, "policy")
	}
	if _, err := os.Stat(dir); err != nil && named {
		return nil, abi.Errorf(abi.NotFound, "read policies in %q: %w", dir, err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.cedar"))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read policies in %q: %w", dir, err)
	}
	var files []policy.Source
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "read policy %q: %w", name, err)
		}
		files = append(files, policy.Source{Name: filepath.Base(name), Text: text})
	}
	return files, nil
}

func (a *app) policyExplainCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "explain [POLICY]",
		Short: "Say what a policy does, or list them all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := a.policyFiles(dir)
			if err != nil {
				return err
			}
			for _, name := range policy.Postures() {
				posture, err := policy.Posture(name)
				if err != nil {
					return err
				}
				files = append(files, posture...)
			}
			set, err := policy.Load(files)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.print(set.Rules(), func(u ui) error {
					var rows [][]string
					for _, r := range set.Rules() {
						rows = append(rows, []string{r.ID, r.Effect, strings.Join(r.Actions, " "), r.Mode, fmt.Sprintf("%s:%d", r.File, r.Line)})
					}
					return u.table([]string{"POLICY", "EFFECT", "ACTIONS", "MODE", "WHERE"}, rows)
				})
			}
			r, ok := set.Rule(args[0])
			if !ok {
				return abi.Errorf(abi.NotFound, "explain policy %q: there is none of that id", args[0]).WithHint("arw policy explain")
			}
			return a.print(r, func(u ui) error {
				u.say("%s  %s", u.bold(r.ID), r.Effect)
				bound := func(n int64) string {
					if n == 0 {
						return ""
					}
					return fmt.Sprint(n)
				}
				long := func(d fmt.Stringer) string {
					return strings.TrimSuffix(strings.Replace(d.String()+" ", "0s ", "", 1), " ")
				}
				u.facts("because", r.Reason, "speaks of", strings.Join(r.Actions, ", "), "mode", r.Mode, "waits", long(r.Hold), "at most for", long(r.TTL),
					"calls", bound(r.Budget.Calls), "bytes", bound(r.Budget.Bytes), "where", fmt.Sprintf("%s:%d", r.File, r.Line))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&dir, "policies", "", "folder of *.cedar files (default: policy in the state directory)")
	return cmd
}

func (a *app) policySimulateCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "simulate FILE",
		Short:   "Ask the running host what it would decide; - reads standard input",
		Example: `  echo '{"action":"link","pack":{"name":"arw/research"},"capability":"fs","scope":["read:/srv"],"context":{"verified":true}}' | arw policy simulate -`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readFileOr(args[0], a.std.in)
			if err != nil {
				return err
			}
			if !json.Valid(text) {
				return abi.Errorf(abi.Invalid, "simulate %q: it is not JSON", args[0]).WithHint("see the requests in docs/spec/policy.md")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Policy(cmd.Context(), "simulate", json.RawMessage(text))
			if err != nil {
				return err
			}
			var doc struct {
				Decision policy.Decision `json:"decision"`
			}
			if err := json.Unmarshal(raw, &doc); err != nil {
				return abi.Errorf(abi.Invalid, "read the answer: %w", err)
			}
			return a.print(raw, func(u ui) error {
				d := doc.Decision
				u.say("%s", u.bold(string(d.Outcome)))
				u.facts("because", d.Reason, "policies", strings.Join(d.Policies, " "), "errors", strings.Join(d.Errors, "; "))
				return nil
			})
		},
	}
}

func readFileOr(name string, in io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(in, api.MaxBody))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, abi.Errorf(abi.NotFound, "read %q: %w", name, err)
	}
	return text, nil
}

func (a *app) policyReloadCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Read posture, policies and grants again now; with a fault the last good ones stay in force",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Policy(cmd.Context(), "reload", struct{}{})
			if err != nil {
				return err
			}
			var s host.PolicyState
			if err := json.Unmarshal(raw, &s); err != nil {
				return abi.Errorf(abi.Invalid, "read the answer: %w", err)
			}
			return a.print(raw, func(u ui) error {
				u.say("%s posture %s, %s", u.green("in force:"), s.Posture, s.Digest)
				return nil
			})
		},
	}
}

func (a *app) policyPostureCmd() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:       "posture NAME",
		Short:     "Choose a posture: base, relaxed, standard, strict or trial",
		Long:      `A posture is a set of shipped policies beside the default ones. --dry-run shows what it would change for the installed packs.`,
		ValidArgs: policy.Postures(),
		Args:      cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Policy(cmd.Context(), "posture", api.ChoosePosture{Posture: args[0], DryRun: dry})
			if err != nil {
				return err
			}
			var change host.PostureChange
			if err := json.Unmarshal(raw, &change); err != nil {
				return abi.Errorf(abi.Invalid, "read the answer: %w", err)
			}
			return a.print(raw, func(u ui) error {
				verb := "posture"
				if change.DryRun {
					verb = "would be"
				}
				u.say("%s %s (was %s)", u.bold(verb), change.To, change.From)
				var rows [][]string
				for _, s := range change.Shifts {
					rows = append(rows, []string{s.Pack, s.Action, s.Capability, string(s.Before.Outcome), string(s.After.Outcome), s.After.Reason})
				}
				if len(rows) == 0 {
					u.say("no answer about an installed pack changes")
					return nil
				}
				return u.table([]string{"PACK", "ACTION", "CAPABILITY", "WAS", "IS", "BECAUSE"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would change, and change nothing")
	return cmd
}
