package author_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
)

// TestEveryLanguageStarts unpacks each language's template: it must parse, carry the SDK, and have a case to play.
func TestEveryLanguageStarts(t *testing.T) {
	t.Parallel()
	main := map[string]string{
		"c": "main.c", "rust": "src/lib.rs", "assemblyscript": "assembly/index.ts", "zig": "main.zig", "go": "main.go",
	}
	sdk := map[string]string{
		"c": "c/arw.h", "rust": "rust/src/lib.rs", "assemblyscript": "assemblyscript/lib/arw.ts", "zig": "zig/arw.zig", "go": "sdk/go/guest/guest.go",
	}
	for lang, source := range main {
		dir := filepath.Join(t.TempDir(), "hello")
		if _, err := author.Init(dir, "acme/hello-there", lang); err != nil {
			t.Errorf("%s: %v", lang, err)
			continue
		}
		f, err := author.Open(dir)
		if err != nil || f.Manifest.Name != "acme/hello-there" {
			t.Errorf("%s: %v", lang, err)
		}
		for _, name := range []string{source, ".gitignore", "tests/greet.txtar", filepath.Join(".arw-sdk", sdk[lang])} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Errorf("%s: %v", lang, err)
			}
			if name == source && !strings.Contains(string(text), "hello_there.greet") {
				t.Errorf("%s: %s does not name the tool", lang, name)
			}
		}
	}
}

// TestMissingToolchain holds that a build without a toolchain says what to install.
func TestMissingToolchain(t *testing.T) {
	hints := map[string]string{
		"c": "apt-get install clang lld", "rust": "apt-get install rustc libstd-rust-dev-wasm32", "assemblyscript": "npm install",
		"zig": "pip install ziglang",
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("RUSTC", "")
	t.Setenv("ARW_TOOLCHAINS", "")
	for lang, hint := range hints {
		if _, err := os.Stat("/usr/bin/rustc"); lang == "rust" && err == nil {
			continue // found at its own place
		}
		dir := filepath.Join(t.TempDir(), "hello")
		if _, err := author.Init(dir, "acme/hello", lang); err != nil {
			t.Fatal(err)
		}
		f, err := author.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Build(t.Context(), author.BuildOptions{})
		if abi.CodeOf(err) != abi.Unavailable || !strings.Contains(err.Error(), "toolchain") || !strings.Contains(abi.HintOf(err), hint) {
			t.Errorf("%s: %v (%s)", lang, err, abi.HintOf(err))
		}
	}
}
