package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

// serve starts our own server and gives its location.
func serve(t *testing.T, o layout.ServerOptions) string {
	t.Helper()
	return serveHandler(t, handler(t, o))
}

func handler(t *testing.T, o layout.ServerOptions) http.Handler {
	t.Helper()
	d, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d.Handler(o)
}

func serveHandler(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestRoundTripOwnServer(t *testing.T) {
	t.Parallel()
	testRoundTrip(t, serve(t, layout.ServerOptions{}), registry.Options{})
}

func TestRoundTripToken(t *testing.T) {
	t.Parallel()
	testRoundTrip(t, serve(t, layout.ServerOptions{Token: "s3cret", Private: true}),
		registry.Options{Credentials: registry.Credentials{Token: "s3cret"}})
}

func TestRoundTripPrefix(t *testing.T) {
	t.Parallel()
	location := serve(t, layout.ServerOptions{})
	testRoundTrip(t, location+"/some/team", registry.Options{})
	names, err := open(t, location+"/other", registry.Options{}).Names(t.Context())
	if err != nil || len(names) != 0 {
		t.Errorf("names under another prefix: %v, %v", names, err)
	}
}

// plain makes a registry as many are: no referrers API, no pieces, no ranges, and no digest in the head of a manifest.
func plain(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/referrers/"):
			http.NotFound(w, r)
			return
		case r.Method == http.MethodPatch:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		r.Header.Del("Range")
		h.ServeHTTP(&poorer{w, strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodHead}, r)
	})
}

type poorer struct {
	http.ResponseWriter
	noDigest bool
}

func (p *poorer) WriteHeader(status int) {
	p.Header().Del("OCI-Subject")
	p.Header().Del("Accept-Ranges")
	if p.noDigest {
		p.Header().Del("Docker-Content-Digest")
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *poorer) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func TestRoundTripPlainRegistry(t *testing.T) {
	t.Parallel()
	h := handler(t, layout.ServerOptions{})
	testRoundTrip(t, serveHandler(t, plain(h)), registry.Options{})
}

// TestBundlesFromTagInDirectory: what a plain registry got stays readable when its directory is read without it.
func TestBundlesFromTagInDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, serveHandler(t, plain(d.Handler(layout.ServerOptions{}))), registry.Options{})
	digest := push(t, r, "1.0.0", pack("one"))
	if _, err := r.Attach(t.Context(), "acme/echo", digest, []byte("{}"), "x"); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, "dir:"+dir, registry.Options{}).Bundles(t.Context(), "acme/echo", digest)
	if err != nil || len(got) != 1 {
		t.Errorf("%d bundles, %v", len(got), err)
	}
}

// basic asks for a name and a password for everything.
func basic(h http.Handler, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		if u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// home is a home directory with a Docker config.
func home(t *testing.T, config string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ".docker")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDockerCredentials(t *testing.T) {
	t.Parallel()
	location := serveHandler(t, basic(plain(handler(t, layout.ServerOptions{})), "joe", "pa:ss"))
	auth := base64.StdEncoding.EncodeToString([]byte("joe:pa:ss"))
	for name, config := range map[string]string{
		"bare host":              fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, location, auth),
		"URL":                    fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, "https://"+location+"/v2/", auth),
		"bare host before a URL": fmt.Sprintf(`{"auths":{%q:{"auth":"Ym9iOng="},%q:{"auth":%q}}}`, "https://"+location, location, auth),
	} {
		o := registry.Options{Credentials: registry.Credentials{DockerConfig: home(t, config)}}
		if _, err := open(t, location, o).Push(t.Context(), "acme/echo", "1.0.0", pack("one"), nil, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	testRoundTripFresh(t, registry.Credentials{Username: "joe", Password: "pa:ss"})
	for name, c := range map[string]registry.Credentials{
		"nobody":         {},
		"no such file":   {DockerConfig: filepath.Join(t.TempDir(), "none.json")},
		"another host":   {DockerConfig: home(t, `{"auths":{"other.example":{"auth":"`+auth+`"}}}`)},
		"wrong password": {Username: "joe", Password: "x"},
	} {
		_, err := open(t, location, registry.Options{Credentials: c}).Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
		if abi.CodeOf(err) != abi.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := registry.Open(location, registry.Options{Credentials: registry.Credentials{DockerConfig: home(t, "{")}})
	wantCode(t, err, abi.Invalid, "config.json")
}

func testRoundTripFresh(t *testing.T, c registry.Credentials) {
	t.Helper()
	location := serveHandler(t, basic(plain(handler(t, layout.ServerOptions{})), "joe", "pa:ss"))
	testRoundTrip(t, location, registry.Options{Credentials: c})
}

// TestCredentialHelper runs a helper as Docker would: a program on the PATH, found by its name.
func TestCredentialHelper(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\nread host\n[ \"$host\" = \"$ARW_TEST_HOST\" ] || { echo 'credentials not found in native keychain'; exit 1; }\n" +
		`echo '{"Username":"joe","Secret":"helped"}'` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-arwtest"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	location := serveHandler(t, basic(handler(t, layout.ServerOptions{}), "joe", "helped"))
	t.Setenv("ARW_TEST_HOST", location)
	for name, config := range map[string]string{
		"for this host": fmt.Sprintf(`{"credHelpers":{%q:"arwtest"}}`, location),
		"for all":       `{"credsStore":"arwtest"}`,
	} {
		r := open(t, location, registry.Options{Credentials: registry.Credentials{DockerConfig: home(t, config)}})
		if _, err := r.Push(t.Context(), "acme/echo", "1.0.0", pack("one"), nil, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := open(t, location, registry.Options{Credentials: registry.Credentials{DockerConfig: home(t, `{"credsStore":"none-such"}`)}})
	_, err := r.Push(t.Context(), "acme/echo", "1.0.0", pack("one"), nil, nil)
	wantCode(t, err, abi.Unauthenticated, "credential helper")
}

// TestTokenService: a registry that sends us to a token service, as the public ones do.
func TestTokenService(t *testing.T) {
	t.Parallel()
	inner := handler(t, layout.ServerOptions{})
	var asked atomic.Value
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "joe" || p != "x" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		asked.Store(r.URL.Query()["scope"])
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "tok"})
	})
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	location := serveHandler(t, mux)
	testRoundTrip(t, location, registry.Options{Credentials: registry.Credentials{Username: "joe", Password: "x"}})
	if scopes := fmt.Sprint(asked.Load()); !strings.Contains(scopes, "repository:acme/") {
		t.Errorf("asked for %s", scopes)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(handler(t, layout.ServerOptions{}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell of the client that does not trust it
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	testRoundTrip(t, s.URL, registry.Options{Roots: roots})
	_, err := open(t, s.URL, registry.Options{Retries: -1}).Tags(t.Context(), "acme/echo")
	wantCode(t, err, abi.Untrusted, s.URL)
}

func TestOpenLocations(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "dir:", "ftp://h", "h/UPPER", "h h", "user@h", "h:port", "https://", "-h", "h/../x", "h?x"} {
		_, err := registry.Open(bad, registry.Options{})
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := registry.Open("http://reg.example", registry.Options{})
	wantCode(t, err, abi.Denied, "reg.example")
	for _, good := range []string{"reg.example", "reg.example:5000/a/b/", "localhost:5000", "http://127.0.0.1:1", "https://[::1]:5000"} {
		if _, err := registry.Open(good, registry.Options{}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	r := open(t, "dir:"+t.TempDir(), registry.Options{})
	_, err = r.Pull(t.Context(), registry.Ref{Registry: "other.example", Name: "acme/echo", Tag: "1.0.0"}, nil)
	wantCode(t, err, abi.Invalid, "other.example")
	for _, ref := range []registry.Ref{{Name: "../x"}, {Name: "acme/echo", Tag: "../x"}, {Name: "acme/echo", Digest: "sha256:../x"}} {
		_, err := r.Pull(t.Context(), ref, nil)
		wantCode(t, err, abi.Invalid)
	}
}

func TestConcurrentPushes(t *testing.T) {
	t.Parallel()
	for name, location := range map[string]string{"directory": "dir:" + t.TempDir(), "server": serve(t, layout.ServerOptions{FixedVersions: true})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, location, registry.Options{})
			var won atomic.Int32
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					seed := fmt.Sprint(i)
					// Everybody pushes a version of his own and one that only the first can have.
					if _, err := r.Push(t.Context(), "acme/echo", "0.0."+seed, pack(seed), nil, nil); err != nil {
						t.Error(err)
					}
					_, err := r.Push(t.Context(), "acme/echo", "1.0.0", pack(seed), nil, nil)
					switch abi.CodeOf(err) {
					case abi.OK:
						won.Add(1)
					case abi.Conflict:
					default:
						t.Error(err)
					}
					if a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "0.0." + seed}, nil); err != nil || len(a.Files) != 5 {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d of 8 published the same version", won.Load())
			}
			if tags, err := r.Tags(t.Context(), "acme/echo"); err != nil || len(tags) != 9 {
				t.Errorf("tags %v, %v", tags, err)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"dir:" + t.TempDir(), serve(t, layout.ServerOptions{})} {
		one := push(t, open(t, location, registry.Options{}), "1.0.0", pack("one"))
		two := push(t, open(t, location, registry.Options{Replace: true}), "1.0.0", pack("two"))
		got, err := open(t, location, registry.Options{}).Resolve(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"})
		if err != nil || got != two || one == two {
			t.Errorf("%s: 1.0.0 is %s, %v", location, got, err)
		}
	}
}

// TestTakenVersions: a version that is taken is refused before anything is sent, and also when it was taken meanwhile.
func TestTakenVersions(t *testing.T) {
	t.Parallel()
	truth := handler(t, layout.ServerOptions{})
	var sent, blind atomic.Int32
	location := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			sent.Add(1)
		}
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/manifests/1.0.0") && blind.Add(-1) >= 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		truth.ServeHTTP(w, r)
	}))
	r := open(t, location, registry.Options{})
	digest := push(t, r, "1.0.0", pack("one"))
	sent.Store(0)
	_, err := r.Push(t.Context(), "acme/echo", "1.0.0", pack("two"), nil, nil)
	wantCode(t, err, abi.Conflict, digest)
	if sent.Load() != 0 {
		t.Errorf("%d files were sent for a version that is taken", sent.Load())
	}
	blind.Store(1) // somebody else publishes between the first look and the last
	_, err = r.Push(t.Context(), "acme/echo", "1.0.0", pack("two"), nil, nil)
	wantCode(t, err, abi.Conflict, digest)
	if got, err := r.Resolve(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}); err != nil || got != digest {
		t.Errorf("1.0.0 is %s, %v", got, err)
	}
}

// TestPushMends: pushing a pack again replaces what has been damaged on the disk.
func TestPushMends(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, "dir:"+dir, registry.Options{})
	digest := push(t, r, "1.0.0", pack("one"))
	file := filepath.Join(dir, "acme", "echo", "blobs", "sha256", moduleDigest[7:])
	if err := os.WriteFile(file, []byte("damage"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Digest: digest}, nil)
	wantCode(t, err, abi.Corrupt, moduleDigest)
	push(t, r, "1.0.0", pack("one"))
	if _, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Digest: digest}, nil); err != nil {
		t.Error(err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	r := open(t, serve(t, layout.ServerOptions{}), registry.Options{})
	last := map[string][2]int64{}
	note := func(what string, done, total int64) { last[what] = [2]int64{done, total} }
	if _, err := r.Push(t.Context(), "acme/echo", "1.0.0", pack("one"), nil, note); err != nil {
		t.Fatal(err)
	}
	if got := last["echo.wasm"]; got[0] != 11 || got[1] != 11 {
		t.Errorf("pushed %v of the module", got)
	}
	clear(last)
	if _, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, note); err != nil {
		t.Fatal(err)
	}
	if got := last["echo.wasm"]; got[0] != 11 || got[1] != 11 || last["manifest"][0] == 0 {
		t.Errorf("pulled %v", last)
	}
}
