package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/api"
)

func (a *app) recallCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recall",
		Short: "See which answers are given again to other questions, and forget them",
		Long: `Where a tool's manifest allows it, an answer is given again to a question that means the same: to the same person, in the same project,
until something is written that it was made from. docs/spec/cache.md says how that is decided and audited.`,
	}
	cmd.AddCommand(a.recallListCmd(), a.recallForgetCmd())
	return cmd
}

func (a *app) recallListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "What is kept for each tool, project and person, and how often it was wrong",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			doc, err := c.Recall(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(doc, func(u ui) error {
				if len(doc.Spaces) == 0 {
					u.say("nothing is kept to be given again")
					return nil
				}
				var rows [][]string
				for _, s := range doc.Spaces {
					rests := ""
					if s.Rests != nil {
						rests = s.Rests.Local().Format(time.DateTime)
					}
					row := []string{s.Pack + ":" + s.Tool, s.Project, s.Person}
					for _, n := range []int64{int64(s.Answers), s.Exact, s.RecallCounts.Near, s.Empty, s.Misses, s.Audits, s.False} {
						row = append(row, fmt.Sprint(n))
					}
					rows = append(rows, append(row, time.Duration(s.SavedNS).Round(time.Millisecond).String(), rests))
				}
				return u.table([]string{"TOOL", "PROJECT", "PERSON", "ANSWERS", "EXACT", "NEAR", "EMPTY", "MISS", "AUDITS", "FALSE", "SAVED", "RESTS UNTIL"}, rows)
			})
		},
	}
}

func (a *app) recallForgetCmd() *cobra.Command {
	var f api.RecallForgotten
	cmd := &cobra.Command{
		Use:     "forget",
		Short:   "Forget answers that could be given again: all, or those of a pack, project or person",
		Example: "  arw recall forget\n  arw recall forget --person person:ann",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			out, err := c.ForgetRecall(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.print(out, func(u ui) error {
				u.say("%d answers are forgotten", out.Answers)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&f.Pack, "pack", "", "of this pack")
	cmd.Flags().StringVar(&f.Project, "project", "", "of this project")
	cmd.Flags().StringVar(&f.Person, "person", "", `of this person, as "person:ann" or "agent:NAME"`)
	return cmd
}
