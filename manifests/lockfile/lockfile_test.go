package lockfile_test

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/lockfile"
)

var (
	d1 = "sha256:" + strings.Repeat("1", 64)
	d2 = "sha256:" + strings.Repeat("2", 64)
)

func pack(extra string) string {
	return "schema = 1\n[[pack]]\nname = \"a/b\"\nversion = \"1.0.0\"\ndigest = \"" + d1 + "\"\n" + extra
}

const proof = "[[pack.proof]]\npredicate = \"p\"\nkey = \"k\"\nbundle = \"sha256:2222222222222222222222222222222222222222222222222222222222222222\"\n"

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, src, says string }{
		{"not TOML", "schema = \n", "arw.lock:1"},
		{"no schema", "", "schema"},
		{"another schema", "schema = 2\n", "schema 2"},
		{"an unknown key", "schema = 1\nodd = 2\n", "odd"},
		{"a tag instead of a digest", strings.Replace(pack(proof), d1, "latest", 1), "exact bytes"},
		{"a short digest", strings.Replace(pack(proof), d1, "sha256:11", 1), "exact bytes"},
		{"a name without namespace", strings.Replace(pack(proof), "a/b", "b", 1), "name"},
		{"a name that escapes", strings.Replace(pack(proof), "a/b", "../b", 1), "name"},
		{"no version", strings.Replace(pack(proof), "1.0.0", "one", 1), "version"},
		{"twice", pack(proof) + strings.TrimPrefix(pack(proof), "schema = 1\n"), "twice"},
		{"no proof", pack(""), "no proof"},
		{"a proof by nobody", pack(strings.Replace(proof, "key = \"k\"\n", "", 1)), "one of the two"},
		{"an identity without its issuer", pack(strings.Replace(proof, "key = \"k\"", "identity = \"i\"", 1)), "stand together"},
		{"key and identity", pack(strings.Replace(proof, "key = \"k\"", "key = \"k\"\nidentity = \"i\"\nissuer = \"j\"", 1)), "one of the two"},
		{"a bundle without digest", pack(strings.Replace(proof, "sha256:", "", 1)), "bundle"},
		{"a registry with a line break", pack("registry = \"a\\nb\"\n" + proof), "registry"},
		{"too large", "schema = 1\n#" + strings.Repeat("x", 1<<20), "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := lockfile.Parse("arw.lock", []byte(c.src))
			code := abi.CodeOf(err)
			if code != abi.Invalid && code != abi.Unsupported || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestFormatIsOneForm(t *testing.T) {
	t.Parallel()
	f := &lockfile.File{Packs: []lockfile.Pack{
		{Name: "z/z", Version: "2.0.0-rc.1", Digest: d2, Override: true, Proofs: []lockfile.Proof{}},
		{Name: "a/b", Version: "1.0.0", Digest: d1, Registry: `dir:/with "quotes" and \`, Proofs: []lockfile.Proof{
			{Predicate: "https://slsa.dev/provenance/v1", Bundle: d2, Identity: "https://git.example/x", Issuer: "https://token.example"},
			{Predicate: "https://cyclonedx.org/bom", Bundle: d1, Key: "k"},
		}},
	}}
	one, err := f.Format()
	if err != nil {
		t.Fatal(err)
	}
	back, err := lockfile.Parse("arw.lock", one)
	if err != nil || !reflect.DeepEqual(back, f) {
		t.Fatalf("%v\n%s", err, one)
	}
	two, err := back.Format()
	if err != nil || !bytes.Equal(one, two) {
		t.Fatalf("%v\n%s\n%s", err, one, two)
	}
	if _, err := (&lockfile.File{Packs: []lockfile.Pack{{Name: "x"}}}).Format(); abi.CodeOf(err) != abi.Invalid {
		t.Fatalf("%v", err)
	}
}

// TestSpecification runs the example of docs/spec/lock.md.
func TestSpecification(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/spec/lock.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```toml arw.lock\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no example")
	}
	f, err := lockfile.Parse("arw.lock", m[1])
	if err != nil {
		t.Fatal(err)
	}
	if out, err := f.Format(); err != nil || !bytes.Equal(out, m[1]) {
		t.Fatalf("the example is not in the one form: %v\n%s", err, out)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(pack(proof)))
	f.Add([]byte("schema = 1\n"))
	f.Add([]byte(pack("override = true\nregistry = \"dir:/x\"\n")))
	f.Add([]byte(pack("registry = \"\\u007f\"\n" + proof)))
	f.Fuzz(func(t *testing.T, src []byte) {
		one, err := lockfile.Parse("arw.lock", src)
		if err != nil {
			return
		}
		text, err := one.Format()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		two, err := lockfile.Parse("arw.lock", text)
		if err != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
