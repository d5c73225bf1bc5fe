package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
