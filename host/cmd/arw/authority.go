package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
)

func (a *app) leaseCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lease",
		Short: "Grant, list and revoke what packs may do",
		Long: `A lease says who (one digest of a pack) may do what (a capability), where (its scope), until when, and how much.
No pack and no tool can grant one: granting needs the operator's token.`,
	}
	cmd.AddCommand(a.leaseListCmd(), a.leaseGrantCmd(), a.leaseRenewCmd(), a.leaseRevokeCmd())
	return cmd
}

func (a *app) leaseListCmd() *cobra.Command {
	var pack string
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List leases",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{}
			if pack != "" {
				q.Set("pack", pack)
			}
			if !all {
				q.Set("state", "live")
			}
			var doc api.List[api.Lease]
			if err := c.List(cmd.Context(), "leases", q, &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error { return tellLeases(u, doc.Items) })
		},
	}
	cmd.Flags().StringVar(&pack, "pack", "", "only this pack's")
	cmd.Flags().BoolVar(&all, "all", false, "also expired, revoked and exhausted ones")
	return cmd
}

func tellLeases(u ui, leases []api.Lease) error {
	if len(leases) == 0 {
		u.say("  none")
		return nil
	}
	var rows [][]string
	for _, l := range leases {
		rows = append(rows, []string{l.ID, l.Pack, l.Capability, strings.Join(l.Scope, " "), l.State, age(l.Expires), spent(l), l.By})
	}
	return u.table([]string{"LEASE", "PACK", "CAPABILITY", "SCOPE", "STATE", "EXPIRES", "USED", "BY"}, rows)
}

func spent(l api.Lease) string {
	out := fmt.Sprintf("%d", l.Used.Calls)
	if l.Budget.Calls > 0 {
		out += fmt.Sprintf("/%d", l.Budget.Calls)
	}
	out += " calls"
	if l.Budget.Bytes > 0 {
		out += fmt.Sprintf(", %d/%d B", l.Used.Bytes, l.Budget.Bytes)
	}
	if l.Budget.Tokens > 0 {
		out += fmt.Sprintf(", %d/%d tokens", l.Used.Tokens, l.Budget.Tokens)
	}
	if l.Budget.Money > 0 {
		out += fmt.Sprintf(", %.6f/%.6f USD", float64(l.Used.Money)/1e6, float64(l.Budget.Money)/1e6)
	}
	return out
}

func (a *app) leaseGrantCmd() *cobra.Command {
	var in api.GrantLease
	cmd := &cobra.Command{
		Use:   "grant PACK CAPABILITY",
		Short: "Grant a pack a lease within what its manifest asks for",
		Example: `  arw lease grant arw/research fs --scope read:/home/me/notes --ttl 8h
  arw lease grant arw/research fs --scope read:/srv/docs --calls 10000 --reason "index the handbook"`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Pack, in.Capability = args[0], args[1]
			c, err := a.client()
			if err != nil {
				return err
			}
			l, err := c.Grant(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(l, func(u ui) error { return tellLeases(u, []api.Lease{l}) })
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&in.Scope, "scope", nil, "where it holds; may be given again (fs: read:FOLDER or write:FOLDER)")
	f.StringVar(&in.TTL, "ttl", "", "how long it holds, such as 30m or 8h (default by policy)")
	f.Int64Var(&in.Calls, "calls", 0, "at most this many host calls (default no limit)")
	f.Int64Var(&in.Bytes, "bytes", 0, "at most this many bytes (default no limit)")
	f.Int64Var(&in.Tokens, "tokens", 0, "at most this many tokens of a model (default no limit)")
	f.Int64Var(&in.Money, "usd-micros", 0, "at most this many millionths of a US dollar (default no limit)")
	f.StringVar(&in.Project, "project", "", "in this project alone")
	f.StringVar(&in.Reason, "reason", "", "why, for the journal")
	return cmd
}

func (a *app) leaseRevokeCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke LEASE",
		Short: "Revoke a lease; the pack's very next host call fails, also in mid-call",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			l, err := c.Revoke(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.print(l, func(u ui) error { return tellLeases(u, []api.Lease{l}) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	return cmd
}

func (a *app) leaseRenewCmd() *cobra.Command {
	var ttl string
	cmd := &cobra.Command{
		Use:   "renew LEASE",
		Short: "Let a renewable lease live longer, from now",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			l, err := c.Renew(cmd.Context(), args[0], ttl)
			if err != nil {
				return err
			}
			return a.print(l, func(u ui) error { return tellLeases(u, []api.Lease{l}) })
		},
	}
	cmd.Flags().StringVar(&ttl, "ttl", "24h", "how long it holds from now")
	return cmd
}
