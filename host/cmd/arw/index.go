package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/index"
	"github.com/arw-project/arw/signing"
)

// indexKeeper is what the verbs of an index's keeper share: where the index is and where its keys are.
type indexKeeper struct {
	*app
	dir, keys, offline string
}

func (a *app) registryIndexCmd() *cobra.Command {
	k := &indexKeeper{app: a}
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Keep a signed index: which packs there are, and which must not be used",
		Long: `An index says which digest a name and a version mean, and which versions were yanked or revoked and why. It is TUF
metadata: a folder of plain files that any web server or registry can serve, and that nobody can change, set back or hold
back unnoticed without its keys.

The keys of root and targets belong offline: give their folder with --offline only when they are needed. The online key
signs every day.`,
		Example: `  arw registry index init --offline /media/stick
  arw registry index delegate acme --offline /media/stick
  arw registry index add acme/echo:1.0.0 --registry dir:./registry
  arw registry index revoke acme/echo:1.0.0 --reason "sends files home"`,
	}
	f := cmd.PersistentFlags()
	f.StringVar(&k.dir, "dir", "index", "folder of the index")
	f.StringVar(&k.keys, "keys", "index-keys", "folder of the online and namespace keys")
	f.StringVar(&k.offline, "offline", "", "folder of the root and targets keys (default that of --keys)")
	cmd.AddCommand(k.initCmd(), k.delegateCmd(), k.addCmd(), k.markCmd("yank", "Mark a version as not for new installs"),
		k.markCmd("revoke", "Mark a version as not to run at all: hosts suspend it at their next refresh"),
		k.supersedeCmd(), k.refreshCmd(), k.rotateCmd(), k.showIndexCmd(), k.pushCmd(), k.rootCmd())
	return cmd
}

func (k *indexKeeper) publisher() *index.Publisher {
	return &index.Publisher{Dir: k.dir, Key: k.load}
}

// file is where the key of a role lies; root has several.
func (k *indexKeeper) file(role string) string {
	dir := k.keys
	if (role == index.RoleTargets || strings.HasPrefix(role, index.RoleRoot)) && k.offline != "" {
		dir = k.offline
	}
	return filepath.Join(dir, role+".key")
}

// load reads the keys of a role; NotFound when they are not at hand.
func (k *indexKeeper) load(role string) ([]*signing.Key, error) {
	names := []string{k.file(role)}
	if role == index.RoleRoot {
		names, _ = filepath.Glob(k.file(index.RoleRoot + "-*"))
		slices.Sort(names)
	}
	var keys []*signing.Key
	for _, name := range names {
		key, err := k.signingKey(name)
		if err != nil {
			return nil, abi.Errorf(abi.CodeOf(err), "sign the index as %q: %w", role, err).WithHint("give the folder with the key: --keys, or --offline for root and targets")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, abi.Errorf(abi.NotFound, "sign the index as %q: there is no %s", role, k.file(index.RoleRoot+"-*")).WithHint("give the folder with the key: --offline FOLDER")
	}
	return keys, nil
}

// make makes a key file; one that is there stays and is used.
func (k *indexKeeper) make(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return abi.Errorf(abi.Invalid, "make key %q: %w", path, err)
	}
	key, err := signing.GenerateKey()
	if err != nil {
		return err
	}
	return key.Save(path, passphrase(k.std.env))
}

func (k *indexKeeper) initCmd() *cobra.Command {
	var roots, threshold int
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make an empty index and its keys",
		Long: `Make an empty index and the keys that are not there yet: root-1.key … and targets.key (offline), online.key. With
ARW_KEY_PASSPHRASE set they are encrypted. Give root.json to whoever shall read the index.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if roots < 1 || roots > 16 {
				return abi.Errorf(abi.Invalid, "make an index: %d root keys", roots).WithHint("1 to 16 are possible")
			}
			for i := range roots {
				if err := k.make(k.file(fmt.Sprintf("%s-%d", index.RoleRoot, i+1))); err != nil {
					return err
				}
			}
			for _, role := range []string{index.RoleTargets, index.RoleOnline} {
				if err := k.make(k.file(role)); err != nil {
					return err
				}
			}
			if err := k.publisher().Init(cmd.Context(), threshold); err != nil {
				return err
			}
			return k.print(map[string]any{"dir": k.dir, "root": filepath.Join(k.dir, "1.root.json"), "threshold": threshold}, func(u ui) error {
				u.say("index in %s, keys in %s", u.bold(k.dir), filepath.Dir(k.file(index.RoleOnline)))
				u.say("readers need %s; next: arw registry index delegate NAMESPACE", filepath.Join(k.dir, "1.root.json"))
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&roots, "roots", 1, "how many root keys")
	cmd.Flags().IntVar(&threshold, "threshold", 1, "how many of them must sign a new root")
	return cmd
}

func (k *indexKeeper) delegateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "delegate NAMESPACE",
		Short: "Give a namespace to a key of its own, which is made when it is not there",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := manifests.ParseName(args[0] + "/x"); err != nil {
				return err
			}
			path := k.file("packs-" + args[0])
			if err := k.make(path); err != nil {
				return err
			}
			if err := k.publisher().Delegate(cmd.Context(), args[0]); err != nil {
				return err
			}
			return k.print(map[string]string{"namespace": args[0], "key": path}, func(u ui) error {
				u.say("%s/* is signed by %s", u.bold(args[0]), path)
				return nil
			})
		},
	}
}

func (k *indexKeeper) addCmd() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "add REF",
		Short: "List a published version: its digest, ABI range and what it asks for",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reg, ref, err := k.openRef(args[0], from)
			if err != nil {
				return err
			}
			art, err := reg.Pull(cmd.Context(), ref, nil)
			if err != nil {
				return err
			}
			man, v, err := listing(art)
			if err != nil {
				return err
			}
			if err := k.publisher().Add(cmd.Context(), man.Name, man.Description, v); err != nil {
				return err
			}
			return k.print(v, func(u ui) error {
				u.say("%s %s  %s", u.bold(man.Name), v.Version, v.Digest)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}

// listing is what an index says of a pulled pack.
func listing(art *registry.Artifact) (*manifests.Pack, index.Version, error) {
	man, err := manifests.ParsePack(manifests.FileName, art.Files[1].Data)
	if err != nil {
		return nil, index.Version{}, err
	}
	if man.Name != art.Ref.Name {
		return nil, index.Version{}, abi.Errorf(abi.Invalid, "list %q: its manifest is that of %q", art.Ref.Name, man.Name).WithHint("publish it under its own name")
	}
	v := index.Version{Version: man.Version, Digest: art.Digest, ABI: man.Module.ABI}
	for _, c := range man.Capabilities {
		v.Permissions = append(v.Permissions, index.Permission{Capability: string(c.Name), Scope: c.Scope, Optional: c.Optional})
	}
	return man, v, nil
}

// nameVersion takes NAME:VERSION apart.
func nameVersion(text string) (name, version string, err error) {
	name, version, ok := strings.Cut(text, ":")
	if _, _, bad := manifests.ParseName(name); bad != nil || !ok || version == "" {
		return "", "", abi.Errorf(abi.Invalid, "read %q: not a pack and its version", text).WithHint("write namespace/name:1.2.3")
	}
	return name, version, nil
}

func (k *indexKeeper) markCmd(verb, short string) *cobra.Command {
	var reason string
	var undo bool
	cmd := &cobra.Command{
		Use:   verb + " NAME:VERSION",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, version, err := nameVersion(args[0])
			if err != nil {
				return err
			}
			if undo == (reason != "") {
				return abi.Errorf(abi.Invalid, "%s %q: no reason was given", verb, args[0]).WithHint("say why with --reason, or take it back with --undo")
			}
			mark := k.publisher().Yank
			if verb == "revoke" {
				mark = k.publisher().Revoke
			}
			if err := mark(cmd.Context(), name, version, reason); err != nil {
				return err
			}
			return k.print(map[string]any{"name": name, "version": version, verb: !undo, "reason": reason}, func(u ui) error {
				if undo {
					u.say("%s %s: %s taken back", u.bold(name), version, verb)
				} else {
					u.say("%s %s: %s, because %s", u.bold(name), version, u.red(verb), reason)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the people who run it")
	cmd.Flags().BoolVar(&undo, "undo", false, "take it back")
	return cmd
}

func (k *indexKeeper) supersedeCmd() *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "supersede NAME:VERSION",
		Short: "Name the version to use instead; without --by take it back",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, version, err := nameVersion(args[0])
			if err != nil {
				return err
			}
			if err := k.publisher().Supersede(cmd.Context(), name, version, by); err != nil {
				return err
			}
			return k.print(map[string]string{"name": name, "version": version, "superseded": by}, func(u ui) error {
				u.say("%s %s is superseded by %q", u.bold(name), version, by)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "the version to use instead")
	return cmd
}

func (k *indexKeeper) refreshCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Sign that the index is still the newest; run it from a timer, several times a day",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			late, err := k.publisher().Refresh(cmd.Context())
			if err != nil {
				return err
			}
			return k.print(map[string]any{"late": append([]string{}, late...)}, func(u ui) error {
				u.say("refreshed")
				for _, role := range late {
					u.say("%s %s has less than half its life left and its key is not here; next: the same with --offline", u.yellow("late:"), role)
				}
				return nil
			})
		},
	}
}

func (k *indexKeeper) rotateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate root|targets|online|NAMESPACE",
		Short: "Give a role a new key; readers follow from the root they have",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := k.rotate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return k.print(map[string]any{"role": args[0], "keys": files}, func(u ui) error {
				u.say("%s has new keys: %s (the old ones lie beside them as .old)", u.bold(args[0]), strings.Join(files, " "))
				return nil
			})
		},
	}
}

// rotate writes the new keys before the index names them, so that no crash leaves an index nobody can sign.
func (k *indexKeeper) rotate(ctx context.Context, name string) ([]string, error) {
	role := name
	if name != index.RoleRoot && name != index.RoleTargets && name != index.RoleOnline {
		role = "packs-" + name
	}
	var old []*signing.Key
	files := []string{k.file(role)}
	if role == index.RoleRoot {
		var err error
		if old, err = k.load(role); err != nil {
			return nil, err
		}
		files, _ = filepath.Glob(k.file(index.RoleRoot + "-*"))
	}
	var keys []*signing.Key
	for _, file := range files {
		key, err := signing.GenerateKey()
		if err != nil {
			return nil, err
		}
		if err := key.Save(file+".new", passphrase(k.std.env)); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	p := k.publisher()
	p.Key = func(r string) ([]*signing.Key, error) {
		if r == role {
			return keys, nil
		}
		return k.load(r)
	}
	if err := p.Rotate(ctx, name, old); err != nil {
		for _, file := range files {
			_ = os.Remove(file + ".new") // the index does not name it
		}
		return nil, err
	}
	for _, file := range files {
		if err := os.Rename(file, file+".old"); err != nil && !os.IsNotExist(err) {
			return nil, abi.Errorf(abi.Unavailable, "put away key %q: %w", file, err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			return nil, abi.Errorf(abi.Unavailable, "put key %q in place: %w", file, err)
		}
	}
	return files, nil
}

func (k *indexKeeper) pushCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "push REF",
		Short:   "Put the index into a registry as an artifact, from where readers take it as oci:REF",
		Example: "  arw registry index push registry.example/acme/index",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := k.publisher().Files()
			if err != nil {
				return err
			}
			reg, ref, err := k.openRef(args[0], "")
			if err != nil {
				return err
			}
			digest, err := reg.PushTree(cmd.Context(), ref, files, nil)
			if err != nil {
				return err
			}
			return k.print(map[string]any{"ref": args[0], "digest": digest, "files": len(files)}, func(u ui) error {
				u.say("%d files in %s  %s", len(files), args[0], digest)
				return nil
			})
		},
	}
}

func (k *indexKeeper) rootCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Write the newest root, which readers are given by hand",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			raw, err := k.publisher().RootBytes()
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, raw, 0o644); err != nil {
				return abi.Errorf(abi.Unavailable, "write root %q: %w", out, err)
			}
			return k.print(map[string]string{"root": out}, func(u ui) error {
				u.say("%s", out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "root.json", "file to write")
	return cmd
}

func (k *indexKeeper) showIndexCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show what the index in the folder lists",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			packs, err := k.publisher().List()
			if err != nil {
				return err
			}
			return k.print(map[string]any{"items": packs}, func(u ui) error {
				var rows [][]string
				for _, p := range packs {
					for _, v := range p.Versions {
						rows = append(rows, []string{p.Name, v.Version, v.Status(), shortDigest(v.Digest), why(&v)})
					}
				}
				return u.table([]string{"PACK", "VERSION", "STATUS", "DIGEST", "WHY"}, rows)
			})
		},
	}
}

func why(v *index.Version) string {
	switch {
	case v.Revoked != nil:
		return v.Revoked.Reason
	case v.Yanked != nil:
		return v.Yanked.Reason
	case v.Superseded != "":
		return "use " + v.Superseded
	}
	return ""
}
