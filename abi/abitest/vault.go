package abitest

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Secret is the world's secrets: "mac", a key for HMAC whose bytes are "key", and "sign", an Ed25519 key pair whose seed is
// 32 zeros.
type Secret struct{}

// Secret gives the part of that name.
func (w *World) Secret() Secret { return Secret{} }

func signer(name string) (ed25519.PrivateKey, error) {
	if name != "sign" {
		return nil, abi.Errorf(abi.NotFound, "there is no key pair %q", name)
	}
	return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), nil
}

// Public is the public half of a key pair.
func (Secret) Public(_ context.Context, name string) ([]byte, error) {
	key, err := signer(name)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(key.Public())
}

// MAC authenticates.
func (Secret) MAC(_ context.Context, name string, data []byte) ([]byte, error) {
	if name != "mac" {
		return nil, abi.Errorf(abi.NotFound, "there is no key %q", name)
	}
	h := hmac.New(sha256.New, []byte("key"))
	h.Write(data)
	return h.Sum(nil), nil
}

// Sign signs.
func (Secret) Sign(_ context.Context, name string, data []byte) ([]byte, error) {
	key, err := signer(name)
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(key, data), nil
}

// Config is the world's configuration: the one document "recipes/suite".
type Config struct{}

// Config gives the part of that name.
func (w *World) Config() Config { return Config{} }

// Get reads a document.
func (Config) Get(_ context.Context, name string) ([]byte, error) {
	if name != "recipes/suite" {
		return nil, abi.Errorf(abi.NotFound, "there is no document %q", name)
	}
	return []byte(`{"depth":3,"ratio":0.5,"words":["a","ü"]}`), nil
}

// Archive unpacks zip files of the world's folder.
type Archive struct{ w *World }

// Archive gives the part of that name.
func (w *World) Archive() Archive { return Archive{w} }

// Unpack unpacks all of an archive or nothing.
func (a Archive) Unpack(ctx context.Context, _, _ string, req abi.ArchiveUnpack) (got abi.ArchiveUnpacked, err error) {
	fs := a.w.FS()
	a.w.mu.Lock()
	raw, ok := a.w.files[req.From]
	_, taken := a.w.entry(req.To)
	a.w.mu.Unlock()
	switch {
	case !ok:
		return got, abi.Errorf(abi.NotFound, "there is no file %q", req.From)
	case taken == nil:
		return got, abi.Errorf(abi.Conflict, "%q is there already", req.To)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return got, abi.Errorf(abi.Invalid, "%q is no archive", req.From)
	}
	made, folders := map[string][]byte{}, []string{}
	for _, f := range z.File {
		parts := strings.Split(f.Name, "/")
		if len(parts) <= req.StripComponents {
			continue
		}
		name := path.Join(append([]string{req.To}, parts[req.StripComponents:]...)...)
		r, err := f.Open()
		if err != nil {
			return got, err
		}
		if made[name], err = io.ReadAll(r); err != nil {
			return got, err
		}
		for dir := path.Dir(name); dir != req.To && !slices.Contains(folders, dir); dir = path.Dir(dir) {
			folders = append(folders, dir)
		}
		got.Bytes += int64(len(made[name]))
	}
	if req.MaxTotalBytes > 0 && got.Bytes > req.MaxTotalBytes {
		return got, abi.Errorf(abi.TooLarge, "%d bytes, at most %d are allowed", got.Bytes, req.MaxTotalBytes)
	}
	for name, data := range made {
		if err := fs.Write(ctx, "", name, data); err != nil {
			return got, err
		}
	}
	got.Format, got.Files, got.Folders, got.Depth = "zip", len(made), len(folders), 1
	return got, nil
}

// zipped is an archive of two small files.
func zipped() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{{"x/a.txt", "hello"}, {"x/b/c.txt", "deep"}} {
		w, err := z.Create(f[0])
		if err == nil {
			_, err = io.WriteString(w, f[1])
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
