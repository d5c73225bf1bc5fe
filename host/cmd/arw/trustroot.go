package main

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
	"github.com/arw-project/arw/signing/tufroot"
)

// The files of a Sigstore deployment in the state directory.
const (
	trustedRootFile   = "trusted_root.json"
	signingConfigFile = "signing_config.json"
)

func timeNow() time.Time { return time.Now() }

func (a *app) trustRootCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Fetch and show the trusted root: whose certificates, logs and timestamps count",
	}
	cmd.AddCommand(a.trustRootRefreshCmd(), a.trustRootShowCmd())
	return cmd
}

func (a *app) trustRootRefreshCmd() *cobra.Command {
	var src tufroot.Source
	var anchor, out string
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Fetch trusted_root.json and signing_config.json over TUF; nothing else ever does",
		Long: `Fetch trusted_root.json and signing_config.json over TUF, from Sigstore's public deployment or from the one named, and
write them into the state directory. This is the only command that renews trust over a network: verification never does.
What was seen once is remembered, so that an older state is refused later.`,
		Example: `  arw trust root refresh
  arw trust root refresh --from https://tuf.example --root root.json
  arw trust root refresh --from /media/usb/tuf --root root.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			if out == "" {
				out = dir
			}
			if anchor != "" {
				if src.Root, err = readSmall("TUF root", anchor); err != nil {
					return err
				}
			}
			src.Cache, src.Transport = filepath.Join(dir, "tuf"), a.outward()
			files, err := tufroot.Fetch(cmd.Context(), src)
			if err != nil {
				return err
			}
			who, err := signing.DescribeRoot(files.TrustedRoot)
			if err != nil {
				return err
			}
			doc := refreshed{Root: filepath.Join(out, trustedRootFile), Authorities: who}
			if doc.Changed, err = replaceFile(doc.Root, files.TrustedRoot); err != nil {
				return err
			}
			if files.SigningConfig != nil {
				doc.Config = filepath.Join(out, signingConfigFile)
				if _, err := replaceFile(doc.Config, files.SigningConfig); err != nil {
					return err
				}
			}
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&src.From, "from", "", "https address or directory of a TUF repository (default Sigstore's public one)")
	f.StringVar(&anchor, "root", "", "the TUF root.json that its operator handed to you; needed with --from")
	f.StringVar(&out, "out", "", "folder to write to (default the state directory)")
	return cmd
}

type refreshed struct {
	Root        string              `json:"trusted_root"`
	Config      string              `json:"signing_config,omitempty"`
	Changed     bool                `json:"changed"`
	Authorities []signing.Authority `json:"authorities"`
}

func (r refreshed) tell(u ui) error {
	word := "unchanged"
	if r.Changed {
		word = "new; a running host reads it at its next start"
	}
	u.facts("trusted root", r.Root+" ("+word+")", "signing config", r.Config)
	return tellAuthorities(u, r.Authorities)
}

// replaceFile writes a file whole or not at all, and reports whether that changed it.
func replaceFile(path string, data []byte) (bool, error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return false, abi.Errorf(abi.StorageFull, "write %q: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return false, abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	return true, nil
}

func (a *app) trustRootShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE]",
		Short: "List whom a trusted_root.json trusts (default the state directory's)",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			} else {
				dir, err := a.stateDir()
				if err != nil {
					return err
				}
				file = filepath.Join(dir, trustedRootFile)
			}
			text, err := readSmall("trusted root", file)
			if err != nil {
				return err
			}
			who, err := signing.DescribeRoot(text)
			if err != nil {
				return err
			}
			doc := map[string]any{"trusted_root": file, "authorities": who}
			return a.print(doc, func(u ui) error { return tellAuthorities(u, who) })
		},
	}
}

func tellAuthorities(u ui, who []signing.Authority) error {
	var rows [][]string
	day := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.DateOnly)
	}
	for _, w := range who {
		name := w.URI
		if name == "" {
			name = w.Subject
		}
		rows = append(rows, []string{w.Kind, name, w.Key, day(w.From), day(w.Until), w.ID})
	}
	return u.table([]string{"KIND", "WHO", "KEY", "FROM", "UNTIL", "ID"}, rows)
}
