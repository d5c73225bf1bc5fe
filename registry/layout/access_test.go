package layout_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

func access(t *testing.T, src string) *layout.Access {
	t.Helper()
	a, err := layout.ParseAccess("access.toml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRights: who may do what with which repository, by every kind of credentials.
func TestRights(t *testing.T) {
	t.Parallel()
	ci, ciHash := layout.NewToken()
	reader, readerHash := layout.NewToken()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := dir.Handler(layout.ServerOptions{Access: access(t, `schema = 1
anonymous = ["acme/*"]
[user.ci]
token_sha256 = "`+ciHash+`"
push = ["acme/*", "secret/one"]
[user.reader]
token_sha256 = "`+readerHash+`"
pull = ["*"]
`)})
	srv := httptest.NewServer(h)
	defer srv.Close()
	ask := func(method, path string, set func(*http.Request)) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if set != nil {
			set(req)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), `Bearer realm="`+srv.URL+`/token"`) {
			t.Errorf("%s %s: no challenge", method, path)
		}
		return resp.StatusCode
	}
	basic := func(user, token string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, token) }
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for _, c := range []struct {
		what, method, path string
		as                 func(*http.Request)
		want               int
	}{
		{"nobody pushes", "POST", "/v2/acme/echo/blobs/uploads/", nil, 401},
		{"ci pushes to its namespace", "POST", "/v2/acme/echo/blobs/uploads/", basic("ci", ci), 202},
		{"ci pushes as bearer", "POST", "/v2/acme/echo/blobs/uploads/", bearer(ci), 202},
		{"ci pushes to its one repository", "POST", "/v2/secret/one/blobs/uploads/", basic("ci", ci), 202},
		{"ci pushes beside it", "POST", "/v2/secret/two/blobs/uploads/", basic("ci", ci), 403},
		{"a namespace that only begins alike", "POST", "/v2/acme-evil/echo/blobs/uploads/", basic("ci", ci), 403},
		{"another user's name", "POST", "/v2/acme/echo/blobs/uploads/", basic("reader", ci), 401},
		{"a wrong token", "POST", "/v2/acme/echo/blobs/uploads/", bearer("arwr_x"), 401},
		{"a wrong token for what is open", "GET", "/v2/acme/echo/tags/list", bearer("arwr_x"), 401},
		{"the hash is no token", "POST", "/v2/acme/echo/blobs/uploads/", bearer(ciHash), 401},
		{"another scheme", "GET", "/v2/acme/echo/tags/list", func(r *http.Request) { r.Header.Set("Authorization", "Digest x") }, 401},
		{"the reader does not push", "POST", "/v2/acme/echo/blobs/uploads/", basic("reader", reader), 403},
		{"nor delete", "DELETE", "/v2/acme/echo/manifests/1.0.0", basic("reader", reader), 403},
		{"nobody reads what is open", "GET", "/v2/acme/echo/tags/list", nil, 200},
		{"nobody reads what is not", "GET", "/v2/secret/one/tags/list", nil, 401},
		{"the reader does", "GET", "/v2/secret/one/tags/list", basic("reader", reader), 200},
		{"who pushes reads", "GET", "/v2/secret/one/tags/list", basic("ci", ci), 200},
		{"ci does not read elsewhere", "GET", "/v2/other/one/tags/list", basic("ci", ci), 403},
		{"the registry itself", "GET", "/v2/", nil, 200},
		{"health is for everybody", "GET", "/healthz", nil, 200},
	} {
		if got := ask(c.method, c.path, c.as); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	// The catalogue shows each what it may read.
	for who, want := range map[string]struct {
		as   func(*http.Request)
		list string
	}{"nobody": {nil, `["acme/echo"]`}, "reader": {basic("reader", reader), `["acme/echo","secret/one"]`}} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/v2/_catalog", nil)
		if want.as != nil {
			want.as(req)
		}
		if got := body(t, req); !strings.Contains(got, want.list) {
			t.Errorf("%s sees %s", who, got)
		}
	}
}

func body(t *testing.T, req *http.Request) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := copyTo(&b, resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestMountNeedsBoth: a blob is mounted only from where one may read.
func TestMountNeedsBoth(t *testing.T) {
	t.Parallel()
	token, hash := layout.NewToken()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from, err := dir.Repo("secret/one")
	if err != nil {
		t.Fatal(err)
	}
	const hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if err := from.PutBlob(t.Context(), hello, strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	for pull, want := range map[string]int{`"secret/*"`: http.StatusCreated, `"acme/*"`: http.StatusAccepted} {
		srv := httptest.NewServer(dir.Handler(layout.ServerOptions{Access: access(t, `schema = 1
[user.ci]
token_sha256 = "`+hash+`"
push = ["acme/*"]
pull = [`+pull+`]
`)}))
		req, _ := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/v2/acme/copy"+pull[1:3]+"/blobs/uploads/?mount="+hello+"&from=secret/one", nil)
		req.SetBasicAuth("ci", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("pull = [%s]: %d, want %d", pull, resp.StatusCode, want)
		}
		srv.Close()
	}
}

func TestParseAccessRefuses(t *testing.T) {
	t.Parallel()
	_, hash := layout.NewToken()
	for name, src := range map[string]string{
		"no schema": `anonymous = ["*"]`, "other schema": "schema = 2", "unknown key": "schema = 1\nadmin = true",
		"plain token": "schema = 1\n[user.ci]\ntoken_sha256 = \"secret\"", "no token": "schema = 1\n[user.ci]\npush = [\"*\"]",
		"bad pattern": "schema = 1\nanonymous = [\"acme/*/x\"]", "star within": "schema = 1\nanonymous = [\"ac*\"]",
		"same token": "schema = 1\n[user.a]\ntoken_sha256 = \"" + hash + "\"\n[user.b]\ntoken_sha256 = \"" + hash + "\"",
		"bad name":   "schema = 1\n[user.\"a:b\"]\ntoken_sha256 = \"" + hash + "\"",
	} {
		if _, err := layout.ParseAccess("access.toml", []byte(src)); abi.CodeOf(err) != abi.Invalid || abi.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServeRefusesTheWorld: beyond loopback there is no registry without TLS and an access file.
func TestServeRefusesTheWorld(t *testing.T) {
	t.Parallel()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]layout.ServerOptions{
		"nothing": {}, "access alone": {Access: access(t, "schema = 1")}, "TLS alone": {TLS: &tls.Config{MinVersion: tls.VersionTLS12}},
	} {
		if err := dir.Serve(t.Context(), newFarListener(), o); abi.CodeOf(err) != abi.Denied || abi.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := dir.Serve(ctx, newFarListener(), layout.ServerOptions{
		Access: access(t, "schema = 1"), TLS: &tls.Config{MinVersion: tls.VersionTLS12}}); err != nil {
		t.Error(err)
	}
}

// farListener says that it is not on this machine and accepts nobody.
type farListener struct{ closed chan struct{} }

func newFarListener() farListener { return farListener{make(chan struct{}, 8)} }

func (f farListener) Accept() (net.Conn, error) { <-f.closed; return nil, net.ErrClosed }
func (f farListener) Close() error              { f.closed <- struct{}{}; return nil }
func (f farListener) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// TestRate: an address gets its burst, then is told to wait; another one does not suffer for it.
func TestRate(t *testing.T) {
	t.Parallel()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := dir.Handler(layout.ServerOptions{Rate: 0.001, Burst: 2, Stall: time.Minute})
	ask := func(from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/v2/", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i, want := range []int{200, 200, 429} {
		w := ask("192.0.2.1:1000")
		if w.Code != want {
			t.Errorf("request %d: %d, want %d", i, w.Code, want)
		}
		if want == 429 && (w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "TOOMANYREQUESTS")) {
			t.Errorf("it says %v %s", w.Header(), w.Body)
		}
	}
	if w := ask("192.0.2.2:1000"); w.Code != 200 {
		t.Errorf("another address gets %d", w.Code)
	}
}

// TestMetrics counts what went by.
func TestMetrics(t *testing.T) {
	t.Parallel()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(dir.Handler(layout.ServerOptions{}))
	defer srv.Close()
	for _, p := range []string{"/v2/", "/v2/a/b/manifests/1", "/nowhere"} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+p, nil)
		body(t, req)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/metrics", nil)
	got := body(t, req)
	for _, want := range []string{`arw_registry_requests_total{class="2xx"} 2`, `arw_registry_requests_total{class="4xx"} 2`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

// TestAccessExample reads the example of docs/guide/registry.md.
func TestAccessExample(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../../docs/guide/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(src), "```toml access\n")
	example, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("there is no example")
	}
	access(t, example)
}
