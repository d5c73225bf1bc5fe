package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
)

// Push publishes a pack under a version and returns the digest of its manifest, which depends on nothing but the files and
// the annotations. Files and blobs that the registry already has are not sent again, and the tag comes last: until Push
// succeeds nobody sees any of it.
//
// A version is pushed once: other content under the same version fails with abi.Conflict unless Options.Replace is set.
// In a directory and on a server with fixed versions that holds against pushes at the same moment too; other registries
// are asked just before.
func (r *Registry) Push(ctx context.Context, name, version string, files []File, ann map[string]string, p Progress) (string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	digest, err := r.push(ctx, name, version, files, ann, p.serial())
	return digest, r.fault(ctx, err, fmt.Sprintf("push pack %q", name+":"+version))
}

func (r *Registry) push(ctx context.Context, name, version string, files []File, ann map[string]string, p Progress) (string, error) {
	repo, err := r.repository(name)
	if err != nil {
		return "", err
	}
	tag := Tag(version)
	if !versionGrammar.MatchString(version) || !tagGrammar.MatchString(tag) {
		return "", abi.Errorf(abi.Invalid, "%q is not a semantic version", version).WithHint("write it as 1.2.3")
	}
	if files, err = r.opts.arrange(files); err != nil {
		return "", err
	}
	raw, err := compose(version, files, ann)
	if err != nil {
		return "", err
	}
	if int64(len(raw)) > r.opts.MaxManifest {
		return "", abi.Errorf(abi.TooLarge, "the manifest has %d bytes, the limit is %d", len(raw), r.opts.MaxManifest)
	}
	d := descriptor{MediaType: mediaManifest, Digest: digestOf(raw), Size: int64(len(raw)), ArtifactType: typeOf(files)}
	if err := r.free(ctx, repo, tag, d.Digest); err != nil {
		return "", err
	}
	doc, _, err := r.opts.read(raw, typeOf(files)) // what is pushed is held to what is pulled
	if err != nil {
		return "", err
	}
	if err := r.send(ctx, repo, emptyConfig, []byte("{}"), "config", p); err != nil {
		return "", err
	}
	for i, f := range files {
		if err := r.send(ctx, repo, doc.Layers[i], f.Data, f.Name, p); err != nil {
			return "", err
		}
	}
	if err := r.store.publish(ctx, repo, d, raw, tag, !r.opts.Replace); err != nil {
		return "", err
	}
	p.report("manifest", d.Size, d.Size)
	return d.Digest, nil
}

// free reports a version that is taken by other content before anything is sent.
func (r *Registry) free(ctx context.Context, repo, tag, digest string) error {
	if r.opts.Replace {
		return nil
	}
	old, err := r.store.resolve(ctx, repo, tag)
	if code, _ := codeOf(err); code == abi.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if old.Digest != digest {
		return taken(tag, old.Digest)
	}
	return nil
}

func taken(tag, digest string) error {
	return abi.Errorf(abi.Conflict, "version %q is published already, as %s", tag, digest).
		WithHint("raise the version in pack.toml; replace a version only if nobody has used it yet")
}

// send uploads a blob that the registry does not have.
func (r *Registry) send(ctx context.Context, repo string, d descriptor, data []byte, what string, p Progress) error {
	return r.sendFrom(ctx, repo, d, func(at int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[at:])), nil
	}, what, p)
}

// sendFrom is send for bytes that are read as they go out.
func (r *Registry) sendFrom(ctx context.Context, repo string, d descriptor, src source, what string, p Progress) error {
	ok, err := r.store.has(ctx, repo, d)
	if err != nil {
		return fmt.Errorf("look for %q: %w", what, err)
	}
	if !ok {
		err = r.store.put(ctx, repo, d, func(at int64) (io.ReadCloser, error) {
			rc, err := src(at)
			if err != nil {
				return nil, err
			}
			return &meter{ReadCloser: rc, done: at, total: d.Size, what: what, p: p}, nil
		})
		if err != nil {
			return fmt.Errorf("send %q: %w", what, err)
		}
	}
	p.report(what, d.Size, d.Size)
	return nil
}

// meter reports what passes.
type meter struct {
	io.ReadCloser
	done, total int64
	what        string
	p           Progress
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b)
	m.done += int64(n)
	if n > 0 {
		m.p.report(m.what, m.done, m.total)
	}
	return n, err
}
