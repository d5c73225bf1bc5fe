// Package docs_test holds the documentation to the code: the import ladder here, the examples beside it.
package docs_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/arw-project/arw/"

type ladder struct {
	rung  map[string]int      // package path below the module -> rung
	homes map[string][]string // import prefix -> packages that may use it
}

func readLadder(t *testing.T) ladder {
	t.Helper()
	src, err := os.ReadFile("ladder.txt")
	if err != nil {
		t.Fatal(err)
	}
	l := ladder{rung: map[string]int{}, homes: map[string][]string{}}
	rung := -1
	for n, line := range strings.Split(string(src), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(line, "#"):
		case fields[0] == "rung":
			rung = int(fields[1][0] - '0')
		case fields[0] == "home":
			l.homes[strings.TrimSuffix(fields[1], ":")] = fields[2:]
		case len(fields) == 1 && rung >= 0:
			l.rung[fields[0]] = rung
		default:
			t.Fatalf("ladder.txt:%d: %q is neither a rung, a home nor a package", n+1, line)
		}
	}
	return l
}

type goPackage struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
}

func listPackages(t *testing.T, patterns []string, env ...string) []goPackage {
	t.Helper()
	args := []string{"list", "-json=ImportPath,GoFiles,Imports"}
	for _, p := range patterns {
		args = append(args, module+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 && !strings.Contains(p.ImportPath, "/testdata/") {
			pkgs = append(pkgs, p)
		}
	}
}

// TestImportsGoDownTheLadder reads the imports afresh, so run it with -count=1: the test cache does not see what the
// child process reads.
func TestImportsGoDownTheLadder(t *testing.T) {
	t.Parallel()
	l := readLadder(t)
	seen := map[string]bool{}
	for env, patterns := range map[string][]string{
		"GOOS=linux": {"..."}, "GOOS=darwin": {"..."}, "GOOS=wasip1 GOARCH=wasm": {"abi", "sdk/go/guest/...", "packs/..."},
	} {
		for _, p := range listPackages(t, patterns, append(strings.Fields(env), "CGO_ENABLED=0")...) {
			name := strings.TrimPrefix(p.ImportPath, module)
			rung, listed := l.rung[name]
			if !listed {
				t.Errorf("%s stands on no rung: give it one in docs/ladder.txt, or fold it into the package whose promise it keeps", name)
				continue
			}
			seen[name] = true
			for _, imp := range p.Imports {
				checkImport(t, l, name, rung, imp)
			}
		}
	}
	for name := range l.rung {
		if !seen[name] {
			t.Errorf("docs/ladder.txt lists %s, which does not exist", name)
		}
	}
}

func checkImport(t *testing.T, l ladder, name string, rung int, imp string) {
	t.Helper()
	if below, ours := strings.CutPrefix(imp, module); ours {
		if r, listed := l.rung[below]; listed && r >= rung {
			t.Errorf("%s (rung %d) imports %s (rung %d): imports go strictly down", name, rung, below, r)
		}
		return
	}
	if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		return // the standard library
	}
	for prefix, allowed := range l.homes {
		if imp == prefix || strings.HasPrefix(imp, prefix+"/") {
			for _, a := range allowed {
				if a == name {
					return
				}
			}
			t.Errorf("%s imports %s, whose home is %s", name, imp, strings.Join(allowed, ", "))
			return
		}
	}
	t.Errorf("%s imports %s, which has no home in docs/ladder.txt", name, imp)
}
