package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/host/internal/rehearse"
)

func (a *app) packTestCmd() *cobra.Command {
	var pattern string
	var update, verbose bool
	cmd := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run a pack's examples and its cases in tests/, on the real engine under its limits",
		Long: `Run the examples of pack.toml and the files tests/*.txtar of a built pack. Each file is a world (keys, folders, clock,
randomness, other tools' answers, refusals), the calls made in it, and what they must answer. The format is
docs/spec/pack-tests.md.`,
		Example: "  arw pack test hello\n  arw pack test hello --run greet -v\n  arw pack test hello --update      # take what came as what is expected; look at the diff",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := author.TestOptions{Update: update, CacheDir: a.compileCache()}
			if pattern != "" {
				re, err := regexp.Compile(pattern)
				if err != nil {
					return &usageError{fmt.Sprintf("--run %q: %v", pattern, err), "write a regular expression, such as --run '^greet'"}
				}
				o.Run = re
			}
			f, err := folder(args)
			if err != nil {
				return err
			}
			t, err := f.Test(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := a.print(t, func(u ui) error { u.tested(t, verbose); return nil }); err != nil {
				return err
			}
			return testVerdict(f, t)
		},
	}
	cmd.Flags().StringVar(&pattern, "run", "", "run only what matches this regular expression")
	cmd.Flags().BoolVar(&update, "update", false, "write answers and call logs into the files of cases where they differ")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show every case and what it cost")
	return cmd
}

// testVerdict is the exit code of a run. A run of nothing proves nothing, and says so.
func testVerdict(f *author.Folder, t *author.Tested) error {
	switch {
	case t.Failed > 0:
		return abi.Errorf(abi.ToolFailed, "test pack %q: %d of %d failed", f.Manifest.Name, t.Failed, len(t.Results)).
			WithHint("mend the tool or the case; is the new answer right? then add --update")
	case len(t.Results) == 0:
		return abi.Errorf(abi.NotFound, "test pack %q: there is nothing to run", f.Manifest.Name).
			WithHint("add [[tools.examples]] to pack.toml or a file to %s/ (docs/spec/pack-tests.md)", author.TestsDir)
	}
	return nil
}

// tested prints a run: what failed always, the rest when asked for.
func (u ui) tested(t *author.Tested, verbose bool) {
	for _, r := range t.Results {
		switch {
		case r.Skipped != "":
			if verbose {
				u.say("%s %s  %s", u.yellow("skip"), r.Name, u.dim(r.Skipped))
			}
		case !r.OK:
			u.say("%s %s  %s", u.red("FAIL"), u.bold(r.Name), u.dim(r.Tool))
			for _, p := range r.Problems {
				u.problem(r, p)
			}
		case verbose:
			u.say("%s %s  %s", u.green("ok  "), r.Name, u.dim(fmt.Sprintf("%s gas, %d host calls, %s", thousands(r.Gas), r.HostCalls, r.Wall.Round(time.Microsecond))))
		}
	}
	for _, name := range t.Updated {
		u.say("%s %s", u.yellow("updated"), name)
	}
	word := u.green("ok:")
	if t.Failed > 0 {
		word = u.red("failed:")
	}
	line := fmt.Sprintf("%s %d passed, %d failed", word, t.Passed, t.Failed)
	if t.Skipped > 0 {
		line += fmt.Sprintf(", %d skipped", t.Skipped)
	}
	u.say("%s", line)
}

func (u ui) problem(r rehearse.Result, p rehearse.Problem) {
	where := ""
	if r.File != "" && p.Line > 0 {
		where = fmt.Sprintf("%s:%d: ", r.File, p.Line)
	}
	u.say("     %s%s", where, strings.ReplaceAll(p.What, "\n", "\n     "))
	for line := range strings.Lines(p.Diff) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "-"):
			line = u.paint("31", line)
		case strings.HasPrefix(line, "+"):
			line = u.green(line)
		}
		u.say("       %s", line)
	}
}

// thousands writes a number with thin groups: 1,234,567.
func thousands(n uint64) string {
	s := fmt.Sprintf("%d", n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// compileCache is where compiled code of packs in the making is kept: compiling a Go pack takes seconds, once is enough.
func (a *app) compileCache() string {
	if dir := a.std.env("ARW_CACHE_DIR"); dir != "" {
		return dir
	}
	if base := a.std.env("XDG_CACHE_HOME"); base != "" {
		return filepath.Join(base, "arw", "wasm")
	}
	if home := a.std.env("HOME"); home != "" {
		if _, err := os.Stat(home); err == nil {
			return filepath.Join(home, ".cache", "arw", "wasm")
		}
	}
	return ""
}
