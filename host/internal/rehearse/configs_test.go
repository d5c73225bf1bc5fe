package rehearse_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/rehearse"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// TestConfig plays cases that list documents of the configuration.
func TestConfig(t *testing.T) {
	t.Parallel()
	man, err := manifests.ParsePack("pack.toml", []byte(hosttest.ReaderTOML()))
	if err != nil {
		t.Fatal(err)
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	s, err := rehearse.Load(t.Context(), e, man, "sha256:0", hosttest.Reader(t).Module, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	names, err := filepath.Glob("testdata/config/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		for _, r := range s.Play(t.Context(), parse(t, man, name), false) {
			if !r.OK {
				t.Errorf("%s: %+v", r.Name, r.Problems)
			}
		}
	}
}
