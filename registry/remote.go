package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/arw-project/arw/abi"
)

// maxPages bounds lists that a registry hands out in pages.
const maxPages = 64

// remoteStore is a registry that is spoken to over HTTP.
type remoteStore struct {
	host   string // as in the location
	plain  bool
	client *auth.Client
	idle   func()
	opts   Options
	repos  sync.Map // name → *remote.Repository, which remembers whether the registry has the referrers API
}

// dial makes the store of a location; nothing is sent.
func (r *Registry) dial() error {
	rest, plain := r.location, r.opts.PlainHTTP
	scheme, after, ok := strings.Cut(rest, "://")
	if ok {
		rest = after
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	switch {
	case ok && scheme != "http" && scheme != "https":
		return badLocation(r.location)
	case !hostGrammar.MatchString(host) || (prefix != "" && !prefixGrammar.MatchString(prefix)):
		return badLocation(r.location)
	case scheme == "http", !ok && isLoopback(host):
		plain = true
	case scheme == "https":
		plain = false
	}
	if scheme == "http" && !isLoopback(host) && !r.opts.PlainHTTP {
		return abi.Errorf(abi.Denied, "open registry %q: http is for this machine only", r.location).
			WithHint("use https, or allow plain http for this registry")
	}
	if prefix != "" {
		r.prefix = prefix + "/"
	}
	find, err := r.opts.Credentials.lookup(orasregistry.Reference{Registry: host}.Host())
	if err != nil {
		return err
	}
	wire := orasregistry.Reference{Registry: host}.Host()
	hc, base := newClient(wire, r.opts)
	s := &remoteStore{host: host, plain: plain, opts: r.opts, idle: base.CloseIdleConnections}
	s.client = &auth.Client{Client: hc, Credential: find, Cache: auth.NewCache(), ClientID: "arw",
		Header: http.Header{"User-Agent": {"arw"}}}
	if isLoopback(host) { // its token service may be on this machine too
		s.client.BlockedRealmPrefixes = slices.DeleteFunc(auth.DefaultBlockedRealmPrefixes(),
			func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
	}
	r.store = s
	return nil
}

func badLocation(location string) error {
	return abi.Errorf(abi.Invalid, "open registry %q: not a registry", location).
		WithHint("write host:port, host:port/prefix or dir:/path")
}

// isLoopback reports whether a host is this machine by its name or address.
func isLoopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}

// repo gives oras' view of a repository.
func (s *remoteStore) repo(name string) *remote.Repository {
	v, ok := s.repos.Load(name)
	if !ok {
		v, _ = s.repos.LoadOrStore(name, &remote.Repository{
			Client:               s.client,
			Reference:            orasregistry.Reference{Registry: s.host, Repository: name},
			PlainHTTP:            s.plain,
			TagListMaxPages:      maxPages,
			ReferrerListMaxPages: maxPages,
			MaxMetadataBytes:     s.opts.MaxManifest,
			SkipReferrersGC:      true, // many registries refuse deletes; an old list does no harm
		})
	}
	return v.(*remote.Repository)
}

// endpoint is the URL of something below a repository.
func (s *remoteStore) endpoint(repo string, parts ...string) *url.URL {
	u := &url.URL{Scheme: "https", Host: orasregistry.Reference{Registry: s.host}.Host()}
	if s.plain {
		u.Scheme = "http"
	}
	return u.JoinPath(append([]string{"v2", repo}, parts...)...)
}

// do sends a request with the right to pull, and to push where asked, and returns an answer of one of the wanted statuses.
func (s *remoteStore) do(ctx context.Context, repo string, push bool, req *http.Request, want ...int) (*http.Response, error) {
	actions := []string{auth.ActionPull}
	if push {
		actions = append(actions, auth.ActionPush)
	}
	ctx = auth.AppendRepositoryScope(ctx, s.repo(repo).Reference, actions...)
	resp, err := s.client.Do(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if slices.Contains(want, resp.StatusCode) {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, answered(resp)
}

// refusal is an answer that says no.
type refusal struct {
	method, path  string
	status        int
	code, message string
}

func (e *refusal) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.method, e.path, e.status, http.StatusText(e.status))
	if e.code != "" {
		text += ": " + strings.ToLower(strings.ReplaceAll(e.code, "_", " "))
	}
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// answered reads the error body of the specification, if the answer has one.
func answered(resp *http.Response) error {
	e := &refusal{method: resp.Request.Method, path: resp.Request.URL.Path, status: resp.StatusCode}
	var body struct {
		Errors []struct{ Code, Message string } `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&body) == nil && len(body.Errors) > 0 {
		e.code, e.message = clip(body.Errors[0].Code), clip(body.Errors[0].Message)
	}
	return e
}

// clip makes a stranger's words fit to be shown.
func clip(s string) string {
	s = strings.Map(func(c rune) rune {
		if oddRune(c) && c != ':' && c != '\\' {
			return -1
		}
		return c
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

var manifestTypes = strings.Join([]string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"}, ", ")

func (s *remoteStore) getManifest(ctx context.Context, method, repo, ref string) (*http.Response, descriptor, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.endpoint(repo, "manifests", ref).String(), nil)
	if err != nil {
		return nil, descriptor{}, err
	}
	req.Header.Set("Accept", manifestTypes)
	resp, err := s.do(ctx, repo, false, req, http.StatusOK)
	if err != nil {
		return nil, descriptor{}, err
	}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp, descriptor{MediaType: mediaType, Digest: resp.Header.Get("Docker-Content-Digest"), Size: resp.ContentLength}, nil
}

// resolve asks for the head alone; registries that do not say the digest there are asked for the manifest.
func (s *remoteStore) resolve(ctx context.Context, repo, ref string) (descriptor, error) {
	resp, d, err := s.getManifest(ctx, http.MethodHead, repo, ref)
	if err != nil {
		return d, err
	}
	resp.Body.Close()
	if d.Digest == "" || d.Size < 0 {
		d, _, err = s.manifest(ctx, repo, ref, s.opts.MaxManifest)
	}
	return d, err
}

// manifest reads the manifest; its descriptor's digest is the one the registry announces, or that of the bytes when it
// announces none or one of another algorithm.
func (s *remoteStore) manifest(ctx context.Context, repo, ref string, limit int64) (descriptor, []byte, error) {
	resp, d, err := s.getManifest(ctx, http.MethodGet, repo, ref)
	if err != nil {
		return d, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return d, nil, fmt.Errorf("read the manifest: %w", err)
	}
	if int64(len(raw)) > limit {
		return d, nil, abi.Errorf(abi.TooLarge, "the manifest has more than %d bytes", limit)
	}
	if d.Size < 0 {
		d.Size = int64(len(raw))
	}
	if !strings.HasPrefix(d.Digest, "sha256:") {
		d.Digest = digestOf(raw)
	}
	return d, raw, nil
}

// blob opens a blob at an offset. Registries that cannot do ranges send all of it and the beginning is thrown away.
func (s *remoteStore) blob(ctx context.Context, repo string, d descriptor, at int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoint(repo, "blobs", d.Digest).String(), nil)
	if err != nil {
		return nil, err
	}
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	resp, err := s.do(ctx, repo, false, req, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return nil, err
	}
	skip := int64(0)
	if resp.StatusCode == http.StatusOK {
		skip, at = at, 0
	} else if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", at)) {
		resp.Body.Close()
		return nil, abi.Errorf(abi.Unsupported, "it was asked for the bytes from %d and sends %q", at, clip(resp.Header.Get("Content-Range")))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != d.Size-at {
		resp.Body.Close()
		return nil, abi.Errorf(abi.DigestMismatch, "the manifest says %d bytes and it has %d", d.Size-at, resp.ContentLength).
			WithHint("do not use it; fetch it from another registry or ask the publisher")
	}
	if _, err := io.CopyN(io.Discard, resp.Body, skip); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

func (s *remoteStore) has(ctx context.Context, repo string, d descriptor) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.endpoint(repo, "blobs", d.Digest).String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := s.do(ctx, repo, false, req, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// publish puts a manifest; what has a subject is also entered in the referrers tag where the registry lacks the API.
func (s *remoteStore) publish(ctx context.Context, repo string, d descriptor, raw []byte, tag string, fixed bool) error {
	if fixed && tag != "" {
		old, err := s.resolve(ctx, repo, tag)
		if code, _ := codeOf(err); err != nil && code != abi.NotFound {
			return err
		}
		if err == nil && old.Digest != d.Digest {
			return taken(tag, old.Digest)
		}
	}
	if tag == "" {
		tag = d.Digest
	}
	desc := ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size, ArtifactType: d.ArtifactType}
	return s.repo(repo).PushReference(ctx, desc, bytes.NewReader(raw), tag)
}

func (s *remoteStore) tags(ctx context.Context, repo string) ([]string, error) {
	var all []string
	err := s.repo(repo).Tags(ctx, "", func(page []string) error {
		all = append(all, page...)
		return nil
	})
	return all, err
}

func (s *remoteStore) names(ctx context.Context) ([]string, error) {
	reg := &remote.Registry{RepositoryOptions: remote.RepositoryOptions{Client: s.client, PlainHTTP: s.plain,
		Reference: orasregistry.Reference{Registry: s.host}, MaxMetadataBytes: s.opts.MaxManifest}}
	var all []string
	pages := 0
	err := reg.Repositories(ctx, "", func(page []string) error {
		if pages++; pages > 10*maxPages {
			return abi.Errorf(abi.TooLarge, "the catalogue has more than %d pages", 10*maxPages)
		}
		all = append(all, page...)
		return nil
	})
	if code, _ := codeOf(err); code == abi.NotFound || code == abi.Denied || code == abi.Unauthenticated {
		return nil, abi.Errorf(abi.Unsupported, "it shows no catalogue: %w", err).WithHint("name the pack you want")
	}
	return all, err
}

func (s *remoteStore) referrers(ctx context.Context, repo string, subject descriptor, artifactType string, limit int) ([]descriptor, error) {
	return s.allReferrers(ctx, repo, subject, func(d descriptor) bool { return d.ArtifactType == artifactType || d.ArtifactType == "" }, limit)
}

// allReferrers lists those that keep says yes to.
func (s *remoteStore) allReferrers(ctx context.Context, repo string, subject descriptor, keep func(descriptor) bool, limit int) ([]descriptor, error) {
	var list []descriptor
	desc := ocispec.Descriptor{MediaType: subject.MediaType, Digest: digest.Digest(subject.Digest), Size: subject.Size}
	// Without a filter: one on our side would drop the entries of old tools, which do not say what they are.
	err := s.repo(repo).Referrers(ctx, desc, "", func(page []ocispec.Descriptor) error {
		for _, d := range page {
			one := descriptor{MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size, ArtifactType: d.ArtifactType}
			if keep(one) {
				list = append(list, one)
			}
		}
		if len(list) > limit {
			return tooManyReferrers(limit)
		}
		return nil
	})
	return list, err
}
