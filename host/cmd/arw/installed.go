package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/signing"
)

func (a *app) installCmd() *cobra.Command {
	var in api.InstallPack
	cmd := &cobra.Command{
		Use:     "install REF",
		Aliases: []string{"pull-install"},
		Short:   "Install a pack into the running host",
		Long: `Install a pack: pull it, check every digest, verify its signatures against the trust policy, ask Cedar, grant the
leases that policy grants, compile, load. Either all of it happens or nothing does; "arw why" tells what decided.

REF is NAME:VERSION or NAME@DIGEST from the host's default registry, HOST/NAME:VERSION from another one, or
dir:FOLDER//NAME:VERSION from a folder.`,
		Example: `  arw install arw/research:0.1.0
  arw install localhost:5000/acme/tools:1.2.0
  arw install dir:./registry//acme/tools:1.2.0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Ref = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			update, end := a.progress()
			raw, err := c.Install(cmd.Context(), in, func(p api.Progress) { update(p.What, p.Done, p.Total) })
			end()
			if err != nil {
				return err
			}
			return a.showVerdict(raw)
		},
	}
	cmd.Flags().StringVar(&in.AllowUnsigned, "allow-unsigned", "", "manifest digest to admit although nothing trusted signed it; for this one install only")
	return cmd
}

func (a *app) showVerdict(raw json.RawMessage) error {
	var v pack.Verdict
	if err := json.Unmarshal(raw, &v); err != nil {
		return abi.Errorf(abi.Invalid, "read the verdict: %w", err)
	}
	return a.print(raw, func(u ui) error { return tellVerdict(u, &v) })
}

// tellVerdict prints the record of a decision in the order in which it was made.
func tellVerdict(u ui, v *pack.Verdict) error {
	head := u.green("admitted")
	if !v.Allowed {
		head = u.red("refused at " + v.Step)
	}
	u.say("%s %s  %s", u.bold(v.Pack), v.Version, head)
	u.facts("reference", v.Ref, "manifest", v.Digests.Manifest, "module", v.Digests.Module, "decided", v.Time.Local().Format("2006-01-02 15:04:05"),
		"by", v.By, "replaces", v.Replaces, "warning", v.Warning)
	tellSigners(u, v)
	if d := v.Load; d != nil {
		u.say("\n%s", u.bold("Admitted by Cedar"))
		u.facts("policies", strings.Join(d.Policies, ", "), "reason", d.Reason, "errors", strings.Join(d.Errors, "; "))
	}
	if len(v.Links) > 0 {
		tellGrants(u, v)
	}
	if r := v.Refused; r != nil {
		u.say("\n%s %s (%s)", u.red("Refused:"), r.Message, r.Code)
		if r.Hint != "" {
			u.say("  next: %s", r.Hint)
		}
	}
	return nil
}

func tellSigners(u ui, v *pack.Verdict) {
	s := v.Signature
	if s == nil {
		return
	}
	u.say("\n%s", u.bold("Signed by"))
	for _, by := range s.Signers {
		u.facts(by.Name, signedBy(by))
	}
	if len(s.Signers) == 0 {
		u.say("  nobody the trust policy knows")
	}
	if s.Rule != "" {
		u.facts("trust rule", fmt.Sprintf("%s, needs %d", s.Rule, s.Needed))
	}
	for _, r := range s.Rejected {
		u.facts("not counted", fmt.Sprintf("bundle %d %s%s: %s", r.Bundle, r.KeyID, r.Identity, r.Reason))
	}
	u.facts("override", v.Override)
}

// signedBy is one counted signature in a line: who, by whose word, where it is logged, since when, and what it says.
func signedBy(by signing.Signer) string {
	who := "key " + by.KeyID
	if by.Identity != "" {
		who = by.Identity + " by " + by.Issuer
	}
	if by.Role != "" {
		who += ", " + by.Role
	}
	if by.Log != nil {
		who += fmt.Sprintf(", log %s entry %d", shortDigest(by.Log.ID), by.Log.Index)
	}
	if by.Time != nil {
		who += ", " + by.Time.UTC().Format("2006-01-02 15:04:05Z")
	}
	if by.Predicate != signing.PredicateSign {
		who += ", " + by.Predicate
	}
	return who
}

func tellGrants(u ui, v *pack.Verdict) {
	u.say("\n%s", u.bold("It may"))
	may, ask := [][]string{}, [][]string{}
	for _, g := range v.Links {
		row := []string{"  " + g.Capability, strings.Join(g.Scope, " "), g.Reason, strings.Join(g.Decision.Policies, ", ")}
		if g.Outcome == pack.Granted {
			may = append(may, row)
		} else {
			ask = append(ask, append(row[:3:3], g.Outcome))
		}
	}
	_ = u.table([]string{"  CAPABILITY", "SCOPE", "BECAUSE", "POLICY"}, may)
	u.say("\n%s", u.bold("It may not"))
	if len(ask) > 0 {
		_ = u.table([]string{"  CAPABILITY", "ASKED SCOPE", "BECAUSE", "OUTCOME"}, ask)
	}
	u.say("  anything else: what pack.toml does not name is linked to a refusal")
}

func (a *app) listCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List installed packs and their tools",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var doc api.List[pack.Info]
			if err := c.List(cmd.Context(), "packs", nil, &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				if len(doc.Items) == 0 {
					u.say("no packs are installed; next: arw install REF")
					return nil
				}
				var rows [][]string
				for _, p := range doc.Items {
					rows = append(rows, []string{p.Name, p.Version, string(p.State), shortDigest(p.Digest), strings.Join(toolIDs(p), " ")})
				}
				return u.table([]string{"PACK", "VERSION", "STATE", "DIGEST", "TOOLS"}, rows)
			})
		},
	}
}

func toolIDs(p pack.Info) []string {
	var ids []string
	for _, t := range p.Tools {
		ids = append(ids, t.ID)
	}
	return ids
}

func (a *app) showCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show PACK",
		Short: "Show an installed pack: its tools, their inputs and effects",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Pack(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var p pack.Info
			if err := json.Unmarshal(raw, &p); err != nil {
				return abi.Errorf(abi.Invalid, "read pack %q: %w", args[0], err)
			}
			return a.print(raw, func(u ui) error {
				u.say("%s %s  %s", u.bold(p.Name), p.Version, p.State)
				u.facts("about", p.Description, "licence", p.License, "digest", p.Digest, "from", p.Ref, "broken", p.Reason)
				for _, t := range p.Tools {
					u.say("\n%s  %s", u.bold(t.ID), u.dim(t.Effects))
					u.facts("does", t.Description, "input", string(t.Input), "output", string(t.Output))
				}
				return nil
			})
		},
	}
}

func (a *app) removeCmd() *cobra.Command {
	var purge bool
	cmd := &cobra.Command{
		Use:   "remove PACK",
		Short: "Remove an installed pack and revoke its leases",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.Remove(cmd.Context(), args[0], purge); err != nil {
				return err
			}
			return a.print(map[string]string{"removed": args[0]}, func(u ui) error {
				u.say("removed %s", args[0])
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "also delete everything the pack stored")
	return cmd
}
