package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestLayoutsThatCosignSaved: what refers to the image lies among the blobs and not in index.json.
func TestLayoutsThatCosignSaved(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"dev.cosignproject.cosign/image", "something else"} {
		dir := t.TempDir()
		repo := filepath.Join(dir, "acme", "echo")
		blobs := filepath.Join(repo, "blobs", "sha256")
		if err := os.MkdirAll(blobs, 0o755); err != nil {
			t.Fatal(err)
		}
		put := func(text string) Descriptor {
			sum := sha256.Sum256([]byte(text))
			name := hex.EncodeToString(sum[:])
			if err := os.WriteFile(filepath.Join(blobs, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			return Descriptor{MediaType: mediaManifest, Digest: "sha256:" + name, Size: int64(len(text))}
		}
		empty := put("{}")
		const manifest = `{"schemaVersion":2,"mediaType":"` + mediaManifest + `","artifactType":"%s","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[]%s}`
		image := put(fmt.Sprintf(manifest, "x", empty.Digest, ""))
		signed := put(fmt.Sprintf(manifest, "sig", empty.Digest, `,"subject":{"mediaType":"`+mediaManifest+`","digest":"`+image.Digest+`","size":1}`))
		put("not JSON")
		put(`{"subject":"not an object"}`)
		lie := filepath.Join(blobs, hex.EncodeToString(make([]byte, 32))) // a file that is not what its name says
		if err := os.WriteFile(lie, fmt.Appendf(nil, manifest, "sig", empty.Digest, `,"subject":{"digest":"`+image.Digest+`","size":1}`), 0o644); err != nil {
			t.Fatal(err)
		}
		image.Annotations = map[string]string{"kind": kind}
		index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []Descriptor{image}})
		if err == nil {
			err = os.WriteFile(filepath.Join(repo, "index.json"), index, 0o644)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(repo, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Repo("acme/echo")
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.Referrers(image.Digest, "sig")
		if err != nil {
			t.Fatal(err)
		}
		if saved := kind != "something else"; saved != (len(list) == 1 && list[0].Digest == signed.Digest) || !saved && len(list) > 0 {
			t.Errorf("%s: %v", kind, list)
		}
	}
}
