package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// The limits on what is read of the signatures of one pack, before anything of it is believed.
const (
	MaxBundles = 64
	MaxBundle  = 1 << 20
)

// Annotations of a signature's manifest, as cosign writes and reads them.
const (
	annContent   = "dev.sigstore.bundle.content"
	annPredicate = "dev.sigstore.bundle.predicateType"
)

// Attach stores a Sigstore bundle beside the pack whose manifest has the digest subject, as an OCI 1.1 referrer in the form
// cosign uses, and returns the referrer's digest. The subject must be there: abi.NotFound. The same bundle attached twice
// is stored once. Registries without the referrers API get the tag the specification gives for them.
func (r *Registry) Attach(ctx context.Context, name, subject string, bundle []byte, predicateType string) (string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	digest, err := r.attach(ctx, name, subject, bundle, predicateType)
	return digest, r.fault(ctx, err, fmt.Sprintf("attach a bundle to %q", name+"@"+subject))
}

func (r *Registry) attach(ctx context.Context, name, subject string, bundle []byte, predicateType string) (string, error) {
	if len(bundle) > MaxBundle {
		return "", abi.Errorf(abi.TooLarge, "the bundle has %d bytes, the limit is %d", len(bundle), MaxBundle)
	}
	repo, target, err := r.subject(ctx, name, subject)
	if err != nil {
		return "", err
	}
	target.Annotations, target.ArtifactType = nil, ""
	layer := descriptor{MediaType: MediaBundle, Digest: digestOf(bundle), Size: int64(len(bundle)),
		Annotations: map[string]string{annTitle: strings.Replace(subject, ":", "-", 1) + ".sigstore.json"}}
	doc := document{SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: MediaBundle, Config: emptyConfig,
		Layers: []descriptor{layer}, Subject: &target,
		Annotations: map[string]string{annContent: contentOf(bundle), annPredicate: predicateType}}
	raw, err := doc.bytes()
	if err != nil {
		return "", err
	}
	if err := r.send(ctx, repo, emptyConfig, []byte("{}"), "config", nil); err != nil {
		return "", err
	}
	if err := r.send(ctx, repo, layer, bundle, "bundle", nil); err != nil {
		return "", err
	}
	d := descriptor{MediaType: mediaManifest, Digest: digestOf(raw), Size: int64(len(raw)), ArtifactType: MediaBundle}
	return d.Digest, r.store.publish(ctx, repo, d, raw, "", false)
}

// contentOf says which of its two forms a bundle has.
func contentOf(bundle []byte) string {
	var b struct {
		MessageSignature json.RawMessage `json:"messageSignature"`
	}
	if json.Unmarshal(bundle, &b) == nil && b.MessageSignature != nil {
		return "message-signature"
	}
	return "dsse-envelope"
}

// subject finds the manifest something is or will be attached to.
func (r *Registry) subject(ctx context.Context, name, digest string) (string, descriptor, error) {
	ref := Ref{Name: name, Digest: digest}
	if digest == "" {
		return "", descriptor{}, abi.Errorf(abi.Invalid, "no digest to attach to")
	}
	repo, err := r.mine(&ref)
	if err != nil {
		return "", descriptor{}, err
	}
	d, err := r.store.resolve(ctx, repo, digest)
	if err == nil && d.Digest != digest {
		err = abi.Errorf(abi.DigestMismatch, "the registry answers with %q", d.Digest)
	}
	return repo, d, err
}

// Bundles returns every Sigstore bundle that is attached to the pack whose manifest has the digest subject, in the order of
// their referrers' digests; none is no error. What the registry lists is not believed: each referrer is fetched, must have
// its digest and must itself name the subject, or the whole list is refused (abi.DigestMismatch), since a registry that
// lies about one entry may hide others. More than MaxBundles, or one above MaxBundle bytes, is abi.TooLarge.
func (r *Registry) Bundles(ctx context.Context, name, subject string) ([][]byte, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	bundles, err := r.bundles(ctx, name, subject)
	return bundles, r.fault(ctx, err, fmt.Sprintf("read the bundles of %q", name+"@"+subject))
}

func (r *Registry) bundles(ctx context.Context, name, subject string) ([][]byte, error) {
	repo, target, err := r.subject(ctx, name, subject)
	if err != nil {
		return nil, err
	}
	list, err := r.store.referrers(ctx, repo, target, MediaBundle, MaxBundles)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b descriptor) int { return strings.Compare(a.Digest, b.Digest) })
	list = slices.CompactFunc(list, func(a, b descriptor) bool { return a.Digest == b.Digest })
	var bundles [][]byte
	for _, d := range list {
		b, err := r.bundle(ctx, repo, target, d)
		if err != nil {
			return nil, fmt.Errorf("referrer %q: %w", d.Digest, err)
		}
		if b != nil {
			bundles = append(bundles, b)
		}
	}
	return bundles, nil
}

// bundle fetches one referrer's bundle; nil when the list did not say what it is and it is no bundle.
func (r *Registry) bundle(ctx context.Context, repo string, subject, d descriptor) ([]byte, error) {
	_, doc, err := r.bundleManifest(ctx, repo, subject, d)
	if doc == nil || err != nil {
		return nil, err
	}
	buf := &memory{}
	if err := r.fetch(ctx, repo, doc.Layers[0], buf, "bundle", nil); err != nil {
		return nil, err
	}
	return buf.data, nil
}

// bundleManifest fetches and judges the manifest of one referrer; without a document it is no bundle and did not claim to
// be one.
func (r *Registry) bundleManifest(ctx context.Context, repo string, subject, d descriptor) ([]byte, *document, error) {
	if !digestGrammar.MatchString(d.Digest) {
		return nil, nil, abi.Errorf(abi.Invalid, "not a digest")
	}
	got, raw, err := r.store.manifest(ctx, repo, d.Digest, MaxBundle)
	if err != nil {
		return nil, nil, err
	}
	if err := checkBytes("referrer", raw, d.Digest, got); err != nil {
		return nil, nil, err
	}
	doc, err := readDocument(raw)
	if err != nil {
		return nil, nil, err
	}
	// The config's type stands for the artifact's in manifests from before there was one.
	isBundle := doc.ArtifactType == MediaBundle || (doc.ArtifactType == "" && doc.Config.MediaType == MediaBundle)
	switch {
	case doc.Subject == nil || doc.Subject.Digest != subject.Digest || doc.Subject.Size != subject.Size:
		return nil, nil, abi.Errorf(abi.DigestMismatch, "it is listed for %s and is attached to something else", subject.Digest).
			WithHint("the registry's list of referrers is not to be trusted; use another registry")
	case !isBundle && d.ArtifactType == "":
		return nil, nil, nil
	case !isBundle:
		return nil, nil, abi.Errorf(abi.DigestMismatch, "it is listed as a bundle and is %q", doc.ArtifactType)
	case len(doc.Layers) != 1 || doc.Layers[0].MediaType != MediaBundle || !digestGrammar.MatchString(doc.Layers[0].Digest):
		return nil, nil, abi.Errorf(abi.Incompatible, "it does not hold one layer of type %s", MediaBundle)
	case doc.Layers[0].Size < 0 || doc.Layers[0].Size > MaxBundle:
		return nil, nil, abi.Errorf(abi.TooLarge, "its bundle has %d bytes, the limit is %d", doc.Layers[0].Size, MaxBundle)
	}
	return raw, doc, nil
}

// readReferrers reads the index under a referrers tag. Entries that do not say what they are stay in: old tools wrote such.
func readReferrers(raw []byte, artifactType string) ([]descriptor, error) {
	if err := checkJSON(raw); err != nil {
		return nil, abi.Errorf(abi.Invalid, "the list of referrers is not sound JSON: %w", err)
	}
	var x struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &x); err != nil {
		return nil, abi.Errorf(abi.Invalid, "the list of referrers does not read: %w", err)
	}
	return slices.DeleteFunc(x.Manifests, func(d descriptor) bool {
		return d.ArtifactType != artifactType && d.ArtifactType != ""
	}), nil
}

// union is both lists, each digest once.
func union(a, b []descriptor) []descriptor {
	for _, d := range b {
		if !slices.ContainsFunc(a, func(x descriptor) bool { return x.Digest == d.Digest }) {
			a = append(a, d)
		}
	}
	return a
}

func tooManyReferrers(limit int) error {
	return abi.Errorf(abi.TooLarge, "more than %d are attached", limit).
		WithHint("remove the ones that are not needed from the registry")
}
