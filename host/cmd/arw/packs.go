package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/registry"
)

func (a *app) packCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pack",
		Short: "Write, build, test, sign and publish packs",
		Long: `The author's loop:
  arw pack init acme/hello        a new pack, ready to build offline
  arw pack build acme-hello       compile it and hold it to its manifest
  arw pack test acme-hello        play its examples and cases on the real engine
  arw pack lint acme-hello        what to add to its manifest, what to take out
  arw pack dev acme-hello         build, test and serve it again at every change
  arw pack push acme-hello --to dir:./registry --key acme.key`,
	}
	cmd.AddCommand(
		a.packInitCmd(), a.packBuildCmd(), a.packTestCmd(), a.packLintCmd(), a.packDevCmd(), a.packConformCmd(),
		a.packPushCmd(), a.packSignCmd(), a.packPullCmd(),
		a.packSearchCmd(), a.packInfoCmd(), a.packOutdatedCmd(), a.packNewsCmd(),
		a.installCmd(), a.listCmd(), a.showCmd(), a.removeCmd(),
		a.packUpgradeCmd(), a.packRollbackCmd(), a.packHistoryCmd(), a.packAcceptCmd(), a.packSuspendCmd(), a.packResumeCmd(),
		a.packLockCmd(), a.packSyncCmd(),
	)
	return cmd
}

func (a *app) packInitCmd() *cobra.Command {
	var dir, lang string
	cmd := &cobra.Command{
		Use:   "init NAMESPACE/NAME",
		Short: "Start a new pack that builds offline",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if dir == "" {
				dir = filepath.Base(args[0])
			}
			files, err := author.Init(dir, args[0], lang)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"dir": dir, "files": files}, func(u ui) error {
				u.say("%s in %s: %s", u.bold(args[0]), dir, strings.Join(files, " "))
				u.say("next: arw pack build %s", dir)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder to make (default the pack's short name)")
	cmd.Flags().StringVar(&lang, "lang", author.Languages()[0], "language of the sources: "+strings.Join(author.Languages(), ", "))
	return cmd
}

// folder opens the pack folder of an optional argument.
func folder(args []string) (*author.Folder, error) {
	if len(args) == 0 {
		return author.Open(".")
	}
	return author.Open(args[0])
}

func (a *app) packBuildCmd() *cobra.Command {
	var o author.BuildOptions
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Compile a pack and check its module against its manifest",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := folder(args)
			if err != nil {
				return err
			}
			o.Tool = version
			built, err := f.Build(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.print(built, func(u ui) error {
				u.say("%s %s: %s, %d bytes", u.bold(f.Manifest.Name), f.Manifest.Version, built.Module, built.Bytes)
				u.say("  %s", u.dim(built.Digest)) // without a name before it: the two fit a terminal's line only so
				u.facts("provenance", built.Provenance, "sbom", built.SBOM)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&o.Builder, "builder", author.DefaultBuilder, "URI that names the builder in the provenance, such as that of a CI job")
	return cmd
}

func (a *app) packPushCmd() *cobra.Command {
	var to string
	var with signWith
	var replace bool
	cmd := &cobra.Command{
		Use:   "push [DIR]",
		Short: "Publish a built pack, and sign it when a key is given, or keylessly",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := folder(args)
			if err != nil {
				return err
			}
			by, err := a.signerFor(cmd.Context(), with) // who cannot sign must not leave an unsigned push behind
			if err != nil {
				return err
			}
			reg, err := a.registryAt(to, replace)
			if err != nil {
				return err
			}
			stated, err := f.Attestations()
			if err != nil {
				return err
			}
			update, end := a.progress()
			digest, err := f.Push(cmd.Context(), reg, registry.Progress(update))
			end()
			if err != nil {
				return err
			}
			doc := pushed{Name: f.Manifest.Name, Version: f.Manifest.Version, Digest: digest}
			if by != nil {
				if err := by.publish(cmd.Context(), reg, f.Manifest.Name, digest, stated); err != nil {
					return err
				}
				doc.by(by)
				doc.states(stated)
			}
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "registry: dir:FOLDER or HOST[:PORT] (default the configured one)")
	with.flags(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "let the version name other content than before; for your own registry while you work")
	return cmd
}

func (a *app) registryAt(to string, replace bool) (*registry.Registry, error) {
	if to == "" {
		cfg, err := a.config()
		if err != nil {
			return nil, err
		}
		to = cfg.Registry
	}
	return a.openRegistry(to, replace)
}

func (a *app) packPullCmd() *cobra.Command {
	var out, from string
	cmd := &cobra.Command{
		Use:   "pull REF",
		Short: "Fetch a pack's files into a folder, every digest checked; nothing is verified or installed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reg, ref, err := a.openRef(args[0], from)
			if err != nil {
				return err
			}
			update, end := a.progress()
			art, err := reg.Pull(cmd.Context(), ref, registry.Progress(update))
			end()
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Base(ref.Name)
			}
			if err := unpack(out, art.Files); err != nil {
				return err
			}
			doc := map[string]any{"name": ref.Name, "digest": art.Digest, "dir": out, "files": len(art.Files)}
			return a.print(doc, func(u ui) error {
				u.say("%s %s: %d files in %s", u.bold(ref.Name), art.Digest, len(art.Files), out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write (default the pack's short name); must be empty or absent")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}

// unpack writes files below a new folder; a name that leads out of it is refused by the folder's root itself.
func unpack(dir string, files []registry.File) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return abi.Errorf(abi.Conflict, "unpack into %q: the folder is not empty", dir).WithHint("name another with --out")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return abi.Errorf(abi.Invalid, "unpack into %q: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack into %q: %w", dir, err)
	}
	defer root.Close()
	for _, f := range files {
		name := filepath.FromSlash(f.Name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return abi.Errorf(abi.Invalid, "unpack %q: %w", f.Name, err)
		}
		if err := root.WriteFile(name, f.Data, 0o644); err != nil {
			return abi.Errorf(abi.Invalid, "unpack %q: %w", f.Name, err)
		}
	}
	return nil
}
