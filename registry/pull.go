package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Pull fetches a pack. A reference without tag and digest asks for the newest release. The manifest must have the digest
// it was asked by or announced with, and every file the digest and size the manifest gives it: abi.DigestMismatch
// otherwise (abi.Corrupt where a directory's own disk is at fault), abi.Incompatible for what is no pack, abi.TooLarge
// beyond the limits of Options.
//
// A transfer that breaks goes on where it stopped, where the registry can. All files are held in memory; see Copy for
// moving packs without that.
func (r *Registry) Pull(ctx context.Context, ref Ref, p Progress) (*Artifact, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	a, err := r.pull(ctx, ref, ArtifactType, p)
	return a, r.fault(ctx, err, fmt.Sprintf("pull pack %q", ref.label()))
}

// PullUnit fetches a logic unit that travels alone, held to the same as a pack. Its first file is unit.toml.
func (r *Registry) PullUnit(ctx context.Context, ref Ref, p Progress) (*Artifact, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	a, err := r.pull(ctx, ref, UnitArtifactType, p)
	return a, r.fault(ctx, err, fmt.Sprintf("pull unit %q", ref.label()))
}

// label is the reference as a message shows it, without the registry, which the message names by itself.
func (r Ref) label() string {
	r.Registry = ""
	return r.String()
}

func (r *Registry) pull(ctx context.Context, ref Ref, kind string, p Progress) (*Artifact, error) {
	repo, d, raw, err := r.fetchManifest(ctx, &ref)
	if err != nil {
		return nil, err
	}
	p.report("manifest", d.Size, d.Size)
	doc, files, err := r.opts.read(raw, kind)
	if err != nil {
		return nil, err
	}
	for i, l := range doc.Layers {
		buf := &memory{}
		if err := r.fetch(ctx, repo, l, buf, files[i].Name, p); err != nil {
			return nil, err
		}
		files[i].Data = buf.data
	}
	return &Artifact{Ref: ref, Digest: d.Digest, Manifest: raw, Files: files}, nil
}

// memory collects bytes, growing with what comes and not with what was announced.
type memory struct{ data []byte }

func (m *memory) Write(p []byte) (int, error) {
	m.data = append(m.data, p...)
	return len(p), nil
}

// fetchManifest finds what a reference means, reads that manifest and checks its bytes; ref is completed.
func (r *Registry) fetchManifest(ctx context.Context, ref *Ref) (repo string, d descriptor, raw []byte, err error) {
	if repo, err = r.mine(ref); err != nil {
		return "", d, nil, err
	}
	if ref.Tag == "" && ref.Digest == "" {
		if ref.Tag, err = r.newest(ctx, repo); err != nil {
			return "", d, nil, err
		}
	}
	want := ref.Digest
	by := ref.Tag
	if want != "" {
		by = want
	}
	d, raw, err = r.store.manifest(ctx, repo, by, r.opts.MaxManifest)
	if err != nil {
		return "", d, nil, err
	}
	if want == "" {
		want = d.Digest
	}
	if err := checkBytes("manifest", raw, want, d); err != nil {
		return "", d, nil, err
	}
	ref.Digest = want
	return repo, d, raw, nil
}

// checkBytes checks a small thing read whole.
func checkBytes(what string, raw []byte, want string, d descriptor) error {
	if got := digestOf(raw); got != want || d.Digest != want {
		return abi.Errorf(abi.DigestMismatch, "the %s asked for is %s and what came is %s", what, want, got).
			WithHint("do not use it; fetch it from another registry or ask the publisher")
	}
	if int64(len(raw)) != d.Size {
		return abi.Errorf(abi.DigestMismatch, "the %s has %d bytes where %d were announced", what, len(raw), d.Size)
	}
	return nil
}

// mine checks that a reference is for this registry and gives its repository.
func (r *Registry) mine(ref *Ref) (string, error) {
	if ref.Registry != "" && ref.Registry != r.location {
		return "", abi.Errorf(abi.Invalid, "the reference is for registry %q", ref.Registry).
			WithHint("open that registry and ask it")
	}
	if ref.Digest != "" && !digestGrammar.MatchString(ref.Digest) {
		return "", abi.Errorf(abi.Invalid, "%q is not a digest", ref.Digest)
	}
	if ref.Tag != "" && !tagGrammar.MatchString(ref.Tag) {
		return "", abi.Errorf(abi.Invalid, "%q is not a tag", ref.Tag)
	}
	ref.Registry = r.location
	return r.repository(ref.Name)
}

// newest is the tag of the highest release; a pre-release only when there is nothing else.
func (r *Registry) newest(ctx context.Context, repo string) (string, error) {
	tags, err := r.store.tags(ctx, repo)
	if err != nil {
		return "", err
	}
	best, found := "", false
	for _, t := range tags {
		v, ok := Version(t)
		if !ok {
			continue
		}
		if !found || newer(v, best) {
			best, found = v, true
		}
	}
	if !found {
		return "", abi.Errorf(abi.NotFound, "no version is published").WithHint("ask for a digest, or check the name")
	}
	return Tag(best), nil
}

func newer(a, b string) bool {
	pa, pb := strings.Contains(strings.Split(a, "+")[0], "-"), strings.Contains(strings.Split(b, "+")[0], "-")
	if pa != pb {
		return pb
	}
	return compareVersions(a, b) > 0
}

// Resolve gives the digest a reference means at this moment, without reading what it names.
func (r *Registry) Resolve(ctx context.Context, ref Ref) (string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	label := ref.label()
	digest, err := r.resolve(ctx, ref)
	return digest, r.fault(ctx, err, fmt.Sprintf("resolve %q", label))
}

func (r *Registry) resolve(ctx context.Context, ref Ref) (string, error) {
	repo, err := r.mine(&ref)
	if err != nil {
		return "", err
	}
	by := ref.Digest
	if by == "" {
		by = ref.Tag
	}
	if by == "" {
		if by, err = r.newest(ctx, repo); err != nil {
			return "", err
		}
	}
	d, err := r.store.resolve(ctx, repo, by)
	if err != nil {
		return "", err
	}
	if !digestGrammar.MatchString(d.Digest) || (ref.Digest != "" && d.Digest != ref.Digest) {
		return "", abi.Errorf(abi.DigestMismatch, "the registry answers with %q", d.Digest)
	}
	return d.Digest, nil
}

// Tags lists what is published of a pack: versions in their order, then other tags by name. The tags that hold referrers
// are left out.
func (r *Registry) Tags(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	tags, err := r.tags(ctx, name)
	return tags, r.fault(ctx, err, fmt.Sprintf("list the versions of pack %q", name))
}

func (r *Registry) tags(ctx context.Context, name string) ([]string, error) {
	repo, err := r.repository(name)
	if err != nil {
		return nil, err
	}
	tags, err := r.store.tags(ctx, repo)
	if err != nil {
		return nil, err
	}
	var versions, others []string
	for _, t := range tags {
		v, ok := Version(t)
		switch {
		case ok:
			versions = append(versions, v)
		case !tagGrammar.MatchString(t):
			return nil, abi.Errorf(abi.Invalid, "the registry lists %q, which is no tag", t)
		case !digestGrammar.MatchString(strings.Replace(t, "-", ":", 1)):
			others = append(others, t)
		}
	}
	slices.SortFunc(versions, compareVersions)
	slices.Sort(others)
	return append(versions, others...), nil
}

// Names lists the packs of the registry in order. Registries that keep no catalogue answer with abi.Unsupported.
func (r *Registry) Names(ctx context.Context) ([]string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	all, err := r.store.names(ctx)
	if err != nil {
		return nil, r.fault(ctx, err, "list the packs")
	}
	var names []string
	for _, n := range all {
		if n, ok := strings.CutPrefix(n, r.prefix); ok && packGrammar.MatchString(n) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
