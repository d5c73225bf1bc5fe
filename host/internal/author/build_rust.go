package author

import (
	"bufio"
	"context"
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/arw-project/arw/abi"
)

//go:embed all:template/rust
var rustTemplate embed.FS

const (
	rustTarget = "wasm32-unknown-unknown"
	rustGuest  = "arw-guest"
)

func rustLanguage() language {
	return language{
		name: "rust", title: "Rust", template: subTemplate(rustTemplate, "template/rust"), sdk: unpackNativeSDK("rust"),
		owns: hasAny("Cargo.toml"), build: buildRust, endings: []string{".rs", ".toml", ".lock"},
	}
}

// rustFlags keep memory small (one stack page instead of sixteen, which every call would have to set back) and the module
// free of names and of paths of this machine.
func rustFlags(w *workshop) []string {
	return []string{
		"--edition", "2021", "--target", rustTarget, "-C", "opt-level=3", "-C", "panic=abort", "-C", "codegen-units=1",
		"--remap-path-prefix", w.sdk + "=arw-guest", "--remap-path-prefix", w.dir + "=build",
	}
}

// buildRust compiles with rustc alone, which Debian packages without cargo, unless Cargo.toml names crates besides ours.
func buildRust(ctx context.Context, f *Folder, out string) error {
	others, err := otherCrates(filepath.Join(f.Dir, "Cargo.toml"))
	if err != nil {
		return err
	}
	rustc, ok := findRustc(ctx)
	if !ok {
		return f.noToolchain("Rust (a rustc with the target "+rustTarget+")",
			"apt-get install rustc libstd-rust-dev-wasm32 lld, or rustup target add "+rustTarget)
	}
	w, done, err := f.workshop("rust")
	if err != nil {
		return err
	}
	defer done()
	if others {
		return w.cargo(ctx, rustc, out)
	}
	lib := filepath.Join(w.dir, "libarw_guest.rlib")
	err = w.run(ctx, rustc, append(rustFlags(w), "--crate-type", "rlib", "--crate-name", "arw_guest", filepath.Join(w.sdk, "src", "lib.rs"), "-o", lib)...)
	if err != nil {
		return err
	}
	name := strings.ReplaceAll(filepath.Base(f.Manifest.Name), "-", "_")
	return w.run(ctx, rustc, append(rustFlags(w), "--crate-type", "cdylib", "--crate-name", name, "-C", "strip=symbols", "-C", "lto=fat",
		"-C", "link-arg=-zstack-size=65536", "--extern", "arw_guest="+lib, filepath.Join("src", "lib.rs"), "-o", out)...)
}

// cargo builds packs with crates of their own, from what cargo has or may fetch.
func (w *workshop) cargo(ctx context.Context, rustc, out string) error {
	tool, err := exec.LookPath("cargo")
	if err != nil {
		return w.f.noToolchain("cargo, which Cargo.toml needs for its dependencies,", "apt-get install cargo, or rustup")
	}
	err = w.run(ctx, "env", "RUSTC="+rustc, "RUSTFLAGS=-C link-arg=-zstack-size=65536 -C strip=symbols", tool, "build", "--release",
		"--target", rustTarget, "--target-dir", w.dir)
	if err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(w.dir, rustTarget, "release", "*.wasm"))
	if err != nil || len(made) != 1 {
		return abi.Errorf(abi.Invalid, "build pack %q: cargo made %d modules, one is needed", w.f.Manifest.Name, len(made)).
			WithHint(`give Cargo.toml one [lib] with crate-type = ["cdylib"]`)
	}
	data, err := os.ReadFile(made[0])
	if err != nil {
		return err
	}
	return os.WriteFile(out, data, 0o644)
}

// findRustc looks for a compiler that has the target's standard library: RUSTC, the PATH, Debian's own place.
func findRustc(ctx context.Context) (string, bool) {
	for _, name := range []string{os.Getenv("RUSTC"), "rustc", "/usr/bin/rustc"} {
		if name == "" {
			continue
		}
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		dir, err := exec.CommandContext(ctx, path, "--print", "target-libdir", "--target", rustTarget).Output()
		if err != nil {
			continue
		}
		if found, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "libstd-*")); err == nil && len(found) > 0 {
			return path, true
		}
	}
	return "", false
}

var dependency = regexp.MustCompile(`^\s*([A-Za-z0-9_-]+)\s*(\.[a-z-]+\s*)?=`)

// otherCrates says whether a Cargo.toml depends on anything but our crate.
func otherCrates(path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, abi.Errorf(abi.NotFound, "read %q: %w", path, err)
	}
	defer file.Close()
	inside := false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			inside = strings.HasSuffix(line, "dependencies]")
			if strings.Contains(line, "dependencies.") && !strings.Contains(line, "dependencies."+rustGuest) {
				return true, nil
			}
			continue
		}
		if m := dependency.FindStringSubmatch(line); inside && m != nil && m[1] != rustGuest {
			return true, nil
		}
	}
	return false, lines.Err()
}
