package journal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
)

// KeyID is the SHA-256 of a public key in its SubjectPublicKeyInfo form.
type KeyID [sha256.Size]byte

// String is "sha256:" and 64 hex digits.
func (k KeyID) String() string { return digest(k[:]) }

// Keys are the public keys that a verifier believes, by id.
type Keys map[KeyID]ed25519.PublicKey

// Names of the files beside the database.
const (
	KeyFile    = "journal.key" // private, mode 0600: PEM "PRIVATE KEY" (PKCS #8)
	PublicFile = "journal.pub" // every key this journal was ever signed with: PEM "PUBLIC KEY", the newest last
)

// IDOf is the id of a public key.
func IDOf(pub ed25519.PublicKey) KeyID {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil { // it marshals every Ed25519 key
		panic(err)
	}
	return sha256.Sum256(spki)
}

// LoadKey reads the journal's key from dir and makes one the first time; the public key is added to PublicFile. Errors:
// Invalid for a file that others may read or that holds no such key, Unavailable, StorageFull.
func LoadKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, KeyFile)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	return key, notePublic(filepath.Join(dir, PublicFile), key.Public().(ed25519.PublicKey))
}

func readKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, abi.Errorf(abi.Invalid, "read the journal's key %q: others may read it (mode %04o)", path, info.Mode().Perm()).
			WithHint("chmod 600 %s; if others had access, move it away and restart for a new one", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read the journal's key %q: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, abi.Errorf(abi.Invalid, `read the journal's key %q: it holds no PEM block "PRIVATE KEY"`, path).WithHint("restore it from a backup, or move it away for a new one")
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := any.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, abi.Errorf(abi.Invalid, "read the journal's key %q: it holds no Ed25519 key", path).WithHint("restore it from a backup, or move it away for a new one")
	}
	return key, nil
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "make the journal's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "make the journal's key: %w", err)
	}
	return key, replaceFile(path, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// replaceFile writes text durably under a name that has either the old or the new content, whatever happens.
func replaceFile(path string, mode os.FileMode, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".journal-*") // mode 0600
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	return nil
}

// notePublic adds pub to the file of public keys unless it is there.
func notePublic(path string, pub ed25519.PublicKey) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return abi.Errorf(abi.Unavailable, "read the journal's public keys %q: %w", path, err)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return abi.Errorf(abi.Invalid, "read the journal's public keys %q: %w", path, err)
	}
	if _, known := keys[IDOf(pub)]; known {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return abi.Errorf(abi.Internal, "write the journal's public key: %w", err)
	}
	return replaceFile(path, 0o644, append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...))
}

// ParseKeys reads PEM blocks "PUBLIC KEY" of Ed25519 keys; text without any is no key, which is not an error. Errors:
// Invalid for another block, another sort of key or text that is no PEM.
func ParseKeys(text []byte) (Keys, error) {
	keys := Keys{}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if len(bytes.TrimSpace(text)) > 0 {
				return nil, abi.Errorf(abi.Invalid, "read public keys: there is text that is no PEM block")
			}
			return keys, nil
		}
		text = rest
		if block.Type != "PUBLIC KEY" {
			return nil, abi.Errorf(abi.Invalid, `read public keys: a PEM block %q, not "PUBLIC KEY"`, block.Type)
		}
		any, err := x509.ParsePKIXPublicKey(block.Bytes)
		pub, ok := any.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, abi.Errorf(abi.Invalid, "read public keys: a key that is not Ed25519")
		}
		keys[IDOf(pub)] = pub
	}
}

// ReadKeys is ParseKeys for a file. Errors besides: NotFound, Unavailable.
func ReadKeys(path string) (Keys, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, abi.Errorf(abi.NotFound, "read the journal's public keys %q: no such file", path)
	case err != nil:
		return nil, abi.Errorf(abi.Unavailable, "read the journal's public keys %q: %w", path, err)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read the journal's public keys %q: %w", path, err)
	}
	return keys, nil
}

func undigest(s string) ([]byte, error) {
	text, ok := strings.CutPrefix(s, "sha256:")
	b, err := hex.DecodeString(text)
	if !ok || err != nil || len(b) != sha256.Size {
		return nil, abi.Errorf(abi.Invalid, "%q is no digest", s)
	}
	return b, nil
}

// KeysIn reads the keys that lie in a state directory; nil when there are none. Errors as for ReadKeys, but NotFound.
func KeysIn(dir string) (Keys, error) {
	keys, err := ReadKeys(filepath.Join(dir, PublicFile))
	if abi.CodeOf(err) == abi.NotFound {
		return nil, nil
	}
	return keys, err
}
