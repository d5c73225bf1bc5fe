package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

var (
	blobName      = regexp.MustCompile(`^blobs/sha256/[0-9a-f]{64}$`)
	digestGrammar = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// reader takes a file apart.
type reader struct {
	Limits
	dir    string
	names  catalogue
	size   map[string]int64 // of the blobs that came, by digest
	wanted map[string]int64 // of the blobs that something names
	total  int64
}

// Open unpacks a bundle into a folder of its own. It refuses, with Invalid, everything that Create does not write: other
// entries, other kinds of entries (links, folders, devices, sparse files), other headers, another order, names twice, blobs
// that nothing names or that are missing, anything behind the end; with DigestMismatch a blob whose bytes are not those of
// its name; with TooLarge what is beyond the limits. Nothing outside that folder is written, and after an error nothing is left.
func Open(ctx context.Context, src io.Reader, l Limits) (b *Bundle, err error) {
	dir, err := os.MkdirTemp("", "arw-bundle-*")
	if err != nil {
		return nil, unpackFault(err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	r := &reader{Limits: l.withDefaults(), dir: dir, size: map[string]int64{}, wanted: map[string]int64{}}
	if err := r.unpack(ctx, src); err != nil {
		return nil, named(err)
	}
	b = &Bundle{dir: dir}
	if err := r.arrange(ctx, b); err != nil {
		return nil, named(err)
	}
	return b, nil
}

// named puts what was being done before an error.
func named(err error) error {
	code := abi.CodeOf(err)
	if _, ok := errors.AsType[*abi.Error](err); !ok && code == abi.Internal {
		code = abi.Invalid
	}
	out := abi.Errorf(code, "read the bundle: %w", err)
	if out.Hint = abi.HintOf(err); out.Hint == "" || code == abi.Invalid {
		out.Hint = "the file is damaged or was not made by `arw bundle create`; fetch it again"
	}
	return out
}

// unpack reads the tar, entry by entry.
func (r *reader) unpack(ctx context.Context, src io.Reader) error {
	in := &counter{r: src}
	tr := tar.NewReader(in)
	if err := os.MkdirAll(filepath.Join(r.dir, "blobs"), 0o700); err != nil {
		return unpackFault(err)
	}
	last := ""
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return abi.Errorf(abi.CodeOf(err), "%w", context.Cause(ctx))
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if n < 2 {
				return abi.Errorf(abi.Invalid, "it ends after %d entries", n)
			}
			return r.end(in)
		}
		if err != nil {
			return abi.Errorf(abi.Invalid, "entry %d: %w", n, err)
		}
		if err := r.header(h, n); err != nil {
			return fmt.Errorf("entry %q: %w", clip(h.Name), err)
		}
		switch {
		case n == 0 && h.Name == "oci-layout":
			err = r.layout(tr)
		case n == 1 && h.Name == "index.json":
			err = r.index(tr)
		case n > 1 && blobName.MatchString(h.Name) && h.Name > last:
			last = h.Name
			err = r.blob(tr, h)
		default:
			err = abi.Errorf(abi.Invalid, "it does not belong there")
		}
		if err != nil {
			return fmt.Errorf("entry %q: %w", clip(h.Name), err)
		}
	}
}

// header refuses what is no plain file with a plain header.
func (r *reader) header(h *tar.Header, n int) error {
	switch {
	case n >= r.Blobs:
		return abi.Errorf(abi.TooLarge, "there are more than %d entries", r.Blobs)
	case h.Typeflag != tar.TypeReg || h.Linkname != "":
		return abi.Errorf(abi.Invalid, "it is no plain file but of type %q", h.Typeflag)
	case h.Format != tar.FormatUSTAR || len(h.PAXRecords) > 0:
		return abi.Errorf(abi.Invalid, "its header is not plain USTAR")
	case h.Size < 0 || h.Size > r.Blob:
		return abi.Errorf(abi.TooLarge, "it has %d bytes, the limit is %d", h.Size, r.Blob)
	}
	if r.total += h.Size; r.total > r.Total {
		return abi.Errorf(abi.TooLarge, "all entries have more than %d bytes", r.Total)
	}
	return nil
}

// end makes sure that nothing hides behind the archive.
func (r *reader) end(in *counter) error {
	if n, _ := io.CopyN(io.Discard, in, 1); n > 0 {
		return abi.Errorf(abi.Invalid, "something follows the end of the archive")
	}
	if in.n%512 != 0 {
		return abi.Errorf(abi.Invalid, "it is cut off")
	}
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (r *reader) layout(tr io.Reader) error {
	raw, err := r.memory(tr)
	if err == nil && string(raw) != layoutText {
		err = abi.Errorf(abi.Incompatible, "it is not that of an OCI image layout 1.0.0")
	}
	return err
}

func (r *reader) memory(src io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(src, r.Memory+1))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "%w", err)
	}
	if int64(len(raw)) > r.Memory {
		return nil, abi.Errorf(abi.TooLarge, "it has more than %d bytes", r.Memory)
	}
	return raw, nil
}

// index reads index.json: the names of everything.
func (r *reader) index(tr io.Reader) error {
	raw, err := r.memory(tr)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r.names); err != nil {
		return abi.Errorf(abi.Invalid, "%w", err)
	}
	if again, err := encode(r.names); err != nil || !bytes.Equal(again, raw) {
		return abi.Errorf(abi.Invalid, "it is not in its one form")
	}
	if r.names.SchemaVersion != 2 || r.names.MediaType != mediaIndex {
		return abi.Errorf(abi.Invalid, "it is no OCI image index")
	}
	for _, d := range r.names.Manifests {
		if err := r.want(d); err != nil {
			return err
		}
	}
	return nil
}

// want notes that something names a blob.
func (r *reader) want(d layout.Descriptor) error {
	if !digestGrammar.MatchString(d.Digest) || d.Size < 0 || len(d.URLs) > 0 {
		return abi.Errorf(abi.Invalid, "%q of %d bytes is named, which no blob here can be", clip(d.Digest), d.Size)
	}
	if size, ok := r.wanted[d.Digest]; ok && size != d.Size {
		return abi.Errorf(abi.Invalid, "%q is named with %d bytes and with %d", d.Digest, size, d.Size)
	}
	r.wanted[d.Digest] = d.Size
	return nil
}

// blob stores an entry under the digest that its bytes have, which must be its name.
func (r *reader) blob(tr io.Reader, h *tar.Header) error {
	name := filepath.Base(h.Name)
	f, err := os.OpenFile(filepath.Join(r.dir, "blobs", name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unpackFault(err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), tr)
	if cerr := f.Close(); err == nil && cerr != nil {
		return unpackFault(cerr)
	}
	switch {
	case err != nil:
		return abi.Errorf(abi.Invalid, "%w", err)
	case n != h.Size:
		return abi.Errorf(abi.Invalid, "%d bytes came of %d", n, h.Size)
	case hex.EncodeToString(sum.Sum(nil)) != name:
		return abi.Errorf(abi.DigestMismatch, "its bytes do not have that digest").WithHint("the file is damaged or was changed; fetch it again")
	}
	r.size["sha256:"+name] = n
	return nil
}

// open reads a blob that came, in memory.
func (r *reader) open(d layout.Descriptor) ([]byte, error) {
	if d.Size > r.Memory {
		return nil, abi.Errorf(abi.TooLarge, "%q has %d bytes, the limit is %d", d.Digest, d.Size, r.Memory)
	}
	raw, err := os.ReadFile(r.path(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, abi.Errorf(abi.Invalid, "blob %q is missing", d.Digest)
	}
	if err == nil && int64(len(raw)) != d.Size {
		err = abi.Errorf(abi.Invalid, "blob %q has %d bytes and is named with %d", d.Digest, len(raw), d.Size)
	}
	return raw, err
}

func (r *reader) path(digest string) string {
	return filepath.Join(r.dir, "blobs", strings.TrimPrefix(digest, "sha256:"))
}

// arrange makes a registry of the blobs: each pack with everything that is attached to it. What the names do not lead to
// is refused, so that a bundle holds nothing that was not looked at.
func (r *reader) arrange(ctx context.Context, b *Bundle) error {
	docs := map[string]*document{}
	for _, d := range r.names.Manifests {
		raw, err := r.open(d)
		if err != nil {
			return err
		}
		doc, err := readDocument(raw)
		if err != nil || docs[d.Digest] != nil || d.MediaType != mediaManifest || d.ArtifactType != doc.ArtifactType {
			return abi.Errorf(abi.Invalid, "manifest %q is not what index.json calls it, or is there twice", d.Digest)
		}
		docs[d.Digest] = doc
		for _, l := range append(slices.Clone(doc.Layers), doc.Config) {
			if err := r.want(l); err != nil {
				return err
			}
		}
	}
	for d, size := range r.wanted {
		if got, ok := r.size[d]; !ok || got != size {
			return abi.Errorf(abi.Invalid, "blob %q of %d bytes is missing, or has another size", d, size)
		}
	}
	for d := range r.size {
		if _, ok := r.wanted[d]; !ok {
			return abi.Errorf(abi.Invalid, "nothing names the blob %q", d)
		}
	}
	top, err := layout.Open(filepath.Join(r.dir, "registry"))
	if err != nil {
		return err
	}
	if err := r.place(ctx, b, top, docs); err != nil {
		return err
	}
	if len(b.packs) == 0 {
		return abi.Errorf(abi.Invalid, "it holds no pack")
	}
	b.reg, err = registry.Open("dir:"+top.Path(), registry.Options{})
	return err
}

// place puts each manifest where it belongs. A referrer follows its pack in index.json.
func (r *reader) place(ctx context.Context, b *Bundle, top *layout.Dir, docs map[string]*document) error {
	var repo *layout.Repo
	var pack layout.Descriptor
	for _, d := range r.names.Manifests {
		doc, ref := docs[d.Digest], d.Annotations[refName]
		if len(d.Annotations) > 1 || len(d.Annotations) == 1 && ref == "" {
			return abi.Errorf(abi.Invalid, "manifest %q has annotations that mean nothing here", d.Digest)
		}
		name, version, isPack := packOf(ref)
		var err error
		switch {
		case ref == proofsName && doc.ArtifactType == registry.ArtifactTree && b.index == nil && b.root == nil:
			repo = nil
			err = r.proofs(b, doc)
		case isPack && doc.ArtifactType == registry.ArtifactType && doc.Subject == nil:
			if len(b.packs) >= r.Packs {
				return abi.Errorf(abi.TooLarge, "it holds more than %d packs", r.Packs)
			}
			if repo, err = top.Repo(name); err != nil {
				return err
			}
			pack = d
			b.packs = append(b.packs, Pack{Name: name, Version: version, Digest: d.Digest})
			err = r.store(ctx, repo, d, doc, registry.Tag(version))
		case ref == "" && repo != nil && doc.Subject != nil && doc.Subject.Digest == pack.Digest:
			b.packs[len(b.packs)-1].Bundles++
			err = r.store(ctx, repo, d, doc, "")
		default:
			err = abi.Errorf(abi.Invalid, "manifest %q (%q) is neither a pack, nor attached to the one before it, nor the proofs", d.Digest, clip(ref))
		}
		if err != nil {
			return err
		}
	}
	sorted := slices.Clone(b.packs)
	sortPacks(sorted)
	if !slices.Equal(sorted, b.packs) {
		return abi.Errorf(abi.Invalid, "its packs are out of order")
	}
	return nil
}

func (r *reader) store(ctx context.Context, repo *layout.Repo, d layout.Descriptor, doc *document, tag string) error {
	for _, l := range append(slices.Clone(doc.Layers), doc.Config) {
		f, err := os.Open(r.path(l.Digest))
		if err != nil {
			return unpackFault(err)
		}
		err = repo.PutBlob(ctx, l.Digest, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	raw, err := r.open(d)
	if err != nil {
		return err
	}
	_, err = repo.PutManifest(ctx, d.MediaType, raw, layout.Put{Digest: d.Digest, Tag: tag, Fixed: true})
	return err
}

func (r *reader) proofs(b *Bundle, doc *document) error {
	seen := map[string]bool{}
	for _, l := range doc.Layers {
		name := l.Annotations[annTitle]
		if !fs.ValidPath(name) || seen[name] {
			return abi.Errorf(abi.Invalid, "the proofs hold %q, which is no file's name or is there twice", clip(name))
		}
		seen[name] = true
		raw, err := r.open(l)
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(name, indexPrefix); ok {
			b.index = append(b.index, registry.File{Name: rest, Data: raw})
		} else if name == rootFile {
			b.root = raw
		} else {
			return abi.Errorf(abi.Invalid, "the proofs hold %q, which is none", clip(name))
		}
	}
	return nil
}

// clip makes a stranger's words fit to be shown.
func clip(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
