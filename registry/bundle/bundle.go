// Package bundle promises packs in one file for a host without a network: Create writes packs, every signature and
// attestation on them, the slice of the signed index that speaks of them and the trusted root, and Open takes such a file
// apart, believing nothing of it. Check then asks the reader's own trust policy and index root; Import moves what passed
// into a registry in a folder, all of it or nothing.
//
// The file is a tar of an OCI image layout and its bytes depend on nothing but its content: docs/spec/bundle.md. Nothing
// here dials: a caller brings the registries and the index.
package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/index"
	"github.com/arw-project/arw/registry/layout"
	"github.com/arw-project/arw/signing"
)

// proofsName is what index.json calls the tree with the index slice and the trusted root. It is no pack's name: no
// namespace holds a dot.
const proofsName = "arw.bundle/proofs:1"

// rootFile is the trusted root within the proofs; indexPrefix is before the index's own file names.
const (
	rootFile    = "trusted_root.json"
	indexPrefix = "index/"
)

// Limits bound what a file may hold; a zero field means the default named behind it.
type Limits struct {
	Total  int64 // bytes of all entries: 16 GiB
	Blob   int64 // bytes of one entry: 1 GiB
	Blobs  int   // entries: 65,536
	Packs  int   // 1,024
	Memory int64 // bytes of index.json, a manifest, or a file of the proofs: 16 MiB
}

func (l Limits) withDefaults() Limits {
	or := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	or(&l.Total, 16<<30)
	or(&l.Blob, 1<<30)
	or(&l.Memory, 16<<20)
	if l.Blobs == 0 {
		l.Blobs = 1 << 16
	}
	if l.Packs == 0 {
		l.Packs = 1024
	}
	return l
}

// Pack is one pack of a bundle and, after Check, what was decided about it.
type Pack struct {
	Name    string           `json:"name"`
	Version string           `json:"version"`
	Digest  string           `json:"digest"`
	Bundles int              `json:"bundles"` // signatures and attestations
	Verdict *signing.Verdict `json:"verdict,omitempty"`
	Index   string           `json:"index,omitempty"` // what the index says: "current", "superseded"; empty without one
}

// Bundle is an opened file, unpacked into a folder of its own. Close it.
type Bundle struct {
	dir     string
	reg     *registry.Registry
	packs   []Pack
	index   []registry.File
	root    []byte
	checked bool
}

// Packs are what the file holds, by name and version.
func (b *Bundle) Packs() []Pack { return slices.Clone(b.packs) }

// TrustedRoot is the root that came along, nil without one. It is for a person to compare: a bundle cannot say whom to trust.
func (b *Bundle) TrustedRoot() []byte { return slices.Clone(b.root) }

// HasIndex reports whether a slice of an index came along.
func (b *Bundle) HasIndex() bool { return len(b.index) > 0 }

// Close removes the unpacked file.
func (b *Bundle) Close() error { return os.RemoveAll(b.dir) }

// Judge is what the reader believes; it does not come from the file.
type Judge struct {
	// Trust is the trust policy; required.
	Trust *signing.Policy
	// IndexRoot is the root of the index that must speak of every pack; nil asks for none.
	IndexRoot []byte
	// Cache is what the reader has seen of that index, against which rollback is measured; it is read and not changed.
	Cache string
	// AsOf is the time that expiry is measured by; zero is now. It is for bundles that were long on their way.
	AsOf time.Time
}

// Check judges every pack as an install would: the trust policy must be satisfied, and where the reader has an index, its
// slice must be in the file, be believed, and list each pack with that very digest, neither yanked nor revoked. The error
// is that of the first pack that does not pass; Packs then tells of those before it.
func (b *Bundle) Check(ctx context.Context, j Judge) error {
	b.checked = false
	var listed *index.Client
	if j.IndexRoot != nil {
		var err error
		if listed, err = b.client(ctx, j); err != nil {
			return err
		}
	}
	for i := range b.packs {
		if err := b.judge(ctx, &b.packs[i], j, listed); err != nil {
			return err
		}
	}
	b.checked = true
	return nil
}

func (b *Bundle) judge(ctx context.Context, p *Pack, j Judge, listed *index.Client) error {
	art, err := b.reg.Pull(ctx, registry.Ref{Name: p.Name, Digest: p.Digest}, nil)
	if err != nil {
		return refuse(err, p)
	}
	man, err := manifests.ParsePack(manifests.FileName, art.Files[1].Data)
	if err != nil {
		return refuse(err, p)
	}
	if man.Name != p.Name || man.Version != p.Version {
		return refuse(abi.Errorf(abi.Invalid, "its manifest is that of %s %s", man.Name, man.Version), p)
	}
	bundles, err := b.reg.Bundles(ctx, p.Name, p.Digest)
	if err != nil {
		return refuse(err, p)
	}
	p.Bundles = len(bundles)
	p.Verdict, err = j.Trust.Judge(ctx, signing.Question{Pack: p.Name, Digest: p.Digest, Version: p.Version, Now: j.AsOf}, bundles)
	if err != nil {
		return refuse(err, p)
	}
	if listed == nil {
		return nil
	}
	covers, err := listed.Covers(p.Name[:strings.IndexByte(p.Name, '/')])
	if err != nil || !covers {
		return err
	}
	v, _, err := listed.Pick(ctx, p.Name, p.Version, p.Digest)
	if err == nil && v.Yanked != nil {
		err = abi.Errorf(abi.Denied, "version %s was yanked: %s", v.Version, v.Yanked.Reason)
	}
	if err != nil {
		return refuse(err, p)
	}
	p.Index = v.Status()
	return nil
}

func refuse(err error, p *Pack) error {
	out := abi.Errorf(abi.CodeOf(err), "check pack %q of the bundle: %w", p.Name+":"+p.Version, err)
	if out.Hint = abi.HintOf(err); out.Hint == "" {
		out.Hint = "have the bundle made again where the pack is whole"
	}
	return out
}

// client reads the slice as an index, from the root the reader has, with a copy of what the reader has seen.
func (b *Bundle) client(ctx context.Context, j Judge) (*index.Client, error) {
	if len(b.index) == 0 {
		return nil, abi.Errorf(abi.Untrusted, "check the bundle: this host wants an index to speak of every pack, and there is none in it").
			WithHint("have it made where an index is configured")
	}
	cache := filepath.Join(b.dir, "cache")
	if err := os.RemoveAll(cache); err != nil {
		return nil, unpackFault(err)
	}
	if j.Cache != "" {
		if err := os.CopyFS(cache, os.DirFS(j.Cache)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, unpackFault(err)
		}
	}
	o := index.Options{Root: j.IndexRoot, Cache: cache, Open: func(context.Context) (registry.Tree, error) { return tree(b.index), nil }}
	if !j.AsOf.IsZero() {
		o.Now = func() time.Time { return j.AsOf }
	}
	c, err := index.NewClient(o)
	if err != nil {
		return nil, err
	}
	if err := c.Refresh(ctx); err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "check the bundle's slice of the index: %w", err).WithHint("%s", abi.HintOf(err))
	}
	return c, nil
}

// tree is files in memory as a place.
type tree []registry.File

func (t tree) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	for _, f := range t {
		if f.Name != name {
			continue
		}
		if int64(len(f.Data)) > limit {
			return nil, abi.Errorf(abi.TooLarge, "read %q of the bundle: %d bytes, the limit is %d", name, len(f.Data), limit)
		}
		return f.Data, nil
	}
	return nil, abi.Errorf(abi.NotFound, "read %q of the bundle: it is not there", name)
}

// Import moves everything into a registry, and the slice of the index into a folder when one is named. Check must have
// passed. Before anything is written it is made sure that every version may be; then all content comes, untagged, then
// the tags, and last the index's timestamp: until then no name leads to any of it. Importing again is no error.
func (b *Bundle) Import(ctx context.Context, to *registry.Registry, indexDir string, p registry.Progress) error {
	if !b.checked {
		return abi.Errorf(abi.Untrusted, "import the bundle: it was not checked")
	}
	for _, pk := range b.packs {
		got, err := to.Resolve(ctx, registry.Ref{Name: pk.Name, Tag: registry.Tag(pk.Version)})
		if err != nil && abi.CodeOf(err) != abi.NotFound {
			return err
		}
		if err == nil && got != pk.Digest {
			return abi.Errorf(abi.Conflict, "import %q: the registry has it as %s and the bundle as %s", pk.Name+":"+pk.Version, got, pk.Digest).
				WithHint("one of the two is not what its publisher released: find out which")
		}
	}
	for _, tagged := range []bool{false, true} {
		for _, pk := range b.packs {
			ref := registry.Ref{Name: pk.Name, Digest: pk.Digest}
			if tagged {
				ref.Tag = registry.Tag(pk.Version)
			}
			if _, err := b.reg.Copy(ctx, ref, to, p); err != nil {
				return err
			}
		}
	}
	if indexDir == "" || len(b.index) == 0 {
		return nil
	}
	return index.Install(indexDir, b.index)
}

// Source is what Create puts into a file.
type Source struct {
	Packs []SourcePack
	// Index is the slice of the index that speaks of the packs (index.Client.Slice); none leaves it out.
	Index []registry.File
	// TrustedRoot is the Sigstore root the signatures are judged by; nil leaves it out.
	TrustedRoot []byte
}

// SourcePack is a pack and the registry it is in. Ref must name a version.
type SourcePack struct {
	Registry *registry.Registry
	Ref      registry.Ref
}

// gather copies the packs into a layout in a folder, checking every digest.
func gather(ctx context.Context, dir string, src Source, p registry.Progress) ([]Pack, error) {
	reg, err := registry.Open("dir:"+dir, registry.Options{})
	if err != nil {
		return nil, err
	}
	var packs []Pack
	seen := map[string]bool{}
	for _, s := range src.Packs {
		v, ok := registry.Version(s.Ref.Tag)
		if !ok {
			return nil, abi.Errorf(abi.Invalid, "bundle %q: it names no version", s.Ref.String()).WithHint("write namespace/name:1.2.3")
		}
		if key := s.Ref.Name + ":" + v; seen[key] {
			return nil, abi.Errorf(abi.Invalid, "bundle %q: it is named twice", key)
		} else {
			seen[key] = true
		}
		digest, err := s.Registry.Copy(ctx, s.Ref, reg, p)
		if err != nil {
			return nil, err
		}
		packs = append(packs, Pack{Name: s.Ref.Name, Version: v, Digest: digest})
	}
	sortPacks(packs)
	return packs, nil
}

func sortPacks(packs []Pack) {
	slices.SortFunc(packs, func(a, b Pack) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return registry.CompareVersions(a.Version, b.Version)
	})
}

// packOf reads a name of index.json, "namespace/name:version".
func packOf(ref string) (name, version string, ok bool) {
	name, version, ok = strings.Cut(ref, ":")
	if _, _, err := manifests.ParseName(name); err != nil || !ok {
		return "", "", false
	}
	if v, good := registry.Version(registry.Tag(version)); !good || v != version {
		return "", "", false
	}
	return name, version, true
}

// document is as much of a manifest as a bundle reads.
type document struct {
	SchemaVersion int                 `json:"schemaVersion"`
	MediaType     string              `json:"mediaType"`
	ArtifactType  string              `json:"artifactType,omitempty"`
	Config        layout.Descriptor   `json:"config"`
	Layers        []layout.Descriptor `json:"layers"`
	Subject       *layout.Descriptor  `json:"subject,omitempty"`
}

func readDocument(raw []byte) (*document, error) {
	d := &document{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, err
	}
	if d.SchemaVersion != 2 || d.MediaType != mediaManifest {
		return nil, errors.New("it is no OCI image manifest")
	}
	return d, nil
}

func unpackFault(err error) error {
	return abi.Errorf(abi.StorageFull, "unpack the bundle: %w", err).WithHint("free space in the temporary folder, or name another with TMPDIR")
}
