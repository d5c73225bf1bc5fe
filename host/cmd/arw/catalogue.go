package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/index"
)

// indexClient reads the configured index, refreshed.
func (a *app) indexClient(ctx context.Context) (*index.Client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	if cfg.Index == "" {
		return nil, abi.Errorf(abi.NotFound, "ask the index: none is configured").
			WithHint("set index and index_root in %s", filepath.Join(dir, "arw.toml"))
	}
	root, err := readRoot(dir, cfg)
	if err != nil {
		return nil, err
	}
	c, err := index.NewClient(index.Options{Root: root, Cache: filepath.Join(dir, "index"), Open: func(ctx context.Context) (registry.Tree, error) {
		return registry.OpenTree(ctx, cfg.Index, a.registryOptions(false))
	}})
	if err != nil {
		return nil, err
	}
	return c, c.Refresh(ctx)
}

// readRoot reads the root that the index's keeper gave out.
func readRoot(dir string, cfg config) ([]byte, error) {
	path := cfg.IndexRoot
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	root, err := os.ReadFile(path)
	if err != nil {
		return nil, abi.Errorf(abi.NotFound, "read the index's root %q: %w", path, err).
			WithHint("put the root.json that the index's keeper gave you there, or name it in index_root")
	}
	return root, nil
}

func (a *app) packSearchCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "search [TEXT]",
		Short: "Search the signed index by name and description",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.indexClient(cmd.Context())
			if err != nil {
				return err
			}
			hits, err := c.Search(strings.Join(args, " "))
			if err != nil {
				return err
			}
			return a.print(map[string]any{"items": hits}, func(u ui) error {
				if len(hits) == 0 {
					u.say("nothing in the index matches; arw pack search lists all")
					return nil
				}
				var rows [][]string
				for _, h := range hits {
					latest := h.Latest
					if latest == "" {
						latest = "none"
					}
					rows = append(rows, []string{h.Name, latest, h.Description})
				}
				return u.table([]string{"PACK", "LATEST", "ABOUT"}, rows)
			})
		},
	}
}

// packNewsCmd has the running host ask now instead of at its next turn.
func (a *app) packNewsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "news",
		Short: "Have the running host read the signed index now, and suspend what was revoked",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.RefreshIndex(cmd.Context())
			if err != nil {
				return err
			}
			var st index.State
			if err := json.Unmarshal(raw, &st); err != nil {
				return abi.Errorf(abi.Invalid, "read the index's state: %w", err)
			}
			return a.print(st, func(u ui) error {
				u.say("snapshot %d, %d packs; believed until %s", st.Version, st.Packs, st.Expires.Local().Format("2006-01-02 15:04"))
				return nil
			})
		},
	}
}

func (a *app) packInfoCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "info NAME[:VERSION]",
		Short: "Tell what the signed index says of a pack: versions, digests, permissions, yanked and revoked",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, version, one := strings.Cut(args[0], ":")
			c, err := a.indexClient(cmd.Context())
			if err != nil {
				return err
			}
			p, err := c.Pack(cmd.Context(), name)
			if err != nil {
				return err
			}
			if one {
				v, ok := p.Find(version)
				if !ok {
					return abi.Errorf(abi.NotFound, "find %q in the index: it does not list that version", args[0]).WithHint("arw pack info %s", name)
				}
				return a.print(v, func(u ui) error { return tellListed(u, name, v) })
			}
			return a.print(p, func(u ui) error {
				u.say("%s  %s", u.bold(p.Name), p.Description)
				var rows [][]string
				for i := range p.Versions {
					v := &p.Versions[i]
					rows = append(rows, []string{v.Version, v.Status(), v.Published.Format("2006-01-02"), v.ABI, permissions(v), shortDigest(v.Digest), why(v)})
				}
				return u.table([]string{"VERSION", "STATUS", "PUBLISHED", "ABI", "ASKS FOR", "DIGEST", "WHY"}, rows)
			})
		},
	}
}

func permissions(v *index.Version) string {
	var out []string
	for _, p := range v.Permissions {
		out = append(out, p.Capability)
	}
	return strings.Join(out, " ")
}

func tellListed(u ui, name string, v *index.Version) error {
	u.say("%s %s  %s", u.bold(name), v.Version, v.Status())
	u.facts("digest", v.Digest, "published", v.Published.Format("2006-01-02 15:04"), "abi", v.ABI, "why", why(v))
	var rows [][]string
	for _, p := range v.Permissions {
		must := "required"
		if p.Optional {
			must = "optional"
		}
		rows = append(rows, []string{"  " + p.Capability, must, strings.Join(p.Scope, " ")})
	}
	if len(rows) == 0 {
		u.say("  it asks for nothing")
		return nil
	}
	return u.table([]string{"  ASKS FOR", "", "SCOPE"}, rows)
}

// behind is an installed pack beside what the index has.
type behind struct {
	Name      string `json:"name"`
	Installed string `json:"installed"`
	Latest    string `json:"latest,omitempty"`
	Status    string `json:"status"` // of the installed version; "unlisted" when the index does not know it
	Why       string `json:"why,omitempty"`
}

func (a *app) packOutdatedCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "outdated",
		Short: "List installed packs that the signed index has something newer or something bad to say about",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := a.client()
			if err != nil {
				return err
			}
			var doc api.List[pack.Info]
			if err := host.List(cmd.Context(), "packs", nil, &doc); err != nil {
				return err
			}
			c, err := a.indexClient(cmd.Context())
			if err != nil {
				return err
			}
			items := []behind{}
			for _, p := range doc.Items {
				b, err := compare(cmd.Context(), c, p)
				if err != nil {
					return err
				}
				if all || b.Status != "current" || b.Latest != "" && b.Latest != b.Installed {
					items = append(items, b)
				}
			}
			return a.print(map[string]any{"items": items}, func(u ui) error {
				if len(items) == 0 {
					u.say("every installed pack is the newest there is")
					return nil
				}
				var rows [][]string
				for _, b := range items {
					rows = append(rows, []string{b.Name, b.Installed, b.Latest, b.Status, b.Why})
				}
				return u.table([]string{"PACK", "INSTALLED", "LATEST", "STATUS", "WHY"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are up to date")
	return cmd
}

func compare(ctx context.Context, c *index.Client, p pack.Info) (behind, error) {
	b := behind{Name: p.Name, Installed: p.Version, Status: "unlisted"}
	page, err := c.Pack(ctx, p.Name)
	if abi.CodeOf(err) == abi.NotFound {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	if newest, ok := page.Newest(); ok {
		b.Latest = newest.Version
	}
	for i := range page.Versions {
		if v := &page.Versions[i]; v.Digest == p.Digest {
			b.Status, b.Why = v.Status(), why(v)
		}
	}
	if b.Status == "unlisted" {
		if v, ok := page.Find(p.Version); ok {
			b.Why = "the index has version " + p.Version + " as " + shortDigest(v.Digest)
		}
	}
	return b, nil
}
