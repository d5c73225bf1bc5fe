package author

import (
	"context"
	"embed"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/jspack"
	"github.com/arw-project/arw/sdk/javascript"
)

//go:embed all:template/js
var jsTemplate embed.FS

func jsLanguage() language {
	files, err := fs.Sub(jsTemplate, "template/js")
	if err != nil {
		panic(err) // the name is right above
	}
	return language{name: "js", title: "JavaScript", template: files, sdk: unpackJSSDK, owns: hasJS, build: buildJS, recipe: jsRecipe, endings: []string{".js"}}
}

// jsRecipe names the engine that goes into the module.
func jsRecipe(context.Context, *Folder) recipe {
	return recipe{command: []string{"arw", "pack", "build"}, toolchain: map[string]string{javascript.EnginePackage: javascript.EngineVersion}, reproducible: true}
}

func hasJS(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, jspack.Main))
	return err == nil
}

// unpackJSSDK lays the SDK beside the pack: what its build puts into the module, and the types that editors read.
func unpackJSSDK(dir string) error {
	return unpackSource(javascript.Source, filepath.Join(dir, sdkDir))
}

// buildJS joins the engine that the author's npm has installed with the folder's scripts.
func buildJS(_ context.Context, f *Folder, out string) error {
	engine, err := jsEngine(f.Dir)
	if err != nil {
		return abi.Errorf(abi.CodeOf(err), "build pack %q: %w", f.Manifest.Name, err).WithHint("%s", abi.HintOf(err))
	}
	scripts, err := jspack.Scripts(os.DirFS(f.Dir))
	if err != nil {
		return abi.Errorf(abi.Invalid, "build pack %q: %w", f.Manifest.Name, err)
	}
	sdk, err := os.ReadFile(filepath.Join(f.Dir, sdkDir, "arw.js")) // the SDK the pack was made with
	if err != nil && !os.IsNotExist(err) {
		return abi.Errorf(abi.Invalid, "build pack %q: %w", f.Manifest.Name, err)
	}
	var caps []abi.Capability
	for _, c := range f.Manifest.Capabilities {
		caps = append(caps, c.Name)
	}
	module, err := jspack.Build(engine, scripts, string(sdk), caps)
	if err != nil {
		return abi.Errorf(abi.CodeOf(err), "build pack %q: %w", f.Manifest.Name, err).WithHint("%s", abi.HintOf(err))
	}
	if err := os.WriteFile(out, module, 0o644); err != nil {
		return abi.Errorf(abi.Invalid, "build pack %q: %w", f.Manifest.Name, err)
	}
	return nil
}

// jsEngine finds the engine where npm puts it: in node_modules of the folder or of one above it, or where the toolchains are.
func jsEngine(dir string) ([]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var places []string
	for at := dir; ; at = filepath.Dir(at) {
		places = append(places, at)
		if at == filepath.Dir(at) {
			break
		}
	}
	if tools := os.Getenv("ARW_TOOLCHAINS"); tools != "" {
		places = append(places, filepath.Join(tools, "javascript"))
	}
	for _, place := range places {
		engine, err := os.ReadFile(filepath.Join(place, "node_modules", javascript.EnginePackage, javascript.EngineFile))
		if err == nil {
			return engine, nil
		}
		if !os.IsNotExist(err) {
			return nil, abi.Errorf(abi.Invalid, "read the JavaScript engine: %w", err)
		}
	}
	return nil, abi.Errorf(abi.Unavailable, "no toolchain: the JavaScript engine is not in node_modules/%s of %q or above", javascript.EnginePackage, dir).
		WithHint("run \"npm install\" in the pack's folder; package.json names %s@%s", javascript.EnginePackage, javascript.EngineVersion)
}
