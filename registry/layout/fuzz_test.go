package layout_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/registry/layout"
)

// FuzzServer sends requests of all sorts: none may bring the server down, be answered with a fault of its own, or leave
// anything outside the directory.
func FuzzServer(f *testing.F) {
	one := sha256Of([]byte("one"))
	for _, s := range [][5]string{
		{"GET", "/v2/", "", "", ""},
		{"GET", "/v2/acme/echo/tags/list?n=2&last=a", "", "", ""},
		{"GET", "/v2/acme/echo/manifests/1.0.0", "", "", ""},
		{"GET", "/v2/acme/echo/blobs/" + one, "bytes=1-0,5-", "", ""},
		{"GET", "/v2/acme/echo/referrers/" + one + "?artifactType=x", "", "", ""},
		{"PUT", "/v2/acme/echo/manifests/2.0.0", "", mediaManifest, string(imageOf("one"))},
		{"PUT", "/v2/acme/echo/manifests/" + sha256Of([]byte("[]")), "", mediaIndex, "[]"},
		{"POST", "/v2/acme/echo/blobs/uploads/?digest=" + one, "0-2", "", "one"},
		{"POST", "/v2/acme/echo/blobs/uploads/?mount=" + one + "&from=../..", "", "", ""},
		{"PATCH", "/v2/acme/echo/blobs/uploads/../../../index.json", "bytes 0-0/1", "", "x"},
		{"DELETE", "/v2/acme/echo/blobs/sha256:../../x", "", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	top := f.TempDir()
	d, err := layout.Open(filepath.Join(top, "registry"))
	if err != nil {
		f.Fatal(err)
	}
	h := d.Handler(layout.ServerOptions{MaxBlob: 1 << 16})
	f.Fuzz(func(t *testing.T, method, target, ranges, mediaType, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL, r.Host = method, u, "localhost"
		r.Header.Set("Range", ranges)
		r.Header.Set("Content-Range", ranges)
		r.Header.Set("Content-Type", mediaType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
		if entries, _ := os.ReadDir(top); len(entries) > 1 {
			t.Fatalf("%s %s left %v", method, target, entries)
		}
	})
}

// FuzzIndex puts any text where index.json was: reading it may fail, not lead astray.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + sha256Of([]byte("{}")) + `","size":2,"annotations":{"org.opencontainers.image.ref.name":"1.0.0"}}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../../../../etc/passwd","size":-1}]}`))
	f.Add([]byte("null"))
	dir := f.TempDir()
	d, err := layout.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	r, err := d.Repo("acme/echo")
	if err != nil {
		f.Fatal(err)
	}
	if err := r.PutBlob(f.Context(), sha256Of([]byte("{}")), strings.NewReader("{}")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, "acme", "echo", "index.json"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		m, raw, err := r.Manifest("1.0.0")
		if err == nil && sha256Of(raw) != m.Digest && sha512Of(raw) != m.Digest {
			t.Fatalf("%q gives %q for %s", text, raw, m.Digest)
		}
		if _, err := r.Tags(); err != nil {
			return
		}
		if _, err := r.Referrers(sha256Of(nil), ""); err != nil {
			return
		}
	})
}
