package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"

	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Where everything listens, in a namespace of its own.
const (
	oidcURL     = "http://localhost:8888"
	ctURL       = "http://localhost:6962"
	fulcioURL   = "http://localhost:5555"
	rekorURL    = "http://localhost:3003"
	timeURL     = "http://localhost:5557/api/v1/timestamp"
	rekorOrigin = "localhost"
)

// authority is one certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// ceremony makes the keys of the deployment and writes what its services and its users need.
func (w *world) ceremony() error {
	begin := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	ca, err := chain(begin, "private CA", elliptic.P384(), x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
	if err != nil {
		return err
	}
	// RFC 3161 wants exactly this one usage, marked critical.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return err
	}
	tsa, err := chain(begin, "private time", elliptic.P256(), x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}})
	if err != nil {
		return err
	}
	_, logKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if w.ctKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	for name, write := range map[string]func(string) error{
		"fulcio-chain.pem": chainFile(ca), "fulcio-key.pem": keyFile(ca[1].key), "tsa-chain.pem": chainFile(tsa), "tsa-key.pem": keyFile(tsa[1].key),
		"rekor-key.pem": keyFile(logKey), "ct-pub.pem": publicFile(w.ctKey.Public()),
	} {
		if err := write(filepath.Join(w.dir, name)); err != nil {
			return err
		}
	}
	if err := w.trustedRoot(begin, ca, tsa, logKey.Public().(ed25519.PublicKey)); err != nil {
		return err
	}
	return w.signingConfig(begin)
}

// chain is a self-signed root and, second, the certificate that works.
func chain(begin time.Time, name string, curve elliptic.Curve, leaf x509.Certificate) ([2]authority, error) {
	var out [2]authority
	end := begin.AddDate(40, 0, 0) // what it signs is kept as test data
	top := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " root", Organization: []string{"arw interop"}},
		NotBefore: begin, NotAfter: end, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	leaf.SerialNumber, leaf.NotBefore, leaf.NotAfter = big.NewInt(2), begin, end
	leaf.Subject = pkix.Name{CommonName: name, Organization: []string{"arw interop"}}
	for i, c := range []struct {
		curve    elliptic.Curve
		template x509.Certificate
	}{{curve, top}, {elliptic.P256(), leaf}} {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			return out, err
		}
		parent, by := &c.template, key
		if i > 0 {
			parent, by = out[0].cert, out[0].key
		}
		der, err := x509.CreateCertificate(rand.Reader, &c.template, parent, key.Public(), by)
		if err != nil {
			return out, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return out, err
		}
		out[i] = authority{cert, key}
	}
	return out, nil
}

func chainFile(c [2]authority) func(string) error {
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c[1].cert.Raw})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c[0].cert.Raw})...)
	return func(name string) error { return os.WriteFile(name, text, 0o600) }
}

func keyFile(key crypto.PrivateKey) func(string) error {
	return func(name string) error {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
}

func publicFile(key crypto.PublicKey) func(string) error {
	return func(name string) error {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return err
		}
		return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
	}
}

func (w *world) trustedRoot(begin time.Time, ca, tsa [2]authority, logKey ed25519.PublicKey) error {
	spki, err := x509.MarshalPKIXPublicKey(w.ctKey.Public())
	if err != nil {
		return err
	}
	ctID := sha256.Sum256(spki)
	w.ctID = ctID
	// A Rekor v2 log is named by its checkpoint key, not by the hash of its public key alone.
	_, logID, err := rekornote.KeyHash(rekorOrigin, logKey)
	if err != nil {
		return err
	}
	log := func(id []byte, url string, key crypto.PublicKey, hash crypto.Hash) map[string]*root.TransparencyLog {
		return map[string]*root.TransparencyLog{hex.EncodeToString(id): {BaseURL: url, ID: id, ValidityPeriodStart: begin,
			HashFunc: crypto.SHA256, PublicKey: key, SignatureHashFunc: hash}}
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: ca[0].cert, Intermediates: []*x509.Certificate{ca[1].cert},
			ValidityPeriodStart: begin, URI: fulcioURL}},
		log(ctID[:], ctURL, w.ctKey.Public(), crypto.SHA256),
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{Root: tsa[0].cert, Leaf: tsa[1].cert, ValidityPeriodStart: begin, URI: timeURL}},
		log(logID, rekorURL, logKey, crypto.SHA512))
	if err != nil {
		return err
	}
	text, err := tr.MarshalJSON()
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("trusted_root.json"), text, 0o644)
}

func (w *world) signingConfig(begin time.Time) error {
	service := func(url string, version uint32) []root.Service {
		return []root.Service{{URL: url, MajorAPIVersion: version, ValidityPeriodStart: begin, Operator: "arw interop"}}
	}
	anyOne := root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
	sc, err := root.NewSigningConfig(root.SigningConfigMediaType02, service(fulcioURL, 1), service(oidcURL, 1),
		service(rekorURL, 2), anyOne, service(timeURL, 1), anyOne)
	if err != nil {
		return err
	}
	text, err := sc.MarshalJSON()
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("signing_config.json"), text, 0o644)
}
