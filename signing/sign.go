package signing

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"

	"github.com/arw-project/arw/abi"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// What a signature is made of; docs/spec/trust.md says why.
const (
	// PredicateSign is the in-toto predicate type that says "I release this"; cosign's own.
	PredicateSign = "https://sigstore.dev/cosign/sign/v1"
	// PredicateProvenance is SLSA provenance v1, the one predicate of which a policy may also name the builder.
	PredicateProvenance = "https://slsa.dev/provenance/v1"
	// PredicateSBOM is a CycloneDX bill of materials.
	PredicateSBOM = "https://cyclonedx.org/bom"
	// BundleMediaType is the media type of a bundle, and the artifact type of the referrer that carries it.
	BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

	// PayloadType is the DSSE payload type of a statement.
	PayloadType = "application/vnd.in-toto+json"

	statementType   = "https://in-toto.io/Statement/v1"
	statementTypeV0 = "https://in-toto.io/Statement/v0.1" // what older attesters write; the fields we read are the same
)

// statement is the in-toto statement as we write it, in the order cosign writes it.
type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Digest map[string]string `json:"digest"`
}

// Sign makes the release signature of an OCI manifest digest ("sha256:<64 hex>"): one Sigstore bundle v0.3, as compact
// JSON, without log entry or timestamp. It needs no network. Errors: Invalid for a malformed digest.
func Sign(ctx context.Context, k *Key, manifestDigest string) ([]byte, error) {
	return Attest(ctx, k, manifestDigest, PredicateSign, json.RawMessage("{}"))
}

// Attest is Sign for any predicate: SLSA provenance, an SBOM, a review. Errors: those of Statement.
func Attest(ctx context.Context, k *Key, manifestDigest, predicateType string, predicate json.RawMessage) ([]byte, error) {
	return k.Attest(ctx, manifestDigest, predicateType, predicate)
}

// Attester makes signed statements about digests, as Sigstore bundles v0.3. A Key does, offline; package keyless has one
// for identities.
type Attester interface {
	Attest(ctx context.Context, manifestDigest, predicateType string, predicate json.RawMessage) ([]byte, error)
}

// Attest makes Key an Attester.
func (k *Key) Attest(ctx context.Context, manifestDigest, predicateType string, predicate json.RawMessage) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	payload, err := Statement(manifestDigest, predicateType, predicate)
	if err != nil {
		return nil, err
	}
	made, err := sign.Bundle(&sign.DSSEData{Data: payload, PayloadType: PayloadType}, keypair{k}, sign.BundleOptions{Context: ctx})
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "sign %q: %w", manifestDigest, err)
	}
	whole, err := bundle.NewBundle(made)
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "sign %q: %w", manifestDigest, err)
	}
	return encodeBundle(whole)
}

// Statement is the in-toto statement that a bundle about the digest signs. The predicate must be one JSON object, within
// the limits that Judge puts on a statement; it goes in without white space. Errors: Invalid.
func Statement(manifestDigest, predicateType string, predicate json.RawMessage) ([]byte, error) {
	sum, err := parseDigest(manifestDigest)
	if err != nil {
		return nil, err
	}
	if err := checkJSON(predicate); err != nil || !bytes.HasPrefix(bytes.TrimSpace(predicate), []byte("{")) {
		return nil, abi.Errorf(abi.Invalid, "sign %q: the predicate is not a JSON object: %w", manifestDigest, cmp.Or(err, errNotObject))
	}
	payload, err := json.Marshal(statement{
		Type:          statementType,
		Subject:       []subject{{Digest: map[string]string{"sha256": sum}}},
		PredicateType: predicateType,
		Predicate:     predicate,
	})
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "sign %q: %w", manifestDigest, err)
	}
	return payload, nil
}

// encodeBundle compacts what protojson writes, because it varies its white space from build to build on purpose and the
// bytes of a bundle end up under a digest.
func encodeBundle(b *bundle.Bundle) ([]byte, error) {
	loose, err := b.MarshalJSON()
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "encode bundle: %w", err)
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, loose); err != nil {
		return nil, abi.Errorf(abi.Internal, "encode bundle: %w", err)
	}
	return tight.Bytes(), nil
}

// keypair is a Key as sigstore-go wants it; a type of its own so that no name of theirs stands on Key.
type keypair struct{ *Key }

func (keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}
func (keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}
func (keypair) GetKeyAlgorithm() string            { return "ECDSA" }
func (k keypair) GetHint() []byte                  { return []byte(k.id) }
func (k keypair) GetPublicKey() crypto.PublicKey   { return &k.private.PublicKey }
func (k keypair) GetPublicKeyPem() (string, error) { return string(k.publicPEM), nil }

// SignData returns the signature over data and the digest that was signed.
func (k keypair) SignData(_ context.Context, data []byte) ([]byte, []byte, error) {
	sum := sha256.Sum256(data)
	sig, err := k.SignBytes(data)
	return sig, sum[:], err
}

// SignBytes is the ASN.1 ECDSA signature over the SHA-256 of data.
func (k *Key) SignBytes(data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return ecdsa.SignASN1(rand.Reader, k.private, sum[:])
}
