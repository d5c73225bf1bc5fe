package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// unitFolder is a unit and the files beside it, as they are published.
type unitFolder struct {
	man   *manifests.LogicUnit
	files []registry.File
}

// openUnit reads a folder with a unit.toml, or that file alone. Hidden files stay behind.
func openUnit(path string) (*unitFolder, error) {
	file, src, err := readUnit(path)
	if err != nil {
		return nil, err
	}
	man, err := manifests.ParseUnit(file, src)
	if err != nil {
		return nil, err
	}
	u := &unitFolder{man, []registry.File{{Name: manifests.UnitFileName, MediaType: registry.MediaUnitTOML, Data: src}}}
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		return u, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read unit %q: %w", path, err)
	}
	for _, e := range entries {
		if e.Name() == manifests.UnitFileName || strings.HasPrefix(e.Name(), ".") || !e.Type().IsRegular() {
			continue
		}
		data, err := readSmall("file", filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		u.files = append(u.files, registry.File{Name: e.Name(), MediaType: registry.MediaFile, Data: data})
	}
	return u, nil
}

func (a *app) unitBuildCmd() *cobra.Command {
	return &cobra.Command{
		Use: "build [FOLDER|FILE]", Short: "Check a unit and show what would be published", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			u, err := openUnit(slices.Concat(args, []string{"."})[0])
			if err != nil {
				return err
			}
			doc := map[string]any{"id": u.man.ID, "version": u.man.Version, "kind": u.man.Kind, "digest": u.man.Digest(), "files": fileNames(u.files)}
			return a.print(doc, func(out ui) error {
				out.say("%s %s  %s  %s", out.bold(u.man.ID), u.man.Version, u.man.Kind, u.man.Digest())
				out.say("files: %s", strings.Join(fileNames(u.files), " "))
				return nil
			})
		},
	}
}

func fileNames(files []registry.File) []string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	return names
}

func (a *app) unitPushCmd() *cobra.Command {
	var to, as string
	var with signWith
	var replace bool
	cmd := &cobra.Command{
		Use: "push [FOLDER|FILE] --as NAMESPACE", Short: "Publish a unit, and sign it when a key is given, or keylessly", Args: cobra.MaximumNArgs(1),
		Example: "  arw unit push my-unit --as acme --to dir:./registry --key acme.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := openUnit(slices.Concat(args, []string{"."})[0])
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
			name := as + "/" + manifests.UnitRepository(u.man.ID)
			digest, err := reg.Push(cmd.Context(), name, u.man.Version, u.files, nil, nil)
			if err != nil {
				return err
			}
			doc := pushed{Name: name, Version: u.man.Version, Digest: digest, unit: true}
			if by != nil {
				err = by.publish(cmd.Context(), reg, name, digest, nil)
				doc.by(by)
			}
			if err != nil {
				return err
			}
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "namespace to publish it in; trust.toml says who may sign there")
	_ = cmd.MarkFlagRequired("as")
	cmd.Flags().StringVar(&to, "to", "", "registry: dir:FOLDER or HOST[:PORT] (default the configured one)")
	with.flags(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "let the version name other content than before; for your own registry while you work")
	return cmd
}

func (a *app) unitSignCmd() *cobra.Command {
	var from string
	var with signWith
	cmd := &cobra.Command{
		Use: "sign REF", Short: "Sign a published unit: attach a Sigstore bundle to its digest", Args: cobra.ExactArgs(1),
		Example: "  arw unit sign acme/my-unit:1.0.0 --key acme.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			reg, art, err := a.pullUnit(cmd.Context(), args[0], from)
			if err != nil {
				return err
			}
			by, err := a.signerFor(cmd.Context(), with)
			if err != nil {
				return err
			}
			doc := pushed{Name: art.Ref.Name, Version: art.Ref.Tag, Digest: art.Digest, unit: true}
			if err := by.publish(cmd.Context(), reg, art.Ref.Name, art.Digest, nil); err != nil {
				return err
			}
			doc.by(by)
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	with.flags(cmd)
	cmd.MarkFlagsOneRequired("key", "keyless")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}

func (a *app) pullUnit(ctx context.Context, name, from string) (*registry.Registry, *registry.Artifact, error) {
	reg, ref, err := a.openRef(name, from)
	if err != nil {
		return nil, nil, err
	}
	art, err := reg.PullUnit(ctx, ref, nil)
	return reg, art, err
}

func (a *app) unitPullCmd() *cobra.Command {
	var out, from string
	cmd := &cobra.Command{
		Use: "pull REF", Short: "Fetch a unit's files into a folder, every digest checked; nothing is verified or installed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, art, err := a.pullUnit(cmd.Context(), args[0], from)
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Base(art.Ref.Name)
			}
			if err := unpack(out, art.Files); err != nil {
				return err
			}
			doc := map[string]any{"name": art.Ref.Name, "digest": art.Digest, "dir": out, "files": len(art.Files)}
			return a.print(doc, func(u ui) error {
				u.say("%s %s: %d files in %s", u.bold(art.Ref.Name), art.Digest, len(art.Files), out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write (default the unit's name); must be empty or absent")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}

// inspected is a published unit, its manifest, and who signed it by the trust policy of this state directory.
type inspected struct {
	Name     string               `json:"name"`
	Digest   string               `json:"digest"`
	Unit     *manifests.LogicUnit `json:"unit"`
	UnitID   string               `json:"unit_digest"`
	Verdict  *signing.Verdict     `json:"verdict"`
	Problem  string               `json:"problem,omitempty"`
	Manifest json.RawMessage      `json:"manifest"`
}

func (a *app) unitInspectCmd() *cobra.Command {
	var from, file string
	cmd := &cobra.Command{
		Use: "inspect REF", Short: "Show a published unit and whether its signatures satisfy the trust policy", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reg, art, err := a.pullUnit(cmd.Context(), args[0], from)
			if err != nil {
				return err
			}
			doc := inspected{Name: art.Ref.Name, Digest: art.Digest, Manifest: art.Manifest}
			if doc.Unit, err = manifests.ParseUnit(manifests.UnitFileName, art.Files[0].Data); err != nil {
				return err
			}
			doc.UnitID = doc.Unit.Digest()
			bundles, err := reg.Bundles(cmd.Context(), art.Ref.Name, art.Digest)
			if err != nil {
				return err
			}
			trust, err := a.trustPolicy(file)
			if err != nil {
				return err
			}
			verdict, refusal := trust.Judge(cmd.Context(), signing.Question{Pack: art.Ref.Name, Digest: art.Digest, Version: doc.Unit.Version}, bundles)
			doc.Verdict = verdict
			if refusal != nil {
				doc.Problem = refusal.Error()
			}
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	cmd.Flags().StringVar(&file, "trust", "", "trust policy (default trust.toml of the state directory)")
	return cmd
}

func (d inspected) tell(u ui) error {
	u.say("%s %s  %s", u.bold(d.Name), d.Unit.Version, d.Digest)
	u.say("  %s", d.Unit.Description)
	u.facts("unit", d.Unit.ID+" "+d.UnitID, "kind", d.Unit.Kind, "changes", strings.Join(d.Unit.Documents(), " "))
	for _, p := range d.Unit.Permissions {
		u.facts("asks", p.Capability+" "+strings.Join(p.Scope, " ")+" for "+p.Pack+": "+p.Reason)
	}
	for _, s := range d.Verdict.Signers {
		u.facts("signed by", s.Name+" "+s.KeyID+s.Identity)
	}
	if d.Problem != "" {
		u.say("%s", u.yellow("not trusted: "+d.Problem))
	} else {
		u.say("%s", u.green("trusted"))
	}
	return nil
}
