package layout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/registry/layout"
)

// serve starts the server over a new directory.
func serve(t *testing.T, o layout.ServerOptions) (*layout.Dir, string) {
	t.Helper()
	d := openDir(t, t.TempDir())
	s := httptest.NewServer(d.Handler(o))
	t.Cleanup(s.Close)
	return d, s.URL
}

type answer struct {
	*http.Response
	body []byte
}

// code is the specification's error code of an answer.
func (a answer) code() string {
	var e struct{ Errors []struct{ Code string } }
	if json.Unmarshal(a.body, &e) != nil || len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Code
}

func ask(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, b}
}

func TestServerErrors(t *testing.T) {
	t.Parallel()
	d, url := serve(t, layout.ServerOptions{MaxBlob: 10})
	m := putImage(t, repo(t, d, "acme/echo"), "one", "1.0.0")
	none := sha256Of([]byte("none"))
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code                     string
	}{
		{"no such path", "GET", "/v2/acme/echo/nothing", "", nil, 404, "UNSUPPORTED"},
		{"outside the API", "GET", "/", "", nil, 404, "UNSUPPORTED"},
		{"bad name", "GET", "/v2/Acme/echo/tags/list", "", nil, 400, "NAME_INVALID"},
		{"name that climbs", "GET", "/v2/../../etc/tags/list", "", nil, 400, "NAME_INVALID"},
		{"name that climbs, encoded", "GET", "/v2/%2e%2e/%2e%2e/etc/tags/list", "", nil, 400, "NAME_INVALID"},
		{"no such repository", "GET", "/v2/acme/none/tags/list", "", nil, 404, "NAME_UNKNOWN"},
		{"no such manifest", "GET", "/v2/acme/echo/manifests/9.9.9", "", nil, 404, "MANIFEST_UNKNOWN"},
		{"no such blob", "GET", "/v2/acme/echo/blobs/" + none, "", nil, 404, "BLOB_UNKNOWN"},
		{"bad digest", "GET", "/v2/acme/echo/blobs/sha256:x", "", nil, 400, "DIGEST_INVALID"},
		{"bad method", "POST", "/v2/acme/echo/blobs/" + none, "", nil, 405, "UNSUPPORTED"},
		{"bad count", "GET", "/v2/acme/echo/tags/list?n=x", "", nil, 400, "TAG_INVALID"},
		{"no such upload", "PATCH", "/v2/acme/echo/blobs/uploads/nothing", "x", nil, 404, "BLOB_UPLOAD_UNKNOWN"},
		{"wrong digest", "POST", "/v2/acme/echo/blobs/uploads/?digest=" + none, "x", nil, 400, "DIGEST_INVALID"},
		{"too large", "POST", "/v2/acme/echo/blobs/uploads/?digest=" + none, "12345678901", nil, 413, "SIZE_INVALID"},
		{"no media type", "PUT", "/v2/acme/echo/manifests/2.0.0", "{}", nil, 400, "MANIFEST_INVALID"},
		{"not a manifest", "PUT", "/v2/acme/echo/manifests/2.0.0", "[]", []string{"Content-Type", mediaManifest}, 400, "MANIFEST_INVALID"},
		{"missing blob", "PUT", "/v2/acme/echo/manifests/2.0.0", string(imageOf("none")), []string{"Content-Type", mediaManifest}, 400, "MANIFEST_BLOB_UNKNOWN"},
		{"manifest too large", "PUT", "/v2/acme/echo/manifests/2.0.0", strings.Repeat(" ", layout.MaxManifest+1), []string{"Content-Type", mediaManifest}, 413, "SIZE_INVALID"},
		{"blob in use", "DELETE", "/v2/acme/echo/blobs/" + sha256Of([]byte("one")), "", nil, 409, "DENIED"},
		{"page of another origin", "POST", "/v2/acme/echo/blobs/uploads/", "", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "DENIED"},
		{"name of a web page", "GET", "/v2/acme/echo/manifests/" + m.Digest, "", []string{"Host", "evil.example"}, 403, "DENIED"},
	} {
		a := ask(t, c.method, url+c.path, c.body, c.header...)
		if a.StatusCode != c.status || a.code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.StatusCode, a.body, c.status, c.code)
		}
		if bytes.Contains(a.body, []byte(d.Path())) {
			t.Errorf("%s: the answer names the server's files: %s", c.name, a.body)
		}
	}
}

func TestServerUploadsInPieces(t *testing.T) {
	t.Parallel()
	_, url := serve(t, layout.ServerOptions{})
	a := ask(t, "POST", url+"/v2/acme/echo/blobs/uploads/", "")
	place := url + a.Header.Get("Location")
	if a = ask(t, "PATCH", place, "hello ", "Content-Range", "0-5"); a.StatusCode != 202 || a.Header.Get("Range") != "0-5" {
		t.Fatalf("first piece: %d %s", a.StatusCode, a.Header)
	}
	if a = ask(t, "PATCH", place, "world", "Content-Range", "5-9"); a.StatusCode != 416 || a.Header.Get("Range") != "0-5" {
		t.Errorf("overlapping piece: %d %s", a.StatusCode, a.Header)
	}
	if a = ask(t, "PATCH", place, "world", "Content-Range", "6-11"); a.StatusCode != 400 {
		t.Errorf("piece of another length: %d", a.StatusCode)
	}
	if a = ask(t, "GET", place, ""); a.StatusCode != 204 || a.Header.Get("Range") != "0-5" {
		t.Errorf("status: %d %s", a.StatusCode, a.Header)
	}
	digest := sha256Of([]byte("hello world"))
	if a = ask(t, "PUT", place+"?digest="+digest, "world", "Content-Range", "6-10"); a.StatusCode != 201 {
		t.Fatalf("last piece: %d %s", a.StatusCode, a.body)
	}
	a = ask(t, "GET", url+"/v2/acme/echo/blobs/"+digest, "", "Range", "bytes=6-")
	if a.StatusCode != 206 || string(a.body) != "world" || a.Header.Get("Content-Range") != "bytes 6-10/11" {
		t.Errorf("range: %d %q %s", a.StatusCode, a.body, a.Header)
	}
	a = ask(t, "POST", url+"/v2/acme/other/blobs/uploads/?mount="+digest+"&from=acme/echo", "")
	if a.StatusCode != 201 {
		t.Errorf("mount: %d", a.StatusCode)
	}
	a = ask(t, "POST", url+"/v2/acme/other/blobs/uploads/?mount="+digest+"&from=../../x", "")
	if a.StatusCode != 202 {
		t.Errorf("mount from nowhere: %d", a.StatusCode)
	}
}

func TestServerToken(t *testing.T) {
	t.Parallel()
	_, public := serve(t, layout.ServerOptions{Token: "s3cret"})
	_, private := serve(t, layout.ServerOptions{Token: "s3cret", Private: true})
	basic := func(password string) string {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth("anyone", password)
		return r.Header.Get("Authorization")
	}
	for _, c := range []struct {
		name, url, method, auth string
		status                  int
	}{
		{"read", public, "GET", "", 200},
		{"write", public, "POST", "", 401},
		{"write with a wrong token", public, "POST", "Bearer s3cre", 401},
		{"write with a longer token", public, "POST", "Bearer s3cret2", 401},
		{"write with a wrong password", public, "POST", basic("x"), 401},
		{"write with another scheme", public, "POST", "Digest s3cret", 401},
		{"write with the token", public, "POST", "Bearer s3cret", 202},
		{"write with the password", public, "POST", basic("s3cret"), 202},
		{"private read", private, "GET", "", 401},
		{"private read with the token", private, "GET", "Bearer s3cret", 200},
	} {
		path := "/v2/"
		if c.method == "POST" {
			path = "/v2/acme/echo/blobs/uploads/"
		}
		a := ask(t, c.method, c.url+path, "", "Authorization", c.auth)
		if a.StatusCode != c.status {
			t.Errorf("%s: %d", c.name, a.StatusCode)
		}
		if c.status == 401 && (a.code() != "UNAUTHORIZED" || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ")) {
			t.Errorf("%s: %s %s", c.name, a.body, a.Header)
		}
	}
}

func TestServerFixedVersions(t *testing.T) {
	t.Parallel()
	d, url := serve(t, layout.ServerOptions{FixedVersions: true})
	r := repo(t, d, "acme/echo")
	putImage(t, r, "one", "1.0.0")
	putImage(t, r, "one", "latest")
	putBlob(t, r, "two")
	two := string(imageOf("two"))
	if a := ask(t, "PUT", url+"/v2/acme/echo/manifests/1.0.0", two, "Content-Type", mediaManifest); a.StatusCode != 409 {
		t.Errorf("a version was replaced: %d", a.StatusCode)
	}
	for _, tag := range []string{"latest", "1.0.1"} {
		if a := ask(t, "PUT", url+"/v2/acme/echo/manifests/"+tag, two, "Content-Type", mediaManifest); a.StatusCode != 201 {
			t.Errorf("%s: %d %s", tag, a.StatusCode, a.body)
		}
	}
	if a := ask(t, "DELETE", url+"/v2/acme/echo/manifests/1.0.0", ""); a.StatusCode != 202 {
		t.Errorf("delete: %d", a.StatusCode)
	}
	if a := ask(t, "PUT", url+"/v2/acme/echo/manifests/1.0.0", two, "Content-Type", mediaManifest); a.StatusCode != 201 {
		t.Errorf("a version that was deleted cannot be published: %d", a.StatusCode)
	}
}

func TestServerPages(t *testing.T) {
	t.Parallel()
	d, url := serve(t, layout.ServerOptions{})
	r := repo(t, d, "acme/echo")
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("v%d", i))
		putImage(t, r, "one", want[i])
	}
	var got []string
	pages := 0
	for next := "/v2/acme/echo/tags/list?n=3"; next != ""; pages++ {
		a := ask(t, "GET", url+next, "")
		var page struct{ Tags []string }
		if err := json.Unmarshal(a.body, &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Tags...)
		next, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%v in %d pages", got, pages)
	}
	if a := ask(t, "GET", url+"/v2/_catalog", ""); string(a.body) != `{"repositories":["acme/echo"]}` {
		t.Errorf("catalogue %s", a.body)
	}
}

func TestServerManyReferrers(t *testing.T) {
	t.Parallel()
	d, url := serve(t, layout.ServerOptions{})
	r := repo(t, d, "acme/echo")
	m := putImage(t, r, "one", "1.0.0")
	folder := dirOf(r, t)
	// Written directly: 700 pushes would each wait for the disk.
	var index struct {
		SchemaVersion int                 `json:"schemaVersion"`
		Manifests     []layout.Descriptor `json:"manifests"`
	}
	b, _ := os.ReadFile(filepath.Join(folder, "index.json"))
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	for i := range 700 {
		raw := image(t, fmt.Sprint(i), &m)
		digest := sha256Of(raw)
		if err := os.WriteFile(filepath.Join(folder, "blobs", "sha256", digest[7:]), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		index.Manifests = append(index.Manifests, layout.Descriptor{MediaType: mediaManifest, Digest: digest, Size: int64(len(raw))})
	}
	b, _ = json.Marshal(index)
	if err := os.WriteFile(filepath.Join(folder, "index.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	pages := 0
	for next := "/v2/acme/echo/referrers/" + m.Digest + "?artifactType=application/x-test"; next != ""; pages++ {
		a := ask(t, "GET", url+next, "")
		var page struct{ Manifests []layout.Descriptor }
		if err := json.Unmarshal(a.body, &page); err != nil || a.Header.Get("OCI-Filters-Applied") != "artifactType" {
			t.Fatalf("%v %s", err, a.Header)
		}
		for _, d := range page.Manifests {
			seen[d.Digest] = true
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
	}
	if len(seen) != 700 || pages != 2 {
		t.Errorf("%d referrers in %d pages", len(seen), pages)
	}
}

func TestServerCutsDamagedBlobs(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	d, url := serve(t, layout.ServerOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	r := repo(t, d, "acme/echo")
	for _, size := range []int{10, 2 << 20} {
		digest := putBlob(t, r, strings.Repeat("x", size))
		file := filepath.Join(dirOf(r, t), "blobs", "sha256", digest[7:])
		if err := os.WriteFile(file, []byte("y"+strings.Repeat("x", size-1)), 0o644); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(url + "/v2/acme/echo/blobs/" + digest)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 && (err == nil || len(b) >= size) {
			t.Errorf("a damaged blob of %d bytes was sent whole", size)
		}
		if bytes.Contains(b, []byte(d.Path())) {
			t.Errorf("the answer names the server's files: %s", b)
		}
	}
	if !strings.Contains(log.String(), "digest") {
		t.Errorf("the operator is not told: %s", log.String())
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestServerEndsSilence: a client that stops in the middle of a body loses its connection, and what it sent stays.
func TestServerEndsSilence(t *testing.T) {
	t.Parallel()
	d, url := serve(t, layout.ServerOptions{Stall: 50 * time.Millisecond})
	a := ask(t, "POST", url+"/v2/acme/echo/blobs/uploads/", "")
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	place := a.Header.Get("Location")
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhello", place)
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatalf("the connection was not ended: %v", err)
	}
	up, err := repo(t, d, "acme/echo").Upload(place[strings.LastIndexByte(place, '/')+1:])
	if err != nil {
		t.Fatal(err)
	}
	if n, err := up.Size(); n != 5 || err != nil {
		t.Errorf("the upload stands at %d, %v", n, err)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	up := startUpload(t, repo(t, d, "acme/echo"))
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(d.Path(), "acme", "echo", ".registry", "uploads", up.ID()), old, old); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l, layout.ServerOptions{Expiry: 4 * time.Second}) }()
	url := "http://" + l.Addr().String()
	if a := ask(t, "GET", url+"/v2/", ""); a.StatusCode != 200 {
		t.Errorf("ping: %d", a.StatusCode)
	}
	deadline, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := up.Size(); err != nil {
			break // expired
		}
		select {
		case <-tick.C:
		case <-deadline.Done():
			t.Fatal("an abandoned upload does not expire")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}
