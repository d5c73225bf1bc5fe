package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

// ArtifactTree is the artifact type of a tree of files: an index, say.
const ArtifactTree = "application/vnd.arw.tree.v1"

// Tree is a set of small files somewhere, for reading: a folder, a static web server, or an artifact in a registry. What it
// gives has been checked against nothing the reader can rely on; an index brings its own proofs. Safe for concurrent use.
type Tree interface {
	// Read gives a whole file of at most limit bytes. The name is slash-separated and relative. abi.NotFound when there
	// is none, abi.TooLarge beyond the limit, abi.Unavailable when the place does not answer.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
}

// OpenTree finds the tree at a location: "dir:/path", "http(s)://host/path/" for a static server, or
// "oci:REFERENCE" for an artifact that PushTree made. An artifact is pinned to what it is now: what is pushed later is
// seen by the next OpenTree. Only the last kind dials here.
func OpenTree(ctx context.Context, location string, o Options) (Tree, error) {
	switch {
	case strings.HasPrefix(location, "dir:") && len(location) > len("dir:"):
		return dirTree(strings.TrimPrefix(location, "dir:")), nil
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		return openWeb(location, o.withDefaults())
	case strings.HasPrefix(location, "oci:"):
		return openArtifact(ctx, strings.TrimPrefix(location, "oci:"), o)
	}
	return nil, badTree(location)
}

// CheckTree reports a location that OpenTree would refuse by its form alone.
func CheckTree(location string) error {
	switch {
	case strings.HasPrefix(location, "dir:") && len(location) > len("dir:"):
		return nil
	case strings.HasPrefix(location, "http://"), strings.HasPrefix(location, "https://"):
		_, err := openWeb(location, Options{}.withDefaults())
		return err
	case strings.HasPrefix(location, "oci:"):
		_, err := ParseRef(strings.TrimPrefix(location, "oci:"), "")
		return err
	}
	return badTree(location)
}

func badTree(location string) error {
	return abi.Errorf(abi.Invalid, "open %q: not a place for an index", location).
		WithHint("write dir:/path, https://host/path/ or oci:host/namespace/name:tag")
}

func badFile(name string) error {
	return abi.Errorf(abi.Invalid, "read file %q: not a relative path", name)
}

type dirTree string

func (d dirTree) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, badFile(name)
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "open folder %q: %w", string(d), err).WithHint("check that it is there and readable")
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, abi.Errorf(abi.NotFound, "read %q in %q: no such file", name, string(d))
	}
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read %q in %q: %w", name, string(d), err)
	}
	defer f.Close()
	return readBounded(f, name, limit)
}

func readBounded(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read %q: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, abi.Errorf(abi.TooLarge, "read %q: more than %d bytes", name, limit)
	}
	return data, nil
}

// webTree is a static server: every file is the base and its name.
type webTree struct {
	base   *url.URL
	client *http.Client
}

func openWeb(location string, o Options) (Tree, error) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, badTree(location)
	}
	if u.Scheme == "http" && !isLoopback(u.Host) && !o.PlainHTTP {
		return nil, abi.Errorf(abi.Denied, "open %q: http is for this machine only", location).WithHint("use https")
	}
	client, _ := newClient(u.Host, o)
	client.Timeout = o.Timeout
	return &webTree{base: u, client: client}, nil
}

func (w *webTree) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, badFile(name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(name).String(), nil)
	if err != nil {
		return nil, badFile(name)
	}
	req.Header.Set("User-Agent", "arw")
	req.Header.Set("Accept-Encoding", "identity") // what is signed is the bytes
	resp, err := w.client.Do(req)
	if err != nil {
		code, hint := codeOf(err)
		return nil, abi.Errorf(code, "read %q at %q: %w", name, w.base.Redacted(), err).WithHint("%s", hint)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		code, _ := codeOfStatus(resp.StatusCode)
		return nil, abi.Errorf(code, "read %q at %q: the server answers %s", name, w.base.Redacted(), clip(resp.Status))
	}
	return readBounded(resp.Body, name, limit)
}

// artifactTree is an artifact whose layers are the files.
type artifactTree struct {
	reg   *Registry
	repo  string
	files map[string]descriptor
}

func openArtifact(ctx context.Context, text string, o Options) (Tree, error) {
	ref, err := ParseRef(text, "")
	if err != nil {
		return nil, err
	}
	r, err := Open(ref.Registry, o)
	if err != nil {
		return nil, err
	}
	t, err := r.openTree(ctx, ref)
	if err != nil {
		return nil, r.fault(ctx, err, fmt.Sprintf("open tree %q", ref.label()))
	}
	return t, nil
}

func (r *Registry) openTree(ctx context.Context, ref Ref) (Tree, error) {
	if ref.Tag == "" && ref.Digest == "" {
		ref.Tag = "latest"
	}
	repo, _, raw, err := r.fetchManifest(ctx, &ref)
	if err != nil {
		return nil, err
	}
	doc, err := readDocument(raw)
	if err != nil {
		return nil, err
	}
	if doc.ArtifactType != ArtifactTree {
		return nil, abi.Errorf(abi.Incompatible, "it is %q, not a tree of files", doc.ArtifactType).
			WithHint("push one with `arw registry index push`")
	}
	t := &artifactTree{reg: r, repo: repo, files: make(map[string]descriptor, len(doc.Layers))}
	for i, l := range doc.Layers {
		name := l.Annotations[annTitle]
		if !fs.ValidPath(name) || !digestGrammar.MatchString(l.Digest) || l.Size < 0 || t.files[name].Digest != "" {
			return nil, abi.Errorf(abi.Invalid, "layer %d (%q) is no file of a tree, or is there twice", i, name)
		}
		t.files[name] = l
	}
	return t, nil
}

func (t *artifactTree) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	d, ok := t.files[name]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "read %q in registry %q: the artifact has no such file", name, t.reg.location)
	}
	if d.Size > limit {
		return nil, abi.Errorf(abi.TooLarge, "read %q: %d bytes, the limit is %d", name, d.Size, limit)
	}
	ctx, cancel := t.reg.begin(ctx)
	defer cancel()
	buf := &memory{}
	if err := t.reg.fetch(ctx, t.repo, d, buf, name, nil); err != nil {
		return nil, t.reg.fault(ctx, err, fmt.Sprintf("read %q", name))
	}
	return buf.data, nil
}

// PushTree publishes files as one artifact that OpenTree reads, and points the tag to it. A tag may be moved: who reads the
// tree must be able to tell old from new by its content. Blobs that are there already are not sent again.
func (r *Registry) PushTree(ctx context.Context, ref Ref, files []File, p Progress) (string, error) {
	ctx, cancel := r.begin(ctx)
	defer cancel()
	label := ref.label()
	digest, err := r.pushTree(ctx, ref, files, p.serial())
	return digest, r.fault(ctx, err, fmt.Sprintf("push tree %q", label))
}

func (r *Registry) pushTree(ctx context.Context, ref Ref, files []File, p Progress) (string, error) {
	repo, err := r.mine(&ref)
	if err != nil {
		return "", err
	}
	if ref.Tag == "" {
		ref.Tag = "latest"
	}
	doc := document{SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: ArtifactTree, Config: emptyConfig, Layers: []layout.Descriptor{}}
	if err := r.send(ctx, repo, emptyConfig, []byte("{}"), "config", p); err != nil {
		return "", err
	}
	for _, f := range files {
		if !fs.ValidPath(f.Name) || f.Name == "." {
			return "", badFile(f.Name)
		}
		l := descriptor{MediaType: MediaFile, Digest: digestOf(f.Data), Size: int64(len(f.Data)), Annotations: map[string]string{annTitle: f.Name}}
		if err := r.send(ctx, repo, l, f.Data, f.Name, p); err != nil {
			return "", err
		}
		doc.Layers = append(doc.Layers, l)
	}
	raw, err := doc.bytes()
	if err != nil {
		return "", err
	}
	if int64(len(raw)) > r.opts.MaxManifest {
		return "", abi.Errorf(abi.TooLarge, "%d files make a manifest of %d bytes, the limit is %d", len(files), len(raw), r.opts.MaxManifest).
			WithHint("serve the folder with a static web server instead")
	}
	d := descriptor{MediaType: mediaManifest, Digest: digestOf(raw), Size: int64(len(raw)), ArtifactType: ArtifactTree}
	return d.Digest, r.store.publish(ctx, repo, d, bytes.Clone(raw), ref.Tag, false)
}
