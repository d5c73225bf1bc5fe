package vault_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/vault"
)

const value = "s3cr3t-value-0123456789"

type house struct {
	*vault.Vault
	dir string
	db  *db.DB
	j   *journal.Journal
}

func open(t testing.TB, dir string) (house, error) {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "vault", Steps: vault.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), d, j, filepath.Join(dir, "vault.key"))
	t.Cleanup(func() { _ = d.Close() })
	return house{v, dir, d, j}, err
}

func must(t testing.TB, dir string) house {
	t.Helper()
	h, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h house) put(t testing.TB, s vault.Secret, val []byte) vault.Secret {
	t.Helper()
	got, err := h.Put(t.Context(), "cor_1", "operator", s, val)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func token(audience ...string) vault.Secret {
	return vault.Secret{Name: "github.token", Kind: vault.Token, Audience: audience}
}

var by = vault.User{Corr: "cor_2", Actor: "pack:acme/x", Pack: "acme/x", Action: "act_1"}

// TestStored: a secret is there after a restart, in no file in the clear, and its uses are journaled without it.
func TestStored(t *testing.T) {
	dir := t.TempDir()
	h := must(t, dir)
	h.put(t, token("HTTPS://API.GitHub.com:443/"), []byte(value))
	if got := h.put(t, token("https://api.github.com"), []byte(value+"-2")); got.Version != 2 || got.Place != "header:Authorization: Bearer {}" || got.Audience[0] != "https://api.github.com" {
		t.Errorf("stored as %+v", got)
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h = must(t, dir)
	r, _ := http.NewRequest("GET", "https://api.github.com/user", nil)
	if err := h.Fill(t.Context(), by, "github.token", r); err != nil || r.Header.Get("Authorization") != "Bearer "+value+"-2" {
		t.Errorf("filled in %q: %v", r.Header, err)
	}
	if all := h.List(); len(all) != 1 || all[0].Name != "github.token" {
		t.Errorf("the list is %+v", all)
	}
	uses := 0
	for _, e := range events(t, h) {
		if bytes.Contains(e.Body, []byte(value)) {
			t.Errorf("event %s holds the value", e.Kind)
		}
		if e.Kind == vault.KindUsed {
			uses++
			if e.Pack != "acme/x" || e.Corr != "cor_2" || e.Action != "act_1" || !strings.Contains(string(e.Body), `"name":"github.token"`) {
				t.Errorf("the use was journaled as %+v", e)
			}
		}
	}
	if uses != 1 {
		t.Errorf("%d uses were journaled", uses)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && bytes.Contains(data, []byte(value)) {
			t.Errorf("%s holds the value", f)
		}
	}
	if err := h.Remove(t.Context(), "", "operator", "github.token"); err != nil {
		t.Fatal(err)
	}
	if err := h.Fill(t.Context(), by, "github.token", r); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("after its removal: %v", err)
	}
}

func events(t testing.TB, h house) []journal.Record {
	t.Helper()
	all, err := h.j.Read(t.Context(), 0, 1000, journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestKeys checks signatures with the standard library, from the public half alone.
func TestKeys(t *testing.T) {
	h := must(t, t.TempDir())
	data := []byte("data")
	ctx := t.Context()

	h.put(t, vault.Secret{Name: "hook", Kind: vault.HMAC}, []byte("key"))
	m := hmac.New(sha256.New, []byte("key"))
	m.Write(data)
	if mac, err := h.MAC(ctx, by, "hook", data); err != nil || !hmac.Equal(mac, m.Sum(nil)) {
		t.Errorf("mac %x: %v", mac, err)
	}
	h.put(t, vault.Secret{Name: "hook2", Kind: vault.HMAC}, nil)
	one, err1 := h.MAC(ctx, by, "hook2", data)
	h.put(t, vault.Secret{Name: "hook2", Kind: vault.HMAC}, nil)
	two, err2 := h.MAC(ctx, by, "hook2", data)
	if errors.Join(err1, err2) != nil || len(one) != 32 || bytes.Equal(one, two) {
		t.Errorf("keys drawn here: %x and %x, %v %v", one, two, err1, err2)
	}

	public := func(s vault.Secret) any {
		der, err := base64.StdEncoding.DecodeString(s.Public)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ed := h.put(t, vault.Secret{Name: "ed", Kind: vault.Ed25519}, nil)
	if sig, err := h.Sign(ctx, by, "ed", data); err != nil || !ed25519.Verify(public(ed).(ed25519.PublicKey), data, sig) {
		t.Errorf("ed25519 %x: %v", sig, err)
	}
	_, priv, _ := ed25519.GenerateKey(rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(priv)
	brought := h.put(t, vault.Secret{Name: "ed.brought", Kind: vault.Ed25519}, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if got := public(brought).(ed25519.PublicKey); !got.Equal(priv.Public()) {
		t.Error("a key that was brought is another one")
	}
	p := h.put(t, vault.Secret{Name: "p", Kind: vault.P256}, nil)
	sum := sha256.Sum256(data)
	if sig, err := h.Sign(ctx, by, "p", data); err != nil || !ecdsa.VerifyASN1(public(p).(*ecdsa.PublicKey), sum[:], sig) {
		t.Errorf("p256 %x: %v", sig, err)
	}

	for name, err := range map[string]error{
		"sign with a mac's key": second(h.Sign(ctx, by, "hook", data)), "mac with a pair": second(h.MAC(ctx, by, "ed", data)),
		"fill in a key": h.Fill(ctx, by, "ed", request(t, "https://a.example/")),
	} {
		if abi.CodeOf(err) != abi.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Sign(ctx, by, "none", data); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := h.Sign(ctx, by, "ed", make([]byte, vault.MaxData+1)); abi.CodeOf(err) != abi.TooLarge {
		t.Errorf("too much data: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func request(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAudience: a token leaves for its audience and for nothing that looks like it.
func TestAudience(t *testing.T) {
	h := must(t, t.TempDir())
	h.put(t, token("https://api.example.com/v1", "https://whole.example", "http://127.0.0.1:8080"), []byte(value))
	for url, ok := range map[string]bool{
		"https://api.example.com/v1": true, "https://api.example.com/v1/": true, "https://api.example.com/v1/x?y=1": true, "https://API.example.com:443/v1/x": true,
		"https://whole.example": true, "https://whole.example/any/../thing": true, "https://whole.example./": true, "http://127.0.0.1:8080/x": true,
		"https://api.example.com/": false, "https://api.example.com/v10": false, "https://api.example.com/V1": false, "https://api.example.com/v1/../v2": false,
		"https://api.example.com/v1/%2e%2e/v2": false, "https://api.example.com/v1/..%2fv2": false, "https://api.example.com/v1//x": false,
		"http://api.example.com/v1": false, "https://api.example.com:8443/v1": false, "https://api.example.com.evil.example/v1": false,
		"https://evil.example/https://api.example.com/v1": false, "https://sub.whole.example/": false, "https://whole.example:444/": false,
		"https://user@whole.example/": false, "http://whole.example/": false, "http://127.0.0.1/x": false, "http://127.0.0.1:80801/x": false,
	} {
		r := request(t, url)
		err := h.Fill(t.Context(), by, "github.token", r)
		if got := r.Header.Get("Authorization") != ""; got != ok || ok != (err == nil) || err != nil && (abi.CodeOf(err) != abi.Denied || strings.Contains(err.Error(), value)) {
			t.Errorf("%s: sent %v, want %v: %v", url, got, ok, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	h := must(t, t.TempDir())
	for place, want := range map[string]func(*http.Request) bool{
		"":                     func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+value },
		"header:X-Api-Key: {}": func(r *http.Request) bool { return r.Header.Get("X-Api-Key") == value },
		"basic:me":             func(r *http.Request) bool { u, p, _ := r.BasicAuth(); return u == "me" && p == value },
		"query:api_key={}": func(r *http.Request) bool {
			return r.URL.Query().Get("api_key") == value && r.URL.Query().Get("a") == "1"
		},
		"header:A: token {} x": func(r *http.Request) bool { return r.Header.Get("A") == "token "+value+" x" },
	} {
		s := token("https://a.example")
		s.Place = place
		h.put(t, s, []byte(value))
		r := request(t, "https://a.example/?a=1")
		if err := h.Fill(t.Context(), by, s.Name, r); err != nil || !want(r) {
			t.Errorf("%q: %v %v %v", place, r.URL, r.Header, err)
		}
	}
}

// TestRefused names what is wrong with what somebody wants to store.
func TestRefused(t *testing.T) {
	h := must(t, t.TempDir())
	h.put(t, vault.Secret{Name: "taken", Kind: vault.HMAC}, nil)
	with := func(change func(*vault.Secret)) vault.Secret {
		s := token("https://a.example")
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		s    vault.Secret
		val  string
		code abi.Code
		want string
	}{
		"name":           {with(func(s *vault.Secret) { s.Name = "Git Hub" }), value, abi.Invalid, "a name has"},
		"long name":      {with(func(s *vault.Secret) { s.Name = strings.Repeat("a", 65) }), value, abi.Invalid, "a name has"},
		"kind":           {with(func(s *vault.Secret) { s.Kind = "rsa" }), value, abi.Invalid, `no kind "rsa"`},
		"short":          {token("https://a.example"), "1234567", abi.Invalid, "at least 8 bytes"},
		"line end":       {token("https://a.example"), value + "\n", abi.Invalid, "printable"},
		"huge":           {token("https://a.example"), strings.Repeat("x", vault.MaxValue+1), abi.TooLarge, "at most"},
		"nobody":         {token(), value, abi.Invalid, "no audience"},
		"http":           {token("http://a.example"), value, abi.Invalid, "https only"},
		"wildcard":       {token("https://*.example"), value, abi.Invalid, "one host"},
		"query":          {token("https://a.example/?x"), value, abi.Invalid, "a query"},
		"user":           {token("https://u@a.example/"), value, abi.Invalid, "a user"},
		"escape":         {token("https://a.example/%2e"), value, abi.Invalid, "escapes"},
		"no url":         {token("a.example"), value, abi.Invalid, "no origin"},
		"place":          {with(func(s *vault.Secret) { s.Place = "cookie:x" }), value, abi.Invalid, "place"},
		"no braces":      {with(func(s *vault.Secret) { s.Place = "header:A: x" }), value, abi.Invalid, "place"},
		"host":           {with(func(s *vault.Secret) { s.Place = "header:Host: {}" }), value, abi.Invalid, "place"},
		"injection":      {with(func(s *vault.Secret) { s.Place = "header:A: {}\r\nB: c" }), value, abi.Invalid, "place"},
		"note":           {with(func(s *vault.Secret) { s.Note = "a\nb" }), value, abi.Invalid, "one line"},
		"key's audience": {vault.Secret{Name: "k", Kind: vault.HMAC, Audience: []string{"https://a.example"}}, value, abi.Invalid, "no audience"},
		"no key":         {vault.Secret{Name: "k", Kind: vault.Ed25519}, "not a key at all", abi.Invalid, "PKCS"},
		"another kind":   {with(func(s *vault.Secret) { s.Name = "taken" }), value, abi.Conflict, `of kind "hmac"`},
	} {
		_, err := h.Put(t.Context(), "", "operator", c.s, []byte(c.val))
		if abi.CodeOf(err) != c.code || !strings.Contains(err.Error()+abi.HintOf(err), c.want) || strings.Contains(err.Error(), value) {
			t.Errorf("%s: %v (%s)", name, err, abi.CodeOf(err))
		}
	}
	if all := h.List(); len(all) != 1 {
		t.Errorf("something was stored: %+v", all)
	}
}

// TestTampered: a value that was moved, changed, or sealed with another key is named and nothing is guessed.
func TestTampered(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, h house){
		"moved to another name": func(t *testing.T, h house) {
			exec(t, h, "UPDATE secret SET name = 'b.token', about = replace(about, 'a.token', 'b.token')")
		},
		"another audience": func(t *testing.T, h house) {
			exec(t, h, "UPDATE secret SET about = replace(about, 'a.example', 'e.example')")
		},
		"a flipped byte": func(t *testing.T, h house) {
			exec(t, h, "UPDATE secret SET box = CAST(substr(box, 1, length(box) - 1) || x'00' AS BLOB)")
		},
		"a short nonce": func(t *testing.T, h house) { exec(t, h, "UPDATE secret SET nonce = x'00'") },
		"another key": func(t *testing.T, h house) {
			_ = os.Remove(filepath.Join(h.dir, "vault.key"))
			write(t, filepath.Join(h.dir, "vault.key"), "arw-vault-key-1 "+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n", 0o600)
		},
		"a missing key": func(t *testing.T, h house) { _ = os.Remove(filepath.Join(h.dir, "vault.key")) },
		"a damaged key": func(t *testing.T, h house) {
			write(t, filepath.Join(h.dir, "vault.key"), "arw-vault-key-1 AAAA\n", 0o600)
		},
		"an open key":    func(t *testing.T, h house) { _ = os.Chmod(filepath.Join(h.dir, "vault.key"), 0o644) },
		"a foreign file": func(t *testing.T, h house) { write(t, filepath.Join(h.dir, "vault.key"), "hello\n", 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			h := must(t, t.TempDir())
			s := token("https://a.example")
			s.Name = "a.token"
			h.put(t, s, []byte(value))
			spoil(t, h)
			if err := h.db.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := open(t, h.dir)
			if code := abi.CodeOf(err); code != abi.Corrupt && code != abi.Denied || !strings.Contains(err.Error(), "token") && !strings.Contains(err.Error(), "vault.key") {
				t.Errorf("it opened: %v", err)
			}
		})
	}
}

func exec(t testing.TB, h house, query string) {
	t.Helper()
	if err := h.db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestWatch: whoever redacts knows every value from the moment it is stored until it is gone.
func TestWatch(t *testing.T) {
	h := must(t, t.TempDir())
	r, err := redact.New(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	h.Watch(r.SetValues)
	if got := r.Clean(value); got != value {
		t.Errorf("before: %q", got)
	}
	h.put(t, token("https://a.example"), []byte(value))
	if got, found := r.String("x " + value); got != "x ***" || found[0].Rule != "vault:github.token" {
		t.Errorf("stored: %q %v", got, found)
	}
	if err := h.Remove(t.Context(), "", "operator", "github.token"); err != nil {
		t.Fatal(err)
	}
	if got := r.Clean(value); got != value {
		t.Errorf("removed: %q", got)
	}
}
