package keyless_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing/keyless"
)

func TestBadTokens(t *testing.T) {
	t.Parallel()
	good := jwt(goodClaims())
	for name, raw := range map[string]string{
		"empty": "", "a word": "token", "two parts": "a.b", "four parts": good + ".x", "not base64": "a.!!!.c", "not JSON": "a." + base64.RawURLEncoding.EncodeToString([]byte("{")) + ".c",
		"wrong type": jwt(map[string]any{"iss": 7}), "blank inside": strings.Replace(good, ".", ". ", 1), "too long": "a." + strings.Repeat("A", 1<<17) + ".c",
	} {
		_, err := keyless.ParseToken(raw)
		if code := abi.CodeOf(err); err == nil || code != abi.Invalid && code != abi.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	token, err := keyless.ParseToken("  " + good + "\n")
	check(t, err)
	if token.Subject() != "ci@acme.example" || token.Issuer() != issuer {
		t.Errorf("%q of %q", token.Subject(), token.Issuer())
	}
	if out, _ := json.Marshal(token); strings.Contains(string(out), good[:20]) {
		t.Errorf("%s", out)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(jwt(goodClaims()))
	f.Add("a.e30.c")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := keyless.ParseToken(raw)
		if err != nil && abi.CodeOf(err) == abi.Internal {
			t.Fatal(err)
		}
		for _, shown := range []string{token.Subject(), token.Issuer()} {
			if strings.ContainsAny(shown, "\x1b\n\r") {
				t.Fatalf("%q", shown)
			}
		}
	})
}

func TestAmbient(t *testing.T) {
	t.Parallel()
	raw := jwt(goodClaims())
	github := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer job-secret" || r.URL.Query().Get("audience") != "sigstore" || r.URL.Query().Get("v") != "2" {
			http.Error(w, "job-secret is not good "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": raw})
	})
	rt := &network{hosts: map[string]http.Handler{"actions.example": github}, calls: map[string]int{}, seen: map[string]bool{}}
	for name, c := range map[string]struct {
		env     map[string]string
		present bool
		code    abi.Code
	}{
		"GitLab":       {map[string]string{"SIGSTORE_ID_TOKEN": raw}, true, abi.OK},
		"GitHub":       {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example/x?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job-secret"}, true, abi.OK},
		"nothing":      {nil, false, abi.NotFound},
		"half":         {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example/x?v=2"}, true, abi.NotFound},
		"wrong secret": {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example/x?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "other-secret"}, true, abi.Denied},
		"plain http":   {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "http://actions.example/x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job-secret"}, true, abi.Invalid},
		"away":         {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://nowhere.example/", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job-secret"}, true, abi.Unavailable},
		"not a token":  {map[string]string{"SIGSTORE_ID_TOKEN": "x"}, true, abi.Invalid},
	} {
		a := keyless.Ambient{Env: func(name string) string { return c.env[name] }, Transport: rt}
		token, err := a.Token(t.Context())
		if a.Present() != c.present || c.code == abi.OK && (err != nil || token.Subject() != "ci@acme.example") || c.code != abi.OK && abi.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v", name, token, err)
		}
		if err != nil && c.env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] != "" && strings.Contains(err.Error(), "other-secret") {
			t.Errorf("%s: the secret stands in %v", name, err)
		}
	}
}

// provider is an identity provider that knows PKCE and the device flow.
type provider struct {
	says      map[string]any // changes of the discovery document
	claims    map[string]any // changes of the token's claims
	device    []string       // answers of the token endpoint to a device, before the token
	challenge string
	nonce     string
	redirect  string
}

func (p *provider) network() *network {
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		doc := map[string]any{"issuer": issuer, "authorization_endpoint": issuer + "/auth?tenant=1", "token_endpoint": issuer + "/token", "device_authorization_endpoint": issuer + "/device"}
		for k, v := range p.says {
			doc[k] = v
		}
		reply(w, 200, doc)
	})
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, map[string]any{"device_code": "d", "user_code": "AB\x1bCD", "verification_uri": issuer + "/activate", "interval": 2})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if r.Form.Get("device_code") == "d" && len(p.device) > 0 {
			said := p.device[0]
			p.device = p.device[1:]
			reply(w, 400, map[string]string{"error": said})
			return
		}
		sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
		if r.Form.Get("device_code") == "" && (r.Form.Get("code") != "good" || p.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) || r.Form.Get("redirect_uri") != p.redirect) {
			reply(w, 400, map[string]string{"error": "invalid_grant", "error_description": "no"})
			return
		}
		claims := goodClaims()
		if p.nonce != "" {
			claims["nonce"] = p.nonce
		}
		for k, v := range p.claims {
			claims[k] = v
		}
		reply(w, 200, map[string]string{"id_token": jwt(claims), "access_token": "x"})
	})
	return &network{hosts: map[string]http.Handler{"token.example": mux}, calls: map[string]int{}, seen: map[string]bool{}}
}

// visit is a person's browser: it notes what the login asks and brings the answers back.
func (p *provider) visit(t *testing.T, answers ...url.Values) func(string) error {
	return func(at string) error {
		u, err := url.Parse(at)
		check(t, err)
		q := u.Query()
		p.challenge, p.nonce, p.redirect = q.Get("code_challenge"), q.Get("nonce"), q.Get("redirect_uri")
		if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("tenant") != "1" || q.Get("client_id") != "sigstore" || len(q.Get("state")) < 40 {
			t.Errorf("login asks %v", q)
		}
		go func() { // as a browser does, beside us
			for _, a := range answers {
				a = maps.Clone(a)
				if a.Get("state") == "" {
					a.Set("state", q.Get("state"))
				}
				resp, err := http.Get(p.redirect + "?" + a.Encode())
				if err == nil {
					_ = resp.Body.Close()
				}
			}
		}()
		return nil
	}
}

func TestBrowserLogin(t *testing.T) {
	t.Parallel()
	good := url.Values{"code": {"good"}}
	for name, c := range map[string]struct {
		p       provider
		answers []url.Values
		code    abi.Code
		words   string
	}{
		"good":                  {provider{}, []url.Values{good}, abi.OK, ""},
		"good, with iss":        {provider{says: map[string]any{"authorization_response_iss_parameter_supported": true}}, []url.Values{{"code": {"good"}, "iss": {issuer}}}, abi.OK, ""},
		"a stranger first":      {provider{}, []url.Values{{"code": {"evil"}, "state": {"guess"}}, good}, abi.OK, ""},
		"other iss":             {provider{}, []url.Values{{"code": {"good"}, "iss": {"https://evil.example"}}}, abi.Untrusted, "evil.example"},
		"iss missing":           {provider{says: map[string]any{"authorization_response_iss_parameter_supported": true}}, []url.Values{good}, abi.Untrusted, "answer is by"},
		"person says no":        {provider{}, []url.Values{{"error": {"access_denied"}}}, abi.Denied, "access_denied"},
		"no code":               {provider{}, []url.Values{{"x": {"y"}}}, abi.Invalid, "no code"},
		"wrong code":            {provider{}, []url.Values{{"code": {"bad"}}}, abi.Denied, "invalid_grant"},
		"other nonce":           {provider{claims: map[string]any{"nonce": "other"}}, []url.Values{good}, abi.Untrusted, "not for this login"},
		"token of another":      {provider{claims: map[string]any{"iss": "https://evil.example"}}, []url.Values{good}, abi.Untrusted, "evil.example"},
		"token for another":     {provider{claims: map[string]any{"aud": "x"}}, []url.Values{good}, abi.Untrusted, "somebody else"},
		"describes another":     {provider{says: map[string]any{"issuer": "https://evil.example"}}, nil, abi.Untrusted, "evil.example"},
		"token over plain http": {provider{says: map[string]any{"token_endpoint": "http://token.example/token"}}, nil, abi.Untrusted, "not https"},
		"no login by browser":   {provider{says: map[string]any{"authorization_endpoint": ""}}, nil, abi.Unsupported, "browser"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := c.p
			b := keyless.Browser{Provider: keyless.Provider{Issuer: issuer, Transport: p.network()}, Open: p.visit(t, c.answers...)}
			token, err := b.Token(t.Context())
			if c.code == abi.OK {
				check(t, err)
				if token.Subject() != "ci@acme.example" {
					t.Errorf("%q", token.Subject())
				}
				return
			}
			if abi.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("%v (%s)", err, abi.CodeOf(err))
			}
		})
	}
}

func TestLoginGivenUp(t *testing.T) {
	t.Parallel()
	p := provider{}
	ctx, cancel := context.WithCancel(t.Context())
	b := keyless.Browser{Provider: keyless.Provider{Issuer: issuer, Transport: p.network()}, Open: func(string) error { cancel(); return nil }}
	if _, err := b.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	b.Open = func(string) error { return errors.New("no screen") }
	if _, err := b.Token(t.Context()); abi.CodeOf(err) != abi.Unavailable || !strings.Contains(abi.HintOf(err), "device") {
		t.Errorf("%v", err)
	}
	for _, iss := range []string{"", "http://token.example", "token.example"} {
		b.Issuer = iss
		if _, err := b.Token(t.Context()); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", iss, err)
		}
	}
}

func TestDeviceLogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []string
		waits   string
		code    abi.Code
	}{
		"at once":   {nil, "[2s]", abi.OK},
		"pending":   {[]string{"authorization_pending", "authorization_pending"}, "[2s 2s 2s]", abi.OK},
		"slow down": {[]string{"slow_down", "authorization_pending"}, "[2s 7s 7s]", abi.OK},
		"no":        {[]string{"authorization_pending", "access_denied"}, "[2s 2s]", abi.Denied},
		"too late":  {[]string{"expired_token"}, "[2s]", abi.Deadline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provider{device: c.answers}
			var shown string
			var waits []time.Duration
			d := keyless.Device{Provider: keyless.Provider{Issuer: issuer, Transport: p.network()},
				Show: func(at, code string) { shown = at + " " + code },
				Wait: func(_ context.Context, w time.Duration) error { waits = append(waits, w); return nil }}
			token, err := d.Token(t.Context())
			if c.code == abi.OK && (err != nil || token.Subject() != "ci@acme.example") || c.code != abi.OK && abi.CodeOf(err) != c.code {
				t.Fatalf("%v", err)
			}
			if fmt.Sprint(waits) != c.waits || shown != issuer+"/activate AB CD" {
				t.Errorf("waits %v, shown %q", waits, shown)
			}
		})
	}
	p := provider{says: map[string]any{"device_authorization_endpoint": ""}}
	d := keyless.Device{Provider: keyless.Provider{Issuer: issuer, Transport: p.network()}}
	if _, err := d.Token(t.Context()); abi.CodeOf(err) != abi.Unsupported {
		t.Errorf("%v", err)
	}
}
