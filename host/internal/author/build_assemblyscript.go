package author

import (
	"context"
	"embed"
	"path/filepath"
)

//go:embed all:template/assemblyscript
var assemblyScriptTemplate embed.FS

func assemblyScriptLanguage() language {
	return language{
		name: "assemblyscript", title: "AssemblyScript", template: subTemplate(assemblyScriptTemplate, "template/assemblyscript"),
		sdk: unpackNativeSDK("assemblyscript"), owns: hasAny("assembly/index.ts"), build: buildAssemblyScript,
		endings: []string{".ts", ".json"},
	}
}

// buildAssemblyScript runs the compiler of the pack's own node_modules, of the PATH, or of the toolchains' folder. The small
// collector runs only in sessions; a call that starts from the kept state is over before there is anything to collect.
func buildAssemblyScript(ctx context.Context, f *Folder, out string) error {
	asc, ok := f.findTool("asc", "node_modules/.bin/asc", "assemblyscript/node_modules/.bin/asc")
	if !ok {
		return f.noToolchain("AssemblyScript (asc, on Node.js)", "npm install --save-dev assemblyscript@0.28.20 in the pack's folder")
	}
	w, done, err := f.workshop("assemblyscript")
	if err != nil {
		return err
	}
	defer done()
	lib, err := f.below(filepath.Join(w.sdk, "lib")) // asc joins every path to the folder it runs in, absolute ones too
	if err != nil {
		return err
	}
	out, err = f.below(out)
	if err != nil {
		return err
	}
	return w.run(ctx, asc, "assembly/index.ts", "--lib", lib, "--use", "abort=arw_abort", "--runtime", "minimal",
		"-O3", "--exportStart", "_initialize", "--outFile", out)
}

// below is the path as seen from the folder.
func (f *Folder) below(path string) (string, error) {
	dir, err := filepath.Abs(f.Dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	return filepath.Rel(dir, path)
}
