package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaEmpty    = "application/vnd.oci.empty.v1+json"
	refName       = "org.opencontainers.image.ref.name"
	annTitle      = "org.opencontainers.image.title"
	layoutText    = `{"imageLayoutVersion":"1.0.0"}`
)

// catalogue is index.json of the layout.
type catalogue struct {
	SchemaVersion int                 `json:"schemaVersion"`
	MediaType     string              `json:"mediaType"`
	Manifests     []layout.Descriptor `json:"manifests"`
}

// writer collects what goes into a file.
type writer struct {
	list  []layout.Descriptor
	small map[string][]byte       // blobs in memory, by digest
	large map[string]*layout.Repo // blobs in a layout, by digest
}

// Create writes a bundle. The same packs, signatures and index make the same bytes. Nothing is verified but digests: that
// is for who reads it. Packs come through a temporary folder.
func Create(ctx context.Context, w io.Writer, src Source, p registry.Progress) ([]Pack, error) {
	if len(src.Packs) == 0 {
		return nil, abi.Errorf(abi.Invalid, "bundle: no pack was named").WithHint("write namespace/name:1.2.3")
	}
	dir, err := os.MkdirTemp("", "arw-bundle-*")
	if err != nil {
		return nil, unpackFault(err)
	}
	defer os.RemoveAll(dir)
	packs, err := gather(ctx, dir, src, p)
	if err != nil {
		return nil, err
	}
	all, err := layout.Open(dir)
	if err != nil {
		return nil, err
	}
	out := &writer{small: map[string][]byte{}, large: map[string]*layout.Repo{}}
	for i := range packs {
		if err := out.pack(all, &packs[i]); err != nil {
			return nil, err
		}
	}
	if err := out.proofs(src); err != nil {
		return nil, err
	}
	return packs, out.write(ctx, w)
}

// pack enters a pack, its files and everything attached to it.
func (o *writer) pack(all *layout.Dir, p *Pack) error {
	repo, err := all.Repo(p.Name)
	if err != nil {
		return err
	}
	d, err := o.manifest(repo, p.Digest)
	if err != nil {
		return err
	}
	d.Annotations = map[string]string{refName: p.Name + ":" + p.Version}
	o.list = append(o.list, d)
	attached, err := repo.Referrers(p.Digest, "")
	if err != nil {
		return err
	}
	p.Bundles = len(attached)
	slices.SortFunc(attached, func(a, b layout.Descriptor) int { return strings.Compare(a.Digest, b.Digest) })
	for _, a := range attached {
		d, err := o.manifest(repo, a.Digest)
		if err != nil {
			return err
		}
		d.ArtifactType = a.ArtifactType
		o.list = append(o.list, d)
	}
	return nil
}

// manifest enters a manifest and the blobs it stands on.
func (o *writer) manifest(repo *layout.Repo, digest string) (layout.Descriptor, error) {
	d, raw, err := repo.Manifest(digest)
	if err != nil {
		return d, err
	}
	doc, err := readDocument(raw)
	if err != nil {
		return d, abi.Errorf(abi.Incompatible, "bundle manifest %q: %w", digest, err)
	}
	o.small[digest] = raw
	for _, b := range append(slices.Clone(doc.Layers), doc.Config) {
		o.large[b.Digest] = repo
	}
	return layout.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: doc.ArtifactType}, nil
}

// proofs enters the index slice and the trusted root as one more artifact.
func (o *writer) proofs(src Source) error {
	var files []registry.File
	for _, f := range src.Index {
		files = append(files, registry.File{Name: indexPrefix + f.Name, Data: f.Data})
	}
	if src.TrustedRoot != nil {
		files = append(files, registry.File{Name: rootFile, Data: src.TrustedRoot})
	}
	if len(files) == 0 {
		return nil
	}
	slices.SortFunc(files, func(a, b registry.File) int { return strings.Compare(a.Name, b.Name) })
	doc := document{SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: registry.ArtifactTree, Config: o.put(mediaEmpty, []byte("{}"))}
	for _, f := range files {
		l := o.put(registry.MediaFile, f.Data)
		l.Annotations = map[string]string{annTitle: f.Name}
		doc.Layers = append(doc.Layers, l)
	}
	raw, err := encode(doc)
	if err != nil {
		return err
	}
	d := o.put(mediaManifest, raw)
	d.ArtifactType, d.Annotations = registry.ArtifactTree, map[string]string{refName: proofsName}
	o.list = append(o.list, d)
	return nil
}

func (o *writer) put(mediaType string, data []byte) layout.Descriptor {
	d := layout.Descriptor{MediaType: mediaType, Digest: digestOf(data), Size: int64(len(data))}
	o.small[d.Digest] = data
	return d
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// write puts the entries in their one order: oci-layout, index.json, the blobs by digest.
func (o *writer) write(ctx context.Context, w io.Writer) error {
	names, err := encode(catalogue{2, mediaIndex, o.list})
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, f := range []registry.File{{Name: "oci-layout", Data: []byte(layoutText)}, {Name: "index.json", Data: names}} {
		if err := entry(tw, f.Name, int64(len(f.Data)), bytes.NewReader(f.Data)); err != nil {
			return err
		}
	}
	var digests []string
	for d := range o.small {
		digests = append(digests, d)
	}
	for d := range o.large {
		if o.small[d] == nil {
			digests = append(digests, d)
		}
	}
	slices.Sort(digests)
	for _, d := range digests {
		if err := ctx.Err(); err != nil {
			return abi.Errorf(abi.CodeOf(err), "write the bundle: %w", context.Cause(ctx))
		}
		if err := o.blob(tw, d); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return writeFault(err)
	}
	return nil
}

func (o *writer) blob(tw *tar.Writer, digest string) error {
	name := "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
	if data := o.small[digest]; data != nil {
		return entry(tw, name, int64(len(data)), bytes.NewReader(data))
	}
	b, err := o.large[digest].OpenBlob(digest)
	if err != nil {
		return err
	}
	defer b.Close()
	return entry(tw, name, b.Size(), struct{ io.Reader }{b}) // Read checks the digest
}

// entry writes one file with nothing of this machine or day in its header.
func entry(tw *tar.Writer, name string, size int64, r io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatUSTAR}
	if err := tw.WriteHeader(h); err != nil {
		return writeFault(err)
	}
	if _, err := io.Copy(tw, r); err != nil {
		return writeFault(err)
	}
	return nil
}

func writeFault(err error) error {
	if abi.CodeOf(err) == abi.Corrupt {
		return err
	}
	return abi.Errorf(abi.StorageFull, "write the bundle: %w", err).WithHint("check the disk and the file's folder")
}
