package signing_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/digitorus/timestamp"
	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature"
	tlog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

// sigstore is a whole Sigstore in memory: certificate authority with certificate log, transparency log (Rekor v2) and
// timestamp authority. What it makes is what the real services make, byte formats included; only the wire is missing.
type sigstore struct {
	t            testing.TB
	now          time.Time
	caRoot, ca   *x509.Certificate
	caKey        *ecdsa.PrivateKey
	ctKey        *ecdsa.PrivateKey
	tsaRoot, tsa *x509.Certificate
	tsaKey       *ecdsa.PrivateKey
	logKey       *ecdsa.PrivateKey
	logEnd       time.Time // end of the log's validity in the trusted root
	logURL       string
}

func newSigstore(t testing.TB) *sigstore {
	s := &sigstore{t: t, now: time.Now().UTC().Truncate(time.Second), logURL: "https://log.example"}
	s.ctKey, s.logKey, s.tsaKey, s.caKey = ecKey(t), ecKey(t), ecKey(t), ecKey(t)
	day := 24 * time.Hour
	rootKey := ecKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root", Organization: []string{"test"}},
		NotBefore: s.now.Add(-day), NotAfter: s.now.Add(day), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	s.caRoot = issue(t, ca, ca, rootKey, rootKey)
	inter := *ca
	inter.SerialNumber, inter.Subject.CommonName = big.NewInt(2), "test intermediate"
	inter.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	s.ca = issue(t, &inter, s.caRoot, s.caKey, rootKey)
	tsaRootKey := ecKey(t)
	tsaRoot := *ca
	tsaRoot.Subject.CommonName = "test time root"
	s.tsaRoot = issue(t, &tsaRoot, &tsaRoot, tsaRootKey, tsaRootKey)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	check(t, err)
	s.tsa = issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "test time"}, NotBefore: s.now.Add(-day), NotAfter: s.now.Add(day),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}, s.tsaRoot, s.tsaKey, tsaRootKey)
	return s
}

// trustedRoot is the file a verifier pins.
func (s *sigstore) trustedRoot() []byte {
	start := s.now.Add(-24 * time.Hour)
	log := func(key *ecdsa.PrivateKey, url string, end time.Time) map[string]*root.TransparencyLog {
		id := logID(s.t, key)
		return map[string]*root.TransparencyLog{hex.EncodeToString(id): {
			BaseURL: url, ID: id, ValidityPeriodStart: start, ValidityPeriodEnd: end,
			HashFunc: crypto.SHA256, PublicKey: key.Public(), SignatureHashFunc: crypto.SHA256,
		}}
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: s.caRoot, Intermediates: []*x509.Certificate{s.ca}, ValidityPeriodStart: start, URI: "https://ca.example"}},
		log(s.ctKey, "https://ct.example", time.Time{}),
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{
			Root: s.tsaRoot, Leaf: s.tsa, ValidityPeriodStart: start, URI: "https://time.example"}},
		log(s.logKey, s.logURL, s.logEnd))
	check(s.t, err)
	out, err := tr.MarshalJSON()
	check(s.t, err)
	return out
}

// order is what one keyless bundle should be; the zero value is a good release signature by ci@acme.example.
type order struct {
	digest, predicate, body         string
	email, uri, issuer              string
	ownerID                         string
	noSCT, noLog, noTime, wrongTime bool
	at                              time.Time // of the timestamp
	born                            time.Time // of the certificate, which lives ten minutes
	log                             *sigstore // another log than s
	key                             sign.Keypair
	noCert, v1                      bool
}

func (s *sigstore) bundle(o order) []byte {
	s.t.Helper()
	o.at, o.born = cmp.Or(o.at, s.now), cmp.Or(o.born, s.now)
	if o.key == nil {
		pair, err := sign.NewEphemeralKeypair(nil)
		check(s.t, err)
		o.key = pair
	}
	statement := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + cmp.Or(o.digest, digestA)[7:] +
		`"}}],"predicateType":"` + cmp.Or(o.predicate, "https://sigstore.dev/cosign/sign/v1") + `","predicate":` + cmp.Or(o.body, "{}") + `}`
	opts := sign.BundleOptions{Context: s.t.Context()}
	if !o.noCert {
		opts.CertificateProvider = fulcio{s, o}
	}
	switch log := cmp.Or(o.log, s); {
	case o.noLog:
	case o.v1:
		opts.TransparencyLogs = []sign.Transparency{rekorV1{log}}
	default:
		opts.TransparencyLogs = []sign.Transparency{rekor{log}}
	}
	b, err := sign.Bundle(&sign.DSSEData{Data: []byte(statement), PayloadType: "application/vnd.in-toto+json"}, o.key, opts)
	check(s.t, err)
	if !o.noTime {
		signed := b.GetDsseEnvelope().Signatures[0].Sig
		if o.wrongTime {
			signed = []byte("another signature")
		}
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: s.stamp(signed, o.at)}}}
	}
	whole, err := bundle.NewBundle(b)
	check(s.t, err)
	out, err := whole.MarshalJSON()
	check(s.t, err)
	return out
}

// stamp is an RFC 3161 response over a signature.
func (s *sigstore) stamp(signed []byte, at time.Time) []byte {
	query, err := timestamp.CreateRequest(bytes.NewReader(signed), &timestamp.RequestOptions{Hash: crypto.SHA256})
	check(s.t, err)
	req, err := timestamp.ParseRequest(query)
	check(s.t, err)
	stamp := timestamp.Timestamp{HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Time: at,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}}
	out, err := stamp.CreateResponseWithOpts(s.tsa, s.tsaKey, crypto.SHA256)
	check(s.t, err)
	return out
}

// fulcio issues a certificate for the identity that was ordered, with an embedded SCT.
type fulcio struct {
	s *sigstore
	o order
}

func (f fulcio) GetCertificate(_ context.Context, pair sign.Keypair, _ *sign.CertificateProviderOptions) ([]byte, error) {
	t := f.s.t
	issuer, err := asn1.MarshalWithParams(cmp.Or(f.o.issuer, "https://token.example"), "utf8")
	check(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(f.s.now.UnixNano()), NotBefore: f.o.born, NotAfter: f.o.born.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer}},
	}
	if f.o.uri != "" {
		u, err := url.Parse(f.o.uri)
		check(t, err)
		cert.URIs = []*url.URL{u}
	} else {
		cert.EmailAddresses = []string{cmp.Or(f.o.email, "ci@acme.example")}
	}
	if f.o.ownerID != "" {
		owner, err := asn1.MarshalWithParams(f.o.ownerID, "utf8")
		check(t, err)
		cert.ExtraExtensions = append(cert.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 17}, Value: owner})
	}
	if !f.o.noSCT {
		cert.ExtraExtensions = append(cert.ExtraExtensions, f.s.sct(cert, pair.GetPublicKey()))
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, f.s.ca, pair.GetPublicKey(), f.s.caKey)
	return der, err
}

// sct submits the precertificate to the certificate log (RFC 6962 section 3.1) and returns the extension to embed.
func (s *sigstore) sct(cert *x509.Certificate, public crypto.PublicKey) pkix.Extension {
	pre := *cert
	pre.ExtraExtensions = append(append([]pkix.Extension(nil), cert.ExtraExtensions...),
		pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: asn1.NullBytes})
	der, err := x509.CreateCertificate(rand.Reader, &pre, s.ca, public, s.caKey)
	check(s.t, err)
	chain := make([]*ctx509.Certificate, 2)
	for i, raw := range [][]byte{der, s.ca.Raw} {
		chain[i], err = ctx509.ParseCertificate(raw)
		if ctx509.IsFatal(err) {
			s.t.Fatal(err)
		}
	}
	at := uint64(s.now.UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromChain(chain, ct.PrecertLogEntryType, at)
	check(s.t, err)
	proof := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, Timestamp: at}
	copy(proof.LogID.KeyID[:], logID(s.t, s.ctKey))
	input, err := ct.SerializeSCTSignatureInput(proof, ct.LogEntry{Leaf: *leaf})
	check(s.t, err)
	signed, err := cttls.CreateSignature(*s.ctKey, cttls.SHA256, input)
	check(s.t, err)
	proof.Signature = ct.DigitallySigned(signed)
	one, err := cttls.Marshal(proof)
	check(s.t, err)
	list, err := cttls.Marshal(ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: one}}})
	check(s.t, err)
	value, err := asn1.Marshal(list)
	check(s.t, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}
}

// rekor is a Rekor v2 log that holds one entry at a time.
type rekor struct{ s *sigstore }

func (r rekor) GetTransparencyLogEntry(ctx context.Context, certOrKey []byte, b *protobundle.Bundle) error {
	t := r.s.t
	block, _ := pem.Decode(certOrKey)
	verifier := &rekortiles.Verifier{KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		Verifier: &rekortiles.Verifier_X509Certificate{X509Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes}}}
	if block.Type == "PUBLIC KEY" {
		verifier.Verifier = &rekortiles.Verifier_PublicKey{PublicKey: &rekortiles.PublicKey{RawBytes: block.Bytes}}
	}
	env := b.GetDsseEnvelope()
	sum := sha256.Sum256((&sign.DSSEData{Data: env.Payload, PayloadType: env.PayloadType}).PreAuthEncoding())
	raw, err := protojson.Marshal(&rekortiles.Entry{ApiVersion: "0.0.2", Kind: "hashedrekord", Spec: &rekortiles.Spec{
		Spec: &rekortiles.Spec_HashedRekordV002{HashedRekordV002: &rekortiles.HashedRekordLogEntryV002{
			Data:      &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature: &rekortiles.Signature{Content: env.Signatures[0].Sig, Verifier: verifier},
		}}}})
	check(t, err)
	body, err := jsoncanonicalizer.Transform(raw)
	check(t, err)
	leaf := rfc6962.DefaultHasher.HashLeaf(body)
	u, err := url.Parse(r.s.logURL)
	check(t, err)
	sv, err := signature.LoadECDSASignerVerifier(r.s.logKey, crypto.SHA256)
	check(t, err)
	signer, err := rekornote.NewNoteSigner(ctx, u.Hostname(), sv)
	check(t, err)
	head, err := note.Sign(&note.Note{Text: string(tlog.Checkpoint{Origin: u.Hostname(), Size: 1, Hash: leaf}.Marshal())}, signer)
	check(t, err)
	b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, &protorekor.TransparencyLogEntry{
		LogId: &protocommon.LogId{KeyId: logID(t, r.s.logKey)}, KindVersion: &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.2"},
		InclusionProof:    &protorekor.InclusionProof{TreeSize: 1, RootHash: leaf, Checkpoint: &protorekor.Checkpoint{Envelope: string(head)}},
		CanonicalizedBody: body,
	})
	return nil
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func issue(t testing.TB, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

func logID(t testing.TB, key *ecdsa.PrivateKey) []byte {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	check(t, err)
	sum := sha256.Sum256(spki)
	return sum[:]
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// edit changes a JSON document by a function over its decoded form.
func edit(t testing.TB, doc []byte, change func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	check(t, json.Unmarshal(doc, &m))
	change(m)
	out, err := json.Marshal(m)
	check(t, err)
	return out
}

// foreignKeys are key pairs of the kinds arw does not make but other signers use.
func foreignKeys(t testing.TB) map[string]sign.Keypair {
	out := map[string]sign.Keypair{}
	for name, kind := range map[string]protocommon.PublicKeyDetails{
		"ECDSA P-256": protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		"ECDSA P-384": protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
		"ECDSA P-521": protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		"RSA 2048":    protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
		"Ed25519":     protocommon.PublicKeyDetails_PKIX_ED25519,
	} {
		pair, err := sign.NewEphemeralKeypair(&sign.EphemeralKeypairOptions{Algorithm: kind})
		check(t, err)
		out[name] = pair
	}
	return out
}
