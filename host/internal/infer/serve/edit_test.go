package serve_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/serve"
)

func TestModelsAreAddedVerifiedAndRemoved(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	file := filepath.Join(dir, "a \"tiny\" one.gguf")
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, infertest.TinyGGUF(1))
	write(filepath.Join(dir, "runtimes.toml"), []byte("[profile.small]\nruntime = \"llama\"\nbinary = \"/bin/true\"\ncontext = 512\n"))
	write(filepath.Join(dir, "models.toml"), []byte("# mine\n"))
	for _, name := range []string{"one", "two.5", "three"} {
		if _, err := serve.Add(ctx, dir, serve.Model{Name: name, File: file, Profile: "small", License: "none"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		m    serve.Model
		want abi.Code
	}{
		{"taken", serve.Model{Name: "one", File: file, Profile: "small"}, abi.Conflict},
		{"no profile", serve.Model{Name: "four", File: file, Profile: "huge"}, abi.Invalid},
		{"a name that is none", serve.Model{Name: "a]\n[b", File: file, Profile: "small"}, abi.Invalid},
		{"another digest", serve.Model{Name: "four", File: file, Profile: "small", Digest: "sha256:" + strings.Repeat("0", 64)}, abi.DigestMismatch},
		{"no file", serve.Model{Name: "four", File: file + "x", Profile: "small"}, abi.Unavailable},
	} {
		if _, err := serve.Add(ctx, dir, c.m); abi.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, name := range []string{"one", "two.5"} {
		if err := serve.SetDefault(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := serve.SetDefault(dir, "four"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("a default that is not there: %v", err)
	}
	if err := serve.Remove(dir, "three"); err != nil {
		t.Fatal(err)
	}
	if err := serve.Remove(dir, "three"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("removed twice: %v", err)
	}
	s, err := serve.Open(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.List(); len(l) != 2 || l[0].Default || !l[1].Default || l[1].Name != "two.5" || l[1].License != "none" {
		t.Errorf("models %+v", l)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "models.toml")); !strings.HasPrefix(string(text), "# mine\n") {
		t.Errorf("the comment is gone: %s", text)
	}
	if err := s.Verify(ctx, "one"); err != nil {
		t.Error(err)
	}
	write(file, infertest.TinyGGUF(2))
	if err := s.Verify(ctx, "one"); abi.CodeOf(err) != abi.DigestMismatch {
		t.Errorf("a file that was changed: %v", err)
	}
}
