package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

// TestBundleForm: the referrer has the form that cosign writes and reads.
func TestBundleForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, "dir:"+dir, registry.Options{})
	digest := push(t, r, "1.0.0", pack("one"))
	bundle := []byte(`{"mediaType":"x","dsseEnvelope":{}}`)
	at, err := r.Attach(t.Context(), "acme/echo", digest, bundle, "https://sigstore.dev/cosign/sign/v1")
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
	subject, _, err := repo.Manifest(digest)
	if err != nil {
		t.Fatal(err)
	}
	_, raw, err := repo.Manifest(at)
	if err != nil {
		t.Fatal(err)
	}
	const media = "application/vnd.dev.sigstore.bundle.v0.3+json"
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.title":%q}}],`+
		`"subject":{"mediaType":%q,"digest":%q,"size":%d},`+
		`"annotations":{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1"}}`,
		mediaManifest, media, emptyDigest, media, sha256Of(bundle), len(bundle), strings.Replace(digest, ":", "-", 1)+".sigstore.json",
		mediaManifest, digest, subject.Size)
	if string(raw) != want {
		t.Errorf("the referrer is\n%s\nand not\n%s", raw, want)
	}
}

// referrer is a manifest that a lying list may name.
func referrer(subject string, size int64, spoil func(doc map[string]any)) []byte {
	doc := map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "artifactType": registry.MediaBundle,
		"config":  map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": emptyDigest, "size": 2},
		"layers":  []any{map[string]any{"mediaType": registry.MediaBundle, "digest": sha256Of([]byte("{}")), "size": 2}},
		"subject": map[string]any{"mediaType": mediaManifest, "digest": subject, "size": size},
	}
	if spoil != nil {
		spoil(doc)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return raw
}

// liarAboutReferrers serves a list of its own and the manifests in it.
func liarAboutReferrers(t *testing.T, make func(subject string, size int64) (list []layout.Descriptor, manifests map[string][]byte)) (location, digest string) {
	t.Helper()
	var list []layout.Descriptor
	var manifests map[string][]byte
	location, digest = liar(t, func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "manifests": list})
			return
		}
		if raw, ok := manifests[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]; ok {
			body(200, map[string]string{"Content-Type": mediaManifest}, string(raw))(w, r)
			return
		}
		truth.ServeHTTP(w, r)
	})
	size := sizeOf(t, location, digest)
	list, manifests = make(digest, size)
	return location, digest
}

// sizeOf is the size of a manifest.
func sizeOf(t *testing.T, location, digest string) int64 {
	t.Helper()
	resp, err := http.Head("http://" + location + "/v2/acme/echo/manifests/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.ContentLength
}

func entry(raw []byte) layout.Descriptor {
	return layout.Descriptor{MediaType: mediaManifest, Digest: sha256Of(raw), Size: int64(len(raw)), ArtifactType: registry.MediaBundle}
}

func TestReferrersThatLie(t *testing.T) {
	t.Parallel()
	set := func(key string, v any) func(map[string]any) { return func(d map[string]any) { d[key] = v } }
	bundleLayer := func(size int64) []any {
		return []any{map[string]any{"mediaType": registry.MediaBundle, "digest": sha256Of([]byte("{}")), "size": size}}
	}
	for name, c := range map[string]struct {
		subject string // other than the truth
		spoil   func(doc map[string]any)
		entry   func(d *layout.Descriptor)
		serve   string // other than the manifest
		code    abi.Code
		bundles int
	}{
		"the truth":                  {code: abi.OK, bundles: 1},
		"old tools name no type":     {entry: func(d *layout.Descriptor) { d.ArtifactType = "" }, code: abi.OK, bundles: 1},
		"something else, named so":   {entry: func(d *layout.Descriptor) { d.ArtifactType = "application/sbom" }, spoil: set("artifactType", "application/sbom"), code: abi.OK},
		"something else, unnamed":    {entry: func(d *layout.Descriptor) { d.ArtifactType = "" }, spoil: set("artifactType", "application/sbom"), code: abi.OK},
		"another pack's signature":   {subject: someDigest, code: abi.DigestMismatch},
		"no subject":                 {spoil: set("subject", nil), code: abi.DigestMismatch},
		"something else as a bundle": {spoil: set("artifactType", "application/sbom"), code: abi.DigestMismatch},
		"other bytes":                {serve: `{"schemaVersion":2}`, code: abi.DigestMismatch},
		"a digest that climbs":       {entry: func(d *layout.Descriptor) { d.Digest = "sha256:../../x" }, code: abi.Invalid},
		"a missing manifest":         {entry: func(d *layout.Descriptor) { d.Digest = someDigest }, code: abi.NotFound},
		"no bundle within":           {spoil: set("layers", []any{}), code: abi.Incompatible},
		"two bundles within":         {spoil: set("layers", append(bundleLayer(2), bundleLayer(2)...)), code: abi.Incompatible},
		"a large bundle":             {spoil: set("layers", bundleLayer(registry.MaxBundle+1)), code: abi.TooLarge},
		"a bundle of another size":   {spoil: set("layers", bundleLayer(3)), code: abi.DigestMismatch},
		"a large manifest":           {spoil: set("x", strings.Repeat("x", registry.MaxBundle)), code: abi.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			location, digest := liarAboutReferrers(t, func(subject string, size int64) ([]layout.Descriptor, map[string][]byte) {
				if c.subject != "" {
					subject = c.subject
				}
				raw := referrer(subject, size, c.spoil)
				d := entry(raw)
				served := map[string][]byte{d.Digest: raw}
				if c.entry != nil {
					c.entry(&d)
				}
				if c.serve != "" {
					served[d.Digest] = []byte(c.serve)
				}
				return []layout.Descriptor{d, d}, served
			})
			got, err := open(t, location, registry.Options{Retries: -1}).Bundles(t.Context(), "acme/echo", digest)
			if c.code != abi.OK {
				wantCode(t, err, c.code, location, digest)
			} else if err != nil || len(got) != c.bundles {
				t.Errorf("%d bundles, %v", len(got), err)
			}
		})
	}
}

func TestTooManyReferrers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{registry.MaxBundles, registry.MaxBundles + 1} {
		location, digest := liarAboutReferrers(t, func(subject string, size int64) ([]layout.Descriptor, map[string][]byte) {
			var list []layout.Descriptor
			served := map[string][]byte{}
			for i := range n {
				raw := referrer(subject, size, func(d map[string]any) { d["annotations"] = map[string]any{"n": fmt.Sprint(i)} })
				list = append(list, entry(raw))
				served[sha256Of(raw)] = raw
			}
			return list, served
		})
		got, err := open(t, location, registry.Options{}).Bundles(t.Context(), "acme/echo", digest)
		if n <= registry.MaxBundles {
			if err != nil || len(got) != n {
				t.Errorf("%d bundles, %v", len(got), err)
			}
			continue
		}
		wantCode(t, err, abi.TooLarge, location, digest)
	}
}

// TestReferrersTagThatLies: the list under a tag is anybody's who may push.
func TestReferrersTagThatLies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, "dir:"+dir, registry.Options{})
	digest := push(t, r, "1.0.0", pack("one"))
	d, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := d.Repo("acme/echo")
	if err != nil {
		t.Fatal(err)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":%q,"digest":%q,"size":%d,"artifactType":%q}]}`,
		mediaManifest, digest, 1, registry.MediaBundle)
	if _, err := repo.PutManifest(t.Context(), "application/vnd.oci.image.index.v1+json", []byte(index),
		layout.Put{Tag: strings.Replace(digest, ":", "-", 1)}); err != nil {
		t.Fatal(err)
	}
	_, err = r.Bundles(t.Context(), "acme/echo", digest)
	wantCode(t, err, abi.DigestMismatch, digest)
	if tags, err := r.Tags(t.Context(), "acme/echo"); err != nil || len(tags) != 1 {
		t.Errorf("the referrers' tag is listed: %v, %v", tags, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "acme", "echo", "index.json")); err != nil {
		t.Error(err)
	}
}
