package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commandLine finds "arw …" in code: an indented or fenced line, or an inline span.
var commandLine = regexp.MustCompile("(?m)(?:^ {2,}|^|`|bin/)arw ([a-z][^`\n|;&)]*)")

// TestDocumentedCommandsExist holds every command and flag that a page or a help text shows to the real command tree.
func TestDocumentedCommandsExist(t *testing.T) {
	t.Parallel()
	pages := []string{"README.md", "Makefile", "sdk/README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/guide/*.md", "docs/spec/*.md", "packs/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(moduleRoot, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			pages = append(pages, strings.TrimPrefix(filepath.ToSlash(f), moduleRoot+"/"))
		}
	}
	shown := 0
	for _, page := range pages {
		src, err := os.ReadFile(filepath.Join(moduleRoot, filepath.FromSlash(page)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range commandLine.FindAllStringSubmatch(string(src), -1) {
			if m[1] == "trust policy 1" || m[1] == "policy capsule v1" {
				continue // the words that begin the bytes of a trust policy's digest, and of what a capsule's issuer signs
			}
			shown++
			checkCommand(t, page, m[1])
		}
	}
	if shown < 30 {
		t.Errorf("only %d commands were found in the documents: is the pattern still right?", shown)
	}
}

func checkCommand(t *testing.T, page, line string) {
	t.Helper()
	a := &app{std: streams{env: os.Getenv}}
	words := strings.Fields(line)
	var path []string
	for _, w := range words {
		if !regexp.MustCompile(`^[a-z]+$`).MatchString(w) {
			break
		}
		path = append(path, w)
	}
	if len(path) == 0 || strings.Contains(line, "COMMAND") {
		return
	}
	root := a.root()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	cmd, _, err := root.Find(path)
	if err != nil || cmd == root || (cmd.HasSubCommands() && len(path) > 1 && cmd.Name() != path[len(path)-1]) {
		// Prose may go on behind the command: "arw runs packs" is a sentence, not a command line.
		if _, isCommand := known(a, path[0]); isCommand {
			t.Errorf("%s shows %q, which is no command", page, "arw "+line)
		}
		return
	}
	for _, w := range words {
		name, isFlag := strings.CutPrefix(w, "--")
		if !isFlag {
			continue
		}
		name, _, _ = strings.Cut(strings.Trim(name, `"',.[]`), "=")
		if name != "" && name != "help" && name != "version" && cmd.Flag(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
			t.Errorf("%s shows %q, but %q has no flag --%s", page, "arw "+line, cmd.CommandPath(), name)
		}
	}
}

func known(a *app, name string) (string, bool) {
	for _, c := range a.root().Commands() {
		if c.Name() == name {
			return name, true
		}
	}
	return "", false
}
