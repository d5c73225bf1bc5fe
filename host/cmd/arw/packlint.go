package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
)

// linted is the answer of lint.
type linted struct {
	Findings []author.Finding `json:"findings"`
	Errors   int              `json:"errors"`
	Warnings int              `json:"warnings"`
	Fixed    []author.Finding `json:"fixed,omitempty"`
}

func (a *app) packLintCmd() *cobra.Command {
	var fix, strict bool
	cmd := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Compare a built pack with its manifest: what to add, what to take out",
		Long: `Compare the imports of a built module with the capabilities of pack.toml, effects with the functions used, limits with
what the module needs; look for schemas that let mistakes through, missing words for people and tools that nothing shows at
work. Each finding names its line, and what to write or take out there. Errors end with code 1, warnings with --strict.`,
		Example: "  arw pack lint hello\n  arw pack lint hello --fix     # take out capabilities that the module does not use",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := folder(args)
			if err != nil {
				return err
			}
			doc, err := lint(cmd.Context(), f, fix)
			if err != nil {
				return err
			}
			if err := a.print(doc, func(u ui) error { u.linted(doc); return nil }); err != nil {
				return err
			}
			if doc.Errors > 0 || strict && doc.Warnings > 0 {
				return abi.Errorf(abi.Invalid, "lint pack %q: %s, %s", f.Manifest.Name, plural(doc.Errors, "error"), plural(doc.Warnings, "warning")).
					WithHint("mend pack.toml at the lines named above")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "take capabilities out of pack.toml that the module does not use")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings count as errors")
	return cmd
}

// lint looks, mends what it may, and looks again.
func lint(ctx context.Context, f *author.Folder, fix bool) (*linted, error) {
	found, err := f.Lint(ctx)
	if err != nil {
		return nil, err
	}
	doc := &linted{}
	if fix {
		if doc.Fixed, err = f.Fix(found); err != nil {
			return nil, err
		}
		if found, err = f.Lint(ctx); err != nil {
			return nil, err
		}
	}
	doc.Findings = found
	for _, x := range found {
		if x.Severity == author.SeverityError {
			doc.Errors++
		} else {
			doc.Warnings++
		}
	}
	return doc, nil
}

func (u ui) linted(doc *linted) {
	for _, x := range doc.Fixed {
		u.say("%s %s:%d: took out %s", u.green("fixed"), x.File, x.Line, x.Remove)
	}
	for _, x := range doc.Findings {
		word := u.yellow(x.Severity)
		if x.Severity == author.SeverityError {
			word = u.red(x.Severity)
		}
		key := ""
		if x.Key != "" {
			key = " " + x.Key + ":"
		}
		u.say("%s:%d: %s:%s", u.bold(x.File), x.Line, word, key)
		u.wrapped("    ", x.Msg+" "+u.dim("("+x.Rule+")"))
		u.patch("-", x.Remove)
		u.patch("+", x.Add)
	}
	switch {
	case doc.Errors > 0:
		u.say("%s %s, %s", u.red("failed:"), plural(doc.Errors, "error"), plural(doc.Warnings, "warning"))
	case doc.Warnings > 0:
		u.say("%s %s", u.yellow("ok, with"), plural(doc.Warnings, "warning"))
	default:
		u.say("%s nothing to mend", u.green("ok:"))
	}
}

// patch shows lines to write or take out.
func (u ui) patch(sign, lines string) {
	if lines == "" {
		return
	}
	for line := range strings.SplitSeq(lines, "\n") {
		text := sign + " " + line
		if sign == "+" {
			text = u.green(text)
		} else {
			text = u.paint("31", text)
		}
		u.say("      %s", text)
	}
}

// wrapped prints text within 80 columns, on a terminal; elsewhere one line stays one line.
func (u ui) wrapped(indent, text string) {
	if !u.color {
		u.say("%s%s", indent, text)
		return
	}
	const width = 80
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+1+len(word) > width {
			u.say("%s%s", indent, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	u.say("%s%s", indent, line)
}
