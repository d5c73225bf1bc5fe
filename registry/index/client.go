package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// Options of a Client; all but Now are required.
type Options struct {
	// Root is the root metadata the reader was given by hand: what everything rests on.
	Root []byte
	// Cache is a folder of the client's own. It remembers what was seen, which is what rollback is measured against.
	Cache string
	// Open finds the index as it is now.
	Open func(ctx context.Context) (registry.Tree, error)
	// Now is the clock that expiry is measured by; nil = the system's.
	Now func() time.Time
}

// Client reads an index. It is safe for concurrent use; several processes may share a cache.
type Client struct {
	opts Options
	dir  string // of this root in the cache

	mu   sync.Mutex
	view *view
}

// view is the index at one moment: all metadata, verified.
type view struct {
	tree    registry.Tree
	up      *updater.Updater
	packs   map[string]entry
	spaces  map[string]bool
	expires time.Time
	at      time.Time
	version int64
}

// entry is a pack as the metadata has it.
type entry struct {
	summary
	file *metadata.TargetFiles
}

// State is what a client knows of its index.
type State struct {
	Version   int64     `json:"version"`   // of the snapshot
	Refreshed time.Time `json:"refreshed"` // by this process
	Expires   time.Time `json:"expires"`   // of the metadata that ends first
	Packs     int       `json:"packs"`
}

// NewClient makes a client; nothing is read but the root. Errors: Invalid (a root that is none).
func NewClient(o Options) (*Client, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	root, err := (&metadata.Metadata[metadata.RootType]{}).FromBytes(o.Root)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read the index's root: %w", err).
			WithHint("give the root.json that the index's keeper handed out")
	}
	if !root.Signed.ConsistentSnapshot {
		return nil, abi.Errorf(abi.Unsupported, "read the index's root: it has no consistent snapshots")
	}
	sum := sha256.Sum256(o.Root)
	return &Client{opts: o, dir: filepath.Join(o.Cache, hex.EncodeToString(sum[:8]))}, nil
}

// Refresh brings the client to the newest state of the index and reads all metadata, so that nothing is fetched to answer
// Revoked, Search and Names. After an error the client answers from the state before, as long as that has not expired.
//
// Errors: Untrusted for metadata that is not signed by who must have signed it, is older than what was seen before, has
// expired, or does not belong together; DigestMismatch for files that are not what the metadata says; Unavailable when
// the place does not answer.
func (c *Client) Refresh(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.load(ctx)
	if err != nil {
		return refusal(err, "refresh the index")
	}
	c.view = v
	return nil
}

func (c *Client) load(ctx context.Context) (*view, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, abi.Errorf(abi.Unavailable, "make the cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(c.dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	tree, err := c.opts.Open(ctx)
	if err != nil {
		return nil, err
	}
	up, err := c.updater(ctx, tree)
	if err != nil {
		return nil, err
	}
	if err := up.Refresh(); err != nil {
		return nil, err
	}
	v := &view{tree: tree, up: up, at: c.opts.Now(), packs: map[string]entry{}, spaces: map[string]bool{}}
	return v, v.read()
}

// updater makes the TUF client of one refresh. It starts from the newest root this cache has seen.
func (c *Client) updater(ctx context.Context, tree registry.Tree) (*updater.Updater, error) {
	root, err := os.ReadFile(filepath.Join(c.dir, "root.json"))
	if err != nil || len(root) == 0 {
		root = c.opts.Root
	}
	cfg, err := config.New("index:///", root)
	if err != nil {
		return nil, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = c.dir, filepath.Join(c.dir, "pages")
	cfg.RootMaxLength, cfg.TimestampMaxLength, cfg.SnapshotMaxLength, cfg.TargetsMaxLength = maxRoot, maxTimestamp, maxSnapshot, maxRole
	cfg.MaxDelegations = 1 << 16
	cfg.Fetcher = fetcher{ctx, tree}
	up, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	up.UnsafeSetRefTime(c.opts.Now().UTC()) // its only clock hook
	return up, nil
}

// read collects what the roles of all namespaces say.
func (v *view) read() error {
	set := v.up.GetTrustedMetadataSet()
	targets := set.Targets[metadata.TARGETS]
	v.version = set.Snapshot.Signed.Version
	v.expires = earliest(set.Root.Signed.Expires, set.Timestamp.Signed.Expires, set.Snapshot.Signed.Expires, targets.Signed.Expires)
	if targets.Signed.Delegations == nil {
		return nil
	}
	for _, d := range targets.Signed.Delegations.Roles {
		ns, ok := strings.CutPrefix(d.Name, "packs-")
		if !ok || !spaceGrammar.MatchString(ns) || !slices.Equal(d.Paths, []string{"packs/" + ns + "/*"}) || v.spaces[ns] {
			return abi.Errorf(abi.Invalid, "the role %q is no namespace's, or is there twice", d.Name)
		}
		v.spaces[ns] = true
		// Asking for a name that cannot be makes the library load and verify the role.
		if _, err := v.up.GetTargetInfo("packs/" + ns + "/-"); err != nil && !isNoTarget(err) {
			return fmt.Errorf("role %q: %w", d.Name, err)
		}
		role := v.up.GetTrustedMetadataSet().Targets[d.Name]
		if role == nil {
			return abi.Errorf(abi.Untrusted, "the role %q did not load", d.Name)
		}
		v.expires = earliest(v.expires, role.Signed.Expires)
		if err := v.role(ns, role.Signed.Targets); err != nil {
			return err
		}
	}
	return nil
}

// isNoTarget reports the library's plain error for a target that no role lists.
func isNoTarget(err error) bool {
	return strings.HasPrefix(err.Error(), "target ") && strings.HasSuffix(err.Error(), " not found")
}

func (v *view) role(ns string, files map[string]*metadata.TargetFiles) error {
	for path, f := range files {
		name, ok := strings.CutPrefix(path, "packs/")
		name, json2 := strings.CutSuffix(name, ".json")
		if !ok || !json2 || !nameGrammar.MatchString(name) || namespaceOf(name) != ns {
			return abi.Errorf(abi.Untrusted, "the role of %q lists %q, which is not its own", ns, path)
		}
		e := entry{file: f}
		e.file.Path = path
		if f.Custom != nil {
			if err := json.Unmarshal(*f.Custom, &e.summary); err != nil {
				return abi.Errorf(abi.Invalid, "the summary of %q does not read: %w", name, err)
			}
		}
		v.packs[name] = e
	}
	return nil
}

func earliest(ts ...time.Time) time.Time {
	return slices.MinFunc(ts, func(a, b time.Time) int { return a.Compare(b) })
}

// current gives the view if it may still be believed.
func (c *Client) current() (*view, error) {
	switch {
	case c.view == nil:
		return nil, abi.Errorf(abi.Unavailable, "ask the index: it has not been read yet").WithHint("arw registry index refresh")
	case !c.opts.Now().Before(c.view.expires):
		return nil, abi.Errorf(abi.Untrusted, "ask the index: what is known of it expired at %s", c.view.expires.Format(time.RFC3339)).
			WithHint("refresh it; if that fails, ask its keeper: somebody may be keeping newer news from you")
	}
	return c.view, nil
}

// State tells what the client knows; false before the first Refresh.
func (c *Client) State() (State, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view == nil {
		return State{}, false
	}
	return State{c.view.version, c.view.at, c.view.expires, len(c.view.packs)}, true
}

// Covers reports whether the index decides what the names of a namespace mean.
func (c *Client) Covers(namespace string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return false, err
	}
	return v.spaces[namespace], nil
}

// Revoked reports whether a digest of a pack is revoked and why, from what is at hand. An expired view still answers:
// a revocation does not end because newer news is missing.
func (c *Client) Revoked(name, digest string) (Mark, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view == nil {
		return Mark{}, false
	}
	m, ok := c.view.packs[name].Revoked[digest]
	return m, ok
}

// Hit is a pack that Search found.
type Hit struct {
	Name        string `json:"name"`
	Latest      string `json:"latest,omitempty"` // empty when nothing of it may be installed
	Description string `json:"description,omitempty"`
}

// Search lists the packs whose name or description holds every word of the text, case aside, by name. An empty text lists
// all.
func (c *Client) Search(text string) ([]Hit, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ToLower(text))
	hits := []Hit{}
	for name, e := range v.packs {
		hay := strings.ToLower(name + " " + e.Description)
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(hay, w) }) {
			hits = append(hits, Hit{name, e.Latest, e.Description})
		}
	}
	slices.SortFunc(hits, func(a, b Hit) int { return strings.Compare(a.Name, b.Name) })
	return hits, nil
}

// Pack fetches a pack's page, or takes it from the cache when it is what the metadata says. Errors: NotFound for a pack
// that is not listed, and those of Refresh.
func (c *Client) Pack(ctx context.Context, name string) (*Pack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return nil, err
	}
	e, ok := v.packs[name]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "find %q in the index: it is not listed", name).WithHint("arw pack search lists what there is")
	}
	raw, err := c.page(ctx, v.tree, e.file)
	if err != nil {
		return nil, refusal(err, "read the index's page of %q", name)
	}
	return ParsePack(name, raw)
}

// page reads a target by the digest the metadata gives it.
func (c *Client) page(ctx context.Context, tree registry.Tree, f *metadata.TargetFiles) ([]byte, error) {
	if f.Length < 0 || f.Length > maxDocument {
		return nil, abi.Errorf(abi.TooLarge, "%d bytes, the limit is %d", f.Length, maxDocument)
	}
	sum, ok := f.Hashes["sha256"]
	if !ok || len(sum) != sha256.Size {
		return nil, abi.Errorf(abi.Untrusted, "the metadata gives it no sha256")
	}
	cached := filepath.Join(c.dir, "pages", hex.EncodeToString(sum))
	if raw, err := os.ReadFile(cached); err == nil && f.VerifyLengthHashes(raw) == nil {
		return raw, nil
	}
	raw, err := tree.Read(ctx, "targets/"+hashed(f.Path, sum), f.Length)
	if err != nil {
		if abi.CodeOf(err) == abi.TooLarge {
			return nil, abi.Errorf(abi.DigestMismatch, "more bytes came than the metadata says")
		}
		return nil, err
	}
	if err := f.VerifyLengthHashes(raw); err != nil {
		return nil, err
	}
	return raw, writeFile(cached, raw) // the cache must not decide whether there is an answer, but a full disk is worth a word
}

// hashed is the name of a target's file: dir/HASH.name.
func hashed(path string, sum []byte) string {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i] + hex.EncodeToString(sum) + "." + path[i:]
}

// Pick decides which digest a name and a version mean: version "" is the newest that may be installed; a digest, when
// given, must be the one the index has for some version. It is for new installs: what is yanked is refused too, unless the
// digest was named, which only yields a warning. Errors: NotFound, Denied (yanked, revoked), DigestMismatch, and those of Pack.
func (c *Client) Pick(ctx context.Context, name, version, digest string) (v *Version, warning string, err error) {
	p, err := c.Pack(ctx, name)
	if err != nil {
		return nil, "", err
	}
	switch {
	case version != "":
		found, ok := p.Find(version)
		if !ok {
			return nil, "", abi.Errorf(abi.NotFound, "find %q in the index: it does not list that version", name+":"+version).
				WithHint("arw pack info %s lists what there is", name)
		}
		if digest != "" && digest != found.Digest {
			return nil, "", abi.Errorf(abi.DigestMismatch, "version %q of %q is %s in the index and %s was asked for", version, name, found.Digest, digest).
				WithHint("drop the digest, or ask the publisher which one is right")
		}
		v = found
	case digest != "":
		i := slices.IndexFunc(p.Versions, func(v Version) bool { return v.Digest == digest })
		if i < 0 {
			return nil, "", abi.Errorf(abi.NotFound, "find %q in the index: it lists no version with that digest", name+"@"+digest).
				WithHint("arw pack info %s lists what there is", name)
		}
		v = &p.Versions[i]
	default:
		var ok bool
		if v, ok = p.Newest(); !ok {
			return nil, "", abi.Errorf(abi.NotFound, "find %q in the index: no version of it may be installed", name).
				WithHint("arw pack info %s says why", name)
		}
	}
	warning, err = v.judge(name, digest != "")
	return v, warning, err
}

// judge refuses what is not for installs.
func (v *Version) judge(name string, named bool) (warning string, err error) {
	switch {
	case v.Revoked != nil:
		return "", abi.Errorf(abi.Denied, "use %q: it was revoked: %s", name+":"+v.Version, v.Revoked.Reason).
			WithHint("choose another version: arw pack info %s", name)
	case v.Yanked != nil && !named:
		return "", abi.Errorf(abi.Denied, "use %q: it was yanked: %s", name+":"+v.Version, v.Yanked.Reason).
			WithHint("choose another version (arw pack info %s), or name its digest if you must have this one", name)
	case v.Yanked != nil:
		return fmt.Sprintf("version %s was yanked: %s", v.Version, v.Yanked.Reason), nil
	case v.Superseded != "":
		return fmt.Sprintf("version %s is superseded by %s", v.Version, v.Superseded), nil
	}
	return "", nil
}

// fetcher is the library's way to a tree.
type fetcher struct {
	ctx  context.Context
	tree registry.Tree
}

// DownloadFile reads a metadata file; one that is not there is told in the library's own words, by which it knows the end
// of the chain of roots.
func (f fetcher) DownloadFile(url string, limit int64, _ time.Duration) ([]byte, error) {
	name := strings.TrimLeft(strings.TrimPrefix(url, "index:"), "/")
	raw, err := f.tree.Read(f.ctx, name, limit)
	if abi.CodeOf(err) == abi.NotFound {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: name}
	}
	return raw, err
}

// refusal gives an error of the library its code and the next step.
func refusal(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if e, ok := errors.AsType[*abi.Error](err); ok {
		out := abi.Errorf(e.Code, "%s: %w", what, err)
		out.Hint = e.Hint
		return out
	}
	var gone *metadata.ErrDownloadHTTP
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return abi.Errorf(abi.Untrusted, "%s: it is out of date: %w", what, err).
			WithHint("ask the index's keeper to refresh it; if they did, somebody keeps the new one from you")
	case errors.Is(err, &metadata.ErrBadVersionNumber{}), errors.Is(err, &metadata.ErrEqualVersionNumber{}):
		return abi.Errorf(abi.Untrusted, "%s: its parts are older than what was seen, or do not belong together: %w", what, err).
			WithHint("use another mirror; this one serves an old or a mixed index")
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return abi.Errorf(abi.DigestMismatch, "%s: a file is not what the metadata says: %w", what, err).
			WithHint("use another mirror; this one changes files")
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return abi.Errorf(abi.Untrusted, "%s: not signed by the keys that must: %w", what, err).
			WithHint("check that root.json is this index's own; ask its keeper")
	case errors.As(err, &gone):
		return abi.Errorf(abi.NotFound, "%s: there is no %s", what, gone.URL).WithHint("check the place of the index")
	case errors.Is(err, &metadata.ErrRepository{}):
		return abi.Errorf(abi.Untrusted, "%s: %w", what, err).WithHint("use another mirror, or ask the index's keeper")
	}
	if code := abi.CodeOf(err); code == abi.Cancelled || code == abi.Deadline {
		return abi.Errorf(code, "%s: %w", what, err)
	}
	return abi.Errorf(abi.Untrusted, "%s: %w", what, err).WithHint("use another mirror, or ask the index's keeper")
}

// lock takes a file for this process; it waits as long as ctx allows.
func lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "lock %q: %w", path, err)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN); f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, abi.Errorf(abi.Unavailable, "lock %q: %w", path, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// writeFile puts a file in place whole.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Slice gives the files that a reader without a network needs to believe this state of the index about some packs: every
// root, the metadata, and their pages. Other packs' pages are left out. Errors: those of Pack.
func (c *Client) Slice(ctx context.Context, names []string) ([]registry.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return nil, err
	}
	var files []registry.File
	set := v.up.GetTrustedMetadataSet()
	for n := int64(1); n <= set.Root.Signed.Version; n++ {
		raw, err := v.tree.Read(ctx, numbered(n, metadata.ROOT), maxRoot)
		if err != nil {
			return nil, refusal(err, "take a slice of the index")
		}
		files = append(files, registry.File{Name: numbered(n, metadata.ROOT), Data: raw})
	}
	for file, meta := range set.Snapshot.Signed.Meta {
		raw, err := os.ReadFile(filepath.Join(c.dir, file)) // verified and put there by the refresh
		if err == nil {
			err = meta.VerifyLengthHashes(raw)
		}
		if err != nil {
			return nil, abi.Errorf(abi.Conflict, "take a slice of the index: its cache has moved on: %w", err).WithHint("try again")
		}
		files = append(files, registry.File{Name: numbered(meta.Version, strings.TrimSuffix(file, ".json")), Data: raw})
	}
	for local, name := range map[string]string{"timestamp.json": "timestamp.json", "snapshot.json": numbered(set.Snapshot.Signed.Version, metadata.SNAPSHOT)} {
		raw, err := os.ReadFile(filepath.Join(c.dir, local))
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "take a slice of the index: %w", err)
		}
		files = append(files, registry.File{Name: name, Data: raw})
	}
	for _, name := range names {
		e, ok := v.packs[name]
		if !ok {
			continue // an index may say nothing of a namespace it does not cover
		}
		raw, err := c.page(ctx, v.tree, e.file)
		if err != nil {
			return nil, refusal(err, "read the index's page of %q", name)
		}
		files = append(files, registry.File{Name: "targets/" + hashed(e.file.Path, e.file.Hashes["sha256"]), Data: raw})
	}
	slices.SortFunc(files, func(a, b registry.File) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(files, func(a, b registry.File) bool { return a.Name == b.Name }), nil
}

// Install puts files of an index into a folder that Clients read, the timestamp last. They must have been verified.
func Install(dir string, files []registry.File) error {
	var stamp []byte
	for _, f := range files {
		if !fs.ValidPath(f.Name) {
			return abi.Errorf(abi.Invalid, "put the index into %q: %q is no file's name", dir, f.Name)
		}
		if f.Name == "timestamp.json" {
			stamp = f.Data
			continue
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f.Data); err != nil {
			return abi.Errorf(abi.Unavailable, "put the index into %q: %w", dir, err)
		}
	}
	if stamp == nil {
		return nil
	}
	if err := writeFile(filepath.Join(dir, "timestamp.json"), stamp); err != nil {
		return abi.Errorf(abi.Unavailable, "put the index into %q: %w", dir, err)
	}
	return nil
}
