package layout

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// flow is a server with one user, whose clock a test turns.
type flow struct {
	*server
	token string
	at    time.Time
}

func newFlow(t *testing.T) *flow {
	t.Helper()
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	token, hash := NewToken()
	a, err := ParseAccess("access.toml", []byte("schema = 1\nanonymous = [\"open/*\"]\n[user.ci]\ntoken_sha256 = \""+hash+"\"\npush = [\"acme/*\"]\npull = [\"tools/*\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := &flow{server: dir.Handler(ServerOptions{Access: a}).(*server), token: token, at: time.Unix(1_800_000_000, 0)}
	f.tokens.now = func() time.Time { return f.at }
	return f
}

func (f *flow) ask(method, path string, set func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:5000"+path, nil)
	if set != nil {
		set(r)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

// pass asks for a pass as the user, or as nobody.
func (f *flow) pass(t *testing.T, user string, scopes ...string) string {
	t.Helper()
	w := f.ask("GET", "/token?"+url.Values{"service": {"arw"}, "scope": scopes}.Encode(), func(r *http.Request) {
		if user != "" {
			r.SetBasicAuth(user, f.token)
		}
	})
	var doc struct {
		Token string `json:"token"`
	}
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &doc) != nil || doc.Token == "" {
		t.Fatalf("no pass: %d %s", w.Code, w.Body)
	}
	return doc.Token
}

func (f *flow) with(pass string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+pass) }
}

// TestTokenFlow: a pass says no more than was asked for and than its user has, and not for long.
func TestTokenFlow(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	const upload = "/v2/acme/echo/blobs/uploads/"
	w := f.ask("POST", upload, nil)
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || got != `Bearer realm="http://127.0.0.1:5000/token",service="arw",scope="repository:acme/echo:pull,push"` {
		t.Fatalf("%d %s", w.Code, got)
	}
	push := f.pass(t, "ci", "repository:acme/echo:pull,push")
	for _, c := range []struct {
		what, method, path, pass string
		want                     int
	}{
		{"push with the pass for it", "POST", upload, push, 202},
		{"read with it", "GET", "/v2/acme/echo/tags/list", push, 200},
		{"another repository of the same user", "POST", "/v2/acme/other/blobs/uploads/", push, 401},
		{"a pass for reading does not write", "POST", upload, f.pass(t, "ci", "repository:acme/echo:pull"), 401},
		{"a pass for what the user has not", "POST", "/v2/tools/scan/blobs/uploads/", f.pass(t, "ci", "repository:tools/scan:pull,push"), 403},
		{"but for what it has of that", "GET", "/v2/tools/none/tags/list", f.pass(t, "ci", "repository:tools/none:pull,push"), 404},
		{"nobody's pass for writing", "POST", upload, f.pass(t, "", "repository:acme/echo:pull,push"), 401},
		{"nobody's pass for what is open", "GET", "/v2/open/none/tags/list", f.pass(t, "", "repository:open/none:pull"), 404},
		{"nobody's pass for what is not", "GET", "/v2/acme/echo/tags/list", f.pass(t, "", "repository:acme/echo:pull"), 401},
		{"star is what the user has", "POST", upload, f.pass(t, "ci", "repository:acme/echo:*"), 202},
		{"two scopes in one", "POST", upload, f.pass(t, "ci", "repository:tools/x:pull repository:acme/echo:push"), 202},
		{"nonsense scopes give nothing", "POST", upload, f.pass(t, "ci", "registry:catalog:*", "repository:../x:push", "x"), 401},
		{"the registry itself", "GET", "/v2/", push, 200},
		{"another registry's pass", "POST", upload, newFlow(t).pass(t, "", "repository:acme/echo:push"), 401},
		{"no pass", "POST", upload, "arwp_", 401},
		{"a pass without seal", "POST", upload, strings.Split(push, ".")[0] + ".", 401},
	} {
		if w := f.ask(c.method, c.path, f.with(c.pass)); w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.what, w.Code, c.want)
		}
	}
	body, seal, _ := strings.Cut(strings.TrimPrefix(push, "arwp_"), ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	forged := "arwp_" + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), "acme/echo", "acme/evil", 1))) + "." + seal
	if w := f.ask("POST", "/v2/acme/evil/blobs/uploads/", f.with(forged)); w.Code != 401 {
		t.Errorf("a changed pass: %d", w.Code)
	}
	f.at = f.at.Add(passLife)
	if w := f.ask("POST", upload, f.with(push)); w.Code != 401 {
		t.Errorf("an expired pass: %d", w.Code)
	}
	if w := f.ask("GET", "/token", func(r *http.Request) { r.SetBasicAuth("ci", "wrong") }); w.Code != 401 {
		t.Errorf("a pass for a wrong token: %d", w.Code)
	}
	if w := f.ask("GET", "/token?scope="+strings.Repeat("repository:a/b:pull+", 40), nil); w.Code != 400 {
		t.Errorf("too many scopes: %d", w.Code)
	}
}

// TestNoCleartextRealm: behind a proxy the scheme is not known, so no realm is named that would have a client send its
// token in the clear.
func TestNoCleartextRealm(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	r := httptest.NewRequest("POST", "http://registry.example/v2/acme/echo/blobs/uploads/", nil)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || !strings.HasPrefix(got, "Basic ") {
		t.Errorf("%d %s", w.Code, got)
	}
}

func FuzzPass(f *testing.F) {
	s := newTokenService()
	f.Add(s.seal(pass{User: "ci", Push: []string{"a/b"}, Expires: 1 << 40}))
	f.Add("arwp_")
	f.Add("arwp_e30.e30")
	other := newTokenService()
	f.Fuzz(func(t *testing.T, text string) {
		if p, ok := other.open(text); ok {
			t.Fatalf("a pass of nobody's opens: %+v", p)
		}
	})
}
