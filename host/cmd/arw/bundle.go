package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/bundle"
)

func (a *app) bundleCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry packs to a host without a network, in one file with every proof",
		Long: `A bundle is one file with packs, every signature and attestation on them, what the signed index says of them, and the
Sigstore root. Whoever receives it believes nothing of it: their own trust policy and their own index root decide.`,
		Example: `  arw bundle create acme/echo:1.0.0 acme/tools:2.1.0 -o packs.arwb
  arw bundle verify packs.arwb
  arw bundle import packs.arwb`,
	}
	cmd.AddCommand(a.bundleCreateCmd(), a.bundleVerifyCmd(), a.bundleImportCmd())
	return cmd
}

func (a *app) bundleCreateCmd() *cobra.Command {
	var out, from, root string
	cmd := &cobra.Command{
		Use:   "create REF...",
		Short: "Write packs and their proofs into one file; the same packs make the same bytes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := a.bundleSource(cmd.Context(), args, from, root)
			if err != nil {
				return err
			}
			update, end := a.progress()
			packs, size, err := writeBundle(cmd.Context(), out, src, registry.Progress(update))
			end()
			if err != nil {
				return err
			}
			return a.print(map[string]any{"file": out, "bytes": size, "packs": packs, "index": len(src.Index) > 0, "trusted_root": src.TrustedRoot != nil}, func(u ui) error {
				u.say("%s  %d bytes", u.bold(out), size)
				if err := tellPacks(u, packs); err != nil {
					return err
				}
				if len(src.Index) == 0 {
					u.say("%s no index is configured, so a host that wants one will refuse it", u.yellow("without index:"))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "packs.arwb", "file to write")
	f.StringVar(&from, "registry", "", "registry of a name without one")
	f.StringVar(&root, "trusted-root", "", "Sigstore trusted_root.json to put in (default the state directory's, if there is one)")
	return cmd
}

// bundleSource finds the packs, their slice of the configured index, and the trusted root.
func (a *app) bundleSource(ctx context.Context, refs []string, from, root string) (bundle.Source, error) {
	var src bundle.Source
	var names []string
	cfg, err := a.config()
	if err != nil {
		return src, err
	}
	for _, text := range refs {
		reg, ref, err := a.openRef(text, from)
		if err != nil {
			return src, err
		}
		src.Packs = append(src.Packs, bundle.SourcePack{Registry: reg, Ref: ref})
		names = append(names, ref.Name)
	}
	if cfg.Index != "" {
		c, err := a.indexClient(ctx)
		if err != nil {
			return src, err
		}
		if src.Index, err = c.Slice(ctx, names); err != nil {
			return src, err
		}
	}
	dir, err := a.stateDir()
	if err != nil {
		return src, err
	}
	raw, err := os.ReadFile(orDefault(root, filepath.Join(dir, "trusted_root.json")))
	switch {
	case err == nil:
		src.TrustedRoot = raw
	case root != "":
		return src, abi.Errorf(abi.NotFound, "read trusted root %q: %w", root, err).WithHint("name the trusted_root.json that signatures are judged by")
	}
	return src, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// writeBundle writes a file whole or not at all.
func writeBundle(ctx context.Context, out string, src bundle.Source, p registry.Progress) ([]bundle.Pack, int64, error) {
	f, err := os.CreateTemp(filepath.Dir(out), ".bundle-*")
	if err != nil {
		return nil, 0, abi.Errorf(abi.Unavailable, "write bundle %q: %w", out, err).WithHint("name a file in a folder you may write")
	}
	defer os.Remove(f.Name())
	defer f.Close()
	packs, err := bundle.Create(ctx, f, src, p)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), out)
	}
	if err != nil {
		return nil, 0, abi.Errorf(abi.StorageFull, "write bundle %q: %w", out, err)
	}
	return packs, info.Size(), nil
}

func tellPacks(u ui, packs []bundle.Pack) error {
	var rows [][]string
	for _, p := range packs {
		signers := ""
		if p.Verdict != nil {
			var names []string
			for _, s := range p.Verdict.Signers {
				names = append(names, s.Name)
			}
			signers = strings.Join(names, " ")
		}
		rows = append(rows, []string{p.Name, p.Version, shortDigest(p.Digest), signers, p.Index})
	}
	return u.table([]string{"PACK", "VERSION", "DIGEST", "SIGNED BY", "INDEX"}, rows)
}

// judgeFlags are those of a reader who must bend time.
type judgeFlags struct {
	asOf   string
	maxAge time.Duration
}

func (a *app) bundleVerifyCmd() *cobra.Command {
	var jf judgeFlags
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Judge a bundle by this host's own trust policy and index root; nothing is imported and nothing is dialled",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.openBundle(cmd.Context(), args[0], jf)
			if b != nil {
				defer b.Close()
			}
			if err != nil {
				return err
			}
			return a.print(a.bundleDoc(args[0], b), func(u ui) error {
				u.say("%s %s", u.bold(args[0]), u.green("every proof is there"))
				a.tellRoot(u, b)
				return tellPacks(u, b.Packs())
			})
		},
	}
	jf.add(cmd)
	return cmd
}

func (jf *judgeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&jf.asOf, "as-of", "", "judge expiry by this time (2026-01-31T12:00:00Z) instead of now, for a bundle that was long on its way")
	cmd.Flags().DurationVar(&jf.maxAge, "max-age", 30*24*time.Hour, "how far back --as-of may reach")
}

// time reads --as-of, which may not reach into the future nor further back than --max-age.
func (jf *judgeFlags) time(now time.Time) (time.Time, error) {
	if jf.asOf == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, jf.asOf)
	if err != nil || at.After(now) || now.Sub(at) > jf.maxAge {
		return at, abi.Errorf(abi.Invalid, "judge the bundle as of %q: not a time of the last %s", jf.asOf, jf.maxAge).
			WithHint("write it as 2026-01-31T12:00:00Z; --max-age allows more, and hides revocations for as long")
	}
	return at, nil
}

// openBundle takes a bundle apart and checks it.
func (a *app) openBundle(ctx context.Context, file string, jf judgeFlags) (*bundle.Bundle, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	j := bundle.Judge{}
	if j.AsOf, err = jf.time(time.Now()); err != nil {
		return nil, err
	}
	if j.Trust, err = a.trustPolicy(within(dir, cfg.Trust)); err != nil {
		return nil, err
	}
	if cfg.Index != "" {
		if j.IndexRoot, err = readRoot(dir, cfg); err != nil {
			return nil, err
		}
		j.Cache = filepath.Join(dir, "index")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, abi.Errorf(abi.NotFound, "read bundle %q: %w", file, err)
	}
	defer f.Close()
	b, err := bundle.Open(ctx, f, bundle.Limits{})
	if err != nil {
		return nil, err
	}
	return b, b.Check(ctx, j)
}

func (a *app) bundleDoc(file string, b *bundle.Bundle) map[string]any {
	return map[string]any{"file": file, "packs": b.Packs(), "index": b.HasIndex(), "trusted_root": a.rootState(b)}
}

// rootState compares the trusted root that came along with this host's own.
func (a *app) rootState(b *bundle.Bundle) string {
	came := b.TrustedRoot()
	if came == nil {
		return "none"
	}
	if dir, err := a.stateDir(); err == nil {
		if own, err := os.ReadFile(filepath.Join(dir, "trusted_root.json")); err == nil && bytes.Equal(own, came) {
			return "same"
		}
	}
	return "other"
}

func (a *app) tellRoot(u ui, b *bundle.Bundle) {
	if a.rootState(b) == "other" {
		u.say("%s the Sigstore root that came along is not this host's; it was not used", u.yellow("note:"))
	}
}

func (a *app) bundleImportCmd() *cobra.Command {
	var jf judgeFlags
	var to, indexTo string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Check a bundle and move its packs into a registry in a folder, all of them or none",
		Long: `Check a bundle as "arw bundle verify" does and move its packs into a registry in a folder: all of them or none, each
version only if it is free or the same. The slice of the index goes into the configured index when that is a folder.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			to = orDefault(to, cfg.Registry)
			if place, ok := strings.CutPrefix(cfg.Index, "dir:"); ok && indexTo == "" {
				indexTo = place
			}
			reg, err := a.openRegistry(to, false)
			if err != nil {
				return err
			}
			b, err := a.openBundle(cmd.Context(), args[0], jf)
			if b != nil {
				defer b.Close()
			}
			if err != nil {
				return err
			}
			update, end := a.progress()
			err = b.Import(cmd.Context(), reg, indexTo, registry.Progress(update))
			end()
			if err != nil {
				return err
			}
			doc := a.bundleDoc(args[0], b)
			doc["registry"] = to
			return a.print(doc, func(u ui) error {
				a.tellRoot(u, b)
				if err := tellPacks(u, b.Packs()); err != nil {
					return err
				}
				p := b.Packs()[0]
				u.say("imported into %s; next: arw install %s:%s", to, p.Name, p.Version)
				return nil
			})
		},
	}
	jf.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "registry, such as dir:FOLDER (default the configured one)")
	cmd.Flags().StringVar(&indexTo, "index-to", "", "folder of the index (default the configured one, if it is a folder)")
	return cmd
}
