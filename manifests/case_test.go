package manifests_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

var update = flag.Bool("update", false, "write what ParsePack says into testdata/manifests")

const casesDir = "../testdata/manifests"

// TestCases holds ParsePack to testdata/manifests. Each archive has a pack.toml and either the problems it must cause or
// its canonical form (indented for reading) and digest. Any implementation of docs/spec/manifest.md can be held to them.
func TestCases(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(filepath.Join(casesDir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := files(archive)
			got := outcome(t, []byte(want["pack.toml"]))
			if *update {
				archive.Files = []txtar.File{{Name: "pack.toml", Data: []byte(want["pack.toml"])}}
				for _, file := range []string{"problems", "canonical.json", "digest"} {
					if text, ok := got[file]; ok {
						archive.Files = append(archive.Files, txtar.File{Name: file, Data: []byte(text)})
					}
				}
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, file := range []string{"problems", "canonical.json", "digest"} {
				if got[file] != want[file] {
					t.Errorf("%s\ngot:\n%s\nwant:\n%s", file, got[file], want[file])
				}
			}
		})
	}
}

func files(archive *txtar.Archive) map[string]string {
	all := map[string]string{}
	for _, f := range archive.Files {
		all[f.Name] = string(f.Data)
	}
	return all
}

// outcome is what an archive says about a manifest.
func outcome(t *testing.T, src []byte) map[string]string {
	t.Helper()
	p, err := manifests.ParsePack("pack.toml", src)
	if err != nil {
		problems, ok := errors.AsType[strict.Problems](err)
		if !ok || abi.CodeOf(err) != abi.Invalid {
			t.Fatalf("the error is %v with code %v, not a list of problems", err, abi.CodeOf(err))
		}
		return map[string]string{"problems": problems.Error() + "\n"}
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, p.Canonical(), "", "  "); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"canonical.json": indented.String() + "\n", "digest": p.Digest() + "\n"}
}
