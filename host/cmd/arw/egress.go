package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/egress"
)

func (a *app) egressCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "egress",
		Short: "See and decide what leaves for the network",
		Long: `Everything that leaves for the network leaves through one guard, under a lease, and is a row of the ledger before it is
sent. "log" reads the ledger, "preview" tells what would be sent and what the host would say, "posture" and "scope" are the operator's
stance, and "token" lets a program that is no pack speak through the loopback proxy (arw serve --proxy).`,
	}
	cmd.AddCommand(a.egressLogCmd(), a.egressPreviewCmd(), a.egressPostureCmd(), a.egressScopeCmd(), a.egressTokenCmd())
	return cmd
}

func (a *app) egressLogCmd() *cobra.Command {
	var pack, host, decision, state, before, corr string
	var limit int
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Read the ledger, the newest first",
		Example: `  arw egress log --pack arw/research
  arw egress log --state unknown        what was under way when the host stopped`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for key, value := range map[string]string{"pack": pack, "host": host, "decision": decision, "state": state, "before": before, "corr_id": corr} {
				if value != "" {
					q.Set(key, value)
				}
			}
			var doc api.List[egress.Row]
			if err := c.EgressLog(cmd.Context(), q, &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error { return tellRows(u, doc.Items) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&pack, "pack", "", "only this pack's")
	f.StringVar(&host, "host", "", "only to this host")
	f.StringVar(&decision, "decision", "", "allow or deny")
	f.StringVar(&state, "state", "", "denied, open, done, failed or unknown")
	f.StringVar(&before, "before", "", "only rows older than the one of this id")
	f.StringVar(&corr, "corr", "", "only of this correlation id")
	f.IntVar(&limit, "limit", 50, "at most so many, up to 1000")
	return cmd
}

func tellRows(u ui, rows []egress.Row) error {
	if len(rows) == 0 {
		u.say("  nothing")
		return nil
	}
	var table [][]string
	for _, r := range rows {
		who := r.Pack
		if who == "" {
			who = r.Actor
		}
		what := strings.TrimSpace(r.Method + " " + r.Scheme + "://" + r.Host + r.Path)
		if r.Kind == "dns" {
			what = "name " + r.Host
		}
		result, moved := r.Reason, ""
		if o := r.Outcome; o != nil {
			result, moved = o.Code, fmt.Sprintf("%d/%d", o.Out, o.In)
			if o.Status != 0 {
				result = strconv.Itoa(o.Status)
			}
			if o.Code != abi.OK.String() {
				result = o.Code
			}
		}
		table = append(table, []string{r.Time.Format("15:04:05"), r.State, who, what, r.Address, result, moved, r.ID})
	}
	return u.table([]string{"TIME", "STATE", "WHO", "WHAT", "ADDRESS", "RESULT", "OUT/IN", "ROW"}, table)
}

func (a *app) egressPreviewCmd() *cobra.Command {
	var in api.PreviewEgress
	var headers []string
	var data string
	cmd := &cobra.Command{
		Use:   "preview URL",
		Short: "Tell what would be sent, and what the host would say, without sending anything",
		Long: `Nothing is sent, no name is resolved, no lease is counted, nothing is stored. So whether the name leads to a public address is
known only when it was resolved a moment ago; the answer says which.`,
		Example: `  arw egress preview https://api.example.com/v1/items --pack acme/weather --method POST --data '{"q":1}'
  arw egress preview http://169.254.169.254/`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.URL = args[0]
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok {
					return &usageError{fmt.Sprintf("header %q has no colon", h), "write it as 'Name: value'"}
				}
				in.Headers = append(in.Headers, [2]string{name, strings.TrimSpace(value)})
			}
			if file, ok := strings.CutPrefix(data, "@"); ok {
				f, err := os.Open(file)
				if err != nil {
					return abi.Errorf(abi.NotFound, "read the body: %w", err)
				}
				defer f.Close()
				if in.BodyBase64, err = io.ReadAll(io.LimitReader(f, api.MaxBody/2)); err != nil {
					return abi.Errorf(abi.Unavailable, "read the body: %w", err)
				}
			} else {
				in.Body = data
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.EgressPreview(cmd.Context(), in)
			if err != nil {
				return err
			}
			var p egress.Preview
			if err := json.Unmarshal(raw, &p); err != nil {
				return abi.Errorf(abi.Internal, "read the preview: %w", err)
			}
			return a.print(p, func(u ui) error { return tellPreview(u, p) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Pack, "pack", "", "as this pack")
	f.StringVar(&in.Tool, "tool", "", "as this tool of it")
	f.StringVar(&in.Method, "method", "", "method (default GET)")
	f.StringArrayVar(&headers, "header", nil, "a header, 'Name: value'; may be given again")
	f.StringVar(&data, "data", "", "the body, or @FILE")
	return cmd
}

func tellPreview(u ui, p egress.Preview) error {
	r := p.Row
	u.say("  %s  %s %s://%s%s", p.Decision, r.Method, r.Scheme, r.Host, r.Path)
	if p.Message != "" {
		u.say("  why      %s: %s", p.Reason, p.Message)
	}
	if p.Hint != "" {
		u.say("  next     %s", p.Hint)
	}
	u.say("  address  %s %s", p.Resolved, r.Address)
	if r.Lease != "" {
		u.say("  lease    %s (%s)", r.Lease, r.Scope)
	}
	for _, n := range p.Needs {
		u.say("  needs    a lease for %s", n)
	}
	for _, h := range p.Headers {
		u.say("  header   %s: %s", h.Name, h.Value)
	}
	u.say("  payload  %d bytes %s", p.Payload.Bytes, p.Payload.Digest)
	if p.Payload.Sample != "" {
		u.say("  sample   %s", p.Payload.Sample)
	}
	if p.CostFrom != "" {
		u.say("  cost     %.6f USD (scope %s)", float64(r.Cost)/1e6, p.CostFrom)
	}
	return nil
}

func (a *app) egressPostureCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "posture [off|allowlist|public]",
		Short: "Show the egress posture and scopes, or set the posture",
		Long: `off: nothing leaves. allowlist: only what a scope names. public: any place on the public network. A lease is needed in all of them.
There is no posture that opens private addresses; a scope can, for named hosts.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var doc egress.Settings
			if len(args) == 0 {
				err = c.State(cmd.Context(), egress.ViewID, nil, &doc)
			} else {
				var raw json.RawMessage
				if raw, err = c.SetPosture(cmd.Context(), args[0]); err == nil {
					err = json.Unmarshal(raw, &doc)
				}
			}
			if err != nil {
				return err
			}
			return a.print(doc, func(u ui) error { return tellSettings(u, doc) })
		},
	}
}
