package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
)

// keyPrefix marks a key file and its version.
const keyPrefix = "arw-vault-key-1 "

// sealer seals values.
type sealer struct{ aead cipher.AEAD }

// openSealer reads the key file, or makes it when that is allowed.
func openSealer(path string, fresh bool) (*sealer, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && fresh:
		return makeKey(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, abi.Errorf(abi.Corrupt, "open the vault: it holds secrets, and its key %q is missing", path).
			WithHint("restore the key file; without it the secrets are lost and must be stored again in a new state directory")
	case err != nil:
		return nil, abi.Errorf(abi.Unavailable, "open the vault: %w", err)
	}
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
		return nil, abi.Errorf(abi.Denied, "open the vault: others can read its key %q (mode %o)", path, st.Mode().Perm()).
			WithHint("chmod 600 %s, and store the secrets anew if somebody else may have read it", path)
	}
	key, ok := strings.CutPrefix(strings.TrimSpace(string(text)), keyPrefix)
	raw, err := base64.StdEncoding.DecodeString(key)
	if !ok || err != nil || len(raw) != 32 {
		return nil, abi.Errorf(abi.Corrupt, "open the vault: %q is no key of a vault", path).WithHint("restore it from a backup")
	}
	defer clear(raw)
	return newSealer(raw)
}

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "open the vault: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "open the vault: %w", err)
	}
	return &sealer{aead}, nil
}

// makeKey writes a new key durably before anything is sealed with it.
func makeKey(path string) (*sealer, error) {
	raw := reading(32)
	defer clear(raw)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "make the vault's key: %w", err)
	}
	_, err = f.WriteString(keyPrefix + base64.StdEncoding.EncodeToString(raw) + "\n")
	err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
	if err != nil {
		_ = os.Remove(path)
		return nil, abi.Errorf(abi.StorageFull, "make the vault's key %q: %w", path, err)
	}
	return newSealer(raw)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// close seals a value, bound to everything that is said about it.
func (s *sealer) close(about Secret, value []byte) (text string, nonce, box []byte, err error) {
	data, err := json.Marshal(about)
	if err != nil {
		return "", nil, nil, abi.Errorf(abi.Internal, "seal secret %q: %w", about.Name, err)
	}
	nonce = reading(s.aead.NonceSize())
	return string(data), nonce, s.aead.Seal(nil, nonce, value, data), nil
}

func (s *sealer) open(name, about string, nonce, box []byte) (*entry, error) {
	bad := func(err error) error {
		return abi.Errorf(abi.Corrupt, "open secret %q: %w", name, err).
			WithHint("the key file and the database belong to different times; restore both from one backup")
	}
	var e entry
	if len(nonce) != s.aead.NonceSize() {
		return nil, bad(errors.New("its nonce has another length"))
	}
	value, err := s.aead.Open(nil, nonce, box, []byte(about))
	if err != nil {
		return nil, bad(err)
	}
	if err := json.Unmarshal([]byte(about), &e.about); err != nil || e.about.Name != name {
		return nil, bad(errors.Join(err, errors.New("it is sealed for another name")))
	}
	e.value = value
	return &e, nil
}
