package rehearse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
	unpack "github.com/arw-project/arw/host/internal/archive"
	"github.com/arw-project/arw/host/internal/vault"
)

type (
	secrets  struct{ *world }
	archives struct{ *world }
)

// parseKey reads a secret of a world: "hmac:" and the key's text, "ed25519:" and a text from which the key is drawn, or
// "token:" and the beginning of the URLs that it is for; a world has no use for a token's own text.
// A signature on P-256 differs from run to run, so a world has none.
func parseKey(text string) (vault.Key, string) {
	kind, value, ok := strings.Cut(text, ":")
	switch {
	case !ok || value == "":
	case kind == vault.HMAC:
		return vault.Key{Kind: kind, Value: []byte(value)}, ""
	case kind == vault.Ed25519:
		seed := sha256.Sum256([]byte(value))
		return vault.SeedKey(seed), ""
	case kind == vault.Token && strings.Contains(value, "://"):
		return vault.Key{Kind: kind, Value: []byte(value)}, ""
	}
	return vault.Key{}, fmt.Sprintf("%q is no secret of a world", text)
}

func (s secrets) Public(_ context.Context, name string) (out []byte, err error) {
	err = s.did("secret.public", name, name, func() (string, error) {
		k, err := s.key(name)
		if err == nil {
			out, err = k.Public()
		}
		return count(len(out), "byte", false), err
	})
	return out, err
}

func (s secrets) MAC(_ context.Context, name string, data []byte) ([]byte, error) {
	return s.apply("secret.mac", name, data, vault.Key.MAC)
}

func (s secrets) Sign(_ context.Context, name string, data []byte) ([]byte, error) {
	return s.apply("secret.sign", name, data, vault.Key.Sign)
}

func (s secrets) apply(function, name string, data []byte, do func(vault.Key, []byte) ([]byte, error)) (out []byte, err error) {
	err = s.did(function, name, name+" "+show(data), func() (string, error) {
		k, err := s.key(name)
		if err == nil {
			out, err = do(k, data)
		}
		return count(len(out), "byte", false), err
	})
	return out, err
}

func (s secrets) key(name string) (vault.Key, error) {
	k, ok := s.world.keys[name]
	if !ok {
		return k, abi.Errorf(abi.NotFound, "use secret %q: there is none of that name", name)
	}
	return k, nil
}

// carries says whether a request may carry the tokens it names: each leased, there, and meant for where the request goes.
func (s secrets) carries(ctx context.Context, names []string, url string) error {
	for _, name := range names {
		if _, granted := s.scopes[abi.Secret]; !granted {
			return abi.Errorf(abi.Denied, "send secret %q: [capabilities.secret] is not granted", name)
		}
		if _, err := s.Use(ctx, abi.Secret, name, 0); err != nil {
			return err
		}
		if err := s.refuse("secret", name); err != nil {
			return err
		}
		k, err := s.key(name)
		switch {
		case err != nil:
			return err
		case k.Kind != vault.Token:
			return abi.Errorf(abi.Unsupported, "send secret %q: it is a key, not a token", name)
		case !strings.HasPrefix(url, string(k.Value)):
			return abi.Errorf(abi.Denied, "send secret %q to %q: its audience is %q", name, url, k.Value)
		}
	}
	return nil
}

// Unpack implements wasm.Archive with the host's own code, in a folder that is there for the length of the call.
func (a archives) Unpack(ctx context.Context, _, _ string, req abi.ArchiveUnpack) (got abi.ArchiveUnpacked, err error) {
	err = a.did("archive.unpack", req.From, req.From+" "+req.To, func() (string, error) {
		f := folders(a)
		if e, err := f.find("unpack", req.From); err != nil || e.Mode != "file" {
			return "", cmpErr(err, abi.Errorf(abi.Unsupported, "unpack %q: it is a folder, not a file", req.From))
		}
		if e, ok := f.entry(req.To); ok {
			return "", abi.Errorf(abi.Conflict, "unpack to %q: a %s is there", req.To, e.Mode)
		}
		made, err := a.expand(ctx, req, &got)
		for name, data := range made {
			a.files[path.Join(req.To, name)] = data
		}
		return count(got.Files, "file", false), err
	})
	return got, err
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (a archives) expand(ctx context.Context, req abi.ArchiveUnpack, got *abi.ArchiveUnpacked) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "arw-rehearse-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if *got, err = unpack.Expand(ctx, bytes.NewReader(a.files[req.From]), root, "out", req); err != nil {
		return nil, err
	}
	made := map[string][]byte{}
	err = filepath.WalkDir(filepath.Join(dir, "out"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(dir, "out"), p)
		if err == nil {
			made[filepath.ToSlash(rel)], err = os.ReadFile(p)
		}
		return err
	})
	return made, err
}
