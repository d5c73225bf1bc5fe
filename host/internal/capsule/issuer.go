package capsule

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// IssuersFile is the name of the trust file in the state directory.
const IssuersFile = "capsules.toml"

// Issuers are whose capsules may be adopted. The zero value trusts nobody. It never changes.
type Issuers struct {
	keys   map[string]any // ed25519.PublicKey or *ecdsa.PublicKey
	digest string
}

// Digest names the file they were read from; empty for the zero value.
func (s *Issuers) Digest() string { return s.digest }

type rawIssuers struct {
	Schema  int         `toml:"schema,required"`
	Issuers []rawIssuer `toml:"issuer"`
}

type rawIssuer struct {
	ID  string `toml:"id,required"`
	Key string `toml:"public_key,required"`
}

// ParseIssuers reads capsules.toml. Nothing in it may be unknown, mistyped or doubled. The error is an *abi.Error with code
// Invalid that holds every problem with its line.
func ParseIssuers(file string, src []byte) (*Issuers, error) {
	var raw rawIssuers
	lines, err := strict.Decode(file, src, &raw)
	problems, ok := err.(strict.Problems)
	if err != nil && !ok {
		return nil, abi.Errorf(abi.Internal, "read issuers %q: %w", file, err)
	}
	if err == nil && raw.Schema != 1 {
		problems = append(problems, lines.Problem(fmt.Sprintf("this host reads schema 1, not %d", raw.Schema), "", "schema"))
	}
	sum := sha256.Sum256(src)
	s := &Issuers{keys: map[string]any{}, digest: "sha256:" + hex.EncodeToString(sum[:])}
	for i, r := range raw.Issuers {
		key, wrong := publicKey(r.Key)
		switch _, twice := s.keys[r.ID]; {
		case lines == nil:
		case !idForm.MatchString(r.ID):
			problems = append(problems, lines.Problem(fmt.Sprintf("the issuer %.80q is no id", r.ID), "", "issuer", i, "id"))
		case twice:
			problems = append(problems, lines.Problem(fmt.Sprintf("the issuer %q stands here twice", r.ID), "", "issuer", i, "id"))
		case wrong != "":
			problems = append(problems, lines.Problem(wrong, "", "issuer", i, "public_key"))
		}
		s.keys[r.ID] = key
	}
	if len(problems) > 0 {
		return nil, abi.Errorf(abi.Invalid, "read issuers of capsules: %w", problems).WithDetail(problems).
			WithHint("mend the named lines; until then nothing of the file holds")
	}
	return s, nil
}

func publicKey(text string) (any, string) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(block.Headers) > 0 || len(rest) > 0 {
		return nil, "public_key is one PEM block PUBLIC KEY, as `arw key generate` writes NAME.pub"
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Sprintf("public_key: %v", err)
	}
	switch k := key.(type) {
	case ed25519.PublicKey:
		return k, ""
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return k, ""
		}
	}
	return nil, "public_key is neither Ed25519 nor ECDSA P-256"
}

// Verify checks who signed an envelope. Errors: Unsigned, Untrusted.
func (s *Issuers) Verify(e *Envelope) error {
	c := &e.Capsule
	if e.Signature == "" {
		return abi.Errorf(abi.Unsigned, "verify capsule %q: nobody signed it", c.ID)
	}
	key, known := s.keys[c.Issuer]
	if !known {
		return abi.Errorf(abi.Untrusted, "verify capsule %q: the issuer %q is not in %s", c.ID, c.Issuer, IssuersFile)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(e.Signature)
	msg, broken := c.signed()
	good := false
	if err == nil && broken == nil {
		switch k := key.(type) {
		case ed25519.PublicKey:
			good = ed25519.Verify(k, msg, sig)
		case *ecdsa.PublicKey:
			sum := sha256.Sum256(msg)
			good = ecdsa.VerifyASN1(k, sum[:], sig)
		}
	}
	if !good {
		return abi.Errorf(abi.Untrusted, "verify capsule %q: the signature is not one of %q over this content", c.ID, c.Issuer).
			WithHint("it was changed on its way, or %s has another key", IssuersFile)
	}
	return nil
}
