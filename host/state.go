package host

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/signing"
)

// operator reads the operator's token, making one the first time, and returns the check. The comparison is of digests,
// so that it takes the same time whatever is offered.
func operator(path string) (func(string) bool, error) {
	token, err := readToken(path)
	if errors.Is(err, fs.ErrNotExist) {
		token, err = makeToken(path)
	}
	if err != nil {
		return nil, err
	}
	want := sha256.Sum256(token)
	return func(offered string) bool {
		got := sha256.Sum256([]byte(offered))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}, nil
}

func readToken(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, abi.Errorf(abi.Invalid, "read operator token %q: others may read it (mode %04o)", path, info.Mode().Perm()).
			WithHint("chmod 600 %s; if others had access, delete it and restart for a new one", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read operator token %q: %w", path, err)
	}
	token := bytes.TrimSpace(text)
	if len(token) < 32 {
		return nil, abi.Errorf(abi.Invalid, "read operator token %q: it has %d characters, at least 32 are needed", path, len(token)).
			WithHint("delete it and restart for a new one")
	}
	return token, nil
}

// makeToken writes 32 random bytes durably before anyone can rely on them.
func makeToken(path string) ([]byte, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, abi.Errorf(abi.Internal, "make operator token: %w", err)
	}
	token := []byte(base64.RawURLEncoding.EncodeToString(secret))
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "make operator token %q: %w", path, err)
	}
	_, err = f.Write(append(slices.Clone(token), '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return nil, abi.Errorf(abi.Unavailable, "make operator token %q: %w", path, err)
	}
	return token, nil
}

// loadPolicy reads the shipped policies and the operator's. Any fault stops the start: a policy that silently does not
// apply is worse than none.
func loadPolicy(dir string, base []policy.Source) (*policy.Set, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read policies in %q: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read policies in %q: %w", dir, err)
	}
	files := slices.Clone(base)
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".cedar") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "read policy %q: %w", name, err)
		}
		files = append(files, policy.Source{Name: e.Name(), Text: text}) // without the folder: the set's digest must not depend on it
	}
	set, err := policy.Load(files)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read policies in %q: %w", dir, err).WithHint("%s", abi.HintOf(err))
	}
	return set, nil
}

// nobody is the trust policy of a host without trust.toml.
const nobody = "schema = 1\n"

// loadTrust reads trust.toml; the keys and roots it names are read from its own folder.
func loadTrust(file string, log *slog.Logger) (*signing.Policy, error) {
	src, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Warn("there is no trust policy, so no pack will be installed", "file", file,
			"hint", "say whose signatures count: arw trust add")
		src = []byte(nobody)
	case err != nil:
		return nil, abi.Errorf(abi.Unavailable, "read trust policy %q: %w", file, err)
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read trust policy %q: %w", file, err)
	}
	defer root.Close()
	p, err := signing.ParsePolicy(file, src, root.ReadFile)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings() {
		log.Warn("trust policy", "warning", w)
	}
	return p, nil
}
