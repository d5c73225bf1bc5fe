package layout_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
)

func sha256Of(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func sha512Of(b []byte) string {
	s := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(s[:])
}

func openDir(t *testing.T, path string) *layout.Dir {
	t.Helper()
	d, err := layout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func repo(t *testing.T, d *layout.Dir, name string) *layout.Repo {
	t.Helper()
	r, err := d.Repo(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if got := abi.CodeOf(err); got != code {
		t.Fatalf("error %v has code %s, want %s", err, got, code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func putBlob(t *testing.T, r *layout.Repo, data string) string {
	t.Helper()
	digest := sha256Of([]byte(data))
	if err := r.PutBlob(t.Context(), digest, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return digest
}

// image is the manifest of an artifact with one layer.
func image(t *testing.T, layer string, subject *layout.Descriptor) []byte {
	t.Helper()
	if subject == nil {
		return imageOf(layer)
	}
	doc := imageDoc(layer)
	doc["subject"] = subject
	doc["annotations"] = map[string]string{"note": layer}
	return encode(doc)
}

func imageOf(layer string) []byte { return encode(imageDoc(layer)) }

func imageDoc(layer string) map[string]any {
	return map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "artifactType": "application/x-test",
		"config": layout.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: sha256Of([]byte("{}")), Size: 2},
		"layers": []layout.Descriptor{{MediaType: "text/plain", Digest: sha256Of([]byte(layer)), Size: int64(len(layer))}},
	}
}

func encode(doc map[string]any) []byte {
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return raw
}

func layersOf(t *testing.T, raw []byte) []string {
	t.Helper()
	var doc struct{ Layers []layout.Descriptor }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, l := range doc.Layers {
		digests = append(digests, l.Digest)
	}
	return digests
}

// putImage stores an artifact of one layer under a tag.
func putImage(t *testing.T, r *layout.Repo, layer, tag string) layout.Descriptor {
	t.Helper()
	putBlob(t, r, "{}")
	putBlob(t, r, layer)
	d, err := r.PutManifest(t.Context(), mediaManifest, image(t, layer, nil), layout.Put{Tag: tag})
	if err != nil {
		t.Fatal(err)
	}
	return d.Descriptor
}

func TestRepoNames(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	for _, good := range []string{"a", "acme/echo", "a/b/c/d", "a.b_c__d-e---f/x", strings.Repeat("a", 200)} {
		if _, err := d.Repo(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "a/", "/a", "a//b", "..", "../a", "a/../b", ".a", "a/.b", "A", "a b", "a\\b", "a\x00b", "ä",
		"a..b", "a_-b", "blobs", "a/blobs", "a/index.json/b", "oci-layout", "a/oci-layout", ".registry", strings.Repeat("a", 201)} {
		_, err := d.Repo(bad)
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := layout.Open(file)
	wantCode(t, err, abi.Invalid, file)
}

func TestEmptyRegistry(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "not", "yet")
	d := openDir(t, path)
	if names, err := d.Names(); err != nil || len(names) != 0 {
		t.Errorf("names %v, %v", names, err)
	}
	_, err := repo(t, d, "acme/echo").Tags()
	wantCode(t, err, abi.NotFound, "acme/echo")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("reading made the directory: %v", err)
	}
}

func TestLayoutIsPlain(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	r := repo(t, openDir(t, path), "acme/echo")
	m := putImage(t, r, "one", "1.0.0")
	folder := filepath.Join(path, "acme", "echo")
	if b, _ := os.ReadFile(filepath.Join(folder, "oci-layout")); string(b) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %q", b)
	}
	var index struct {
		SchemaVersion int
		MediaType     string
		Manifests     []layout.Descriptor
	}
	b, _ := os.ReadFile(filepath.Join(folder, "index.json"))
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	if index.SchemaVersion != 2 || index.MediaType != mediaIndex || len(index.Manifests) != 1 ||
		index.Manifests[0].Digest != m.Digest || index.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1.0.0" {
		t.Errorf("index.json is %s", b)
	}
	for _, digest := range []string{m.Digest, sha256Of([]byte("one")), sha256Of([]byte("{}"))} {
		b, err := os.ReadFile(filepath.Join(folder, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
		if err != nil || sha256Of(b) != digest {
			t.Errorf("blob %s: %v", digest, err)
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	r := repo(t, d, "acme/echo")
	one, two := putImage(t, r, "one", "1.0.0"), putImage(t, r, "two", "2.0.0")
	putImage(t, r, "two", "latest")
	if tags, err := r.Tags(); err != nil || !slices.Equal(tags, []string{"1.0.0", "2.0.0", "latest"}) {
		t.Errorf("tags %v, %v", tags, err)
	}
	putImage(t, r, "one", "latest")
	if got, _, err := r.Manifest("latest"); err != nil || got.Digest != one.Digest {
		t.Errorf("latest is %v, %v", got, err)
	}
	if err := r.DeleteTag(t.Context(), "2.0.0"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Manifest(two.Digest); err != nil {
		t.Errorf("a manifest that lost its tags is gone: %v", err)
	}
	_, err := r.PutManifest(t.Context(), mediaManifest, image(t, "two", nil), layout.Put{Tag: "1.0.0", Fixed: true})
	wantCode(t, err, abi.Conflict, "1.0.0", one.Digest)
	if _, err := r.PutManifest(t.Context(), mediaManifest, image(t, "one", nil), layout.Put{Tag: "1.0.0", Fixed: true}); err != nil {
		t.Errorf("the same again: %v", err)
	}
	_, err = r.PutManifest(t.Context(), mediaManifest, image(t, "one", nil), layout.Put{Tag: "../x"})
	wantCode(t, err, abi.Invalid)
	if names, err := d.Names(); err != nil || !slices.Equal(names, []string{"acme/echo"}) {
		t.Errorf("names %v, %v", names, err)
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	data := bytes.Repeat([]byte("abc"), 300_000)
	for _, digest := range []string{sha256Of(data), sha512Of(data), sha256Of(nil)} {
		want := data
		if digest == sha256Of(nil) {
			want = nil
		}
		if err := r.PutBlob(t.Context(), digest, bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		b, err := r.OpenBlob(digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		b.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s reads back as %d bytes, %v", digest, len(got), err)
		}
	}
	err := r.PutBlob(t.Context(), sha256Of([]byte("other")), bytes.NewReader(data))
	wantCode(t, err, abi.DigestMismatch)
	for _, bad := range []string{"", "sha256:", "sha256:xyz", "md5:" + strings.Repeat("0", 32), "sha256:../../../../etc/passwd",
		"sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("0", 63)} {
		_, err := r.OpenBlob(bad)
		wantCode(t, err, abi.Invalid)
		wantCode(t, r.PutBlob(t.Context(), bad, strings.NewReader("")), abi.Invalid)
	}
	_, err = r.OpenBlob(sha256Of([]byte("none")))
	wantCode(t, err, abi.NotFound)
	uploads, _ := os.ReadDir(filepath.Join(dirOf(r, t), ".registry", "uploads"))
	if len(uploads) != 0 {
		t.Errorf("%d temporary files are left", len(uploads))
	}
}

// dirOf is a repository's folder in a registry whose directory the test knows by listing it.
func dirOf(r *layout.Repo, t *testing.T) string {
	t.Helper()
	return filepath.Join(r.Dir().Path(), filepath.FromSlash(r.Name()))
}

func TestDamageIsSeen(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	r := repo(t, d, "acme/echo")
	layer := strings.Repeat("layer", 200_000)
	m := putImage(t, r, layer, "1.0.0")
	blob := func(digest string) string {
		return filepath.Join(dirOf(r, t), "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
	}
	flip := func(file string, at int) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := blob(sha256Of([]byte(layer)))
	for _, at := range []int{0, len(layer) / 2, len(layer) - 1} {
		flip(file, at)
		b, err := r.OpenBlob(sha256Of([]byte(layer)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		b.Close()
		wantCode(t, err, abi.Corrupt, sha256Of([]byte(layer)))
		if len(got) >= len(layer) {
			t.Error("a damaged blob was read whole")
		}
		flip(file, at)
	}
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.CheckBlob(sha256Of([]byte(layer))), abi.Corrupt)
	putBlob(t, r, layer)
	if err := r.CheckBlob(sha256Of([]byte(layer))); err != nil {
		t.Errorf("pushing again does not mend: %v", err)
	}
	flip(blob(m.Digest), 5)
	_, _, err := r.Manifest("1.0.0")
	wantCode(t, err, abi.Corrupt, m.Digest)
	fresh := repo(t, openDir(t, d.Path()), "acme/echo") // one that does not remember the manifest
	_, err = fresh.Referrers(m.Digest, "")
	wantCode(t, err, abi.Corrupt)
}

func TestDamagedIndex(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	m := putImage(t, r, "one", "1.0.0")
	file := filepath.Join(dirOf(r, t), "index.json")
	other := sha256Of([]byte("{}"))
	for name, text := range map[string]string{
		"not JSON":         "{",
		"digest is a path": `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../../etc/passwd","size":1}]}`,
		"negative size":    `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + other + `","size":-1}]}`,
		"wrong size": fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":7,"annotations":{"org.opencontainers.image.ref.name":"1.0.0"}}]}`,
			mediaManifest, m.Digest),
		"missing file": fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":7,"annotations":{"org.opencontainers.image.ref.name":"1.0.0"}}]}`,
			mediaManifest, sha256Of([]byte("gone"))),
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := r.Manifest("1.0.0")
		if abi.CodeOf(err) != abi.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
		if abi.HintOf(err) == "" {
			t.Errorf("%s: no next step", name)
		}
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	t.Parallel()
	path, outside := t.TempDir(), t.TempDir()
	r := repo(t, openDir(t, path), "acme/echo")
	putImage(t, r, "one", "1.0.0")
	secret := "secret"
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	digest := sha256Of([]byte(secret))
	if err := os.Symlink(filepath.Join(outside, "f"), filepath.Join(dirOf(r, t), "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))); err != nil {
		t.Fatal(err)
	}
	if _, err := r.OpenBlob(digest); err == nil {
		t.Error("a blob that is a link to the outside was opened")
	}
	if err := os.Symlink(outside, filepath.Join(path, "evil")); err != nil {
		t.Fatal(err)
	}
	err := repo(t, openDir(t, path), "evil/echo").PutBlob(t.Context(), digest, strings.NewReader(secret))
	if err == nil {
		t.Error("a repository behind a link to the outside was written")
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("the outside holds %v", entries)
	}
}

func TestManifestsStandOnTheirParts(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	putBlob(t, r, "{}")
	raw := image(t, "missing", nil)
	_, err := r.PutManifest(t.Context(), mediaManifest, raw, layout.Put{Tag: "1.0.0"})
	wantCode(t, err, abi.NotFound, sha256Of([]byte("missing")))
	if tags, _ := r.Tags(); len(tags) != 0 {
		t.Errorf("tags %v", tags)
	}
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, mediaIndex, mediaManifest, sha256Of(raw))
	_, err = r.PutManifest(t.Context(), mediaIndex, index, layout.Put{})
	wantCode(t, err, abi.NotFound, sha256Of(raw))
	_, err = r.PutManifest(t.Context(), mediaIndex, raw, layout.Put{})
	wantCode(t, err, abi.Invalid, "mediaType")
	_, err = r.PutManifest(t.Context(), mediaManifest, []byte("{"), layout.Put{})
	wantCode(t, err, abi.Invalid)
	_, err = r.PutManifest(t.Context(), mediaManifest, make([]byte, layout.MaxManifest+1), layout.Put{})
	wantCode(t, err, abi.TooLarge)
	_, err = r.PutManifest(t.Context(), mediaManifest, raw, layout.Put{Digest: sha256Of([]byte("x"))})
	wantCode(t, err, abi.DigestMismatch)
	putBlob(t, r, "missing")
	if _, err := r.PutManifest(t.Context(), mediaManifest, raw, layout.Put{Tag: "1.0.0"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.DeleteBlob(t.Context(), sha256Of([]byte("missing"))), abi.Conflict, sha256Of(raw))
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	r := repo(t, d, "acme/echo")
	m := putImage(t, r, "one", "1.0.0")
	for _, note := range []string{"a", "b"} {
		putBlob(t, r, note)
		if _, err := r.PutManifest(t.Context(), mediaManifest, image(t, note, &m), layout.Put{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range []*layout.Repo{r, repo(t, openDir(t, d.Path()), "acme/echo")} {
		list, err := view.Referrers(m.Digest, "application/x-test")
		if err != nil || len(list) != 2 {
			t.Fatalf("%d referrers, %v", len(list), err)
		}
		if list[0].ArtifactType != "application/x-test" || list[0].Annotations["note"] == "" || list[0].Digest == m.Digest {
			t.Errorf("referrer %+v", list[0])
		}
		if list, err := view.Referrers(m.Digest, "application/other"); err != nil || len(list) != 0 {
			t.Errorf("%d referrers of another type, %v", len(list), err)
		}
	}
	if list, err := repo(t, d, "no/such").Referrers(m.Digest, ""); err != nil || len(list) != 0 {
		t.Errorf("referrers in a repository that is not there: %v, %v", list, err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	kept, dropped := putImage(t, r, "kept", "1.0.0"), putImage(t, r, "dropped", "2.0.0")
	putBlob(t, r, "orphan")
	if n, err := r.Dir().Sweep(t.Context(), 1<<40); err != nil || n != 0 {
		t.Fatalf("swept %d within the grace, %v", n, err)
	}
	if err := r.DeleteManifest(t.Context(), dropped.Digest); err != nil {
		t.Fatal(err)
	}
	n, err := r.Dir().Sweep(t.Context(), 0)
	if err != nil || n != 2 { // "dropped" and "orphan": {} is still in use
		t.Errorf("swept %d, %v", n, err)
	}
	for _, digest := range []string{kept.Digest, sha256Of([]byte("kept")), sha256Of([]byte("{}"))} {
		if err := r.CheckBlob(digest); err != nil {
			t.Errorf("swept too much: %v", err)
		}
	}
	_, err = r.OpenBlob(sha256Of([]byte("orphan")))
	wantCode(t, err, abi.NotFound)
}

func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	const writers, each = 8, 6
	var wg sync.WaitGroup
	for w := range writers {
		r := repo(t, openDir(t, path), "acme/echo") // a Dir each: as if they were processes
		wg.Go(func() {
			for i := range each {
				layer := fmt.Sprintf("layer %d of %d", i, w)
				if err := r.PutBlob(t.Context(), sha256Of([]byte("{}")), strings.NewReader("{}")); err != nil {
					t.Error(err)
				}
				if err := r.PutBlob(t.Context(), sha256Of([]byte(layer)), strings.NewReader(layer)); err != nil {
					t.Error(err)
				}
				if _, err := r.PutManifest(t.Context(), mediaManifest, image(t, layer, nil), layout.Put{Tag: fmt.Sprintf("%d.%d.0", w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	tags, err := repo(t, openDir(t, path), "acme/echo").Tags()
	if err != nil || len(tags) != writers*each {
		t.Errorf("%d tags, %v", len(tags), err)
	}
}
