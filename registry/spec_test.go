package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

// spec is docs/spec/pack.md.
func spec(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/spec/pack.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is the fenced block of that name.
func block(t *testing.T, name string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)```[a-z]+ " + regexp.QuoteMeta(name) + "\n(.*?)```").FindStringSubmatch(spec(t))
	if m == nil {
		t.Fatalf("no block %q", name)
	}
	return m[1]
}

// rows are the table rows under a heading line, cell by cell without backquotes.
func rows(t *testing.T, heading string) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(spec(t), heading+"\n")
	if !ok {
		t.Fatalf("no table %q", heading)
	}
	var table [][]string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		table = append(table, cells)
	}
	return table[1:]
}

// TestSpecExamples publishes the example of docs/spec/pack.md and compares every byte.
func TestSpecExamples(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, "dir:"+dir, registry.Options{})
	files := []registry.File{
		{Name: "echo.wasm", MediaType: registry.MediaWasm, Data: []byte("\x00asm\x01\x00\x00\x00")},
		{Name: "pack.toml", Data: []byte(block(t, "pack.toml"))},
		{Name: "policy.cedar", Data: []byte(block(t, "policy.cedar"))},
	}
	digest, err := r.Push(t.Context(), "acme/echo", "1.2.0", files, map[string]string{"org.opencontainers.image.licenses": "MIT"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(spec(t), "Its digest is `"+digest+"`.") {
		t.Errorf("the digest is %s", digest)
	}
	at, err := r.Attach(t.Context(), "acme/echo", digest, []byte(`{"dsseEnvelope":{}}`), "https://sigstore.dev/cosign/sign/v1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := d.Repo("acme/echo")
	if err != nil {
		t.Fatal(err)
	}
	for name, digest := range map[string]string{"manifest": digest, "referrer": at} {
		_, raw, err := repo.Manifest(digest)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(block(t, name))); err != nil {
			t.Fatal(err)
		}
		if want.String() != string(raw) {
			t.Errorf("the %s is\n%s\nand not\n%s", name, raw, want.String())
		}
	}
}

func TestSpecTables(t *testing.T) {
	t.Parallel()
	for _, row := range rows(t, "| reference | registry | name | tag | digest |") {
		got, err := registry.ParseRef(row[0], "the default")
		if row[1] == "refused" {
			if abi.CodeOf(err) != abi.Invalid {
				t.Errorf("%s: %+v, %v", row[0], got, err)
			}
			continue
		}
		if want := (registry.Ref{Registry: row[1], Name: row[2], Tag: row[3], Digest: row[4]}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", row[0], got, err)
		}
	}
	for _, row := range rows(t, "| version | tag |") {
		if v, ok := registry.Version(row[1]); registry.Tag(row[0]) != row[1] || !ok || v != row[0] {
			t.Errorf("version %s has tag %s", row[0], registry.Tag(row[0]))
		}
	}
	o := registry.Defaults()
	limits := map[string]string{
		"manifest": fmt.Sprint(o.MaxManifest, " bytes"), "one file": fmt.Sprint(o.MaxLayer, " bytes"),
		"all files": fmt.Sprint(o.MaxTotal, " bytes"), "files": fmt.Sprint(o.MaxFiles),
		"bundles of one pack": fmt.Sprint(registry.MaxBundles), "one bundle": fmt.Sprint(registry.MaxBundle, " bytes"),
		"the whole operation": fmt.Sprint(o.Timeout), "silence on a connection": fmt.Sprint(o.Stall),
	}
	table := rows(t, "| what | limit unless configured |")
	for _, row := range table {
		if limits[row[0]] != row[1] {
			t.Errorf("the limit of %s is %s, not %s", row[0], limits[row[0]], row[1])
		}
	}
	if len(table) != len(limits) {
		t.Errorf("%d limits are written down, there are %d", len(table), len(limits))
	}
	for _, row := range rows(t, "| file | media type | how many |") {
		if !strings.Contains(" "+registry.MediaWasm+" "+registry.MediaPackTOML+" "+registry.MediaPolicy+" "+registry.MediaFile+" ", " "+row[1]+" ") {
			t.Errorf("media type %s", row[1])
		}
	}
}
