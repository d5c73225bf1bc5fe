package author

import (
	"context"
	"embed"
	"path/filepath"
	"strings"
)

//go:embed all:template/c
var cTemplate embed.FS

func cLanguage() language {
	return language{
		name: "c", title: "C", template: subTemplate(cTemplate, "template/c"), sdk: unpackNativeSDK("c"),
		owns: hasAny("*.c", "src/*.c"), build: buildC, endings: []string{".c", ".h"},
	}
}

// buildC compiles every .c file of the folder and of the SDK, each by itself, and links them with the linker called directly: the
// compiler's driver would run whatever wasm-opt it finds on the PATH.
func buildC(ctx context.Context, f *Folder, out string) error {
	clang, okC := f.findTool("clang", "", "")
	ld, okL := f.findTool("wasm-ld", "", "")
	if !okC || !okL {
		return f.noToolchain("C (clang and wasm-ld)", "apt-get install clang lld")
	}
	w, done, err := f.workshop("c")
	if err != nil {
		return err
	}
	defer done()
	library, err := filepath.Glob(filepath.Join(w.sdk, "*.c"))
	if err != nil {
		return err
	}
	args := []string{"--no-entry", "--strip-all", "--gc-sections", "-z", "stack-size=32768", "--stack-first", "-o", out}
	for i, src := range append(f.compiled(".c"), library...) {
		object := filepath.Join(w.dir, strings.ReplaceAll(src, string(filepath.Separator), "_")+".o")
		if i >= len(f.compiled(".c")) {
			object = filepath.Join(w.dir, "sdk_"+filepath.Base(src)+".o")
		}
		err := w.run(ctx, clang, "--target=wasm32", "-std=c11", "-O2", "-ffreestanding", "-fno-builtin", "-mbulk-memory", "-msign-ext",
			"-mnontrapping-fptoint", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wno-parentheses",
			"-I"+w.sdk, "-c", src, "-o", object)
		if err != nil {
			return err
		}
		args = append(args, object)
	}
	return w.run(ctx, ld, args...)
}
