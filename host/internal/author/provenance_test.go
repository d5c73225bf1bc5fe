package author_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/signing"
)

// initialised is a new pack of the default language in a folder of its own.
func initialised(t *testing.T, name string) *author.Folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pack")
	if _, err := author.Init(dir, name, author.Languages()[0]); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

// TestReproducible: the same sources in two folders give the same module, provenance, bill of materials and so the same
// artifact; another builder changes what is stated and nothing else.
func TestReproducible(t *testing.T) {
	t.Parallel()
	a, b := initialised(t, "acme/hello"), initialised(t, "acme/hello")
	builtA, err := a.Build(t.Context(), author.BuildOptions{Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	builtB, err := b.Build(t.Context(), author.BuildOptions{Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if builtA.Digest != builtB.Digest {
		t.Errorf("two builds: %s and %s", builtA.Digest, builtB.Digest)
	}
	for _, pair := range [][2]string{{builtA.Module, builtB.Module}, {builtA.Provenance, builtB.Provenance}, {builtA.SBOM, builtB.SBOM}} {
		if !bytes.Equal(read(t, pair[0]), read(t, pair[1])) {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
	before := read(t, builtB.SBOM)
	again, err := b.Build(t.Context(), author.BuildOptions{Tool: "test", Builder: "https://ci.example.com/job"})
	if err != nil || again.Digest != builtA.Digest || !bytes.Equal(before, read(t, again.SBOM)) {
		t.Errorf("%+v, %v", again, err)
	}
	if !strings.Contains(string(read(t, again.Provenance)), `"id": "https://ci.example.com/job"`) {
		t.Error("the builder is not named")
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAttestations: what build stated is what push signs, of just this module and manifest.
func TestAttestations(t *testing.T) {
	t.Parallel()
	dir := packDir(t, "research")
	f := open(t, dir)
	stated, err := f.Attestations()
	if err != nil || len(stated) != 2 || stated[0].Type != signing.PredicateProvenance || stated[1].Type != signing.PredicateSBOM {
		t.Fatalf("%v, %v", stated, err)
	}
	var p struct {
		BuildDefinition struct {
			BuildType            string
			ResolvedDependencies []struct {
				Name, URI string
				Digest    map[string]string
			}
		}
		RunDetails struct {
			Builder struct {
				ID      string
				Version map[string]string
			}
		}
	}
	if err := json.Unmarshal(stated[0].Predicate, &p); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range p.BuildDefinition.ResolvedDependencies {
		names = append(names, d.Name)
		if strings.HasSuffix(d.Name, "_test.go") || strings.HasPrefix(d.Name, "tests/") || d.Name == "module.wasm" {
			t.Errorf("%q is no source", d.Name)
		}
	}
	for _, want := range []string{"pack.toml", "main.go", "ingest.go", "golang.org/x/net"} {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+want+" ") {
			t.Errorf("%q is not among the materials %q", want, names)
		}
	}
	if p.RunDetails.Builder.ID != author.DefaultBuilder || p.RunDetails.Builder.Version["go"] == "" {
		t.Errorf("builder %+v", p.RunDetails.Builder)
	}
	key, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range stated {
		if _, err := signing.Attest(t.Context(), key, "sha256:"+strings.Repeat("0", 64), at.Type, at.Predicate); err != nil {
			t.Errorf("%s: %v", at.Type, err)
		}
	}

	for _, name := range []string{"module.wasm", "pack.toml", "module.sbom.json"} {
		path := filepath.Join(dir, name)
		before := read(t, path)
		if err := os.WriteFile(path, append(bytes.Clone(before), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		changed := open(t, dir)
		if _, err := changed.Attestations(); abi.CodeOf(err) != abi.Conflict || !strings.Contains(err.Error(), name) {
			t.Errorf("%s changed: %v", name, err)
		}
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "module.provenance.json")); err != nil {
		t.Fatal(err)
	}
	if stated, err := open(t, dir).Attestations(); err != nil || stated != nil {
		t.Errorf("without: %v, %v", stated, err)
	}
}

// TestBillOfMaterials holds what is written to CycloneDX's own schema, and reads lock files of other languages.
func TestBillOfMaterials(t *testing.T) {
	t.Parallel()
	schema := cycloneSchema(t)
	check := func(name string, doc []byte) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := open(t, packDir(t, "research"))
	stated, err := f.Attestations()
	if err != nil {
		t.Fatal(err)
	}
	check("research", stated[1].Predicate)

	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/locks")); err != nil {
		t.Fatal(err)
	}
	module := read(t, filepath.Join(moduleRoot, "packs", "research", "module.wasm"))
	if err := os.WriteFile(filepath.Join(dir, "module.wasm"), module, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Build(t.Context(), author.BuildOptions{Tool: "test"}); err != nil {
		t.Fatal(err)
	}
	sbom := read(t, filepath.Join(dir, "module.sbom.json"))
	check("locks", sbom)
	for _, want := range []string{`"pkg:cargo/serde@1.0.228"`, `"pkg:npm/%40scope/thing@2.0.0"`, `"pkg:golang/golang.org/x/net@`, `"SHA-512"`, `"name": "Cargo.lock"`} {
		if !bytes.Contains(sbom, []byte(want)) {
			t.Errorf("no %s in\n%s", want, sbom)
		}
	}
	for _, name := range []string{"Cargo.lock", "package-lock.json"} {
		path := filepath.Join(dir, name)
		before := read(t, path)
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir).Build(t.Context(), author.BuildOptions{}); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("broken %s: %v", name, err)
		}
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// cycloneSchema is the published schema, as the library's own module carries it.
func cycloneSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for id, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json": "bom-1.6.schema.json", "http://cyclonedx.org/schema/spdx.schema.json": "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(read(t, filepath.Join(strings.TrimSpace(string(out)), "schema", file))))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(id, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
