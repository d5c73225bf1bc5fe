package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/egress"
)

func tellSettings(u ui, s egress.Settings) error {
	u.say("  posture  %s", s.Posture)
	var rows [][]string
	for _, id := range slices.Sorted(maps.Keys(s.Scopes)) {
		sc := s.Scopes[id]
		word, ends := "allow", "never"
		if sc.Deny {
			word = "deny"
		}
		if !sc.Expires.IsZero() {
			ends = age(sc.Expires)
		}
		rows = append(rows, []string{id, word, strings.Join(sc.Hosts, " "), strings.Trim(fmt.Sprint(sc.Ports), "[]"), strings.Join(sc.CIDRs, " "), ends})
	}
	if rows == nil {
		return nil
	}
	return u.table([]string{"SCOPE", "DOES", "HOSTS", "PORTS", "RANGES", "EXPIRES"}, rows)
}

func (a *app) egressScopeCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "scope", Short: "Add, replace and remove the operator's scopes"}
	cmd.AddCommand(a.egressScopeSetCmd(), &cobra.Command{
		Use: "remove ID", Short: "Remove a scope", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.RemoveEgressScope(cmd.Context(), args[0])
		},
	})
	return cmd
}

func (a *app) egressScopeSetCmd() *cobra.Command {
	var in api.SetScope
	var ports []uint
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "set ID",
		Short: "Add a scope, or replace the one of that id",
		Example: `  arw egress scope set weather --host 'domain:example.com'
  arw egress scope set nas --host nas.lan --port 8080 --cidr 192.168.7.0/24 --ttl 8h
  arw egress scope set never --deny --host '*.tracker.example'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, p := range ports {
				if p == 0 || p > 65535 {
					return &usageError{fmt.Sprintf("there is no port %d", p), "1 to 65535"}
				}
				in.Ports = append(in.Ports, uint16(p))
			}
			if ttl > 0 {
				in.Expires = time.Now().Add(ttl).UTC().Format(time.RFC3339)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.SetEgressScope(cmd.Context(), args[0], in)
			if err != nil {
				return err
			}
			var s egress.Scope
			if err := json.Unmarshal(raw, &s); err != nil {
				return abi.Errorf(abi.Internal, "read the scope: %w", err)
			}
			return a.print(s, func(u ui) error {
				u.say("  scope %s is in force", s.ID)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&in.Hosts, "host", nil, "name, *.name, domain:name (a registrable domain), * or an address; may be given again")
	f.UintSliceVar(&ports, "port", nil, "ports (default 80 and 443)")
	f.StringArrayVar(&in.Schemes, "scheme", nil, "http, https, ws or wss (default all)")
	f.StringArrayVar(&in.CIDRs, "cidr", nil, "special addresses that these hosts may lead to, inside one special range")
	f.BoolVar(&in.Deny, "deny", false, "deny instead of allow")
	f.DurationVar(&ttl, "ttl", 0, "how long it holds (default for ever)")
	f.StringVar(&in.Description, "description", "", "what it is for")
	f.Int64Var(&in.PerCall, "price-call", 0, "what a call costs, in millionths of a dollar")
	f.Int64Var(&in.PerMiB, "price-mib", 0, "what a MiB costs, in millionths of a dollar")
	return cmd
}

func (a *app) egressTokenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Issue, list and revoke tokens of the loopback proxy",
		Long: `A token lets a program that is no pack speak through the host: HTTPS_PROXY=http://arw:TOKEN@127.0.0.1:9080. It says on whose behalf,
where to, until when and how much; the guard is the same for everybody. The secret is shown once.`,
	}
	cmd.AddCommand(a.egressTokenIssueCmd(), a.egressTokenListCmd(), &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token; transfers under it end with their next bytes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.RevokeEgressToken(cmd.Context(), args[0])
		},
	})
	return cmd
}

func (a *app) egressTokenIssueCmd() *cobra.Command {
	var in api.IssueToken
	cmd := &cobra.Command{
		Use:     "issue ACTOR",
		Short:   "Issue a token to agent:NAME, person:NAME or process:NAME",
		Example: `  arw egress token issue process:scraper --scope 'CONNECT https://*.example.com' --ttl 1h --bytes 100000000`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Actor = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.IssueEgressToken(cmd.Context(), in)
			if err != nil {
				return err
			}
			var got struct {
				egress.Token
				Secret string `json:"secret"`
			}
			if err := json.Unmarshal(raw, &got); err != nil {
				return abi.Errorf(abi.Internal, "read the token: %w", err)
			}
			return a.print(got, func(u ui) error {
				u.say("  token    %s for %s until %s", got.ID, got.Actor, got.Expires.Format(time.RFC3339))
				u.say("  secret   %s", got.Secret)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&in.Scope, "scope", nil, "where it holds, as the scope of an http lease; tunnels are the method CONNECT; may be given again")
	f.StringVar(&in.TTL, "ttl", "", "how long it holds (default 1h, at most 720h)")
	f.Int64Var(&in.Calls, "calls", 0, "at most this many requests")
	f.Int64Var(&in.Bytes, "bytes", 0, "at most this many bytes")
	f.StringVar(&in.Project, "project", "", "the project it is for")
	f.StringVar(&in.Reason, "reason", "", "why, for the journal")
	return cmd
}

func (a *app) egressTokenListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List tokens in force, without their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var doc api.List[egress.Token]
			if err := c.EgressTokens(cmd.Context(), &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				var rows [][]string
				for _, t := range doc.Items {
					rows = append(rows, []string{t.ID, t.Actor, strings.Join(t.Scope, "; "), age(t.Expires), fmt.Sprintf("%d calls, %d B", t.UsedCalls, t.UsedBytes)})
				}
				if rows == nil {
					u.say("  none")
					return nil
				}
				return u.table([]string{"TOKEN", "ACTOR", "SCOPE", "EXPIRES", "USED"}, rows)
			})
		},
	}
}
