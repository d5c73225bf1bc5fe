package author

import (
	"embed"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/sdk/go/guest"
)

//go:embed template
var templates embed.FS

// sdkDir is where a new pack keeps the SDK it was made with.
const sdkDir = ".arw-sdk"

// Init writes a new pack into dir, which must not exist or be empty: manifest, source, test, and a copy of the Go SDK,
// so that it builds offline. It returns the files a person will edit. Errors: Invalid for a name, Conflict for a folder
// that holds something.
func Init(dir, name string) ([]string, error) {
	namespace, short, err := manifests.ParseName(name)
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, abi.Errorf(abi.Conflict, "make pack %q: folder %q is not empty", name, dir).WithHint("name a new folder with --dir")
	}
	words := map[string]string{
		"Namespace": namespace, "Short": short, "Name": name, "ABI": abi.Version,
		"Prefix": strings.ReplaceAll(short, "-", "_"), "SDK": sdkDir,
	}
	written, err := unpackTemplate(dir, words)
	if err != nil {
		return nil, err
	}
	return written, unpackSDK(filepath.Join(dir, sdkDir))
}

func unpackTemplate(dir string, words map[string]string) ([]string, error) {
	var written []string
	err := fs.WalkDir(templates, "template", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		t, err := template.ParseFS(templates, p)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(p, "template/"), ".tmpl")
		var text strings.Builder
		if err := t.Execute(&text, words); err != nil {
			return err
		}
		written = append(written, name)
		return write(filepath.Join(dir, filepath.FromSlash(name)), []byte(text.String()))
	})
	return written, err
}

// unpackSDK lays the SDK down as the module it is, so that imports read the same as in the SDK's own documentation.
func unpackSDK(dir string) error {
	mod := "module github.com/arw-project/arw\n\ngo 1.26.0\n"
	if err := write(filepath.Join(dir, "go.mod"), []byte(mod)); err != nil {
		return err
	}
	if err := unpackSource(abi.Source, filepath.Join(dir, "abi")); err != nil {
		return err
	}
	return unpackSource(guest.Source, filepath.Join(dir, "sdk", "go", "guest"))
}

func unpackSource(src fs.FS, dir string) error {
	return fs.WalkDir(src, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") || path.Base(p) == "source.go" {
			return err
		}
		data, err := fs.ReadFile(src, p)
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, filepath.FromSlash(p)), data)
	})
}

func write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return abi.Errorf(abi.Invalid, "make pack: %w", err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return abi.Errorf(abi.Invalid, "make pack: %w", err)
	}
	return nil
}
