package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/arw-project/arw/abi"
)

// MaxManifest is the size limit of a manifest, which the distribution specification asks registries to accept.
const MaxManifest = 4 << 20

// Put says how a manifest is to be published.
type Put struct {
	Digest string // what it must have; empty = its sha256 is taken
	Tag    string // the tag to point to it; empty = none
	Fixed  bool   // a tag that points to another manifest stays, and abi.Conflict is returned
	// Partial takes a manifest before what it stands on: a mirror gets the rest when somebody asks for it.
	Partial bool
}

// Published is a manifest that has been stored.
type Published struct {
	Descriptor
	Subject string // digest of what it refers to, if it does
}

// PutManifest publishes a manifest and points a tag to it, in one step that is either seen whole or not at all. Everything
// it stands on, its subject excepted, must be there: abi.NotFound names the first that is not. Fails with abi.Invalid for
// bytes that are no manifest of that type, abi.DigestMismatch, abi.TooLarge, and abi.Conflict (see Put).
func (r *Repo) PutManifest(ctx context.Context, mediaType string, raw []byte, put Put) (Published, error) {
	if put.Digest == "" {
		put.Digest = digestOf(raw)
	}
	name, err := blobPath(put.Digest)
	if err != nil {
		return Published{}, err
	}
	f, err := r.checkManifest(mediaType, raw, put)
	if err != nil {
		return Published{}, err
	}
	root, err := r.create(ctx)
	if err != nil {
		return Published{}, err
	}
	root.Close()
	d := Descriptor{MediaType: mediaType, Digest: put.Digest, Size: int64(len(raw)), ArtifactType: f.artifactType}
	err = r.change(ctx, func(root *os.Root, x *index) error {
		if old, ok := x.byTag(put.Tag); ok && put.Tag != "" && put.Fixed && old.Digest != put.Digest {
			return abi.Errorf(abi.Conflict, "publish %q of repository %q: it is %s already", put.Tag, r.name, old.Digest).
				WithHint("publish under a new version; delete the tag first if nobody has used it yet")
		}
		if !put.Partial {
			if err := r.standsOn(root, x, f, put); err != nil {
				return err
			}
		}
		x.put(d, put.Tag)
		return r.storeManifest(root, x, name, raw)
	})
	if err != nil {
		return Published{}, err
	}
	r.dir.known.put(put.Digest, f)
	return Published{d, f.subject}, nil
}

// storeManifest writes the manifest's bytes and then the index that names it.
func (r *Repo) storeManifest(root *os.Root, x *index, name string, raw []byte) error {
	err := makeDirs(root, path.Dir(name))
	if err == nil {
		err = publish(root, name, raw)
	}
	if err == nil {
		err = writeIndex(root, x)
	}
	if err != nil {
		return fault(err, "store a manifest of repository %q", r.name)
	}
	return nil
}

func (r *Repo) checkManifest(mediaType string, raw []byte, put Put) (*fact, error) {
	switch {
	case len(raw) > MaxManifest:
		return nil, abi.Errorf(abi.TooLarge, "publish manifest %q of repository %q: %d bytes, the limit is %d", put.Digest, r.name, len(raw), MaxManifest)
	case put.Tag != "" && !tagGrammar.MatchString(put.Tag):
		return nil, abi.Errorf(abi.Invalid, "publish %q of repository %q: not a tag", put.Tag, r.name).
			WithHint("use letters, digits, _ . - and at most 128 of them, the first no . or -")
	case !hashes(raw, put.Digest):
		return nil, abi.Errorf(abi.DigestMismatch, "publish manifest %q of repository %q: the bytes do not have that digest", put.Digest, r.name)
	}
	f, err := factOf(mediaType, raw)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "publish manifest %q of repository %q: not a manifest of type %q: %w", put.Digest, r.name, mediaType, err).
			WithHint("send it with the media type it has")
	}
	return f, nil
}

// standsOn checks that what a manifest refers to is in the repository.
func (r *Repo) standsOn(root *os.Root, x *index, f *fact, put Put) error {
	for _, digest := range f.blobs {
		name, err := blobPath(digest)
		if err != nil {
			return err
		}
		if _, err := root.Stat(name); err != nil {
			return abi.Errorf(abi.NotFound, "publish manifest %q of repository %q: its blob %q is not there", put.Digest, r.name, digest).
				WithHint("upload the blobs first, the manifest last")
		}
	}
	for _, digest := range f.children {
		if _, ok := x.byDigest(digest); !ok {
			return abi.Errorf(abi.NotFound, "publish manifest %q of repository %q: its manifest %q is not there", put.Digest, r.name, digest).
				WithHint("push the manifests it lists first")
		}
	}
	return nil
}

// Manifest reads a manifest by tag or digest and checks its bytes: abi.NotFound, or abi.Corrupt when they do not have
// their digest and size.
func (r *Repo) Manifest(ref string) (Descriptor, []byte, error) {
	root, err := r.open()
	if err != nil {
		return Descriptor{}, nil, err
	}
	defer root.Close()
	x, err := readIndex(root)
	if err != nil {
		return Descriptor{}, nil, err
	}
	d, err := r.find(x, ref)
	if err != nil {
		return Descriptor{}, nil, err
	}
	raw, err := readManifest(root, d)
	d.Annotations = nil
	return d, raw, err
}

// Resolve gives the descriptor of a tag or digest without reading the manifest.
func (r *Repo) Resolve(ref string) (Descriptor, error) {
	root, err := r.open()
	if err != nil {
		return Descriptor{}, err
	}
	defer root.Close()
	x, err := readIndex(root)
	if err != nil {
		return Descriptor{}, err
	}
	d, err := r.find(x, ref)
	d.Annotations = nil
	return d, err
}

func (r *Repo) find(x *index, ref string) (Descriptor, error) {
	var d Descriptor
	var ok bool
	if tagGrammar.MatchString(ref) {
		d, ok = x.byTag(ref)
	} else if _, _, err := splitDigest(ref); err != nil {
		return d, err
	} else {
		d, ok = x.byDigest(ref)
	}
	if !ok {
		return d, abi.Errorf(abi.NotFound, "find manifest %q in repository %q: no such manifest", ref, r.name).
			WithHint("list the repository's tags to see what there is")
	}
	return d, nil
}

func readManifest(root *os.Root, d Descriptor) ([]byte, error) {
	name, err := blobPath(d.Digest)
	if err != nil {
		return nil, err
	}
	raw, err := readSmall(root, name, MaxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		err = abi.Errorf(abi.Corrupt, "the file is missing")
	}
	if err != nil {
		return nil, fault(err, "read manifest %q in %q", d.Digest, root.Name())
	}
	if int64(len(raw)) != d.Size || !hashes(raw, d.Digest) {
		return nil, abi.Errorf(abi.Corrupt, "read manifest %q in %q: the %d bytes on disk do not have that digest and size", d.Digest, root.Name(), len(raw)).
			WithHint("push it again, or restore the file from a backup")
	}
	return raw, nil
}

// Tags lists the tags in lexical order.
func (r *Repo) Tags() ([]string, error) {
	root, err := r.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x, err := readIndex(root)
	if err != nil {
		return nil, err
	}
	tags := []string{}
	for _, m := range x.Manifests {
		if t := m.tag(); t != "" {
			tags = append(tags, t)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// Referrers lists the manifests whose subject is that digest, with their artifact type and annotations as the
// specification wants them; artifactType narrows the list unless it is empty. A subject that is not there, or a repository
// that is not, has no referrers.
func (r *Repo) Referrers(subject, artifactType string) ([]Descriptor, error) {
	if _, _, err := splitDigest(subject); err != nil {
		return nil, err
	}
	list := []Descriptor{}
	root, err := r.open()
	if abi.CodeOf(err) == abi.NotFound {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x, err := readIndex(root)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, m := range x.Manifests {
		if seen[m.Digest] {
			continue
		}
		seen[m.Digest] = true
		f, err := r.fact(root, m)
		if err != nil {
			return nil, err
		}
		if f.subject == subject && (artifactType == "" || artifactType == f.artifactType) {
			list = append(list, Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size,
				ArtifactType: f.artifactType, Annotations: f.annotations})
		}
	}
	return list, nil
}

// fact gives what is known of a manifest of the index, reading it when it is not remembered.
func (r *Repo) fact(root *os.Root, d Descriptor) (*fact, error) {
	if f := r.dir.known.get(d.Digest); f != nil {
		return f, nil
	}
	raw, err := readManifest(root, d)
	if err != nil {
		return nil, err
	}
	f, err := factOf(d.MediaType, raw)
	if err != nil {
		// It came with the layout from elsewhere; it is whole, and nothing can be said about it.
		f = &fact{}
	}
	r.dir.known.put(d.Digest, f)
	return f, nil
}
