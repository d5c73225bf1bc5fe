package keyless_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
	"github.com/arw-project/arw/signing/keyless"
)

var _ signing.Attester = (*keyless.Signer)(nil)

const trust = `schema = 1
[root.main]
trusted_root = "root.json"
sct = 0
[signer.ci]
root = "main"
%s
[[rule]]
packs = "acme/*"
signers = ["ci"]
`

const byIdentity = "issuer = \"" + issuer + "\"\nidentity = \"ci@acme.example\""

// judge asks a policy about bundles, offline.
func (s *services) judge(who string, bundles ...[]byte) *signing.Verdict {
	s.t.Helper()
	files := map[string][]byte{"root.json": s.root()}
	if strings.HasPrefix(who, "key") {
		files["k.pub"] = []byte(who[strings.Index(who, "-----"):])
		who = "key = \"k.pub\""
	}
	p, err := signing.ParsePolicy("trust.toml", fmt.Appendf(nil, trust, who), func(name string) ([]byte, error) { return files[name], nil })
	check(s.t, err)
	v, _ := p.Verify(s.t.Context(), "acme/echo", digest, bundles)
	return v
}

func newSigner(t *testing.T, o keyless.Options) *keyless.Signer {
	t.Helper()
	s, err := keyless.New(o)
	check(t, err)
	return s
}

func wantCode(t *testing.T, err error, code abi.Code, words string) {
	t.Helper()
	if abi.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		t.Fatalf("%v (%s), want %s and %q", err, abi.CodeOf(err), code, words)
	}
	if code != abi.Internal && abi.HintOf(err) == "" {
		t.Errorf("no hint beside %v", err)
	}
}

func TestKeylessSignatureVerifies(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	o := s.options()
	signer := newSigner(t, o)
	who, err := signer.Identity(t.Context())
	check(t, err)
	if who.Subject != "ci@acme.example" || who.Issuer != issuer || who.Serial == "" {
		t.Errorf("%+v", who)
	}
	b, err := signer.Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
	check(t, err)
	v := s.judge(byIdentity, b)
	if !v.Allowed || v.Signers[0].Log == nil || len(v.Signers[0].Times) != 1 || v.Signers[0].Serial != who.Serial {
		t.Fatalf("%+v", v)
	}
	if strings.ContainsAny(string(b), "\n") {
		t.Error("the bundle has white space")
	}
}

// One login and one certificate serve a release, its provenance and its SBOM.
func TestOneCertificateForAll(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	signer := newSigner(t, s.options())
	for _, predicate := range []string{signing.PredicateSign, signing.PredicateProvenance, signing.PredicateSBOM} {
		_, err := signer.Attest(t.Context(), digest, predicate, json.RawMessage("{}"))
		check(t, err)
	}
	if s.certs != 1 || s.net.calls["log.example"] != 3 || s.net.calls["time.example"] != 3 {
		t.Errorf("%d certificates, %v", s.certs, s.net.calls)
	}
}

// A certificate near its end is not used any more: the timestamp would come too late.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.life = time.Minute
	signer := newSigner(t, s.options())
	for range 2 {
		b, err := signer.Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
		check(t, err)
		if v := s.judge(byIdentity, b); !v.Allowed {
			t.Errorf("%+v", v.Rejected)
		}
	}
	if s.certs != 2 {
		t.Errorf("%d certificates", s.certs)
	}
}

func TestKeyIsLoggedAndStamped(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	key, err := signing.GenerateKey()
	check(t, err)
	o := s.options()
	o.Token, o.Key = nil, key
	signer := newSigner(t, o)
	b, err := signer.Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
	check(t, err)
	v := s.judge("key "+string(key.PublicPEM()), b)
	if !v.Allowed || v.Signers[0].KeyID != key.ID() || v.Signers[0].Log == nil || v.Signers[0].Time == nil {
		t.Errorf("%+v", v)
	}
	if s.net.calls["ca.example"] != 0 {
		t.Error("a key asked for a certificate")
	}
	_, err = signer.Identity(t.Context())
	if abi.CodeOf(err) != abi.Invalid {
		t.Errorf("%v", err)
	}
}

// The token goes to Fulcio and to nobody else, and no error shows it.
func TestTokenGoesToFulcioOnly(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	raw := jwt(goodClaims())
	s.net.word = raw
	o := s.options()
	_, err := newSigner(t, o).Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
	check(t, err)
	if len(s.net.seen) != 1 || !s.net.seen["ca.example"] {
		t.Errorf("seen by %v", s.net.seen)
	}
	s.fulcio = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "who is "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+"?", http.StatusForbidden)
		return true
	}
	token, err := keyless.ParseToken(raw)
	check(t, err)
	o.Token = keyless.Given(token)
	_, err = newSigner(t, o).Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
	wantCode(t, err, abi.Denied, "Fulcio")
	for _, shown := range []string{err.Error(), fmt.Sprint(token), fmt.Sprintf("%+v %#v %s", token, token, token), fmt.Sprintf("%v", o.Token)} {
		if strings.Contains(shown, raw) || strings.Contains(shown, raw[:40]) {
			t.Errorf("the token stands in %q", shown)
		}
	}
}

func TestServicesThatMisbehave(t *testing.T) {
	t.Parallel()
	status := func(n int) func(*services, *keyless.Options) {
		return func(s *services, _ *keyless.Options) {
			s.net.hosts["log.example"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "\x1b[2Jno", n) })
		}
	}
	for name, c := range map[string]struct {
		spoil func(*services, *keyless.Options)
		code  abi.Code
		words string
	}{
		"log refuses":     {status(400), abi.Denied, "400"},
		"log has a fault": {status(503), abi.Unavailable, "503"},
		"log redirects": {func(s *services, _ *keyless.Options) {
			s.net.hosts["log.example"] = http.RedirectHandler("https://evil.example/", http.StatusTemporaryRedirect)
		}, abi.Unavailable, "redirect"},
		"log answers nonsense": {func(s *services, _ *keyless.Options) {
			s.net.hosts["log.example"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = io.WriteString(w, "{") })
		}, abi.Untrusted, "no log entry"},
		"log answers without end": {func(s *services, _ *keyless.Options) {
			s.net.hosts["log.example"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = w.Write(make([]byte, 2<<20)) })
		}, abi.Untrusted, "more than"},
		"log is away":        {func(s *services, _ *keyless.Options) { delete(s.net.hosts, "log.example") }, abi.Unavailable, "log.example"},
		"Fulcio is away":     {func(s *services, _ *keyless.Options) { delete(s.net.hosts, "ca.example") }, abi.Unavailable, "ca.example"},
		"time is away":       {func(s *services, _ *keyless.Options) { delete(s.net.hosts, "time.example") }, abi.Unavailable, "time.example"},
		"Fulcio, other key":  {func(s *services, _ *keyless.Options) { s.otherKey = true }, abi.Untrusted, "another key"},
		"log of another key": {func(s *services, _ *keyless.Options) { s.logKey = newKey(s.t) }, abi.Untrusted, "sign"},
		"CA of another key": {func(s *services, o *keyless.Options) {
			s.caKey = newKey(s.t)
			s.ca = s.issue(authority("ca", 1), nil, s.caKey, s.caKey)
		}, abi.Untrusted, "certificate"},
		"Fulcio answers nonsense": {func(s *services, _ *keyless.Options) {
			s.fulcio = func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, "[]"); return true }
		}, abi.Untrusted, "Fulcio"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			o := s.options()
			c.spoil(s, &o)
			b, err := newSigner(t, o).Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
			if b != nil {
				t.Error("a bundle beside an error")
			}
			wantCode(t, err, c.code, c.words)
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%q", err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.fulcio = func(http.ResponseWriter, *http.Request) bool { cancel(); return false }
	_, err := newSigner(t, s.options()).Attest(ctx, digest, signing.PredicateSign, json.RawMessage("{}"))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

func TestBadStatementsAndOptions(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	signer := newSigner(t, s.options())
	for _, c := range [][2]string{{"sha256:x", "{}"}, {digest, "[]"}, {digest, `{"a":1,"a":2}`}} {
		if _, err := signer.Attest(t.Context(), c[0], signing.PredicateSign, json.RawMessage(c[1])); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%v: %v", c, err)
		}
	}
	if s.certs > 0 {
		t.Error("a certificate for nothing")
	}
	key, err := signing.GenerateKey()
	check(t, err)
	for name, change := range map[string]func(*keyless.Options){
		"no config":    func(o *keyless.Options) { o.Config = nil },
		"no transport": func(o *keyless.Options) { o.Transport = nil },
		"nobody":       func(o *keyless.Options) { o.Token = nil },
		"both":         func(o *keyless.Options) { o.Key = key },
		"bad root":     func(o *keyless.Options) { o.TrustedRoot = []byte("{}") },
	} {
		o := s.options()
		change(&o)
		if _, err := keyless.New(o); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokensThatFulcioWouldRefuse(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	for name, c := range map[string]struct {
		change func(map[string]any)
		words  string
	}{
		"expired":        {func(m map[string]any) { m["exp"] = time.Now().Add(-time.Hour).Unix() }, "expired at"},
		"other audience": {func(m map[string]any) { m["aud"] = "somebody" }, "audience"},
		"no audience":    {func(m map[string]any) { delete(m, "aud") }, "audience"},
		"audience list":  {func(m map[string]any) { m["aud"] = []string{"a", "b"} }, "audience"},
	} {
		claims := goodClaims()
		c.change(claims)
		token, err := keyless.ParseToken(jwt(claims))
		check(t, err)
		o := s.options()
		o.Token = keyless.Given(token)
		_, err = newSigner(t, o).Identity(t.Context())
		if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), c.words) || abi.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.certs > 0 {
		t.Error("Fulcio was asked")
	}
	claims := goodClaims()
	claims["aud"] = []string{"x", "sigstore"}
	token, err := keyless.ParseToken(jwt(claims))
	check(t, err)
	o := s.options()
	o.Token = keyless.Given(token)
	_, err = newSigner(t, o).Identity(t.Context())
	check(t, err)
}

func TestSigningConfigs(t *testing.T) {
	t.Parallel()
	swap := func(old, new string) string { return strings.Replace(signingConfig, old, new, 1) }
	for name, text := range map[string]string{
		"empty": "", "not JSON": "{", "array": "[]", "other media type": swap("v0.2", "v0.1"), "unknown key": swap(`"caUrls"`, `"caurls"`),
		"plain http": swap("https://ca.example", "http://ca.example"), "no scheme": swap("https://log.example", "log.example"),
		"a password": swap("https://log.example", "https://u:p@log.example"), "a file": swap("https://log.example", "file:///etc/passwd"),
		"too long": signingConfig + strings.Repeat(" ", 1<<20),
	} {
		_, err := keyless.ParseConfig([]byte(text))
		if code := abi.CodeOf(err); code != abi.Invalid && code != abi.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	config(t, swap("https://ca.example", "http://localhost:5555"))
	s := newServices(t)
	for name, c := range map[string]struct{ text, words string }{
		"Rekor v1 only":    {swap(`"https://log.example","majorApiVersion":2`, `"https://log.example","majorApiVersion":1`), "Rekor v2"},
		"Fulcio ended":     {swap(`"start":"2020-01-01T00:00:00Z"`, `"start":"2020-01-01T00:00:00Z","end":"2021-01-01T00:00:00Z"`), "Fulcio"},
		"no selector":      {swap(`"rekorTlogConfig":{"selector":"ANY"},`, ""), "Rekor v2"},
		"exactly too many": {swap(`"tsaConfig":{"selector":"ANY"}`, `"tsaConfig":{"selector":"EXACT","count":3}`), "timestamp authority"},
	} {
		o := s.options()
		o.Config = config(t, c.text)
		_, err := newSigner(t, o).Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}"))
		if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), c.words) || abi.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := config(t, signingConfig).OIDCIssuer(time.Now()); got != issuer {
		t.Errorf("issuer %q", got)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(signingConfig))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := keyless.ParseConfig(data)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v beside %v", c, err)
		}
		if c == nil {
			return
		}
		o := keyless.Options{Config: c, Transport: &network{calls: map[string]int{}, seen: map[string]bool{}}}
		o.Token = keyless.Given(keyless.Token{})
		s, err := keyless.New(o)
		check(t, err)
		if _, err := s.Attest(t.Context(), digest, signing.PredicateSign, json.RawMessage("{}")); err == nil {
			t.Fatal("signed with nothing")
		}
	})
}
