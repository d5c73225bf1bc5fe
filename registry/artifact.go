package registry

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

// Annotations this package writes itself.
const (
	annTitle   = "org.opencontainers.image.title"
	annVersion = "org.opencontainers.image.version"
)

const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaEmpty    = "application/vnd.oci.empty.v1+json"
	packTOML      = "pack.toml"
	unitTOML      = "unit.toml"
)

// emptyConfig is the config of every artifact here: the two bytes the image specification gives to those that need none.
var emptyConfig = layout.Descriptor{MediaType: mediaEmpty, Digest: digestOf([]byte("{}")), Size: 2}

// File is one file of a pack. An empty MediaType is filled in by Push from the name.
type File struct {
	Name      string // slash-separated path within the pack
	MediaType string
	Data      []byte
}

// Artifact is a pack as it was pulled: every byte of it checked.
type Artifact struct {
	Ref      Ref    // with Registry, Name, Digest, and the Tag it was found by, if any
	Digest   string // of Manifest
	Manifest []byte
	Files    []File // the module, pack.toml, then the rest in the manifest's order
}

// document is an OCI image manifest, its members in the order they are written.
type document struct {
	SchemaVersion int                 `json:"schemaVersion"`
	MediaType     string              `json:"mediaType"`
	ArtifactType  string              `json:"artifactType,omitempty"`
	Config        layout.Descriptor   `json:"config"`
	Layers        []layout.Descriptor `json:"layers"`
	Subject       *layout.Descriptor  `json:"subject,omitempty"`
	Annotations   map[string]string   `json:"annotations,omitempty"`
}

// bytes is the one encoding of a manifest: no white space, members in the order above, annotations by name.
func (d *document) bytes() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// arrange checks a pack's files and puts them in order: the module, pack.toml, the rest by name.
func (o *Options) arrange(files []File) ([]File, error) {
	if len(files) > o.MaxFiles {
		return nil, abi.Errorf(abi.TooLarge, "%d files, the limit is %d", len(files), o.MaxFiles)
	}
	files = slices.Clone(files)
	var total int64
	modules, manifests, units := 0, 0, 0
	for i := range files {
		f := &files[i]
		f.MediaType = mediaTypeOf(*f)
		if int64(len(f.Data)) > o.MaxLayer {
			return nil, abi.Errorf(abi.TooLarge, "file %q has %d bytes, the limit is %d", f.Name, len(f.Data), o.MaxLayer)
		}
		total += int64(len(f.Data))
		switch f.MediaType {
		case MediaWasm:
			modules++
		case MediaPackTOML:
			manifests++
		case MediaUnitTOML:
			units++
		case MediaPolicy, MediaFile:
		default:
			return nil, abi.Errorf(abi.Invalid, "file %q has media type %q, which no pack holds", f.Name, f.MediaType)
		}
	}
	switch {
	case total > o.MaxTotal:
		return nil, abi.Errorf(abi.TooLarge, "the files have %d bytes, the limit is %d", total, o.MaxTotal)
	case units > 0 && (units != 1 || modules+manifests > 0):
		return nil, abi.Errorf(abi.Invalid, "a unit has one %s, no module and no %s; these have %d, %d and %d", unitTOML, packTOML, units, modules, manifests)
	case units == 0 && (modules != 1 || manifests != 1):
		return nil, abi.Errorf(abi.Invalid, "a pack has one module and one %s, not %d and %d", packTOML, modules, manifests).
			WithHint("give the module the media type %s", MediaWasm)
	}
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(rank(a.MediaType)-rank(b.MediaType), strings.Compare(a.Name, b.Name))
	})
	return files, checkTitles(files)
}

func rank(mediaType string) int {
	switch mediaType {
	case MediaWasm:
		return 0
	case MediaPackTOML, MediaUnitTOML:
		return 1
	}
	return 2
}

// mediaTypeOf is the file's own media type or the one its name asks for. A module must say that it is the module: another
// .wasm beside it is an asset.
func mediaTypeOf(f File) string {
	switch {
	case f.MediaType != "":
		return f.MediaType
	case f.Name == packTOML:
		return MediaPackTOML
	case strings.HasSuffix(f.Name, ".cedar"):
		return MediaPolicy
	}
	return MediaFile
}

// checkTitles refuses names that could leave the folder a pack is unpacked into, or could not stand side by side in it on
// any file system.
func checkTitles(files []File) error {
	taken := make(map[string]string, len(files))
	for _, f := range files {
		if !fs.ValidPath(f.Name) || f.Name == "." || len(f.Name) > 255 || strings.ContainsFunc(f.Name, oddRune) {
			return abi.Errorf(abi.Invalid, "%q is not the name of a file in a pack", f.Name).
				WithHint("use a relative path with / and no .. in it")
		}
		if f.MediaType == MediaPackTOML && f.Name != packTOML {
			return abi.Errorf(abi.Invalid, "the pack's manifest is named %q, not %q", f.Name, packTOML)
		}
		if f.MediaType == MediaUnitTOML && f.Name != unitTOML {
			return abi.Errorf(abi.Invalid, "the unit's manifest is named %q, not %q", f.Name, unitTOML)
		}
		folded := strings.ToLower(f.Name)
		if other, ok := taken[folded]; ok {
			return abi.Errorf(abi.Invalid, "%q and %q cannot both be files of a pack", other, f.Name)
		}
		taken[folded] = f.Name
	}
	for folded, name := range taken {
		for i, c := range folded {
			if other, ok := taken[folded[:i]]; c == '/' && ok {
				return abi.Errorf(abi.Invalid, "%q and %q cannot both be files of a pack", other, name)
			}
		}
	}
	return nil
}

func oddRune(c rune) bool {
	return c == '\\' || c == ':' || unicode.IsControl(c) || c == unicode.ReplacementChar
}

// compose makes the manifest of a pack.
func compose(version string, files []File, ann map[string]string) ([]byte, error) {
	all := map[string]string{annVersion: version}
	for k, v := range ann {
		if k == annVersion && v != version {
			return nil, abi.Errorf(abi.Invalid, "the annotation %s says %q", annVersion, v)
		}
		all[k] = v
	}
	doc := document{SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: typeOf(files), Config: emptyConfig, Annotations: all}
	for _, f := range files {
		doc.Layers = append(doc.Layers, layout.Descriptor{MediaType: f.MediaType, Digest: digestOf(f.Data),
			Size: int64(len(f.Data)), Annotations: map[string]string{annTitle: f.Name}})
	}
	return doc.bytes()
}

// typeOf is the artifact type of arranged files: a unit's begin with its manifest.
func typeOf(files []File) string {
	if len(files) > 0 && files[0].MediaType == MediaUnitTOML {
		return UnitArtifactType
	}
	return ArtifactType
}

// read reads the manifest of a pack or of a unit, whichever is wanted.
func (o *Options) read(raw []byte, want string) (*document, []File, error) {
	if want == UnitArtifactType {
		return o.readUnit(raw)
	}
	return o.readPack(raw)
}

// readUnit reads a unit's manifest: its unit.toml first, then files beside it.
func (o *Options) readUnit(raw []byte) (*document, []File, error) {
	doc, err := readDocument(raw)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case doc.ArtifactType != UnitArtifactType:
		return nil, nil, notAUnit(doc)
	case !isEmptyConfig(doc.Config) || doc.Subject != nil:
		return nil, nil, abi.Errorf(abi.Incompatible, "a unit has an empty config and no subject")
	case len(doc.Layers) > o.MaxFiles:
		return nil, nil, abi.Errorf(abi.TooLarge, "%d files, the limit is %d", len(doc.Layers), o.MaxFiles)
	case len(doc.Layers) < 1 || doc.Layers[0].MediaType != MediaUnitTOML:
		return nil, nil, abi.Errorf(abi.Incompatible, "a unit starts with its manifest (%s)", MediaUnitTOML)
	}
	files := make([]File, len(doc.Layers))
	var total int64
	for i, l := range doc.Layers {
		if err := o.checkLayer(i, l, 0); err != nil {
			return nil, nil, err
		}
		total += l.Size
		files[i] = File{Name: l.Annotations[annTitle], MediaType: l.MediaType}
	}
	if total > o.MaxTotal {
		return nil, nil, abi.Errorf(abi.TooLarge, "the files have %d bytes, the limit is %d", total, o.MaxTotal)
	}
	return doc, files, checkTitles(files)
}

// readPack reads a pack's manifest and refuses everything that is not one as docs/spec/pack.md has it. The returned files
// have no data yet.
func (o *Options) readPack(raw []byte) (*document, []File, error) {
	doc, err := readDocument(raw)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case doc.ArtifactType != ArtifactType:
		return nil, nil, notAPack(doc)
	case !isEmptyConfig(doc.Config):
		return nil, nil, abi.Errorf(abi.Incompatible, "a pack's config is empty, this one is %q of type %q", doc.Config.Digest, doc.Config.MediaType)
	case doc.Subject != nil:
		return nil, nil, abi.Errorf(abi.Incompatible, "a pack has no subject")
	case len(doc.Layers) > o.MaxFiles:
		return nil, nil, abi.Errorf(abi.TooLarge, "%d files, the limit is %d", len(doc.Layers), o.MaxFiles)
	case len(doc.Layers) < 2 || doc.Layers[0].MediaType != MediaWasm || doc.Layers[1].MediaType != MediaPackTOML:
		return nil, nil, abi.Errorf(abi.Incompatible, "a pack starts with its module (%s) and its manifest (%s)", MediaWasm, MediaPackTOML)
	}
	files := make([]File, len(doc.Layers))
	var total int64
	for i, l := range doc.Layers {
		if err := o.checkLayer(i, l, 1); err != nil {
			return nil, nil, err
		}
		total += l.Size
		files[i] = File{Name: l.Annotations[annTitle], MediaType: l.MediaType}
	}
	if total > o.MaxTotal {
		return nil, nil, abi.Errorf(abi.TooLarge, "the files have %d bytes, the limit is %d", total, o.MaxTotal)
	}
	return doc, files, checkTitles(files)
}

// checkLayer checks one file's entry; those up to the index own are the artifact's own kinds.
func (o *Options) checkLayer(i int, l layout.Descriptor, own int) error {
	switch {
	case i > own && l.MediaType != MediaPolicy && l.MediaType != MediaFile:
		return abi.Errorf(abi.Incompatible, "layer %d has media type %q, which this host does not know", i, l.MediaType).
			WithHint("a newer host may read this pack")
	case !digestGrammar.MatchString(l.Digest):
		return abi.Errorf(abi.Invalid, "layer %d has %q for a digest", i, l.Digest)
	case l.Size < 0:
		return abi.Errorf(abi.Invalid, "layer %d has %d for a size", i, l.Size)
	case l.Size > o.MaxLayer:
		return abi.Errorf(abi.TooLarge, "layer %d has %d bytes, the limit is %d", i, l.Size, o.MaxLayer)
	case len(l.URLs) > 0:
		return abi.Errorf(abi.Incompatible, "layer %d wants to be fetched from elsewhere", i)
	}
	return nil
}

func isEmptyConfig(d layout.Descriptor) bool {
	return d.MediaType == emptyConfig.MediaType && d.Digest == emptyConfig.Digest && d.Size == emptyConfig.Size
}

func notAPack(doc *document) error {
	kind := cmp.Or(doc.ArtifactType, doc.Config.MediaType, doc.MediaType)
	err := abi.Errorf(abi.Incompatible, "it is no pack but %q", kind)
	if kind == UnitArtifactType {
		return err.WithHint("this is a logic unit: arw unit install")
	}
	if strings.HasPrefix(kind, "application/vnd.wasm.config") {
		return err.WithHint("this is a bare WebAssembly artifact: wrap its module in a pack with a pack.toml and push that")
	}
	return err.WithHint("a pack's artifact type is %s", ArtifactType)
}

func notAUnit(doc *document) error {
	kind := cmp.Or(doc.ArtifactType, doc.Config.MediaType, doc.MediaType)
	err := abi.Errorf(abi.Incompatible, "it is no logic unit but %q", kind)
	if kind == ArtifactType {
		return err.WithHint("this is a pack: arw pack install")
	}
	return err.WithHint("a unit's artifact type is %s", UnitArtifactType)
}
