package keyless_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/digitorus/timestamp"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	tlog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/arw-project/arw/signing/keyless"
)

const (
	digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	issuer = "https://token.example"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network is a transport to handlers by host name; every other host is unreachable. It remembers who saw a token.
type network struct {
	hosts map[string]http.Handler
	mu    sync.Mutex
	calls map[string]int
	seen  map[string]bool // hosts that got an Authorization header, or the word in it anywhere
	word  string
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	h := n.hosts[r.URL.Host]
	if h == nil {
		return nil, fmt.Errorf("nothing at %s", r.URL.Host)
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	n.mu.Lock()
	n.calls[r.URL.Host]++
	if r.Header.Get("Authorization") != "" || n.word != "" && strings.Contains(string(body)+r.URL.String(), n.word) {
		n.seen[r.URL.Host] = true
	}
	n.mu.Unlock()
	r = r.Clone(r.Context())
	r.Body, r.RequestURI = io.NopCloser(bytes.NewReader(body)), r.URL.RequestURI()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// jwt is a token nobody signed: who accepts tokens here does not look.
func jwt(claims map[string]any) string {
	body, _ := json.Marshal(claims)
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + ".c2ln"
}

func goodClaims() map[string]any {
	return map[string]any{"iss": issuer, "aud": "sigstore", "sub": "1", "email": "ci@acme.example", "email_verified": true,
		"exp": time.Now().Add(time.Hour).Unix()}
}

// services is a Sigstore behind a network: what it answers is what the real one answers.
type services struct {
	t          *testing.T
	net        *network
	caKey      *ecdsa.PrivateKey
	ca         *x509.Certificate
	tsaKey     *ecdsa.PrivateKey
	tsa, tsaCA *x509.Certificate
	logKey     *ecdsa.PrivateKey
	life       time.Duration
	certs      int
	fulcio     func(w http.ResponseWriter, r *http.Request) bool // answers first, if it wants to
	otherKey   bool                                              // certifies another key than was asked
}

func newServices(t *testing.T) *services {
	s := &services{t: t, life: 10 * time.Minute, net: &network{calls: map[string]int{}, seen: map[string]bool{}}}
	s.caKey, s.tsaKey, s.logKey = newKey(t), newKey(t), newKey(t)
	tsaCAKey := newKey(t)
	s.ca = s.issue(authority("ca", 1), nil, s.caKey, s.caKey)
	s.tsaCA = s.issue(authority("time ca", 2), nil, tsaCAKey, tsaCAKey)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	check(t, err)
	leaf := authority("time", 3)
	leaf.IsCA, leaf.KeyUsage = false, x509.KeyUsageDigitalSignature
	leaf.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	s.tsa = s.issue(leaf, s.tsaCA, s.tsaKey, tsaCAKey)
	s.net.hosts = map[string]http.Handler{
		"ca.example": http.HandlerFunc(s.certify), "log.example": http.HandlerFunc(s.log), "time.example": http.HandlerFunc(s.stamp),
	}
	return s
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func authority(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Organization: []string{"test"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
}

func (s *services) issue(c, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) *x509.Certificate {
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	check(s.t, err)
	out, err := x509.ParseCertificate(der)
	check(s.t, err)
	return out
}

// certify is Fulcio's POST /api/v2/signingCert.
func (s *services) certify(w http.ResponseWriter, r *http.Request) {
	if s.fulcio != nil && s.fulcio(w, r) {
		return
	}
	var in struct {
		PublicKeyRequest struct {
			PublicKey         struct{ Content string }
			ProofOfPossession []byte
		}
	}
	check(s.t, json.NewDecoder(r.Body).Decode(&in))
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	var claims struct{ Iss, Email string }
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	check(s.t, err)
	check(s.t, json.Unmarshal(body, &claims))
	block, _ := pem.Decode([]byte(in.PublicKeyRequest.PublicKey.Content))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	check(s.t, err)
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	check(s.t, err)
	if verifier.VerifySignature(bytes.NewReader(in.PublicKeyRequest.ProofOfPossession), strings.NewReader(claims.Email)) != nil {
		http.Error(w, "no proof of possession", http.StatusBadRequest)
		return
	}
	if s.otherKey {
		public = newKey(s.t).Public()
	}
	iss, err := asn1.MarshalWithParams(claims.Iss, "utf8")
	check(s.t, err)
	s.certs++
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(int64(100 + s.certs)), NotBefore: now.Add(-time.Second), NotAfter: now.Add(s.life), EmailAddresses: []string{claims.Email},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: iss}},
	}, s.ca, public, s.caKey)
	check(s.t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	check(s.t, json.NewEncoder(w).Encode(map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": []string{string(text)}}}}))
}

// log is Rekor v2's POST /api/v2/log/entries, of a log that holds one entry at a time.
func (s *services) log(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	check(s.t, err)
	var in rekortiles.CreateEntryRequest
	check(s.t, protojson.Unmarshal(raw, &in))
	req := in.GetHashedRekordRequestV002()
	raw, err = protojson.Marshal(&rekortiles.Entry{ApiVersion: "0.0.2", Kind: "hashedrekord", Spec: &rekortiles.Spec{
		Spec: &rekortiles.Spec_HashedRekordV002{HashedRekordV002: &rekortiles.HashedRekordLogEntryV002{
			Data: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: req.Digest}, Signature: req.Signature}}}})
	check(s.t, err)
	body, err := jsoncanonicalizer.Transform(raw)
	check(s.t, err)
	leaf := rfc6962.DefaultHasher.HashLeaf(body)
	sv, err := signature.LoadECDSASignerVerifier(s.logKey, crypto.SHA256)
	check(s.t, err)
	signer, err := rekornote.NewNoteSigner(r.Context(), "log.example", sv)
	check(s.t, err)
	head, err := note.Sign(&note.Note{Text: string(tlog.Checkpoint{Origin: "log.example", Size: 1, Hash: leaf}.Marshal())}, signer)
	check(s.t, err)
	out, err := protojson.Marshal(&protorekor.TransparencyLogEntry{
		LogId: &protocommon.LogId{KeyId: spkiHash(s.t, s.logKey)}, KindVersion: &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.2"},
		InclusionProof:    &protorekor.InclusionProof{TreeSize: 1, RootHash: leaf, Checkpoint: &protorekor.Checkpoint{Envelope: string(head)}},
		CanonicalizedBody: body})
	check(s.t, err)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(out)
}

// stamp is an RFC 3161 authority.
func (s *services) stamp(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	check(s.t, err)
	req, err := timestamp.ParseRequest(raw)
	check(s.t, err)
	ts := timestamp.Timestamp{HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Time: time.Now(), Nonce: req.Nonce,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}}
	out, err := ts.CreateResponseWithOpts(s.tsa, s.tsaKey, crypto.SHA256)
	check(s.t, err)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(out)
}

func spkiHash(t testing.TB, key *ecdsa.PrivateKey) []byte {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	check(t, err)
	h := crypto.SHA256.New()
	h.Write(spki)
	return h.Sum(nil)
}

// root is the trusted_root.json of these services; it has no certificate log.
func (s *services) root() []byte {
	start := time.Now().Add(-time.Hour)
	id := spkiHash(s.t, s.logKey)
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.ca, ValidityPeriodStart: start, URI: "https://ca.example"}},
		nil,
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{Root: s.tsaCA, Leaf: s.tsa, ValidityPeriodStart: start, URI: "https://time.example"}},
		map[string]*root.TransparencyLog{hex.EncodeToString(id): {BaseURL: "https://log.example", ID: id, ValidityPeriodStart: start,
			HashFunc: crypto.SHA256, PublicKey: s.logKey.Public(), SignatureHashFunc: crypto.SHA256}})
	check(s.t, err)
	out, err := tr.MarshalJSON()
	check(s.t, err)
	return out
}

const signingConfig = `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json",
"caUrls":[{"url":"https://ca.example","majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"t"}],
"oidcUrls":[{"url":"https://token.example","majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"t"}],
"rekorTlogUrls":[{"url":"https://log.example","majorApiVersion":2,"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"t"}],
"tsaUrls":[{"url":"https://time.example/api/v1/timestamp","majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"t"}],
"rekorTlogConfig":{"selector":"ANY"},"tsaConfig":{"selector":"ANY"}}`

func config(t testing.TB, text string) *keyless.Config {
	t.Helper()
	c, err := keyless.ParseConfig([]byte(text))
	check(t, err)
	return c
}

// options sign with these services as ci@acme.example.
func (s *services) options() keyless.Options {
	s.t.Helper()
	token, err := keyless.ParseToken(jwt(goodClaims()))
	check(s.t, err)
	return keyless.Options{Config: config(s.t, signingConfig), TrustedRoot: s.root(), Token: keyless.Given(token), Transport: s.net}
}
