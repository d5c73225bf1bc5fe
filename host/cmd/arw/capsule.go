package main

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/capsule"
)

func (a *app) capsuleCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "capsule",
		Short: "Make, adopt and end signed guard-rails",
		Long: `A policy capsule is a set of denies that an issuer signed. A host adopts it when the issuer stands in capsules.toml of its state
directory and Cedar agrees; from then on it stands above every lease and policy, until its lease ends. It can only deny.`,
	}
	cmd.AddCommand(a.capsuleCreateCmd(), a.capsuleSignCmd(), a.capsuleInspectCmd(), a.capsuleAdoptCmd(), a.capsuleListCmd(), a.capsuleAuditCmd(),
		a.capsuleTeardownCmd(), a.capsuleForwardCmd())
	return cmd
}

func (a *app) capsuleCreateCmd() *cobra.Command {
	var c capsule.Capsule
	var preset string
	var lease, renew time.Duration
	cmd := &cobra.Command{
		Use:   "create ID",
		Short: "Write a capsule that nobody has signed yet",
		Example: `  arw capsule create quiet --issuer acme --preset capsule.strict-egress > quiet.json
  arw capsule create night --issuer acme --deny action:research.* --deny capability:fs:write:* --lease 8h > night.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.ID = args[0]
			if preset != "" {
				all := capsule.Presets()
				i := slices.IndexFunc(all, func(p capsule.Preset) bool { return p.ID == preset })
				if i < 0 {
					return abi.Errorf(abi.NotFound, "create capsule %q: there is no preset %q", c.ID, preset).WithHint("there is %s", all[0].ID)
				}
				p := all[i]
				c.Denies = append(slices.Clone(p.Denies), c.Denies...)
				for flag, set := range map[string]func(){
					"hops": func() { c.HopTTL = p.HopTTL }, "lease": func() { lease = time.Duration(p.LeaseMS) * time.Millisecond },
					"renew-within": func() { renew = time.Duration(p.RenewWithinMS) * time.Millisecond },
				} {
					if !cmd.Flags().Changed(flag) {
						set()
					}
				}
			}
			c.IssuedAt = time.Now().UTC().Truncate(time.Second)
			c.LeaseUntil, c.RenewWithin = c.IssuedAt.Add(lease.Truncate(time.Second)), renew.Milliseconds()
			text, err := (&capsule.Envelope{Capsule: c}).Encode()
			if err != nil {
				return err
			}
			if _, err := capsule.Parse(text); err != nil {
				return err
			}
			return a.rawOut(text)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Issuer, "issuer", "", "who will sign it, as capsules.toml names them")
	f.Int64Var(&c.Version, "version", 1, "a later one takes the place of an earlier one")
	f.StringArrayVar(&c.Denies, "deny", nil, "action:GLOB, capability:GLOB or http:GLOB; may be given again")
	f.StringVar(&preset, "preset", "", "begin with a ready set: capsule.strict-egress")
	f.DurationVar(&lease, "lease", time.Hour, "how long it holds, from now")
	f.DurationVar(&renew, "renew-within", 10*time.Minute, "how long before its end a renewal is due")
	f.IntVar(&c.HopTTL, "hops", 1, "how many nodes may adopt it along one path")
	f.StringVar(&c.Propagate, "propagate", "none", "none, children, peers or all")
	_ = cmd.MarkFlagRequired("issuer")
	return cmd
}

func (a *app) rawOut(text []byte) error {
	_, err := a.std.out.Write(append(text, '\n'))
	return err
}

// capsuleFile reads an envelope; "-" is the standard input.
func (a *app) capsuleFile(name string) (*capsule.Envelope, []byte, error) {
	var in io.Reader = a.std.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, abi.Errorf(abi.NotFound, "read capsule: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 2*capsule.MaxSize))
	if err != nil {
		return nil, nil, abi.Errorf(abi.Unavailable, "read capsule %q: %w", name, err)
	}
	e, err := capsule.Parse(text)
	if err != nil {
		return nil, nil, err
	}
	text, err = e.Encode()
	return e, text, err
}

func (a *app) capsuleSignCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:     "sign FILE",
		Short:   "Sign a capsule with the issuer's key",
		Example: "  arw key generate --out acme\n  arw capsule sign quiet.json --key acme.key > quiet.signed.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, _, err := a.capsuleFile(args[0])
			if err != nil {
				return err
			}
			k, err := a.signingKey(key)
			if err != nil {
				return err
			}
			signed, err := capsule.Sign(e.Capsule, k.Signer())
			if err != nil {
				return err
			}
			text, err := signed.Encode()
			if err != nil {
				return err
			}
			return a.rawOut(text)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the issuer's private key file")
	_ = cmd.MarkFlagRequired("key")
	return cmd
}

func (a *app) capsuleInspectCmd() *cobra.Command {
	var issuers string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a capsule says; with --issuers check who signed it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, _, err := a.capsuleFile(args[0])
			if err != nil {
				return err
			}
			verified := "not asked (--issuers FILE)"
			if issuers != "" {
				src, err := os.ReadFile(issuers)
				if err != nil {
					return abi.Errorf(abi.NotFound, "read issuers: %w", err)
				}
				trusted, err := capsule.ParseIssuers(issuers, src)
				if err != nil {
					return err
				}
				if err := trusted.Verify(e); err != nil {
					return err
				}
				verified = "signed by " + e.Capsule.Issuer
			}
			c := e.Capsule
			doc := map[string]any{"capsule": c, "path": e.Path, "hops_left": e.Left(), "fingerprint": c.Fingerprint(), "signature": verified}
			return a.print(doc, func(u ui) error {
				u.say("capsule %s", c.ID)
				u.facts("version", strconv.FormatInt(c.Version, 10), "issuer", c.Issuer, "signature", verified, "holds", "until "+c.LeaseUntil.Format(time.RFC3339),
					"hops", strconv.Itoa(e.Left()+1)+" left", "goes to", c.Propagate, "denies", strings.Join(c.Denies, " "), "content", c.Fingerprint())
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&issuers, "issuers", "", "a capsules.toml")
	return cmd
}

func (a *app) capsuleAdoptCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "adopt FILE",
		Short: "Have the host adopt, or renew, a signed capsule",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, text, err := a.capsuleFile(args[0])
			if err != nil {
				return err
			}
			return a.capsuleCall(cmd, "capsules", api.AdoptCapsule{Capsule: text, Reason: reason}, func(u ui, raw json.RawMessage) error {
				var got api.Capsule
				if err := json.Unmarshal(raw, &got); err != nil {
					return err
				}
				return tellCapsules(u, []api.Capsule{got})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the ledger")
	return cmd
}

func (a *app) capsuleListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the capsules that hold, or did, and how long they have", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.capsuleCall(cmd, "capsules", nil, tellCapsuleList)
		},
	}
}

func (a *app) capsuleAuditCmd() *cobra.Command {
	var id string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Read the ledger of capsules, the newest entry first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"id": {id}, "limit": {strconv.Itoa(limit)}}
			return a.capsuleCall(cmd, "capsules/audit?"+q.Encode(), nil, func(u ui, raw json.RawMessage) error {
				var doc api.List[api.CapsuleEntry]
				if err := json.Unmarshal(raw, &doc); err != nil {
					return err
				}
				var rows [][]string
				for _, e := range doc.Items {
					rows = append(rows, []string{e.Time.Format(time.DateTime), e.Decision, e.Capsule, strconv.FormatInt(e.Version, 10), e.Issuer, strconv.Itoa(e.HopsLeft), e.By, e.Reason})
				}
				if rows == nil {
					u.say("  nothing")
					return nil
				}
				return u.table([]string{"TIME", "DECISION", "CAPSULE", "VERSION", "ISSUER", "HOPS", "BY", "REASON"}, rows)
			})
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "only this capsule's")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many, up to 1000")
	return cmd
}

func (a *app) capsuleTeardownCmd() *cobra.Command {
	var in api.TeardownCapsules
	cmd := &cobra.Command{
		Use:   "teardown [ID...]",
		Short: "End capsules before their time",
		RunE: func(cmd *cobra.Command, args []string) error {
			in.IDs = args
			return a.capsuleCall(cmd, "capsules/teardown", in, tellCapsuleList)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&in.All, "all", false, "all that hold")
	f.BoolVar(&in.DryRun, "dry-run", false, "only tell which")
	f.StringVar(&in.Reason, "reason", "", "why, for the ledger")
	return cmd
}

func (a *app) capsuleForwardCmd() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "forward ID", Short: "Write a capsule as this node hands it on, for another node to adopt", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Policy(cmd.Context(), "capsules/"+url.PathEscape(args[0])+"/forward", api.ForwardCapsule{To: to})
			if err != nil {
				return err
			}
			return a.rawOut(raw)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "child or peer: what the other node is to this one")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

// capsuleCall sends one request below /policy and prints the answer.
func (a *app) capsuleCall(cmd *cobra.Command, path string, body any, tell func(ui, json.RawMessage) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	raw, err := c.Policy(cmd.Context(), path, body)
	if err != nil {
		return err
	}
	return a.print(raw, func(u ui) error { return tell(u, raw) })
}

func tellCapsuleList(u ui, raw json.RawMessage) error {
	var doc api.List[api.Capsule]
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	return tellCapsules(u, doc.Items)
}

func tellCapsules(u ui, all []api.Capsule) error {
	if len(all) == 0 {
		u.say("  none")
		return nil
	}
	var rows [][]string
	for _, c := range all {
		state := c.State
		if c.RenewDue {
			state += ", renewal due"
		}
		rows = append(rows, []string{c.ID, strconv.FormatInt(c.Version, 10), c.Issuer, state, age(c.LeaseUntil), strconv.Itoa(c.HopsLeft), strings.Join(c.Denies, " ")})
	}
	return u.table([]string{"CAPSULE", "VERSION", "ISSUER", "STATE", "ENDS", "HOPS", "DENIES"}, rows)
}
