package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/registry"
)

// TestPushSignsOnce: the same content by the same key is signed once, however often it is pushed; another key signs beside it.
func TestPushSignsOnce(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	dir, there := filepath.Join(work, "small"), "dir:"+filepath.Join(work, "registry")
	put(t, filepath.Join(dir, "pack.toml"), []byte(smallTOML))
	put(t, filepath.Join(dir, "module.wasm"), small(`{"n":0}`))
	arw := func(args ...string) {
		t.Helper()
		var out strings.Builder
		env := func(k string) string { return map[string]string{"NO_COLOR": "1", "ARW_CACHE_DIR": cacheDir(t)}[k] }
		if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &out, env: env}); code != 0 {
			t.Fatalf("%q: %s", args, out.String())
		}
	}
	bundles := func() int {
		t.Helper()
		reg, err := registry.Open(there, registry.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer reg.Close()
		digest, err := reg.Resolve(t.Context(), registry.Ref{Name: "acme/small", Tag: "0.1.0"})
		if err != nil {
			t.Fatal(err)
		}
		all, err := reg.Bundles(t.Context(), "acme/small", digest)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	arw("key", "generate", "--out", filepath.Join(work, "a"))
	arw("key", "generate", "--out", filepath.Join(work, "b"))
	arw("pack", "build", dir)
	push := func(key string) {
		t.Helper()
		arw("pack", "push", dir, "--to", there, "--key", filepath.Join(work, key+".key"), "--replace")
	}
	for _, tc := range []struct {
		key  string
		want int
	}{{"a", 3}, {"a", 3}, {"b", 6}, {"a", 6}} { // release, provenance and bill of materials of each key
		if push(tc.key); bundles() != tc.want {
			t.Fatalf("after a push by %s there are %d bundles, want %d", tc.key, bundles(), tc.want)
		}
	}
	put(t, filepath.Join(dir, "module.wasm"), small(`{"n":1}`))
	arw("pack", "build", dir)
	if push("a"); bundles() != 3 {
		t.Fatalf("new content has %d bundles", bundles())
	}
}
