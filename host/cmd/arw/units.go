package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/logic/safety"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) unitCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unit",
		Short: "Diff, apply, promote and revert logic units",
		Long: `A logic unit is a bundle of changes to named configuration documents, with parameters. Look at the exact change first,
try it in one project, make it the default, take it back: what a revert leaves is what would be there without the unit.

  arw unit install my-unit                         a folder with a unit.toml, or the file
  arw unit diff mmr --scope project/notes          what would change, and to what each value is due
  arw unit apply mmr --scope project/notes --set diversity=0.4
  arw unit promote mmr --from project/notes
  arw unit revert mmr`,
	}
	cmd.AddCommand(a.unitListCmd(), a.unitShowCmd(), a.unitInstallCmd(), a.unitLintCmd(), a.unitTestCmd(), a.unitMatrixCmd(), a.unitApplyCmd("diff"), a.unitApplyCmd("plan"),
		a.unitApplyCmd("apply"), a.unitRevertCmd(), a.unitPromoteCmd(), a.unitApproveCmd(), a.unitGatesCmd(), a.unitMoveCmd("take"), a.unitMoveCmd("archive"), a.historyCmd(),
		a.unitBuildCmd(), a.unitPushCmd(), a.unitSignCmd(), a.unitPullCmd(), a.unitInspectCmd())
	return cmd
}

// The answers of a host, as far as they are shown.
type (
	unitInfo struct {
		ID, Title, Version, Category, Digest, State, Origin string
		Active                                              []struct{ Scope, Stage, By string }
		Manifest                                            json.RawMessage
	}
	planInfo struct {
		Version int64
		Done    bool
		Docs    []docInfo
		Units   []struct {
			ID, Version, Digest, Replaces string
			Params                        map[string]json.RawMessage
		}
		Conflicts []struct{ Kind, Text string }
		Safety    []struct{ Code, Severity, Where, Pointer, Text string }
		Digest    string `json:"safety_digest"`
		Notes     []string
		Permits   []struct {
			Text   string
			Widens bool
		}
		Gates  []gateInfo
		Shadow *shadowInfo
	}
	gateInfo struct {
		Name, Text string
		Passed     bool
	}
	shadowInfo struct {
		Actions []struct {
			Action, Tool, Outcome, Why string
			Changes                    []string
		}
	}
	docInfo struct {
		Target, Scope, Before, After string
		Changes                      []struct {
			Op, Path      string
			Before, After any
			From, To      originInfo
		}
	}
	originInfo struct{ Unit, Version, Actor string }
)

func (o originInfo) String() string {
	switch {
	case o.Unit != "":
		return o.Unit + " " + o.Version
	case o.Actor != "":
		return "by hand (" + o.Actor + ")"
	}
	return "default"
}

func scopeWord(s string) string {
	if s == "" {
		return "workspace"
	}
	return s
}

func (a *app) unitListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the units the host knows and where they are active", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.State(cmd.Context(), "logic_units", nil, &raw); err != nil {
				return err
			}
			return a.print(raw, func(u ui) error {
				var doc struct{ Items map[string]unitInfo }
				if err := json.Unmarshal(raw, &doc); err != nil {
					return err
				}
				if len(doc.Items) == 0 {
					u.say("no units are known; next: arw unit install FOLDER")
					return nil
				}
				var rows [][]string
				for _, id := range sortedKeys(doc.Items) {
					i := doc.Items[id]
					var active []string
					for _, b := range i.Active {
						active = append(active, scopeWord(b.Scope)+" ("+b.Stage+")")
					}
					rows = append(rows, []string{i.ID, i.Version, i.Category, i.State, strings.Join(active, ", ")})
				}
				return u.table([]string{"UNIT", "VERSION", "CATEGORY", "STATE", "ACTIVE IN"}, rows)
			})
		},
	}
}

func (a *app) unitShowCmd() *cobra.Command {
	return &cobra.Command{
		Use: "show UNIT", Short: "Show a unit: what it changes, its parameters, where it is active", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Unit(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(raw, func(u ui) error { return tellUnit(u, raw) })
		},
	}
}

func tellUnit(u ui, raw json.RawMessage) error {
	var i unitInfo
	if err := json.Unmarshal(raw, &i); err != nil {
		return err
	}
	var man struct {
		Description string
		Parameters  map[string]struct {
			Type, Description string
			Default           json.RawMessage
		}
		Patches []struct {
			Target, Op string
			Value      json.RawMessage
		}
	}
	if err := json.Unmarshal(i.Manifest, &man); err != nil {
		return err
	}
	u.say("%s %s  %s", u.bold(i.ID), i.Version, i.State)
	u.say("  %s", man.Description)
	u.facts("category", i.Category, "digest", i.Digest, "from", i.Origin)
	for _, b := range i.Active {
		u.facts("active", scopeWord(b.Scope)+" ("+b.Stage+", by "+b.By+")")
	}
	var rows [][]string
	for _, name := range sortedKeys(man.Parameters) {
		p := man.Parameters[name]
		rows = append(rows, []string{"  " + name, p.Type, string(p.Default), p.Description})
	}
	if len(rows) > 0 {
		u.say("")
		if err := u.table([]string{"  PARAMETER", "TYPE", "DEFAULT", "WHAT IT DOES"}, rows); err != nil {
			return err
		}
	}
	u.say("")
	for _, p := range man.Patches {
		u.say("  %s %s %s", p.Op, p.Target, p.Value)
	}
	return nil
}

// readUnit reads unit.toml from a folder or a file.
func readUnit(path string) (file string, src []byte, err error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, manifests.UnitFileName)
	}
	src, err = os.ReadFile(path)
	if err != nil {
		return path, nil, abi.Errorf(abi.NotFound, "read unit %q: %w", path, err).WithHint("name a unit.toml or the folder that has one")
	}
	return path, src, nil
}

func (a *app) unitInstallCmd() *cobra.Command {
	var in api.InstallUnit
	cmd := &cobra.Command{
		Use: "install FOLDER|FILE|REF", Short: "Make a unit known to the host; it changes nothing yet", Args: cobra.ExactArgs(1),
		Long: `Make a unit known: from a file or folder, or from a registry, where trust.toml must say who may sign it. A unit that runs
code (transform, plugin) and that nobody signed is refused, unless you answer for its one digest.`,
		Example: `  arw unit install my-unit
  arw unit install acme/retrieval-mmr-rrf:1.0.0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err == nil || strings.HasSuffix(args[0], ".toml") {
				file, src, err := readUnit(args[0])
				if err != nil {
					return err
				}
				in.Source, in.Origin = string(src), file
			} else {
				in.Ref = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.InstallUnit(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(raw, func(u ui) error { return tellUnit(u, raw) })
		},
	}
	cmd.Flags().BoolVar(&in.Suggest, "suggest", false, "only propose it: it can be looked at and not applied")
	cmd.Flags().StringVar(&in.OverrideUnsigned, "override-unsigned", "", "answer for this digest of a unit that runs code and that nobody signed")
	return cmd
}

func (a *app) unitLintCmd() *cobra.Command {
	return &cobra.Command{
		Use: "lint FOLDER|FILE", Short: "Check a unit.toml without a host: every problem with its line", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, src, err := readUnit(args[0])
			if err != nil {
				return err
			}
			man, err := manifests.ParseUnit(file, src)
			if err != nil {
				return err
			}
			scanner, err := safety.New()
			if err != nil {
				return err
			}
			found := scanner.Manifest(man.Canonical(), true)
			if safety.High(found) {
				texts := make([]string, len(found))
				for i, f := range found {
					texts[i] = fmt.Sprintf("%s: %s (%s)", f.Pointer, f.Text, f.Code)
				}
				return abi.Errorf(abi.Denied, "lint unit %q: %s", man.ID, strings.Join(texts, "; ")).
					WithHint("a host refuses it until a person answers for these findings").WithDetail(found)
			}
			return a.print(man, func(u ui) error {
				for _, f := range found {
					u.say("note: %s: %s (%s)", f.Pointer, f.Text, f.Code)
				}
				u.say("ok: %s %s  %s", man.ID, man.Version, man.Digest())
				return nil
			})
		},
	}
}

// unitApplyCmd is apply, and diff and plan, which are apply without doing it.
func (a *app) unitApplyCmd(verb string) *cobra.Command {
	var in api.ChangeLogic
	var set []string
	var beside bool
	short := map[string]string{
		"apply": "Make units active in a scope, all or none",
		"diff":  "Show exactly what applying a unit would change",
		"plan":  "Show what applying several units together would change, and which do not go together",
	}[verb]
	cmd := &cobra.Command{
		Use: verb + " UNIT...", Short: short, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := parameters(set)
			if err != nil {
				return err
			}
			for _, id := range args {
				in.Units = append(in.Units, api.UseUnit{Unit: id, Params: params})
			}
			return a.changeLogicBeside(cmd.Context(), "apply", in, beside)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Scope, "scope", "workspace", "where: workspace, project/ID or agent/ID")
	f.BoolVar(&in.Accept, "accept-permissions", false, "accept what packs may do more with the units")
	f.StringVar(&in.Findings, "accept-findings", "", "answer for what the safety scan found, named by its digest")
	f.IntVar(&in.Share, "share", 0, "percent of runs that have the units (default all)")
	f.BoolVar(&in.KeepHand, "keep-hand", false, "apply beneath what was changed by hand, which stays")
	if in.DryRun = verb != "apply"; in.DryRun {
		f.BoolVar(&beside, "side-by-side", false, "show before and after beside each other")
	}
	f.StringArrayVar(&set, "set", nil, "a parameter, NAME=VALUE with a JSON value or a word; may be given again")
	return cmd
}

func parameters(set []string) (map[string]json.RawMessage, error) {
	params := map[string]json.RawMessage{}
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, &usageError{fmt.Sprintf("--set %q has no value", s), "write --set NAME=VALUE"}
		}
		raw := json.RawMessage(value)
		if !json.Valid(raw) {
			raw, _ = json.Marshal(value) // a string always marshals
		}
		params[name] = raw
	}
	return params, nil
}

func (a *app) changeLogic(ctx context.Context, verb string, in api.ChangeLogic) error {
	return a.changeLogicBeside(ctx, verb, in, false)
}

// changeLogicBeside tells the plan with before and after beside each other when beside is set.
func (a *app) changeLogicBeside(ctx context.Context, verb string, in api.ChangeLogic, beside bool) error {
	return a.planBeside(beside, func(c *client.Client) (json.RawMessage, error) { return c.ChangeLogic(ctx, verb, in) })
}

// plan asks for a change and tells it.
func (a *app) plan(ask func(*client.Client) (json.RawMessage, error)) error {
	return a.planBeside(false, ask)
}

func (a *app) planBeside(beside bool, ask func(*client.Client) (json.RawMessage, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	raw, err := ask(c)
	if err != nil {
		return err
	}
	return a.print(raw, func(u ui) error { return tellPlan(u, raw, beside) })
}

func tellPlan(u ui, raw json.RawMessage, beside bool) error {
	var p planInfo
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	for _, unit := range p.Units {
		var params []string
		for _, name := range sortedKeys(unit.Params) {
			params = append(params, name+"="+string(unit.Params[name]))
		}
		u.say("%s %s  %s", u.bold(unit.ID), unit.Version, u.dim(strings.Join(params, " ")))
	}
	for _, d := range p.Docs {
		u.say("%s in %s", u.bold(d.Target), scopeWord(d.Scope))
		if beside {
			tellBeside(u, d)
			continue
		}
		for _, c := range d.Changes {
			u.say("  %s", c.Path)
			if c.Op != "add" {
				u.say("%s", u.red("    - "+jsonText(c.Before))+u.dim("   "+c.From.String()))
			}
			if c.Op != "remove" {
				u.say("%s", u.green("    + "+jsonText(c.After))+u.dim("   "+c.To.String()))
			}
		}
	}
	if len(p.Docs) == 0 {
		u.say("no document changes")
	}
	tellGates(u, p)
	for _, n := range p.Notes {
		u.say("note: %s", n)
	}
	for _, c := range p.Conflicts {
		u.say("%s", u.yellow("conflict ("+c.Kind+"): "+c.Text))
	}
	if p.Done {
		u.say("done: the configuration is at version %d", p.Version)
	} else {
		u.say("nothing was changed: this is what would happen to version %d", p.Version)
	}
	return nil
}

func jsonText(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
