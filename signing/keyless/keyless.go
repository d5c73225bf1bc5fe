// Package keyless makes signatures with the help of Sigstore services: a certificate for an identity (Fulcio), an entry in
// a transparency log (Rekor v2), a timestamp (RFC 3161). It dials what the signing config and the identity provider name,
// over the transport it is given, and nothing else; verification is package signing's and never comes here.
//
// The private key of a keyless signature lives in memory, for one Signer, and signs for the minutes that its certificate
// is valid. Identity tokens are never logged and never stand in an error.
package keyless

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"sync"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// Options say with what a Signer signs.
type Options struct {
	Config      *Config           // required
	TrustedRoot []byte            // trusted_root.json; when given, a bundle that it does not verify is never returned
	Token       TokenSource       // who signs; required without a key
	Key         *signing.Key      // signs instead of an identity: no certificate, log entry and timestamp all the same
	Transport   http.RoundTripper // required
	Now         func() time.Time  // nil: the clock
}

// Signer is a session: it asks for one token and one certificate however many statements it signs while the certificate
// is valid. It is safe for concurrent use.
type Signer struct {
	opts Options
	root root.TrustedMaterial

	mu   sync.Mutex
	pair sign.Keypair
	cert *x509.Certificate
}

// Identity is who a keyless signature will be by.
type Identity struct {
	Subject string    `json:"identity"`
	Issuer  string    `json:"issuer"`
	Serial  string    `json:"serial"`
	Until   time.Time `json:"until"`
}

// New checks the options. Errors: Invalid.
func New(o Options) (*Signer, error) {
	if o.Config == nil || o.Transport == nil || (o.Token == nil) == (o.Key == nil) {
		return nil, abi.Errorf(abi.Invalid, "sign with Sigstore: a signing config, a transport, and either an identity or a key are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Signer{opts: o}
	if len(o.TrustedRoot) > 0 {
		material, err := root.NewTrustedRootFromJSON(o.TrustedRoot)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read trusted root: %w", err).WithHint("it is Sigstore's trusted_root.json")
		}
		s.root = material
	}
	if o.Key != nil {
		s.pair = fileKey{o.Key}
		if s.root != nil {
			var err error
			if s.root, err = withKey(o.Key, s.root); err != nil {
				return nil, abi.Errorf(abi.Internal, "sign with Sigstore: %w", err)
			}
		}
	}
	return s, nil
}

// Attest makes Signer a signing.Attester. Errors: Invalid (the statement, the token), Denied (a service refuses),
// Unavailable (a service does not answer), Untrusted (what the services answered does not verify), the context's own.
func (s *Signer) Attest(ctx context.Context, manifestDigest, predicateType string, predicate json.RawMessage) ([]byte, error) {
	payload, err := signing.Statement(manifestDigest, predicateType, predicate)
	if err != nil {
		return nil, err
	}
	services, err := s.opts.Config.selectServices(s.opts.Now(), s.opts.Key == nil)
	if err != nil {
		return nil, err
	}
	opts := services.options(ctx, s.opts.Transport)
	opts.TrustedRoot = s.root
	pair := s.pair
	if s.opts.Key == nil {
		if pair, opts.CertificateProvider, err = s.certified(ctx, services); err != nil {
			return nil, err
		}
	}
	made, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: signing.PayloadType}, pair, opts)
	if err != nil {
		return nil, fault(ctx, err, "sign %q", manifestDigest)
	}
	return encode(made, manifestDigest)
}

// Identity asks for the certificate, if there is none yet, and says whose it is.
func (s *Signer) Identity(ctx context.Context) (Identity, error) {
	if s.opts.Key != nil {
		return Identity{}, abi.Errorf(abi.Invalid, "a key signs here, no identity")
	}
	services, err := s.opts.Config.selectServices(s.opts.Now(), true)
	if err != nil {
		return Identity{}, err
	}
	if _, _, err := s.certified(ctx, services); err != nil {
		return Identity{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, err := certificate.SummarizeCertificate(s.cert)
	if err != nil {
		return Identity{}, abi.Errorf(abi.Untrusted, "read the certificate that Fulcio issued: %w", err)
	}
	return Identity{Subject: sum.SubjectAlternativeName, Issuer: sum.Issuer, Serial: s.cert.SerialNumber.Text(16), Until: s.cert.NotAfter}, nil
}

// renewBefore is how long before its end a certificate is not used any more: a timestamp has to be made while it lives.
const renewBefore = 2 * time.Minute

// certified returns a key pair with a certificate that is good for some minutes, asking for a new one when need be.
func (s *Signer) certified(ctx context.Context, services *services) (sign.Keypair, sign.CertificateProvider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert == nil || s.opts.Now().Add(renewBefore).After(s.cert.NotAfter) {
		if err := s.renew(ctx, services); err != nil {
			return nil, nil, err
		}
	}
	return s.pair, issued{s.cert.Raw}, nil
}

func (s *Signer) renew(ctx context.Context, services *services) error {
	pair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return abi.Errorf(abi.Internal, "make an ephemeral key: %w", err)
	}
	token, err := s.opts.Token.Token(ctx)
	if err != nil {
		return err
	}
	if err := token.usable(s.opts.Now()); err != nil {
		return err
	}
	authority := sign.NewFulcio(&sign.FulcioOptions{BaseURL: services.fulcio, Retries: retries, Transport: guard(ctx, s.opts.Transport)})
	der, err := authority.GetCertificate(ctx, pair, &sign.CertificateProviderOptions{IDToken: token.raw})
	if err != nil {
		return token.scrub(fault(ctx, err, "ask Fulcio at %q for a certificate", services.fulcio))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return abi.Errorf(abi.Untrusted, "read the certificate of Fulcio at %q: %w", services.fulcio, err)
	}
	if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(pair.GetPublicKey()) {
		return abi.Errorf(abi.Untrusted, "read the certificate of Fulcio at %q: it is for another key", services.fulcio)
	}
	s.pair, s.cert = pair, cert
	return nil
}

// issued hands out a certificate that was issued before.
type issued struct{ der []byte }

func (c issued) GetCertificate(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([]byte, error) {
	return c.der, nil
}

// fileKey is a signing.Key as sigstore-go wants it.
type fileKey struct{ *signing.Key }

func (fileKey) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}
func (fileKey) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}
func (fileKey) GetKeyAlgorithm() string            { return "ECDSA" }
func (k fileKey) GetHint() []byte                  { return []byte(k.ID()) }
func (k fileKey) GetPublicKeyPem() (string, error) { return string(k.PublicPEM()), nil }
func (k fileKey) GetPublicKey() crypto.PublicKey   { return publicOf(k.Key) }
func (k fileKey) SignData(_ context.Context, data []byte) ([]byte, []byte, error) {
	sig, err := k.SignBytes(data)
	return sig, sum(data), err
}

func publicOf(k *signing.Key) crypto.PublicKey {
	block, _ := pem.Decode(k.PublicPEM())
	public, _ := x509.ParsePKIXPublicKey(block.Bytes) // the key itself wrote it
	return public
}

// encode compacts what protojson writes, whose white space varies from build to build on purpose.
func encode(made *protoBundle, digest string) ([]byte, error) {
	whole, err := bundle.NewBundle(made)
	if err != nil {
		return nil, abi.Errorf(abi.Untrusted, "sign %q: the services made no sound bundle: %w", digest, err)
	}
	loose, err := whole.MarshalJSON()
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "sign %q: %w", digest, err)
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, loose); err != nil {
		return nil, abi.Errorf(abi.Internal, "sign %q: %w", digest, err)
	}
	return tight.Bytes(), nil
}
