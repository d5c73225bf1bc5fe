package author

import (
	"context"
	"embed"
	"path/filepath"
)

//go:embed all:template/zig
var zigTemplate embed.FS

func zigLanguage() language {
	return language{
		name: "zig", title: "Zig", template: subTemplate(zigTemplate, "template/zig"), sdk: unpackNativeSDK("zig"),
		owns: hasAny("main.zig"), build: buildZig, endings: []string{".zig"},
	}
}

// buildZig compiles main.zig with the SDK as its module "arw". Safety checks stay: a guest that goes wrong should trap.
func buildZig(ctx context.Context, f *Folder, out string) error {
	zig, ok := f.findTool("zig", "", "zig/ziglang/zig")
	if !ok {
		return f.noToolchain("Zig", "pip install ziglang==0.17.0 (it puts zig into the package's folder; ARW_TOOLCHAINS or the PATH should name it)")
	}
	w, done, err := f.workshop("zig")
	if err != nil {
		return err
	}
	defer done()
	const safe = "-OReleaseSafe"
	return w.run(ctx, zig, "build-exe", "-target", "wasm32-freestanding", "-fno-entry", "-rdynamic", "-fstrip", "--stack", "65536",
		"--cache-dir", filepath.Join(w.dir, "cache"), safe, "--dep", "arw", "-Mroot=main.zig", safe, "-Marw="+filepath.Join(w.sdk, "arw.zig"),
		"--name", "module", "-femit-bin="+out)
}
