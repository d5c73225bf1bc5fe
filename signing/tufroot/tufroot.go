// Package tufroot fetches the files a Sigstore deployment publishes about itself, trusted_root.json and
// signing_config.json, through TUF: from an https address or a directory, starting from a root.json that is pinned. It is
// the one place where trust is renewed over a network, and only when it is called.
package tufroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
)

// PublicGood is where Sigstore's public deployment publishes.
const PublicGood = tuf.DefaultMirror

// The targets, as Sigstore names them.
const (
	targetRoot   = "trusted_root.json"
	targetConfig = "signing_config.v0.2.json"
)

// Source says where to fetch from and what to believe of it.
type Source struct {
	From      string            // an https address, or a directory; empty: PublicGood
	Root      []byte            // the pinned root.json; empty: the one of PublicGood, which goes with no other source
	Cache     string            // directory that remembers what was seen, so that an older state is refused; required
	Transport http.RoundTripper // for addresses
}

// Files are what a deployment says of itself.
type Files struct {
	TrustedRoot   []byte
	SigningConfig []byte // nil: it publishes none
}

// Fetch renews the metadata and reads the files. Errors: Invalid (the source), Untrusted (metadata that is expired, older
// than what was seen, or not signed as the root wants), Unavailable.
func Fetch(ctx context.Context, s Source) (*Files, error) {
	if s.From == "" {
		s.From = PublicGood
	}
	if len(s.Root) == 0 && s.From != PublicGood {
		return nil, abi.Errorf(abi.Invalid, "fetch a trusted root from %q: no root.json is pinned for it", s.From).
			WithHint("give the root.json that its operator handed to you, with --root")
	}
	if len(s.Root) == 0 {
		s.Root = tuf.DefaultRoot()
	}
	if s.Cache == "" {
		return nil, abi.Errorf(abi.Invalid, "fetch a trusted root from %q: no place to remember what was seen", s.From)
	}
	base, fetcher, err := s.fetcher(ctx)
	if err != nil {
		return nil, err
	}
	client, err := tuf.New(&tuf.Options{Root: s.Root, RepositoryBaseURL: base, CachePath: s.Cache, Fetcher: fetcher, Context: ctx})
	if err != nil {
		return nil, s.fault(ctx, err, "metadata")
	}
	out := &Files{}
	if out.TrustedRoot, err = client.GetTarget(targetRoot); err != nil {
		return nil, s.fault(ctx, err, targetRoot)
	}
	if out.SigningConfig, err = client.GetTarget(targetConfig); err != nil {
		if !strings.Contains(err.Error(), "not found") {
			return nil, s.fault(ctx, err, targetConfig)
		}
		out.SigningConfig = nil // a deployment for verifiers only
	}
	return out, nil
}

func (s Source) fault(ctx context.Context, err error, what string) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	var wire *url.Error
	var status *metadata.ErrDownloadHTTP
	if errors.As(err, &wire) || errors.As(err, &status) || errors.Is(err, fs.ErrNotExist) {
		return abi.Errorf(abi.Unavailable, "fetch %s from %q: %w", what, s.From, err).WithHint("see that the source is right and reachable")
	}
	return abi.Errorf(abi.Untrusted, "fetch %s from %q: %w", what, s.From, err).
		WithHint("the source is stale, was tampered with, or is not the one whose root.json is pinned")
}

// dirBase stands for a directory where the library wants an address.
const dirBase = "https://directory.invalid"

// maxFile bounds what is read, whatever the metadata says.
const maxFile = 16 << 20

func (s Source) fetcher(ctx context.Context) (string, fetcher, error) {
	if strings.HasPrefix(s.From, "https://") || strings.HasPrefix(s.From, "http://") {
		u, err := url.Parse(s.From)
		if err != nil || u.Host == "" || u.User != nil {
			return "", nil, abi.Errorf(abi.Invalid, "fetch a trusted root: %q is not an address", s.From)
		}
		if s.Transport == nil {
			return "", nil, abi.Errorf(abi.Invalid, "fetch a trusted root from %q: there is no network here", s.From)
		}
		// TUF signs what it serves, so plain http harms nobody but by delay.
		return s.From, web{ctx, &http.Client{Transport: s.Transport, Timeout: time.Minute}}, nil
	}
	info, err := os.Stat(s.From)
	if err != nil || !info.IsDir() {
		return "", nil, abi.Errorf(abi.NotFound, "fetch a trusted root: %q is neither an address nor a directory", s.From)
	}
	full, err := filepath.Abs(s.From)
	if err != nil {
		return "", nil, abi.Errorf(abi.Invalid, "fetch a trusted root from %q: %w", s.From, err)
	}
	return dirBase + filepath.ToSlash(full), directory{full, dirBase + filepath.ToSlash(full)}, nil
}

// fetcher is what the TUF library asks for files.
type fetcher interface {
	DownloadFile(name string, limit int64, _ time.Duration) ([]byte, error)
}

type web struct {
	ctx    context.Context
	client *http.Client
}

func (w web) DownloadFile(at string, limit int64, _ time.Duration) ([]byte, error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: at}
	}
	return readUpTo(resp.Body, limit, at)
}

// directory serves a TUF repository from a folder; a root version that is not there is how the library learns that it has
// the latest.
type directory struct{ dir, base string }

func (d directory) DownloadFile(at string, limit int64, _ time.Duration) ([]byte, error) {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name, err := url.PathUnescape(strings.TrimPrefix(strings.TrimPrefix(at, d.base), "/"))
	if err != nil {
		return nil, err
	}
	f, err := root.Open(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: at}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readUpTo(f, limit, at)
}

func readUpTo(r io.Reader, limit int64, at string) ([]byte, error) {
	if limit <= 0 || limit > maxFile {
		limit = maxFile
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s has more than %d bytes", at, limit)}
	}
	return data, nil
}
