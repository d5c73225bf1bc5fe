// Package registry promises packs over OCI: files pushed as one reproducible artifact and pulled back only when every
// digest and every size holds, from a directory, from the registry `arw registry serve` runs, or from any other that
// speaks the OCI distribution specification 1.1.
//
// The form of the artifact, of its signatures' attachment, of tags and of references is docs/spec/pack.md. The package
// knows digests and names, neither manifests nor trust: who may have signed what is package signing's question.
//
// Every failure is an *abi.Error that names the registry and the reference. Nothing of an artifact is returned unless all
// of it has been checked, and a tag appears only when everything behind it is stored.
package registry

import (
	"cmp"
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

// Media types of a pack and of what is attached to it.
const (
	ArtifactType  = "application/vnd.arw.pack.v1"
	MediaWasm     = "application/wasm"
	MediaPackTOML = "application/vnd.arw.pack.manifest.v1+toml"
	MediaPolicy   = "application/vnd.arw.pack.policy.v1+cedar"
	MediaFile     = "application/vnd.arw.pack.file.v1"
	MediaBundle   = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Media types of a logic unit that travels alone.
const (
	UnitArtifactType = "application/vnd.arw.unit.v1"
	MediaUnitTOML    = "application/vnd.arw.unit.manifest.v1+toml"
)

// Options say how a registry is spoken to. The zero value is right for a directory, a loopback registry and public pulls.
type Options struct {
	// PlainHTTP speaks http to a host that is not loopback. A loopback host is spoken to in http without it; write
	// https:// before the location for one with a certificate.
	PlainHTTP bool
	// Credentials say who is asking; the zero value asks as nobody.
	Credentials Credentials
	// Roots are the certificate authorities to trust instead of the system's.
	Roots *x509.CertPool
	// Proxy chooses the proxy of a request, as http.ProxyFromEnvironment does; nil = none.
	Proxy func(*http.Request) (*url.URL, error)
	// Deny is asked before each request, also one that a redirect or a second attempt makes: "METHOD scheme://host/path". Its error ends it;
	// nil denies nothing.
	Deny func(target string) error
	// Replace lets Push point a version that is already published to other content.
	Replace bool

	Timeout time.Duration // for a whole operation; 0 = 10 minutes
	Stall   time.Duration // without a single byte moving; 0 = 20 seconds
	Retries int           // after the first attempt at a transfer that broke; 0 = 3, negative = none

	MaxManifest int64 // bytes; 0 = 4 MiB
	MaxLayer    int64 // bytes of one file; 0 = 256 MiB
	MaxTotal    int64 // bytes of all files; 0 = 512 MiB
	MaxFiles    int   // 0 = 1024
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Minute)
	o.Stall = cmp.Or(o.Stall, 20*time.Second)
	o.Retries = cmp.Or(o.Retries, 3)
	o.MaxManifest = cmp.Or(o.MaxManifest, layout.MaxManifest)
	o.MaxLayer = cmp.Or(o.MaxLayer, 256<<20)
	o.MaxTotal = cmp.Or(o.MaxTotal, 512<<20)
	o.MaxFiles = cmp.Or(o.MaxFiles, 1024)
	return o
}

// Progress is told how far an operation has come: what is moving, and how many of its bytes have. It is called from one
// goroutine at a time, not always that of the operation, and must not block. It may be nil.
type Progress func(what string, done, total int64)

// serial makes calls wait for each other: a request's body is read by a goroutine of net/http.
func (p Progress) serial() Progress {
	if p == nil {
		return nil
	}
	var mu sync.Mutex
	return func(what string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		p(what, done, total)
	}
}

func (p Progress) report(what string, done, total int64) {
	if p != nil {
		p(what, done, total)
	}
}

// descriptor is the layout's, which is the image specification's.
type descriptor = layout.Descriptor

// store is one kind of registry. Its methods take whole repository names and return errors without context; what they
// return has been neither hashed nor limited in size unless they say so.
type store interface {
	resolve(ctx context.Context, repo, ref string) (descriptor, error)
	// manifest reads a manifest by tag or digest, at most limit bytes.
	manifest(ctx context.Context, repo, ref string, limit int64) (descriptor, []byte, error)
	// blob opens a blob at an offset.
	blob(ctx context.Context, repo string, d descriptor, at int64) (io.ReadCloser, error)
	has(ctx context.Context, repo string, d descriptor) (bool, error)
	// put stores a blob; src opens the bytes from an offset and is called again when the transfer has to go on from one.
	put(ctx context.Context, repo string, d descriptor, src source) error
	// publish stores a manifest; with fixed, a tag that points elsewhere is left alone and abi.Conflict returned.
	publish(ctx context.Context, repo string, d descriptor, raw []byte, tag string, fixed bool) error
	tags(ctx context.Context, repo string) ([]string, error)
	names(ctx context.Context) ([]string, error)
	// referrers lists at most limit of the manifests whose subject is said to be that digest, and fails beyond.
	referrers(ctx context.Context, repo string, subject descriptor, artifactType string, limit int) ([]descriptor, error)
}

// source opens some content at an offset.
type source func(at int64) (io.ReadCloser, error)

// Registry is a handle to one registry. It is safe for concurrent use.
type Registry struct {
	location string
	prefix   string // of every repository name: empty or ending in a slash
	opts     Options
	store    store
}

// Open returns a handle to the registry at a location: "dir:/path" or "[http://|https://]host[:port][/prefix]". Nothing is
// dialled. Fails with abi.Invalid for anything else, and with the error of a credentials file that cannot be read.
func Open(location string, o Options) (*Registry, error) {
	r := &Registry{location: location, opts: o.withDefaults()}
	if dir, ok := strings.CutPrefix(location, "dir:"); ok {
		if dir == "" {
			return nil, abi.Errorf(abi.Invalid, "open registry %q: no directory", location).WithHint("write dir:/path")
		}
		d, err := layout.Open(dir)
		if err != nil {
			return nil, err
		}
		r.store = &dirStore{dir: d}
		return r, nil
	}
	if err := r.dial(); err != nil {
		return nil, err
	}
	return r, nil
}

// Location is what Open was given.
func (r *Registry) Location() string { return r.location }

// begin bounds an operation in time.
func (r *Registry) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.opts.Timeout,
		abi.Errorf(abi.Deadline, "not done after %s", r.opts.Timeout).WithHint("try again, or allow more time"))
}

// repository is the whole repository name of a pack, after checking that it is one.
func (r *Registry) repository(name string) (string, error) {
	if !packGrammar.MatchString(name) {
		return "", abi.Errorf(abi.Invalid, "%q is not the name of a pack", name).
			WithHint("write namespace/name in lower-case letters, digits and -")
	}
	return r.prefix + name, nil
}

// Close lets go of connections that are kept for the next request; the handle may still be used.
func (r *Registry) Close() {
	if s, ok := r.store.(*remoteStore); ok {
		s.idle()
	}
}
