//go:build !wasip1

package guest

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"

	"github.com/arw-project/arw/abi"
)

// signer is the ed25519 key of a secret: its seed is the digest of the secret's bytes.
func (m *Memory) signer(function, name string) (ed25519.PrivateKey, error) {
	secret, ok := m.Secrets[name]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "%s %q: there is no such secret", function, name)
	}
	seed := sha256.Sum256(secret)
	return ed25519.NewKeyFromSeed(seed[:]), nil
}

func hostSecretPublic(c *Call, name string, out []byte) abi.Status {
	return c.sys.lookup("secret.public", out, func() ([]byte, error) {
		key, err := c.sys.signer("secret.public", name)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(key.Public())
	})
}

func hostSecretMAC(c *Call, name string, content, out []byte) abi.Status {
	return c.sys.lookup("secret.mac", out, func() ([]byte, error) {
		secret, ok := c.sys.Secrets[name]
		if !ok {
			return nil, abi.Errorf(abi.NotFound, "secret.mac %q: there is no such secret", name)
		}
		h := hmac.New(sha256.New, secret)
		h.Write(content)
		return h.Sum(nil), nil
	})
}

func hostSecretSign(c *Call, name string, content, out []byte) abi.Status {
	return c.sys.lookup("secret.sign", out, func() ([]byte, error) {
		key, err := c.sys.signer("secret.sign", name)
		if err != nil {
			return nil, err
		}
		return ed25519.Sign(key, content), nil
	})
}

func hostUnpack(c *Call, raw, out []byte) abi.Status {
	return c.sys.lookup("archive.unpack", out, func() ([]byte, error) {
		var req abi.ArchiveUnpack
		if err := json.Unmarshal(raw, &req); err != nil {
			return nil, abi.Errorf(abi.Invalid, "unpack: %w", err)
		}
		for _, path := range []string{req.From, req.To} {
			if err := c.sys.leased("archive.unpack", path); err != nil {
				return nil, err
			}
		}
		if c.sys.Unpack == nil {
			return nil, abi.Errorf(abi.Unsupported, "unpack %q: set Memory.Unpack", req.From)
		}
		got, err := c.sys.Unpack(req)
		if err != nil {
			return nil, err
		}
		return json.Marshal(got)
	})
}
