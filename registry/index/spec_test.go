package index_test

import (
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/registry/index"
)

// TestSpec reads the example of docs/spec/index.md.
func TestSpec(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../../docs/spec/index.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(src), "```json page\n")
	example, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("there is no example page")
	}
	p, err := index.ParsePack("acme/echo", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if v := p.Versions[0]; v.Status() != "revoked" || v.Yanked.Reason != "eats memory" || !v.Permissions[0].Optional || v.Superseded != "1.1.0" {
		t.Errorf("%+v", v)
	}
	if _, ok := p.Newest(); ok {
		t.Error("a revoked version is the newest")
	}
}
