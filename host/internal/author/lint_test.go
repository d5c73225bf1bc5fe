package author_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/author"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it); got:\n%s", name, got)
	}
}

// pure is a module with one tool and no host function of ours.
const pure = `package main

import (
	"unsafe"
)

func main() {}

var room = make([]byte, 1<<16)

//go:wasmexport arw_alloc
func alloc(n uint32) uint32 { return uint32(uintptr(unsafe.Pointer(&room[0]))) }

//go:wasmexport arw_call
func call(tool, toolLen, in, inLen uint32) uint64 {
	reply := append(room[:0:0], "\x00{}"...)
	return uint64(uintptr(unsafe.Pointer(&reply[0])))<<32 | uint64(len(reply))
}
`

func made(t *testing.T, toml string, module []byte) *author.Folder {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{"pack.toml": []byte(toml), "module.wasm": module} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir)
}

func tell(f *author.Folder, found []author.Finding) string {
	var b strings.Builder
	for _, x := range found {
		x.File = strings.TrimPrefix(x.File, filepath.ToSlash(f.Dir)+"/")
		fmt.Fprintf(&b, "%s (%s)\n", x, x.Rule)
		for _, l := range strings.Split(x.Remove, "\n") {
			if l != "" {
				fmt.Fprintf(&b, "  - %s\n", l)
			}
		}
		for _, l := range strings.Split(x.Add, "\n") {
			if l != "" {
				fmt.Fprintf(&b, "  + %s\n", l)
			}
		}
	}
	return strings.ReplaceAll(b.String(), abi.Version, "VERSION")
}

func TestLint(t *testing.T) {
	t.Parallel()
	modules := map[string][]byte{"everything": hosttest.Sink(t), "unused": hosttest.Build(t, pure)}
	for name, module := range modules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			toml, err := os.ReadFile(filepath.Join("testdata", "lint", name+".toml"))
			if err != nil {
				t.Fatal(err)
			}
			f := made(t, string(toml), module)
			found, err := f.Lint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "lint/"+name+".want", tell(f, found))
		})
	}
}

// TestFix takes out what is not used and nothing else, and leaves alone what it cannot be sure of.
func TestFix(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("testdata/lint/unused.toml")
	if err != nil {
		t.Fatal(err)
	}
	module := hosttest.Build(t, pure)
	f := made(t, string(src), module)
	found, err := f.Lint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := f.Fix(found)
	if err != nil || len(fixed) != 2 {
		t.Fatalf("%v, %v", fixed, err)
	}
	after, err := os.ReadFile(filepath.Join(f.Dir, "pack.toml"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "lint/fixed.toml.want", string(after))
	if again, err := f.Lint(t.Context()); err != nil || strings.Contains(tell(f, again), "capability-unused") {
		t.Errorf("%v, %v", again, err)
	}
	for name, change := range map[string][2]string{
		"text over lines":      {`"Says hello to people."`, `"""Says hello to people."""`},
		"a table in one line":  {"[capabilities.kv]\nreason = \"keeps the greetings\"", "[capabilities]\nkv = { reason = \"keeps the greetings\" }"},
		"the header in a word": {`"Greets a person by name."`, `"""Greets a person\n[capabilities.kv]\nby name."""`},
	} {
		toml := strings.Replace(string(src), change[0], change[1], 1)
		f := made(t, toml, module)
		found, err := f.Lint(t.Context())
		if err != nil {
			t.Fatal(name, err)
		}
		fixed, err := f.Fix(found)
		after, rerr := os.ReadFile(filepath.Join(f.Dir, "pack.toml"))
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err != nil || strings.Contains(tell(f, fixed), "[capabilities.kv]") && name != "x" || !strings.Contains(string(after), "keeps the greetings") {
			t.Errorf("%s: fixed %v, %v\n%s", name, fixed, err, after)
		}
	}
}

// typed is a pack whose SDK derives schemas from its code; "every SDK answers alike" is told by make sdks.
const typed = `package main

import "github.com/arw-project/arw/sdk/go/guest"

type in struct {
	Name  string ` + "`json:\"name\"`" + `
	Times int    ` + "`json:\"times\"`" + `
}

type out struct {
	Text string ` + "`json:\"text,omitempty\"`" + `
}

func main() {
	guest.Tool("a.typed", func(_ *guest.Call, v in) (out, error) { return out{v.Name}, nil })
	guest.Tool("a.unnamed", func(_ *guest.Call, v in) (out, error) { return out{v.Name}, nil })
	guest.Bytes("a.bytes", func(_ *guest.Call, v []byte) ([]byte, error) { return v, nil })
}
`

// TestLintHoldsTheCodeAgainstTheManifest: what the SDK derived from the code is compared with pack.toml, line by line.
func TestLintHoldsTheCodeAgainstTheManifest(t *testing.T) {
	t.Parallel()
	toml, err := os.ReadFile("testdata/lint/typed.toml")
	if err != nil {
		t.Fatal(err)
	}
	module := hosttest.Build(t, typed)
	f := made(t, string(toml), module)
	found, err := f.Lint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "lint/typed.want", tell(f, found))
	// What agrees says nothing.
	good := strings.NewReplacer(`type = "boolean"`, `type = "integer"`, "tytle = { type = \"string\" }\n", "", `required = ["text"]`, "required = []",
		"\n[[tools]]\nid = \"a.none\"\ndescription = \"Is not there.\"\n", "\n[[tools]]\nid = \"a.unnamed\"\ndescription = \"Is there.\"\n").Replace(string(toml))
	f = made(t, good, module)
	if found, err = f.Lint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range found {
		if strings.HasPrefix(x.Rule, "code-") || x.Rule == "schema-code" {
			t.Errorf("%+v", x)
		}
	}
}

// TestLintInEveryLanguage: the conformance guest of each SDK tells what its typed tool takes, and lint holds that against a
// manifest that says otherwise. Guests of languages other than Go are there once make sdks has built them.
func TestLintInEveryLanguage(t *testing.T) {
	t.Parallel()
	others := 0
	for _, lang := range []string{"c", "rust", "assemblyscript", "zig", "javascript"} {
		module, err := os.ReadFile(filepath.Join("../../../sdk/build", lang+".wasm"))
		if err != nil {
			continue
		}
		others++
		t.Run(lang, func(t *testing.T) {
			toml, err := os.ReadFile(filepath.Join("../../../sdk", lang, "conformance/pack.toml"))
			if err != nil {
				t.Fatal(err)
			}
			for declared, want := range map[string]string{
				`name = { type = "string" }, count = { type = "integer" }, tags = { type = "array" }`: "",
				`name = { type = "boolean" }`:  "input/name: the manifest says boolean, the code string (schema-code)",
				`colour = { type = "string" }`: "input/colour: the manifest declares it, the code has no such field (schema-code)",
			} {
				text := strings.Replace(string(toml), "id = \"conform.typed\"\n", "id = \"conform.typed\"\ninput = { type = \"object\", properties = { "+declared+" } }\n", 1)
				f := made(t, text, module)
				found, err := f.Lint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if said := tell(f, found); !strings.Contains(said, want) || want == "" && strings.Contains(said, "schema-code") {
					t.Errorf("%s: %s", declared, said)
				}
			}
		})
	}
	if others == 0 {
		t.Skip("SKIPPED: no guests of other languages are built; sh sdk/toolchains.sh && make sdks")
	}
}
