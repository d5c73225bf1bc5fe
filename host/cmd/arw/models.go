package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	models "github.com/arw-project/arw/host/internal/infer/serve" // "serve" is a command here
	"github.com/arw-project/arw/host/internal/infer/shelf"
)

func (a *app) modelCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Say which models the host may ask",
		Long: `Models stand in models.toml of the state directory, each with the digest that its file must have and a profile of
runtimes.toml. A running host reads both again when they change.`,
	}
	step := func(use, short string, do func(cmd *cobra.Command, dir, name string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			if err := do(cmd, dir, args[0]); err != nil {
				return err
			}
			return a.print(map[string]string{"model": args[0]}, func(u ui) error { u.facts("model", args[0]); return nil })
		}}
	}
	cmd.AddCommand(a.modelListCmd(), a.modelAddCmd(), a.modelPullCmd(), a.modelGCCmd(), a.modelInspectCmd(), a.modelBundleCmd(),
		step("verify NAME", "Compare a model's file with its digest", func(cmd *cobra.Command, dir, name string) error {
			s, err := models.Open(dir, nil, nil)
			if err != nil {
				return err
			}
			return s.Verify(cmd.Context(), name)
		}),
		step("remove NAME", "Take a model out of models.toml; its file stays", func(_ *cobra.Command, dir, name string) error { return models.Remove(dir, name) }),
		step("default NAME", "Make a model the one that is asked when a request names none", func(_ *cobra.Command, dir, name string) error { return models.SetDefault(dir, name) }))
	return cmd
}

func (a *app) modelListCmd() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the models of models.toml", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		dir, err := a.stateDir()
		if err != nil {
			return err
		}
		s, err := models.Open(dir, nil, nil)
		if err != nil {
			return err
		}
		items := s.List()
		return a.print(map[string]any{"items": items}, func(u ui) error {
			if len(items) == 0 {
				u.say("  none; \"arw model add\" adds one")
				return nil
			}
			var table [][]string
			for _, m := range items {
				mark := ""
				if m.Default {
					mark = "default"
				}
				table = append(table, []string{m.Name, m.Profile, mark, m.License, m.Digest})
			}
			return u.table([]string{"MODEL", "PROFILE", "", "LICENSE", "DIGEST"}, table)
		})
	}}
}

func (a *app) modelAddCmd() *cobra.Command {
	var m models.Model
	var keep bool
	cmd := &cobra.Command{
		Use:     "add NAME FILE",
		Short:   "Put a model file into models.toml with its digest",
		Example: "  arw model add tiny /srv/models/tiny.gguf --profile small --license apache-2.0",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			m.Name, m.File = args[0], args[1]
			if keep {
				got, path, err := shelve(cmd.Context(), filepath.Join(dir, "models"), m.File, shelf.Manifest{Digest: m.Digest, License: m.License, Source: m.Source})
				if err != nil {
					return err
				}
				m.File, m.Digest = path, got.Digest
			}
			added, err := models.Add(cmd.Context(), dir, m)
			if err != nil {
				return err
			}
			return a.print(added, func(u ui) error {
				u.facts("model", added.Name, "digest", added.Digest, "profile", added.Profile)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.Profile, "profile", "", "how it runs: a profile of runtimes.toml")
	f.StringVar(&m.Digest, "digest", "", "the sha256:… that the file must have")
	f.StringVar(&m.License, "license", "", "its licence")
	f.StringVar(&m.Source, "source", "", "where it came from")
	f.BoolVar(&keep, "copy", false, "copy the file onto the host's shelf, under its digest")
	_ = cmd.MarkFlagRequired("profile")
	return cmd
}

// told reads a document of the host; one that nothing was told of yet is empty.
func (a *app) told(cmd *cobra.Command, id string, into any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := c.State(cmd.Context(), id, nil, into); err != nil && abi.CodeOf(err) != abi.NotFound {
		return err
	}
	return nil
}

func (a *app) usageCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "usage",
		Short: "Say what models were asked, by whom, and what it cost",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var doc api.ModelUsage
			if err := a.told(cmd, "usage", &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				table := [][]string{usageRow("total", "", doc.Total)}
				for _, t := range []struct {
					what string
					sums map[string]api.UsageSum
				}{{"model", doc.Models}, {"pack", doc.Packs}, {"project", doc.Projects}, {"actor", doc.Actors}, {"day", doc.Days}} {
					for _, name := range slices.Sorted(maps.Keys(t.sums)) {
						table = append(table, usageRow(t.what, name, t.sums[name]))
					}
				}
				return u.table([]string{"OF", "NAME", "CALLS", "FAILED", "REFUSED", "IN", "CACHED", "OUT", "USD"}, table)
			})
		},
	}
}

func usageRow(of, name string, s api.UsageSum) []string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	return []string{of, cmp.Or(name, "-"), n(s.Calls), n(s.Failed), n(s.Refused), n(s.Prompt), n(s.Cached), n(s.Output), fmt.Sprintf("%d.%06d", s.Money/1e6, s.Money%1e6)}
}
