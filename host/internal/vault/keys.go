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

// Public is the public half of a key pair, PKIX in DER. Errors: NotFound, Unsupported for what has none.
func (v *Vault) Public(name string) ([]byte, error) {
	s, err := v.Get(name)
	if err != nil {
		return nil, err
	}
	if s.Public == "" {
		return nil, abi.Errorf(abi.Unsupported, "give the public half of secret %q: it is of kind %q", name, s.Kind)
	}
	return base64.StdEncoding.DecodeString(s.Public)
}

// Key is a value and what it is, apart from any vault.
type Key struct {
	Kind  string
	Value []byte
}

// SeedKey is the ed25519 key of a seed.
func SeedKey(seed [ed25519.SeedSize]byte) Key {
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic(err) // the kind is known to it
	}
	return Key{Ed25519, der}
}

// Public is the public half of a key pair, PKIX in DER. Errors: Unsupported for what has none.
func (k Key) Public() ([]byte, error) {
	key, err := private(k.Kind, k.Value)
	if err != nil {
		return nil, abi.Errorf(abi.Unsupported, "give the public half of a secret of kind %q", k.Kind)
	}
	return x509.MarshalPKIXPublicKey(key.Public())
}

// MAC is the HMAC-SHA-256 of data. Errors: Unsupported for a key of another kind.
func (k Key) MAC(data []byte) ([]byte, error) {
	if k.Kind != HMAC {
		return nil, abi.Errorf(abi.Unsupported, "authenticate with a secret of kind %q", k.Kind)
	}
	h := hmac.New(sha256.New, k.Value)
	h.Write(data)
	return h.Sum(nil), nil
}

// Sign signs data: 64 bytes for ed25519, ASN.1 over the SHA-256 of the data for p256. Errors: Unsupported for a key of
// another kind.
func (k Key) Sign(data []byte) ([]byte, error) {
	key, err := private(k.Kind, k.Value)
	switch {
	case err != nil:
		return nil, abi.Errorf(abi.Unsupported, "sign with a secret of kind %q", k.Kind)
	case k.Kind == Ed25519:
		return key.Sign(rand.Reader, data, crypto.Hash(0))
	}
	sum := sha256.Sum256(data)
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// MAC authenticates data with a secret of kind hmac. Errors: NotFound, Unsupported for another kind, TooLarge, those of
// the journal.
func (v *Vault) MAC(ctx context.Context, by User, name string, data []byte) ([]byte, error) {
	return v.apply(ctx, by, "authenticate", name, []string{HMAC}, data, Key.MAC)
}

// Sign signs data with a key pair. Errors as MAC.
func (v *Vault) Sign(ctx context.Context, by User, name string, data []byte) ([]byte, error) {
	return v.apply(ctx, by, "sign", name, []string{Ed25519, P256}, data, Key.Sign)
}

func (v *Vault) apply(ctx context.Context, by User, doing, name string, kinds []string, data []byte, do func(Key, []byte) ([]byte, error)) (out []byte, err error) {
	if len(data) > MaxData {
		return nil, abi.Errorf(abi.TooLarge, "%s with secret %q: %d bytes, at most %d are taken at once", doing, clip(name), len(data), MaxData).
			WithHint("sign a digest of it")
	}
	err = v.use(ctx, by, doing, name, kinds, nil, func(e *entry) error {
		out, err = do(Key{e.about.Kind, e.value}, data)
		return err
	})
	return out, err
}
