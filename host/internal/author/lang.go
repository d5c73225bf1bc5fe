package author

import (
	"context"
	"io/fs"
	"strings"

	"github.com/arw-project/arw/abi"
)

// language is what init and build know of one programming language. A new one is a function that returns its language,
// in a file of its own, and its place in languages; nothing else in this package names it.
type language struct {
	name  string // as --lang has it
	title string // for people
	// template holds what init writes: files with .tmpl cut off their names, executed with the words of Init.
	template fs.FS
	// sdk lays the SDK down inside a new pack, so that it builds offline; nil when the template holds all there is.
	sdk func(dir string) error
	// owns says whether the sources in a folder are of this language.
	owns func(dir string) bool
	// build compiles the folder into the file out. nil: the module is built by other means, and only checked.
	build func(ctx context.Context, f *Folder, out string) error
	// recipe tells how build does it, for provenance; nil tells nothing.
	recipe func(ctx context.Context, f *Folder) recipe
	// endings are those of the files that go into the module: a change of one means to build again.
	endings []string
}

// languages are all there are; the first is the default of init.
func languages() []language {
	return []language{goLanguage(), cLanguage(), rustLanguage(), assemblyScriptLanguage(), zigLanguage(), jsLanguage()}
}

// Languages are the names that Init takes, the default first.
func Languages() []string {
	var names []string
	for _, l := range languages() {
		names = append(names, l.name)
	}
	return names
}

func findLanguage(name string) (language, error) {
	for _, l := range languages() {
		if l.name == name {
			return l, nil
		}
	}
	return language{}, abi.Errorf(abi.Invalid, "make pack: there is no template for language %q", name).
		WithHint("one of: %s", strings.Join(Languages(), ", "))
}

// language finds who builds the folder; false when nobody does and the module comes from elsewhere.
func (f *Folder) language() (language, bool) {
	for _, l := range languages() {
		if l.owns(f.Dir) {
			return l, true
		}
	}
	return language{}, false
}
