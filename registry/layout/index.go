package layout

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"

	"github.com/arw-project/arw/abi"
)

// refName is the annotation that makes an entry of index.json a tag.
const refName = "org.opencontainers.image.ref.name"

// Media types this registry understands beyond storing them.
const (
	mediaManifest       = "application/vnd.oci.image.manifest.v1+json"
	mediaIndex          = "application/vnd.oci.image.index.v1+json"
	mediaDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// maxIndex bounds index.json: some two hundred thousand entries.
const maxIndex = 64 << 20

var tagGrammar = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// Descriptor names some content: image-spec descriptor.md.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
}

// tag is the entry's tag, empty for one without. Other tools also write whole image references there: not tags.
func (d Descriptor) tag() string {
	if t := d.Annotations[refName]; tagGrammar.MatchString(t) {
		return t
	}
	return ""
}

// tagged is the descriptor as the entry of a tag.
func (d Descriptor) tagged(tag string) Descriptor {
	d.Annotations = map[string]string{refName: tag}
	return d
}

// index is index.json: every manifest of the repository, once without a tag or once for each of its tags.
type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// readIndex reads index.json. Every digest in it has been checked to be one, since digests become paths.
func readIndex(root *os.Root) (*index, error) {
	data, err := readSmall(root, indexFile, maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return &index{}, nil
	}
	if err != nil {
		return nil, fault(err, "read %q", path.Join(root.Name(), indexFile))
	}
	x := &index{}
	err = json.Unmarshal(data, x)
	for _, m := range x.Manifests {
		if err != nil {
			break
		}
		if _, _, err = splitDigest(m.Digest); err == nil && m.Size < 0 {
			err = errors.New("a size below zero")
		}
	}
	if err != nil {
		return nil, abi.Errorf(abi.Corrupt, "read %q: %w", path.Join(root.Name(), indexFile), err).
			WithHint("restore the file from a backup, or remove the repository and push it again")
	}
	if err := x.adoptSaved(root); err != nil {
		return nil, fault(err, "read %q", root.Name())
	}
	return x, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = abi.Errorf(abi.TooLarge, "more than %d bytes", limit)
	}
	return data, err
}

func writeIndex(root *os.Root, x *index) error {
	x.SchemaVersion, x.MediaType = 2, mediaIndex
	if x.Manifests == nil {
		x.Manifests = []Descriptor{}
	}
	data, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if len(data) > maxIndex {
		return abi.Errorf(abi.TooLarge, "%s would have more than %d bytes", indexFile, maxIndex).
			WithHint("delete manifests that are no longer needed, or use another repository")
	}
	return publish(root, indexFile, data)
}

// byTag finds the manifest a tag points to.
func (x *index) byTag(tag string) (Descriptor, bool) {
	i := slices.IndexFunc(x.Manifests, func(d Descriptor) bool { return d.tag() == tag })
	if i < 0 {
		return Descriptor{}, false
	}
	return x.Manifests[i], true
}

// byDigest finds a manifest.
func (x *index) byDigest(digest string) (Descriptor, bool) {
	i := slices.IndexFunc(x.Manifests, func(d Descriptor) bool { return d.Digest == digest })
	if i < 0 {
		return Descriptor{}, false
	}
	return x.Manifests[i], true
}

// put adds a manifest and points the tag, if any, to it. A manifest that loses its last tag stays as an untagged one.
func (x *index) put(d Descriptor, tag string) {
	if tag != "" {
		x.untag(tag)
		x.Manifests = slices.DeleteFunc(x.Manifests, func(m Descriptor) bool { return m.Digest == d.Digest && len(m.Annotations) == 0 })
		x.Manifests = append(x.Manifests, d.tagged(tag))
		return
	}
	if _, ok := x.byDigest(d.Digest); !ok {
		x.Manifests = append(x.Manifests, d)
	}
}

// untag takes a tag away and reports whether it was there.
func (x *index) untag(tag string) bool {
	old, ok := x.byTag(tag)
	if !ok {
		return false
	}
	x.Manifests = slices.DeleteFunc(x.Manifests, func(m Descriptor) bool { return m.tag() == tag })
	if _, ok := x.byDigest(old.Digest); !ok {
		old.Annotations = nil
		x.Manifests = append(x.Manifests, old)
	}
	return true
}
