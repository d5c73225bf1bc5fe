package author_test

import (
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
)

const moduleRoot = "../../.."

// packDir is a copy of a shipped pack that this test may change, with its module built once.
func packDir(t *testing.T, name string) string {
	t.Helper()
	src := filepath.Join(moduleRoot, "packs", name)
	buildOnce(t, src)
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	built   = map[string]*sync.Once{}
	builtMu sync.Mutex
)

func buildOnce(t *testing.T, dir string) {
	t.Helper()
	builtMu.Lock()
	once := built[dir]
	if once == nil {
		once = new(sync.Once)
		built[dir] = once
	}
	builtMu.Unlock()
	once.Do(func() {
		f, err := author.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Build(t.Context(), author.BuildOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

func open(t *testing.T, dir string) *author.Folder {
	t.Helper()
	f, err := author.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// cacheDir keeps compiled code from one test to the next: compiling a Go guest takes seconds.
func cacheDir(t *testing.T) string {
	base, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	return filepath.Join(base, "arw-hosttest", "author")
}

// TestShippedPacks plays the cases of the three packs.
func TestShippedPacks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"research", "collaboration", "federation"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := open(t, packDir(t, name)).Test(t.Context(), author.TestOptions{CacheDir: cacheDir(t)})
			if err != nil {
				t.Fatal(err)
			}
			if got.Passed < 3 {
				t.Errorf("only %d cases", got.Passed)
			}
			for _, r := range got.Results {
				if !r.OK && r.Skipped == "" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// TestRunAndUpdate chooses cases by name, and writes goldens only when told to.
func TestRunAndUpdate(t *testing.T) {
	t.Parallel()
	dir := packDir(t, "federation")
	path := filepath.Join(dir, "tests", "describe.txtar")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := regexp.MustCompile(`seed = 1`).ReplaceAll(before, []byte("seed = 2"))
	if err := os.WriteFile(path, broken, 0o644); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir)
	only := author.TestOptions{CacheDir: cacheDir(t), Run: regexp.MustCompile("^describe")}
	got, err := f.Test(t.Context(), only)
	if err != nil || got.Failed != 2 || got.Passed != 0 || len(got.Updated) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(broken) {
		t.Error("a plain run wrote the file")
	}
	only.Update = true
	if got, err = f.Test(t.Context(), only); err != nil || got.Failed != 0 || len(got.Updated) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err = f.Test(t.Context(), author.TestOptions{CacheDir: cacheDir(t)}); err != nil || got.Failed != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestBadCase: a file that does not read stops the run, with file and line.
func TestBadCase(t *testing.T) {
	t.Parallel()
	dir := packDir(t, "federation")
	if err := os.WriteFile(filepath.Join(dir, "tests", "a.txtar"), []byte("tool = \"x\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Test(t.Context(), author.TestOptions{CacheDir: cacheDir(t)}); abi.CodeOf(err) != abi.Invalid || !regexp.MustCompile(`a\.txtar:1: tool: `).MatchString(err.Error()) {
		t.Fatal(err)
	}
}
