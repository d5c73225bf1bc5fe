package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"

	"github.com/arw-project/arw/abi"
)

// Signer is the key as the standard library has it, for signatures that are not Sigstore's: the metadata of an index.
func (k *Key) Signer() crypto.Signer { return k.private }

// ParsePublicKey reads the PEM block that PublicPEM wrote and gives the key and its ID. Errors: Invalid, Unsupported (a
// key of another kind than ECDSA P-256).
func ParsePublicKey(text []byte) (crypto.PublicKey, string, error) {
	if len(text) > maxKeyFile {
		return nil, "", abi.Errorf(abi.TooLarge, "read public key: %d bytes, a key file has at most %d", len(text), maxKeyFile)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemPublic || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, "", abi.Errorf(abi.Invalid, "read public key: it is not one PEM block %q", pemPublic).
			WithHint("name the .pub file that `arw key generate` wrote")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, "", abi.Errorf(abi.Invalid, "read public key: %w", err).WithHint("name the .pub file that `arw key generate` wrote")
	}
	if ec, ok := pub.(*ecdsa.PublicKey); !ok || ec.Curve != elliptic.P256() {
		return nil, "", abi.Errorf(abi.Unsupported, "read public key: it is %T, not ECDSA P-256", pub).WithHint(hintCosignImport)
	}
	return pub, keyID(block.Bytes), nil
}
