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
	"github.com/arw-project/arw/signing"
)

func (a *app) packCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pack",
		Short: "Write, build, test, sign and publish packs",
		Long: `The author's loop:
  arw pack init acme/hello        a new pack, ready to build offline
  arw pack build acme-hello       compile it and hold it to its manifest
  arw pack test acme-hello        run its own examples on the real engine
  arw pack push acme-hello --to dir:./registry --key acme.key`,
	}
	cmd.AddCommand(a.packInitCmd(), a.packBuildCmd(), a.packTestCmd(), a.packConformCmd(), a.packPushCmd(), a.packSignCmd(), a.packPullCmd(),
		a.installCmd(), a.listCmd(), a.showCmd(), a.removeCmd())
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
	return &cobra.Command{
		Use:   "build [DIR]",
		Short: "Compile a pack and check its module against its manifest",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := folder(args)
			if err != nil {
				return err
			}
			built, err := f.Build(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(built, func(u ui) error {
				u.say("%s %s: %s, %d bytes", u.bold(f.Manifest.Name), f.Manifest.Version, built.Module, built.Bytes)
				return nil
			})
		},
	}
}

func (a *app) packPushCmd() *cobra.Command {
	var to, keyFile string
	var replace bool
	cmd := &cobra.Command{
		Use:   "push [DIR]",
		Short: "Publish a built pack, and sign it when a key is given",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := folder(args)
			if err != nil {
				return err
			}
			var key *signing.Key
			if keyFile != "" { // an unreadable key must not leave an unsigned push behind
				if key, err = a.signingKey(keyFile); err != nil {
					return err
				}
			}
			reg, err := a.registryAt(to, replace)
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
			if key != nil {
				if err := sign(cmd, reg, key, f.Manifest.Name, digest); err != nil {
					return err
				}
				doc.KeyID = key.ID()
			}
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "registry: dir:FOLDER or HOST[:PORT] (default the configured one)")
	cmd.Flags().StringVar(&keyFile, "key", "", "private key to sign with")
	cmd.Flags().BoolVar(&replace, "replace", false, "let the version name other content than before; for your own registry while you work")
	return cmd
}

type pushed struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest"`
	KeyID   string `json:"key_id,omitempty"`
}

func (p pushed) tell(u ui) error {
	u.say("%s %s  %s", u.bold(p.Name), p.Version, p.Digest)
	if p.KeyID != "" {
		u.say("signed by key %s", p.KeyID)
	} else {
		u.say("%s nobody signed it yet; next: arw pack sign %s@%s --key KEY", u.yellow("unsigned:"), p.Name, p.Digest)
	}
	return nil
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

func sign(cmd *cobra.Command, reg *registry.Registry, key *signing.Key, name, digest string) error {
	bundle, err := signing.Sign(cmd.Context(), key, digest)
	if err != nil {
		return err
	}
	_, err = reg.Attach(cmd.Context(), name, digest, bundle, signing.PredicateSign)
	return err
}

func (a *app) packSignCmd() *cobra.Command {
	var keyFile, from string
	cmd := &cobra.Command{
		Use:   "sign REF",
		Short: "Sign a published pack: attach a Sigstore bundle to its digest",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := a.signingKey(keyFile)
			if err != nil {
				return err
			}
			reg, ref, err := a.openRef(args[0], from)
			if err != nil {
				return err
			}
			digest, err := reg.Resolve(cmd.Context(), ref)
			if err != nil {
				return err
			}
			if err := sign(cmd, reg, key, ref.Name, digest); err != nil {
				return err
			}
			doc := pushed{Name: ref.Name, Version: ref.Tag, Digest: digest, KeyID: key.ID()}
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "private key to sign with")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	_ = cmd.MarkFlagRequired("key")
	return cmd
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
