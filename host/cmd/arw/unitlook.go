package main

import (
	"encoding/json"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// Bounds of the two columns of a comparison: what they are where no terminal says its width, and the least that is read.
const (
	besideWidth = 100
	besideLeast = 40
)

// width is that of the terminal that u prints to, in characters.
func (u ui) width() int {
	if f, ok := u.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return max(w, besideLeast)
		}
	}
	return besideWidth
}

// tellBeside shows the changes of a document in two columns, before and after, each value with its origin beneath. What is
// too long for a column goes on in the next line: nothing is left out.
func tellBeside(u ui, d docInfo) {
	column := (u.width() - 5) / 2
	for _, c := range d.Changes {
		u.say("  %s", c.Path)
		var before, after []string
		if c.Op != "add" {
			before = append(wrapText(jsonText(c.Before), column), wrapText("("+c.From.String()+")", column)...)
		}
		if c.Op != "remove" {
			after = append(wrapText(jsonText(c.After), column), wrapText("("+c.To.String()+")", column)...)
		} else {
			after = wrapText("removed ("+c.To.String()+")", column)
		}
		for i := range max(len(before), len(after)) {
			left, right := "", ""
			if i < len(before) {
				left = before[i]
			}
			if i < len(after) {
				right = after[i]
			}
			pad := strings.Repeat(" ", column-utf8.RuneCountInString(left))
			u.say("%s", strings.TrimRight("  "+u.red(left)+pad+" | "+u.green(right), " "))
		}
	}
}

// wrapText cuts a line into pieces of at most n characters.
func wrapText(s string, n int) (lines []string) {
	runes := []rune(s)
	for len(runes) > n {
		lines, runes = append(lines, string(runes[:n])), runes[n:]
	}
	return append(lines, string(runes))
}

func (a *app) unitTestCmd() *cobra.Command {
	return &cobra.Command{
		Use: "test UNIT|FOLDER|FILE", Short: "Run a unit's own tests on the host's documents; nothing changes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := api.TestUnit{Unit: args[0]}
			if _, err := os.Stat(args[0]); err == nil {
				_, src, err := readUnit(args[0])
				if err != nil {
					return err
				}
				in = api.TestUnit{Source: string(src)}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.TestUnit(cmd.Context(), in)
			if err != nil {
				return err
			}
			var info testsInfo
			if err := json.Unmarshal(raw, &info); err != nil {
				return err
			}
			err = a.print(raw, func(u ui) error { return tellTests(u, info) })
			if failed := info.failed(); err == nil && failed > 0 {
				err = abi.Errorf(abi.ToolFailed, "test unit %q: %d tests failed", args[0], failed)
			}
			return err
		},
	}
}

// testsInfo is the outcome of a unit's tests as a host answers it.
type testsInfo struct {
	Unit    string
	Results []struct {
		Title, Problem string
		Changes        []struct {
			Op, Path      string
			Before, After any
		}
	}
}

func (i testsInfo) failed() (n int) {
	for _, r := range i.Results {
		if r.Problem != "" {
			n++
		}
	}
	return n
}

func tellTests(u ui, info testsInfo) error {
	for _, r := range info.Results {
		if r.Problem == "" {
			u.say("%s  %s", u.green("ok  "), r.Title)
			continue
		}
		u.say("%s  %s: %s", u.red("FAIL"), r.Title, r.Problem)
		for _, c := range r.Changes {
			u.say("        %s: wants %s, got %s", c.Path, jsonText(c.Before), jsonText(c.After))
		}
	}
	return nil
}

func (a *app) unitMatrixCmd() *cobra.Command {
	return &cobra.Command{
		Use: "matrix", Short: "Show which installed units do not go together, and why", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Matrix(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(raw, func(u ui) error { return tellMatrix(u, raw) })
		},
	}
}

func tellMatrix(u ui, raw json.RawMessage) error {
	var doc struct {
		Items []struct {
			Conflicts []struct{ Kind, Text string }
			Notes     []string
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	for _, p := range doc.Items {
		for _, c := range p.Conflicts {
			u.say("%s", u.yellow("no ("+c.Kind+"): "+c.Text))
		}
		for _, n := range p.Notes {
			u.say("yes: %s", n)
		}
	}
	if len(doc.Items) == 0 {
		u.say("all installed units go together")
	}
	return nil
}
