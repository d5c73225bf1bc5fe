package registry

import (
	"context"
	"io"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

// dirStore is a registry in a directory, spoken to without a server.
type dirStore struct{ dir *layout.Dir }

func (s *dirStore) resolve(_ context.Context, repo, ref string) (descriptor, error) {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return descriptor{}, err
	}
	return r.Resolve(ref)
}

func (s *dirStore) manifest(_ context.Context, repo, ref string, _ int64) (descriptor, []byte, error) {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return descriptor{}, nil, err
	}
	return r.Manifest(ref)
}

func (s *dirStore) blob(_ context.Context, repo string, d descriptor, at int64) (io.ReadCloser, error) {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return nil, err
	}
	b, err := r.OpenBlob(d.Digest)
	if err != nil {
		return nil, err
	}
	if b.Size() != d.Size {
		b.Close()
		return nil, abi.Errorf(abi.Corrupt, "blob %q has %d bytes on disk, the manifest says %d", d.Digest, b.Size(), d.Size).
			WithHint("push it again, or restore the directory from a backup")
	}
	if at == 0 {
		return b, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(b, at, d.Size-at), b}, nil
}

// has reads the blob through: a damaged one counts as missing, so that pushing mends it.
func (s *dirStore) has(_ context.Context, repo string, d descriptor) (bool, error) {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return false, err
	}
	err = r.CheckBlob(d.Digest)
	switch abi.CodeOf(err) {
	case abi.OK:
		return true, nil
	case abi.NotFound, abi.Corrupt:
		return false, nil
	}
	return false, err
}

func (s *dirStore) put(ctx context.Context, repo string, d descriptor, src source) error {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return err
	}
	rc, err := src(0)
	if err != nil {
		return err
	}
	defer rc.Close()
	return r.PutBlob(ctx, d.Digest, rc)
}

func (s *dirStore) publish(ctx context.Context, repo string, d descriptor, raw []byte, tag string, fixed bool) error {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return err
	}
	_, err = r.PutManifest(ctx, d.MediaType, raw, layout.Put{Digest: d.Digest, Tag: tag, Fixed: fixed})
	return err
}

func (s *dirStore) tags(_ context.Context, repo string) ([]string, error) {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return nil, err
	}
	return r.Tags()
}

func (s *dirStore) names(context.Context) ([]string, error) { return s.dir.Names() }

// referrers are those the manifests name, and those a tag of the subject's digest lists, which is how tools that found no
// referrers API wrote them down before the directory was copied here.
func (s *dirStore) referrers(_ context.Context, repo string, subject descriptor, artifactType string, limit int) ([]descriptor, error) {
	r, err := s.dir.Repo(repo)
	if err != nil {
		return nil, err
	}
	list, err := r.Referrers(subject.Digest, artifactType)
	if err != nil {
		return nil, err
	}
	_, raw, err := r.Manifest(strings.Replace(subject.Digest, ":", "-", 1))
	if err != nil && abi.CodeOf(err) != abi.NotFound {
		return nil, err
	}
	if err == nil {
		listed, err := readReferrers(raw, artifactType)
		if err != nil {
			return nil, err
		}
		list = union(list, listed)
	}
	if len(list) > limit {
		return nil, tooManyReferrers(limit)
	}
	return list, nil
}
