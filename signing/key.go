// Package signing says who vouches for a digest: it makes signatures (Key, Sign, Attest) and judges them against a
// trust policy (ParsePolicy, Policy.Verify). It knows digests and names, not packs, and verification never dials.
//
// Signatures are Sigstore bundles v0.3 around a DSSE envelope with an in-toto statement, so that cosign and this package
// verify each other's. The normative text is docs/spec/trust.md. All types are safe for concurrent use.
package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"github.com/arw-project/arw/abi"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// Key is an ECDSA P-256 signing key. It is immutable.
type Key struct {
	private   *ecdsa.PrivateKey
	publicPEM []byte
	id        string
}

// The PEM block types ParseKey reads. The two sealed forms are the one cosign and sigstore write: scrypt and NaCl
// secretbox around PKCS#8; "ENCRYPTED PRIVATE KEY" is PKCS#8's own (PBES2), as OpenSSL writes it.
const (
	pemPlain         = "PRIVATE KEY"
	pemPKCS8         = "ENCRYPTED PRIVATE KEY"
	pemSealed        = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemSealedCosign  = "ENCRYPTED COSIGN PRIVATE KEY"
	pemPublic        = "PUBLIC KEY"
	maxKeyFile       = 64 << 10
	hintCosignImport = "arw reads ECDSA P-256 keys as PKCS#8 PEM, plain or encrypted; `arw key` makes one"
)

// GenerateKey makes a new key from the system's random source.
func GenerateKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "make signing key: %w", err)
	}
	return newKey(private)
}

func newKey(private *ecdsa.PrivateKey) (*Key, error) {
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read signing key: %w", err)
	}
	return &Key{
		private:   private,
		publicPEM: pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: spki}),
		id:        keyID(spki),
	}, nil
}

// keyID is the hint cosign writes for a public key: base64 of the SHA-256 of its SubjectPublicKeyInfo.
func keyID(spki []byte) string {
	sum := sha256.Sum256(spki)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// isKeyID reports whether a hint has the form of keyID's, rather than being a word of some other tool.
func isKeyID(hint string) bool {
	raw, err := base64.StdEncoding.DecodeString(hint)
	return err == nil && len(raw) == sha256.Size
}

// ID names the public key: base64(SHA-256(SubjectPublicKeyInfo DER)), the hint that bundles carry.
func (k *Key) ID() string { return k.id }

// PublicPEM is the public key as a PEM block "PUBLIC KEY", the form trust.toml refers to. The caller owns the bytes.
func (k *Key) PublicPEM() []byte { return append([]byte(nil), k.publicPEM...) }

// MarshalPEM encodes the private key: PKCS#8 without a passphrase, "ENCRYPTED SIGSTORE PRIVATE KEY" (scrypt, NaCl
// secretbox; cosign reads it) with one. Sealing costs about a tenth of a second and 64 MiB, on purpose.
func (k *Key) MarshalPEM(passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		out, err := cryptoutils.MarshalPrivateKeyToPEM(k.private)
		if err != nil {
			return nil, abi.Errorf(abi.Internal, "encode signing key: %w", err)
		}
		return out, nil
	}
	sealed, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(k.private, cryptoutils.StaticPasswordFunc(passphrase))
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "encrypt signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemSealed, Bytes: sealed}), nil
}

// Encrypted reports whether the PEM text holds a private key that needs a passphrase.
func Encrypted(text []byte) bool {
	block, _ := pem.Decode(text)
	return block != nil && (block.Type == pemPKCS8 || block.Type == pemSealed || block.Type == pemSealedCosign)
}

// ParseKey reads what MarshalPEM wrote, and the key files of cosign and OpenSSL. The passphrase is ignored for a plain
// key; for an encrypted one nil means that there is none to try, which is an error, while an empty slice is tried.
// Errors: Invalid (not a key, wrong passphrase), Unsupported (a key of another kind than ECDSA P-256).
func ParseKey(text, passphrase []byte) (*Key, error) {
	block, err := keyBlock(text)
	if err != nil {
		return nil, err
	}
	var ask cryptoutils.PassFunc
	if Encrypted(text) {
		if passphrase == nil {
			return nil, abi.Errorf(abi.Invalid, "open signing key: it is encrypted and no passphrase was given").
				WithHint("give its passphrase")
		}
		ask = cryptoutils.StaticPasswordFunc(passphrase)
	}
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(pem.EncodeToMemory(block), ask)
	switch {
	case err != nil && ask != nil:
		return nil, abi.Errorf(abi.Invalid, "open signing key: wrong passphrase, or the file is damaged: %w", err).
			WithHint("try the passphrase again")
	case err != nil:
		return nil, abi.Errorf(abi.Invalid, "read signing key: %w", err).WithHint(hintCosignImport)
	}
	ec, ok := private.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, abi.Errorf(abi.Unsupported, "read signing key: it is %s, not ECDSA P-256", kindOf(private)).
			WithHint(hintCosignImport)
	}
	return newKey(ec)
}

// keyBlock finds the one private key in a PEM text. Blocks with headers (the encryption of old OpenSSL, which
// authenticates nothing) are refused rather than read.
func keyBlock(text []byte) (*pem.Block, error) {
	if len(text) > maxKeyFile {
		return nil, abi.Errorf(abi.TooLarge, "read signing key: %d bytes, a key file has at most %d", len(text), maxKeyFile)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, abi.Errorf(abi.Invalid, "read signing key: there is no PEM block in it").WithHint(hintCosignImport)
	}
	switch block.Type {
	case pemPlain, pemPKCS8, pemSealed, pemSealedCosign, "EC PRIVATE KEY":
	case pemPublic:
		return nil, abi.Errorf(abi.Invalid, "read signing key: it is a public key").WithHint("name the private key file")
	default:
		return nil, abi.Errorf(abi.Unsupported, "read signing key: PEM block %q is not a key arw reads", clean(block.Type)).
			WithHint(hintCosignImport)
	}
	if len(block.Headers) > 0 {
		return nil, abi.Errorf(abi.Unsupported, "read signing key: old-style encrypted PEM is not read").WithHint(hintCosignImport)
	}
	return block, nil
}
