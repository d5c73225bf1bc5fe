package registry

import (
	"context"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
)

// Copy brings a pack, or a unit, and every bundle attached to it to another registry, and returns the pack's digest. The bytes stay as
// they are, so digests and signatures hold there too. Blobs stream: memory does not grow with them. The tag of the
// reference, if any, comes last, when the bundles are there; it obeys the other registry's Options.Replace as Push does.
func (r *Registry) Copy(ctx context.Context, ref Ref, to *Registry, p Progress) (string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	label := ref.label()
	digest, err := r.copy(ctx, ref, to, p.serial())
	return digest, r.fault(ctx, err, fmt.Sprintf("copy pack %q to %q", label, to.location))
}

func (r *Registry) copy(ctx context.Context, ref Ref, to *Registry, p Progress) (string, error) {
	tag := ref.Tag
	repo, d, raw, err := r.fetchManifest(ctx, &ref)
	if err != nil {
		return "", err
	}
	if tag == "" && ref.Tag != "" {
		tag = ref.Tag // the newest release, as resolved
	}
	kind := ArtifactType
	if doc, err := readDocument(raw); err == nil && doc.ArtifactType == UnitArtifactType {
		kind = UnitArtifactType
	}
	doc, files, err := r.opts.read(raw, kind)
	if err != nil {
		return "", err
	}
	other, err := to.repository(ref.Name)
	if err != nil {
		return "", err
	}
	if tag != "" {
		if err := to.free(ctx, other, tag, d.Digest); err != nil {
			return "", err
		}
	}
	move := moving{from: r, to: to, repo: repo, other: other, p: p}
	if err := move.blob(ctx, emptyConfig, "config"); err != nil {
		return "", err
	}
	for i, l := range doc.Layers {
		if err := move.blob(ctx, l, files[i].Name); err != nil {
			return "", err
		}
	}
	d.ArtifactType = kind
	if err := to.store.publish(ctx, other, d, raw, "", false); err != nil {
		return "", err
	}
	if err := move.bundles(ctx, d); err != nil {
		return "", err
	}
	if tag != "" {
		err = to.store.publish(ctx, other, d, raw, tag, !to.opts.Replace)
	}
	return d.Digest, err
}

// moving is a copy under way.
type moving struct {
	from, to    *Registry
	repo, other string
	p           Progress
}

func (m *moving) blob(ctx context.Context, d descriptor, what string) error {
	d.Annotations = nil
	return m.to.sendFrom(ctx, m.other, d, func(at int64) (io.ReadCloser, error) {
		return m.from.steady(ctx, m.repo, d, at), nil
	}, what, m.p)
}

func (m *moving) bundles(ctx context.Context, subject descriptor) error {
	list, err := m.from.store.referrers(ctx, m.repo, subject, MediaBundle, MaxBundles)
	if err != nil {
		return err
	}
	for _, d := range list {
		raw, doc, err := m.from.bundleManifest(ctx, m.repo, subject, d)
		if err != nil {
			return fmt.Errorf("referrer %q: %w", d.Digest, err)
		}
		if doc == nil {
			continue
		}
		if c := doc.Config; !digestGrammar.MatchString(c.Digest) || c.Size < 0 || c.Size > MaxBundle {
			return abi.Errorf(abi.Incompatible, "referrer %q: its config is %q of %d bytes", d.Digest, c.Digest, c.Size)
		}
		for _, b := range []descriptor{doc.Config, doc.Layers[0]} {
			if err := m.blob(ctx, b, "bundle"); err != nil {
				return err
			}
		}
		out := descriptor{MediaType: mediaManifest, Digest: d.Digest, Size: int64(len(raw)), ArtifactType: MediaBundle}
		if err := m.to.store.publish(ctx, m.other, out, raw, "", false); err != nil {
			return err
		}
	}
	return nil
}
