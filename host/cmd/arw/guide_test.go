package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guideScript turns a guide into a story: blocks of kind "console" are commands and what they answer, in which … stands for
// anything; a block whose head names a file writes it. A command whose answer begins a line with "arw: " must fail. One with
// "&" at its end is a host that is waited for.
func guideScript(t *testing.T, page string) string {
	t.Helper()
	src, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var script, files strings.Builder
	for i, block := range regexp.MustCompile("(?ms)^```([a-z]+)(?: (\\S+))?\n(.*?)^```$").FindAllStringSubmatch(string(src), -1) {
		kind, file, text := block[1], block[2], block[3]
		switch {
		case file != "":
			name := fmt.Sprintf("block%d", i)
			// A file of an archive cannot hold the marks of another one as they are.
			fmt.Fprintf(&files, "-- %s --\n%s", name, strings.ReplaceAll(text, "\n-- ", "\n=- "))
			fmt.Fprintf(&script, "unmark %s %s\n", name, file)
		case kind == "console":
			for _, said := range strings.Split("\n"+text, "\n$ ")[1:] {
				command, answer, _ := strings.Cut(said, "\n")
				script.WriteString(guideCommand(command, answer))
			}
		}
	}
	return script.String() + "kill -INT host\nwait host\n" + files.String()
}

func guideCommand(command, answer string) string {
	var out strings.Builder
	if host, ok := strings.CutSuffix(command, " &"); ok {
		return "exec " + host + " &host&\nready\n"
	}
	stream := "stdout"
	if strings.HasPrefix(answer, "arw: ") || strings.Contains(answer, "\narw: ") {
		out.WriteString("! ")
	}
	out.WriteString("exec " + command + "\n")
	for line := range strings.Lines(answer) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line == "…" {
			continue
		}
		if stream = "stdout"; strings.HasPrefix(line, "arw: ") {
			stream = "stderr"
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
		fmt.Fprintf(&out, "%s '^%s$'\n", stream, strings.ReplaceAll(pattern, "'", "''"))
	}
	return out.String()
}

// TestGuides runs the commands of the guides that a reader is meant to type.
func TestGuides(t *testing.T) {
	dir := t.TempDir()
	for page, least := range map[string]int{"write-a-pack": 10, "network": 8} {
		script := guideScript(t, filepath.Join(moduleRoot, "docs", "guide", page+".md"))
		if n := strings.Count(script, "exec arw "); n < least {
			t.Fatalf("only %d commands were found:\n%s", n, script)
		}
		if err := os.WriteFile(filepath.Join(dir, page+".txtar"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stories(t, dir, cacheDir(t), nil)
}
