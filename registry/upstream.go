package registry

import (
	"cmp"
	"context"
	"io"
	"mime"
	"net/http"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

// Upstream is a registry as the one behind a mirror: see layout.ServerOptions. It is a registry that is spoken to over
// HTTP; what it gives has not been checked, which is the mirror's part. Errors of Open, and Invalid for a directory.
func Upstream(location string, o Options) (layout.Upstream, error) {
	r, err := Open(location, o)
	if err != nil {
		return nil, err
	}
	s, ok := r.store.(*remoteStore)
	if !ok {
		return nil, abi.Errorf(abi.Invalid, "mirror %q: a folder needs no mirror", location).WithHint("serve the folder itself: --dir")
	}
	return &upstream{r, s}, nil
}

type upstream struct {
	r *Registry
	s *remoteStore
}

// repo is a repository of the mirror as upstream has it.
func (u *upstream) repo(name string) string { return u.r.prefix + name }

func (u *upstream) fault(ctx context.Context, err error, what string) error {
	return u.r.fault(ctx, err, "mirror "+what)
}

func (u *upstream) Manifest(ctx context.Context, repo, ref string) (string, []byte, error) {
	resp, d, err := u.s.getManifest(ctx, http.MethodGet, u.repo(repo), ref)
	if err != nil {
		return "", nil, u.fault(ctx, err, repo+":"+ref)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, u.s.opts.MaxManifest+1))
	if err != nil {
		return "", nil, u.fault(ctx, err, repo+":"+ref)
	}
	return d.MediaType, raw, nil
}

func (u *upstream) Blob(ctx context.Context, repo, digest string) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.s.endpoint(u.repo(repo), "blobs", digest).String(), nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := u.s.do(ctx, u.repo(repo), false, req, http.StatusOK)
	if err != nil {
		return nil, 0, u.fault(ctx, err, repo+"@"+digest)
	}
	return resp.Body, resp.ContentLength, nil
}

func (u *upstream) Tags(ctx context.Context, repo string) ([]string, error) {
	tags, err := u.s.tags(ctx, u.repo(repo))
	return tags, u.fault(ctx, err, "the tags of "+repo)
}

// Referrers needs the subject's descriptor only for registries without the API, where its digest names a tag.
func (u *upstream) Referrers(ctx context.Context, repo, subject string) ([]layout.Descriptor, error) {
	d, err := u.s.resolve(ctx, u.repo(repo), subject)
	if err != nil {
		return nil, u.fault(ctx, err, "the referrers of "+repo+"@"+subject)
	}
	d.Digest = cmp.Or(d.Digest, subject)
	if mt, _, err := mime.ParseMediaType(d.MediaType); err == nil {
		d.MediaType = mt
	}
	list, err := u.s.allReferrers(ctx, u.repo(repo), d, func(descriptor) bool { return true }, 2000)
	return list, u.fault(ctx, err, "the referrers of "+repo+"@"+subject)
}
