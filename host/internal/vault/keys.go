package vault

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"github.com/arw-project/arw/abi"
)

// Keys are kept in PKCS #8, the one form that names its own kind.

// draw makes a key's value; nil for a kind that people bring.
func draw(kind string) []byte {
	var key any
	switch kind {
	case HMAC:
		return reading(32)
	case Ed25519:
		key = ed25519.NewKeyFromSeed(reading(ed25519.SeedSize))
	case P256:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err) // the system has no randomness
		}
		key = k
	default:
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // both kinds are known to it
	}
	return der
}

// unwrap takes PEM off a key that a person pasted.
func unwrap(kind string, value []byte) []byte {
	if kind == Ed25519 || kind == P256 {
		if block, _ := pem.Decode(value); block != nil {
			return block.Bytes
		}
	}
	return value
}

// derive checks a key and notes its public half.
func (s *Secret) derive(value []byte) error {
	s.Public = ""
	if s.Kind != Ed25519 && s.Kind != P256 {
		return nil
	}
	key, err := private(s.Kind, value)
	if err != nil {
		return abi.Errorf(abi.Invalid, "store secret %q: %w", s.Name, err).WithHint("give a private key in PKCS #8, as PEM or DER, or none to have one made")
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return abi.Errorf(abi.Invalid, "store secret %q: %w", s.Name, err)
	}
	s.Public = base64.StdEncoding.EncodeToString(der)
	return nil
}

func private(kind string, value []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(value)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case ed25519.PrivateKey:
		if kind == Ed25519 {
			return k, nil
		}
	case *ecdsa.PrivateKey:
		if kind == P256 && k.Curve == elliptic.P256() {
			return k, nil
		}
	}
	return nil, abi.Errorf(abi.Invalid, "the key is not of kind %q", kind)
}

// MAC authenticates data with a secret of kind hmac: 32 bytes. Errors: NotFound, Unsupported for another kind, TooLarge,
// those of the journal.
func (v *Vault) MAC(ctx context.Context, by User, name string, data []byte) (mac []byte, err error) {
	if err := fits("authenticate", name, data); err != nil {
		return nil, err
	}
	err = v.use(ctx, by, "authenticate", name, []string{HMAC}, func(e *entry) error {
		h := hmac.New(sha256.New, e.value)
		h.Write(data)
		mac = h.Sum(nil)
		return nil
	})
	return mac, err
}

// Sign signs data with a key pair: 64 bytes for ed25519, ASN.1 over the SHA-256 of the data for p256. Errors as MAC.
func (v *Vault) Sign(ctx context.Context, by User, name string, data []byte) (sig []byte, err error) {
	if err := fits("sign", name, data); err != nil {
		return nil, err
	}
	err = v.use(ctx, by, "sign", name, []string{Ed25519, P256}, func(e *entry) error {
		key, err := private(e.about.Kind, e.value)
		if err != nil {
			return abi.Errorf(abi.Corrupt, "sign with secret %q: %w", name, err)
		}
		if e.about.Kind == Ed25519 {
			sig, err = key.Sign(rand.Reader, data, crypto.Hash(0))
		} else {
			sum := sha256.Sum256(data)
			sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
		}
		return err
	})
	return sig, err
}

func fits(doing, name string, data []byte) error {
	if len(data) > MaxData {
		return abi.Errorf(abi.TooLarge, "%s with secret %q: %d bytes, at most %d are taken at once", doing, clip(name), len(data), MaxData).
			WithHint("sign a digest of it")
	}
	return nil
}
