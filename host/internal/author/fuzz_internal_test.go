package author

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/manifests"
)

// FuzzLibraries: whatever stands in a module or a lock file, reading it ends in libraries or in words.
func FuzzLibraries(f *testing.F) {
	for _, name := range []string{"Cargo.lock", "package-lock.json"} {
		src, err := os.ReadFile(filepath.Join("testdata", "locks", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6path\tx\nmod\tx\t(devel)\t\ndep\ta/b\tv1.0.0\th1:AAAA\n=>\tc\tv2\t\n\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2"))
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, l := range goModules(src) {
			if l.name == "" && l.purl == "" {
				t.Fatalf("a library without a name in %q", src)
			}
		}
		_, _ = cargoLock(src)
		_, _ = npmLock(src)
	})
}

// FuzzCutTable: what is left after a table was taken out is the text without some whole lines.
func FuzzCutTable(f *testing.F) {
	src, err := os.ReadFile(filepath.Join("testdata", "lint", "unused.toml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src, "[capabilities.kv]")
	f.Add([]byte("[a]\n# b\n\n[b]\n"), "[a]")
	f.Fuzz(func(t *testing.T, text []byte, header string) {
		rest, ok := cutTable(text, header)
		if !ok {
			return
		}
		if bytes.Contains(append([]byte("\n"), rest...), []byte("\n"+header+"\n")) && header != "" {
			t.Fatalf("%q is still in %q", header, rest)
		}
		if m, err := manifests.ParsePack("pack.toml", text); err == nil {
			if left, err := manifests.ParsePack("pack.toml", rest); err == nil && len(left.Capabilities) > len(m.Capabilities) {
				t.Fatalf("%q asks for more than %q", rest, text)
			}
		}
	})
}
