package conform_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/conform"
)

// TestGoGuestConforms needs nothing but Go. Guests of other languages are held to the suite by "make sdks", and here too
// where it has left them in sdk/build.
func TestGoGuestConforms(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "module.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = "../../../sdk/go/conformance"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the Go guest: %v\n%s", err, msg)
	}
	holds(t, out)
}

func TestOtherGuestsConform(t *testing.T) {
	t.Parallel()
	others := 0
	for _, lang := range []string{"c", "rust", "assemblyscript", "zig"} {
		module := filepath.Join("../../../sdk/build", lang+".wasm")
		if _, err := os.Stat(module); err != nil {
			continue
		}
		others++
		t.Run(lang, func(t *testing.T) { holds(t, module) })
	}
	if others == 0 {
		t.Skip("SKIPPED: no guests of other languages are built; sh sdk/toolchains.sh && make sdks")
	}
}

func holds(t *testing.T, path string) {
	t.Helper()
	module, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := conform.Run(t.Context(), module, "arw")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Topic, f.Case, f.Error)
	}
	if r.Passed < 60 {
		t.Errorf("only %d cases were played", r.Passed)
	}
}

// TestRunRefuses holds that what cannot be loaded is an error and no report of failures.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	_, err := conform.Run(t.Context(), []byte("no module"), "arw")
	if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), "conformance") {
		t.Errorf("got %v", err)
	}
}
