package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// provider is an OpenID Connect provider at which everybody is who they say: code flow with PKCE, device flow, and tokens
// for the asking at /mint.
type provider struct {
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	logins map[string]login // by code
	asked  map[string]int   // device codes, and how often somebody asked
}

type login struct{ nonce, challenge, redirect string }

func newProvider() (*provider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &provider{key: key, logins: map[string]login{}, asked: map[string]int{}}, err
}

func (p *provider) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": oidcURL, "authorization_endpoint": oidcURL + "/auth", "token_endpoint": oidcURL + "/token",
			"device_authorization_endpoint": oidcURL + "/device", "jwks_uri": oidcURL + "/keys", "response_types_supported": []string{"code"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		point, _ := p.key.PublicKey.Bytes()
		answer(w, map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "use": "sig",
			"x": b64(point[1:33]), "y": b64(point[33:])}}})
	})
	mux.HandleFunc("GET /mint", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, p.token(r.URL.Query().Get("email"), ""))
	})
	// What GitHub Actions offers its jobs.
	mux.HandleFunc("GET /request", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer job-secret" || r.URL.Query().Get("audience") != "sigstore" || r.URL.Query().Get("v") != "1" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		answer(w, map[string]string{"value": p.token(who, "")})
	})
	mux.HandleFunc("GET /auth", p.authorize)
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"device_code": rand.Text(), "user_code": "ABCD-EFGH", "verification_uri": oidcURL + "/activate", "interval": 1, "expires_in": 60})
	})
	mux.HandleFunc("POST /token", p.redeem)
	return mux
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	p.mu.Lock()
	p.logins[code] = login{q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")}
	p.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {oidcURL}}.Encode(), http.StatusFound)
}

func (p *provider) redeem(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	defer p.mu.Unlock()
	no := func(why string) {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]string{"error": why})
	}
	if code := r.Form.Get("device_code"); code != "" {
		if p.asked[code]++; p.asked[code] == 1 {
			no("authorization_pending")
			return
		}
		answer(w, map[string]string{"id_token": p.token("device@acme.example", "")})
		return
	}
	l, known := p.logins[r.Form.Get("code")]
	delete(p.logins, r.Form.Get("code"))
	sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
	if !known || l.challenge != b64(sum[:]) || l.redirect != r.Form.Get("redirect_uri") {
		no("invalid_grant")
		return
	}
	answer(w, map[string]string{"id_token": p.token("browser@acme.example", l.nonce)})
}

// token is a signed identity token.
func (p *provider) token(email, nonce string) string {
	now := time.Now()
	claims := map[string]any{"iss": oidcURL, "aud": "sigstore", "sub": email, "email": email, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	body, _ := json.Marshal(claims)
	text := b64([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		panic(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return text + "." + b64(sig)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// certificateLog answers submissions with a signed promise (RFC 6962 section 4.1 and 4.2). It keeps no tree: Fulcio and the
// verifiers look at the promise only.
func (w *world) certificateLog() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ct/v1/add-chain", w.submit(ct.X509LogEntryType))
	mux.HandleFunc("POST /ct/v1/add-pre-chain", w.submit(ct.PrecertLogEntryType))
	return mux
}

func (w *world) submit(kind ct.LogEntryType) http.HandlerFunc {
	return func(out http.ResponseWriter, r *http.Request) {
		var in ct.AddChainRequest
		err := json.NewDecoder(r.Body).Decode(&in)
		var sct *ct.SignedCertificateTimestamp
		if err == nil {
			sct, err = w.promise(in.Chain, kind)
		}
		var signature []byte
		if err == nil {
			signature, err = cttls.Marshal(sct.Signature)
		}
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		answer(out, ct.AddChainResponse{SCTVersion: ct.V1, ID: w.ctID[:], Timestamp: sct.Timestamp, Signature: signature})
	}
}

func (w *world) promise(raw [][]byte, kind ct.LogEntryType) (*ct.SignedCertificateTimestamp, error) {
	var chain []*ctx509.Certificate
	for _, der := range raw {
		c, err := ctx509.ParseCertificate(der)
		if ctx509.IsFatal(err) {
			return nil, err
		}
		chain = append(chain, c)
	}
	at := uint64(time.Now().UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromChain(chain, kind, at)
	if err != nil {
		return nil, err
	}
	sct := &ct.SignedCertificateTimestamp{SCTVersion: ct.V1, Timestamp: at}
	sct.LogID.KeyID = w.ctID
	input, err := ct.SerializeSCTSignatureInput(*sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	signed, err := cttls.CreateSignature(*w.ctKey, cttls.SHA256, input)
	sct.Signature = ct.DigitallySigned(signed)
	return sct, err
}
