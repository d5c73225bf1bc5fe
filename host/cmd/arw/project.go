package main

import (
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
)

func (a *app) projectCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "project",
		Short: "Keep work apart, and let one project read of another",
		Long: `What the calls of one project keep, the calls of another neither see nor change. A call names its project with --project; one
without belongs to the project default. An export lets one pack read in one project what it wrote in another, for a while.`,
	}
	cmd.AddCommand(a.projectCreateCmd(), a.projectListCmd(), a.projectShowCmd(), a.projectArchiveCmd(true), a.projectArchiveCmd(false), a.projectExportCmd())
	return cmd
}

func (a *app) projectCreateCmd() *cobra.Command {
	var in api.CreateProject
	cmd := &cobra.Command{
		Use:     "create NAME",
		Aliases: []string{"add"},
		Short:   "Make a project, so that calls may name it",
		Example: "  arw project create report --title \"the yearly report\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			in.ID = args[0]
			p, err := c.CreateProject(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(p, func(u ui) error {
				u.say("%s project %s", u.green("made:"), p.ID)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&in.Title, "title", "", "what it is about")
	return cmd
}

func (a *app) projectListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List projects",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var doc api.List[api.Project]
			if err := c.List(cmd.Context(), "projects", url.Values{}, &doc); err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				var rows [][]string
				for _, p := range doc.Items {
					rows = append(rows, []string{p.ID, p.By, archived(p), p.Title})
				}
				return u.table([]string{"PROJECT", "BY", "ARCHIVED", "TITLE"}, rows)
			})
		},
	}
}

func (a *app) projectShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a project, what it lets others read and what it may read",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.Project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(p, func(u ui) error {
				u.facts("project", p.ID, "title", p.Title, "made by", p.By, "archived", archived(p.Project))
				return tellExports(u, append(p.Out, p.In...))
			})
		},
	}
}

// archived is when a project was closed, "" when it is open.
func archived(p api.Project) string {
	if p.Archived.IsZero() {
		return ""
	}
	return p.Archived.Local().Format(time.DateTime)
}

func (a *app) projectArchiveCmd(closed bool) *cobra.Command {
	use, short, done := "restore NAME", "Open an archived project again", "open again:"
	if closed {
		use, short, done = "archive NAME", "Close a project: no call enters it, and what it keeps stays", "archived:"
	}
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.ArchiveProject(cmd.Context(), args[0], closed)
			if err != nil {
				return err
			}
			return a.print(p, func(u ui) error {
				u.say("%s project %s", u.green(done), p.ID)
				return nil
			})
		},
	}
}

func tellExports(u ui, all []api.ProjectExport) error {
	if len(all) == 0 {
		u.say("  no exports")
		return nil
	}
	var rows [][]string
	for _, e := range all {
		rows = append(rows, []string{e.ID, e.From, e.To, e.Pack, e.What, e.State, age(e.Expires), e.By})
	}
	return u.table([]string{"EXPORT", "FROM", "TO", "PACK", "WHAT", "STATE", "EXPIRES", "BY"}, rows)
}

func (a *app) projectExportCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Let a pack read in one project what it wrote in another"}
	cmd.AddCommand(a.exportCreateCmd(), a.exportListCmd(), a.exportRevokeCmd())
	return cmd
}

func (a *app) exportCreateCmd() *cobra.Command {
	var in api.CreateExport
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Export something, to be read and never written",
		Example: `  arw project export create --from notes --to report --pack arw/research --what kv:findings/ --ttl 8h
  arw project export create --from notes --to report --pack arw/research --what files:/srv/notes/out`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.CreateExport(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.print(e, func(u ui) error { return tellExports(u, []api.ProjectExport{e}) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.From, "from", "", "the project whose it is")
	f.StringVar(&in.To, "to", "", "the project that may read it")
	f.StringVar(&in.Pack, "pack", "", "the pack that wrote it and may read it there")
	f.StringVar(&in.What, "what", "", "kv:PREFIX, state:NAME (or state:BEGINNING.) or files:/FOLDER")
	f.StringVar(&in.TTL, "ttl", "", "how long it holds, such as 30m or 8h (default 24h)")
	f.Int64Var(&in.Calls, "calls", 0, "at most this many reads (default no limit)")
	f.StringVar(&in.Reason, "reason", "", "why, for the journal")
	for _, name := range []string{"from", "to", "pack", "what"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

func (a *app) exportListCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List exports",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			state := "live"
			if all {
				state = ""
			}
			doc, err := c.Exports(cmd.Context(), state)
			if err != nil {
				return err
			}
			return a.print(doc, func(u ui) error { return tellExports(u, doc.Items) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are over")
	return cmd
}

func (a *app) exportRevokeCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke EXPORT",
		Short: "Take an export back; the next read under it is refused, also in mid-call",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.RevokeExport(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.print(e, func(u ui) error { return tellExports(u, []api.ProjectExport{e}) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	return cmd
}
