package wasm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/wasm"
)

// Hosts that share a cache folder compile the same module at the same time: none takes another's work away, what is
// left serves the next, and what nobody finished goes once nobody can be at work in it.
func TestHostsThatShareACache(t *testing.T) {
	t.Parallel()
	dir, module := t.TempDir(), goGuest(t)
	var hosts sync.WaitGroup
	for range 3 {
		hosts.Go(func() {
			e, err := wasm.Open(wasm.Options{CacheDir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			p, err := e.Load(t.Context(), wasm.Spec{Name: "t/shared", Module: module})
			if err != nil {
				t.Error(err)
				return
			}
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	hosts.Wait()
	entries, err := filepath.Glob(filepath.Join(dir, "*", "seal"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("the sealed entries are %v, %v", entries, err)
	}
	entry := filepath.Dir(entries[0])
	old := time.Now().Add(-2 * time.Hour)
	for name, at := range map[string]time.Time{"code-stale": old, "code-fresh": time.Now()} {
		if err := os.Mkdir(filepath.Join(entry, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(entry, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := os.ReadFile(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	counts, _, _ := strings.Cut(string(sealed), "\n")
	if err := os.Chtimes(filepath.Join(entry, counts), old, old); err != nil {
		t.Fatal(err)
	}
	open(t, wasm.Options{CacheDir: dir})
	for name, stays := range map[string]bool{"code-stale": false, "code-fresh": true, counts: true} {
		if _, err := os.Stat(filepath.Join(entry, name)); os.IsNotExist(err) == stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}
