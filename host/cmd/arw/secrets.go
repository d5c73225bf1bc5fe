package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

func (a *app) secretCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Store what packs use without seeing it: tokens, keys",
		Long: `A secret has a name, under which packs ask for it. The host puts a token into requests for its audience, and signs or
authenticates with a key; no pack, no tool and no command gives a value back.`,
	}
	cmd.AddCommand(a.secretSetCmd(), a.secretListCmd(), a.secretPublicCmd(), a.secretRemoveCmd())
	return cmd
}

func (a *app) secretSetCmd() *cobra.Command {
	var in api.PutSecret
	var generate bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Store a secret, read from standard input, or give it a new value",
		Example: `  arw secret set github.token --audience https://api.github.com < token.txt
  arw secret set search.key --audience https://search.example --place "header:X-Api-Key: {}"
  arw secret set webhook --kind hmac
  arw secret set release --kind ed25519 --generate`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if !generate {
				if in.Value, err = a.readSecret(args[0]); err != nil {
					return err
				}
				defer clear(in.Value)
			}
			s, err := c.PutSecret(cmd.Context(), args[0], in)
			if err != nil {
				return err
			}
			return a.print(s, func(u ui) error { return tellSecrets(u, []api.Secret{s}) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Kind, "kind", "token", "token, hmac, ed25519 or p256")
	f.StringArrayVar(&in.Audience, "audience", nil, "of a token: where it may be sent, such as https://api.example.com/v1; may be given again")
	f.StringVar(&in.Place, "place", "", `of a token: where in a request it goes (default "header:Authorization: Bearer {}")`)
	f.StringVar(&in.Note, "note", "", "what it is for")
	f.BoolVar(&generate, "generate", false, "of a key: have the host draw one that nobody has seen")
	return cmd
}

// maxSecret is the most that is read of a value.
const maxSecret = 64 << 10

// readSecret asks a person without showing what is typed, or reads standard input. A line end behind it is not part of it.
func (a *app) readSecret(name string) ([]byte, error) {
	if f, ok := a.std.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(a.std.err, "Value of %s (not shown): ", name)
		value, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.std.err)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read the value of secret %q: %w", name, err)
		}
		return value, nil
	}
	value, err := io.ReadAll(io.LimitReader(a.std.in, maxSecret+1))
	switch {
	case err != nil:
		return nil, abi.Errorf(abi.Invalid, "read the value of secret %q: %w", name, err)
	case len(value) > maxSecret:
		return nil, abi.Errorf(abi.TooLarge, "read the value of secret %q: it has more than %d bytes", name, maxSecret)
	}
	value = bytes.TrimRight(value, "\r\n")
	if len(value) == 0 {
		return nil, abi.Errorf(abi.Invalid, "read the value of secret %q: standard input is empty", name).
			WithHint("pipe it in, or give --generate for a key")
	}
	return value, nil
}

func (a *app) secretListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List secrets by name; values are never shown",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			l, err := c.Secrets(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(l, func(u ui) error { return tellSecrets(u, l.Items) })
		},
	}
}

func tellSecrets(u ui, all []api.Secret) error {
	if len(all) == 0 {
		u.say("  none")
		return nil
	}
	var rows [][]string
	for _, s := range all {
		rows = append(rows, []string{s.Name, s.Kind, fmt.Sprint(s.Version), strings.Join(s.Audience, " "), s.Place, s.Note})
	}
	return u.table([]string{"SECRET", "KIND", "VERSION", "AUDIENCE", "PLACE", "NOTE"}, rows)
}

func (a *app) secretPublicCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "public NAME",
		Short: "Print the public half of a key pair as PEM",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.Secret(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			der, err := base64.StdEncoding.DecodeString(s.Public)
			if err != nil || len(der) == 0 {
				return abi.Errorf(abi.Unsupported, "print the public half of secret %q: it is of kind %q", s.Name, s.Kind)
			}
			return a.print(s, func(u ui) error {
				u.say("%s", strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))))
				return nil
			})
		},
	}
}

func (a *app) secretRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"rm"},
		Short:   "Take a secret away; the next use of it fails",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.RemoveSecret(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.print(map[string]string{"removed": args[0]}, func(u ui) error {
				u.say("removed %s", args[0])
				return nil
			})
		},
	}
}
