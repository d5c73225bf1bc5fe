package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
)

func (a *app) tokenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Say who may speak to the host, and as what",
		Long: `A token stands for a name and a role. The roles: operator may do everything; user looks and has tools run; guest
looks; pack has tools run and sees nothing else. The host keeps a digest of a token, so nobody can read it again.`,
	}
	cmd.AddCommand(a.tokenCreateCmd(), a.tokenListCmd(), a.tokenRevokeCmd())
	return cmd
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var in api.CreateToken
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a token and print it, once",
		Example: "  arw token create laptop --role user --ttl 720h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			in.Name = args[0]
			t, err := c.CreateToken(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(t, func(u ui) error {
				_, err := fmt.Fprintln(a.std.out, t.Secret)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Role, "role", "user", "operator, user, guest or pack")
	f.StringVar(&in.Project, "project", "", "the only project its holder has to do with (default all)")
	f.StringVar(&in.TTL, "ttl", "", "how long it holds, such as 720h (default without an end)")
	return cmd
}

func (a *app) tokenListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			l, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(l, func(u ui) error {
				for _, t := range l.Items {
					if _, err := fmt.Fprintf(a.std.out, "%s  %-16s %-9s %s\n", t.ID, t.Name, t.Role, standing(t, time.Now())); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// standing says in words whether a token holds.
func standing(t api.AccessToken, now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "revoked " + t.Revoked.Format(time.RFC3339)
	case t.Expires.IsZero():
		return "holds"
	case !now.Before(t.Expires):
		return "over since " + t.Expires.Format(time.RFC3339)
	}
	return "holds until " + t.Expires.Format(time.RFC3339)
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID|NAME",
		Short: "End a token; the next request with it is refused",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.RevokeToken(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(t, func(u ui) error {
				_, err := fmt.Fprintf(a.std.out, "revoked %s (%s, %s)\n", t.ID, t.Name, t.Role)
				return err
			})
		},
	}
}
