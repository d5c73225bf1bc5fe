package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// ui prints for a person: colour and bars on a terminal, plain text anywhere else.
type ui struct {
	w     io.Writer
	color bool
}

func (a *app) ui(w io.Writer) ui {
	return ui{w: w, color: !a.plain && a.std.env("NO_COLOR") == "" && a.std.env("TERM") != "dumb" && isTerminal(w)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (u ui) paint(code, s string) string {
	if !u.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (u ui) red(s string) string    { return u.paint("31;1", s) }
func (u ui) green(s string) string  { return u.paint("32", s) }
func (u ui) yellow(s string) string { return u.paint("33", s) }
func (u ui) bold(s string) string   { return u.paint("1", s) }
func (u ui) dim(s string) string    { return u.paint("2", s) }

// say prints one line.
func (u ui) say(format string, args ...any) { fmt.Fprintf(u.w, format+"\n", args...) }

// table prints rows in columns under a head. Cells are not coloured: escape codes would count as width.
func (u ui) table(head []string, rows [][]string) error {
	tw := tabwriter.NewWriter(u.w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// facts prints names and values, one a line, names in one column.
func (u ui) facts(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(u.w, "  %s  %s\n", u.dim(fmt.Sprintf("%-*s", width, pairs[i])), pairs[i+1])
		}
	}
}

// progress draws a bar for each named thing on a terminal, and nothing elsewhere. The returned function ends it.
func (a *app) progress() (update func(what string, done, total int64), end func()) {
	u := a.ui(a.std.err)
	if !u.color || a.json {
		return func(string, int64, int64) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	var current string
	end = func() {
		if bar != nil {
			_ = bar.Finish()
			bar = nil
		}
	}
	return func(what string, done, total int64) {
		if what != current {
			end()
			current = what
			bar = progressbar.NewOptions64(max(total, -1), progressbar.OptionSetWriter(u.w), progressbar.OptionSetDescription(what),
				progressbar.OptionShowBytes(total > 1024), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(),
				progressbar.OptionThrottle(60*time.Millisecond), progressbar.OptionFullWidth())
		}
		_ = bar.Set64(done)
	}, end
}

// age is a time as a person says it.
func age(t time.Time) string {
	d := time.Until(t)
	if d < 0 {
		return short(-d) + " ago"
	}
	return "in " + short(d)
}

func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// shortDigest is enough of a digest to tell it from others.
func shortDigest(d string) string {
	hex := strings.TrimPrefix(d, "sha256:")
	return hex[:min(12, len(hex))]
}
