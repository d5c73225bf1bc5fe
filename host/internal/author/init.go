package author

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// sdkDir is where a new pack keeps the SDK it was made with.
const sdkDir = ".arw-sdk"

// Init writes a new pack into dir, which must not exist or be empty: manifest, source, tests, and a copy of the language's
// SDK, so that it builds offline. It returns the files a person will edit. Errors: Invalid for a name or a language,
// Conflict for a folder that holds something.
func Init(dir, name, lang string) ([]string, error) {
	l, err := findLanguage(lang)
	if err != nil {
		return nil, err
	}
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
	written, err := unpackTemplate(l.template, dir, words)
	if err != nil || l.sdk == nil {
		return written, err
	}
	return written, l.sdk(dir)
}

func unpackTemplate(files fs.FS, dir string, words map[string]string) ([]string, error) {
	var written []string
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		t, err := template.ParseFS(files, p)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(p, ".tmpl")
		var text strings.Builder
		if err := t.Execute(&text, words); err != nil {
			return err
		}
		written = append(written, name)
		return write(filepath.Join(dir, filepath.FromSlash(name)), []byte(text.String()))
	})
	return written, err
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
