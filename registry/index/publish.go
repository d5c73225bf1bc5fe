package index

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// The roles whose keys a Publisher asks for by name; the others are RoleOf a namespace.
const (
	RoleRoot    = "root"    // offline: says which keys the other roles have
	RoleTargets = "targets" // offline: says which namespaces there are and whose they are
	RoleOnline  = "online"  // snapshot and timestamp: says what is newest, many times a day
)

// Lifetimes say for how long what a role signs is believed; the zero value of each is the default behind it. The timestamp's is
// the longest time for which somebody can hide news from a reader.
type Lifetimes struct {
	Root, Targets, Namespace, Snapshot, Timestamp time.Duration // 365 d, 90 d, 90 d, 7 d, 24 h
}

func (l Lifetimes) withDefaults() Lifetimes {
	const day = 24 * time.Hour
	l.Root, l.Targets, l.Namespace = cmp.Or(l.Root, 365*day), cmp.Or(l.Targets, 90*day), cmp.Or(l.Namespace, 90*day)
	l.Snapshot, l.Timestamp = cmp.Or(l.Snapshot, 7*day), cmp.Or(l.Timestamp, day)
	return l
}

// Publisher writes an index into a folder. Any static file server, or `arw registry index push`, makes it public. Every
// change is one new snapshot: files that readers may still want stay, and timestamp.json, the one file that changes its
// content, is replaced last. One publisher at a time; others wait.
type Publisher struct {
	Dir string
	// Key gives a role's private keys: RoleRoot may have several, the others have one. It is asked only when the role must
	// sign. abi.NotFound says that the key is not at hand, which is as it should be with offline keys most of the time.
	Key       func(role string) ([]*signing.Key, error)
	Lifetimes Lifetimes
	Now       func() time.Time // nil = the system's clock
}

func (p *Publisher) now() time.Time {
	if p.Now == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return p.Now().UTC().Truncate(time.Second)
}

// state is the index as it stands in the folder.
type state struct {
	root     *metadata.Metadata[metadata.RootType]
	targets  *metadata.Metadata[metadata.TargetsType]
	roles    map[string]*metadata.Metadata[metadata.TargetsType] // by role name
	snapshot *metadata.Metadata[metadata.SnapshotType]
	stamp    *metadata.Metadata[metadata.TimestampType]

	pages   map[string][]byte // targets to write, by file name
	files   map[string][]byte // metadata to write, in no order that matters
	changed bool
}

// Init makes an empty index: the keys' roles, no namespaces. threshold is how many of the root keys must sign a new root.
// Errors: Conflict when there is one.
func (p *Publisher) Init(ctx context.Context, threshold int) error {
	return p.locked(ctx, func() error {
		if _, err := os.Stat(p.path("timestamp.json")); err == nil {
			return abi.Errorf(abi.Conflict, "make an index in %q: there is one", p.Dir).WithHint("name another folder")
		}
		roots, err := p.Key(RoleRoot)
		if err != nil {
			return err
		}
		if threshold < 1 || threshold > len(roots) {
			return abi.Errorf(abi.Invalid, "make an index: %d of %d root keys cannot sign", threshold, len(roots)).
				WithHint("give as many root keys as must sign, or more")
		}
		life, now := p.Lifetimes.withDefaults(), p.now()
		s := &state{roles: map[string]*metadata.Metadata[metadata.TargetsType]{}}
		s.root = metadata.Root(now.Add(life.Root))
		s.targets = metadata.Targets(now.Add(life.Targets))
		s.snapshot = metadata.Snapshot(now.Add(life.Snapshot))
		s.stamp = metadata.Timestamp(now.Add(life.Timestamp))
		s.root.Signed.Version, s.targets.Signed.Version, s.snapshot.Signed.Version, s.stamp.Signed.Version = 0, 0, 0, 0
		for _, k := range roots {
			if err := addKey(s.root, k, metadata.ROOT); err != nil {
				return err
			}
		}
		s.root.Signed.Roles[metadata.ROOT].Threshold = threshold
		for role, names := range map[string][]string{RoleTargets: {metadata.TARGETS}, RoleOnline: {metadata.SNAPSHOT, metadata.TIMESTAMP}} {
			key, err := p.one(role)
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := addKey(s.root, key, name); err != nil {
					return err
				}
			}
		}
		if err := p.signRoot(s, nil, roots); err != nil {
			return err
		}
		if err := p.signTargets(s); err != nil {
			return err
		}
		return p.finish(s)
	})
}

// one is the only key of a role.
func (p *Publisher) one(role string) (*signing.Key, error) {
	keys, err := p.Key(role)
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, abi.Errorf(abi.Invalid, "sign as %q: %d keys were given, it has one", role, len(keys))
	}
	return keys[0], nil
}

// Edit changes one pack's page: edit gets the page as it is, empty for a new pack. The namespace's key and the online key
// sign. Errors: NotFound for a namespace that nobody was given.
func (p *Publisher) Edit(ctx context.Context, name string, edit func(*Pack) error) error {
	if !nameGrammar.MatchString(name) {
		return abi.Errorf(abi.Invalid, "change the index: %q is not the name of a pack", name).WithHint("write namespace/name")
	}
	return p.change(ctx, func(s *state) error {
		role := s.roles[roleOf(namespaceOf(name))]
		if role == nil {
			return abi.Errorf(abi.NotFound, "change the index's page of %q: nobody was given the namespace %q", name, namespaceOf(name)).
				WithHint("arw registry index delegate %s", namespaceOf(name))
		}
		page, err := p.page(s, role, name)
		if err != nil {
			return err
		}
		if err := edit(page); err != nil {
			return err
		}
		page.Name = name
		raw, err := page.encode()
		if err != nil {
			return err
		}
		return p.putPage(s, role, page, raw)
	})
}

// page reads a pack's page from the folder.
func (p *Publisher) page(s *state, role *metadata.Metadata[metadata.TargetsType], name string) (*Pack, error) {
	f, ok := role.Signed.Targets[pagePath(name)]
	if !ok {
		return &Pack{Name: name}, nil
	}
	raw, err := os.ReadFile(p.path("targets", hashed(pagePath(name), f.Hashes["sha256"])))
	if err != nil {
		return nil, abi.Errorf(abi.Corrupt, "read the index's page of %q: %w", name, err).WithHint("restore the folder from a backup")
	}
	if err := f.VerifyLengthHashes(raw); err != nil {
		return nil, abi.Errorf(abi.Corrupt, "read the index's page of %q: %w", name, err).WithHint("restore the folder from a backup")
	}
	return ParsePack(name, raw)
}

func (p *Publisher) putPage(s *state, role *metadata.Metadata[metadata.TargetsType], page *Pack, raw []byte) error {
	sum := sha256.Sum256(raw)
	custom, err := json.Marshal(page.summary())
	if err != nil {
		return err
	}
	msg := json.RawMessage(custom)
	path := pagePath(page.Name)
	role.Signed.Targets[path] = &metadata.TargetFiles{Length: int64(len(raw)), Hashes: metadata.Hashes{"sha256": sum[:]}, Custom: &msg, Path: path}
	s.pages[hashed(path, sum[:])] = raw
	return p.signRole(s, namespaceOf(page.Name))
}

// Add lists a version. The same version again with the same digest changes its facts; with another one it is a Conflict,
// since readers were told the first.
func (p *Publisher) Add(ctx context.Context, name, description string, v Version) error {
	return p.Edit(ctx, name, func(page *Pack) error {
		if old, ok := page.Find(v.Version); ok {
			if old.Digest != v.Digest {
				return abi.Errorf(abi.Conflict, "list %q: the index has it as %s, not %s", name+":"+v.Version, old.Digest, v.Digest).
					WithHint("publish it under a new version")
			}
			v.Published, v.Yanked, v.Revoked, v.Superseded = old.Published, old.Yanked, old.Revoked, old.Superseded
			*old = v
		} else {
			v.Published = p.now()
			page.Versions = append(page.Versions, v)
		}
		if newest, ok := page.Newest(); description != "" && (!ok || newest.Version == v.Version || page.Description == "") {
			page.Description = description
		}
		return nil
	})
}

// Yank marks a version as not for new installs; a reason of "" takes the mark away.
func (p *Publisher) Yank(ctx context.Context, name, version, reason string) error {
	return p.mark(ctx, name, version, func(v *Version) {
		if v.Yanked = nil; reason != "" {
			v.Yanked = &Mark{reason, p.now()}
		}
	})
}

// Revoke marks a version as not to run at all: hosts suspend it at their next refresh. A reason of "" takes the mark away.
func (p *Publisher) Revoke(ctx context.Context, name, version, reason string) error {
	return p.mark(ctx, name, version, func(v *Version) {
		if v.Revoked = nil; reason != "" {
			v.Revoked = &Mark{reason, p.now()}
		}
	})
}

// Supersede names the version to use instead; "" takes it back.
func (p *Publisher) Supersede(ctx context.Context, name, version, by string) error {
	return p.mark(ctx, name, version, func(v *Version) { v.Superseded = by })
}

func (p *Publisher) mark(ctx context.Context, name, version string, set func(*Version)) error {
	return p.Edit(ctx, name, func(page *Pack) error {
		v, ok := page.Find(version)
		if !ok {
			return abi.Errorf(abi.NotFound, "mark %q: the index does not list it", name+":"+version).WithHint("arw registry index show lists what there is")
		}
		set(v)
		return nil
	})
}

// Refresh signs the timestamp anew, and the snapshot and the roles whose keys are at hand when less than half of their
// lives is left. It returns what will expire within half its life and could not be signed here.
func (p *Publisher) Refresh(ctx context.Context) (late []string, err error) {
	err = p.change(ctx, func(s *state) error {
		s.changed = true
		life, now := p.Lifetimes.withDefaults(), p.now()
		due := func(expires time.Time, life time.Duration) bool { return expires.Sub(now) < life/2 }
		again := func(what string, sign func() error) error {
			err := sign()
			if abi.CodeOf(err) == abi.NotFound {
				late = append(late, what)
				return nil
			}
			return err
		}
		if due(s.root.Signed.Expires, life.Root) {
			if err := again(RoleRoot, func() error { return p.renewRoot(s) }); err != nil {
				return err
			}
		}
		if due(s.targets.Signed.Expires, life.Targets) {
			if err := again(RoleTargets, func() error { return p.signTargets(s) }); err != nil {
				return err
			}
		}
		for name, r := range s.roles {
			if due(r.Signed.Expires, life.Namespace) {
				if err := again(name, func() error { return p.signRole(s, name[len("packs-"):]) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	slices.Sort(late)
	return late, err
}

// RootBytes is the newest root, which a reader is given by hand.
func (p *Publisher) RootBytes() ([]byte, error) {
	s, err := p.read()
	if err != nil {
		return nil, err
	}
	return s.root.ToBytes(true)
}

// Files are what a reader needs of the index now, by name: all roots, the current metadata and pages.
func (p *Publisher) Files() ([]registry.File, error) {
	s, err := p.read()
	if err != nil {
		return nil, err
	}
	var names []string
	for v := int64(1); v <= s.root.Signed.Version; v++ {
		names = append(names, numbered(v, metadata.ROOT))
	}
	names = append(names, "timestamp.json", numbered(s.snapshot.Signed.Version, metadata.SNAPSHOT), numbered(s.targets.Signed.Version, metadata.TARGETS))
	for role, m := range s.roles {
		names = append(names, numbered(m.Signed.Version, role))
		for path, f := range m.Signed.Targets {
			names = append(names, "targets/"+hashed(path, f.Hashes["sha256"]))
		}
	}
	slices.Sort(names)
	files := make([]registry.File, len(names))
	for i, n := range names {
		raw, err := os.ReadFile(p.path(filepath.FromSlash(n)))
		if err != nil {
			return nil, abi.Errorf(abi.Corrupt, "read %q of the index: %w", n, err).WithHint("restore the folder from a backup")
		}
		files[i] = registry.File{Name: n, Data: raw}
	}
	return files, nil
}

func (p *Publisher) path(names ...string) string {
	return filepath.Join(append([]string{p.Dir}, names...)...)
}

// locked runs fn as the only publisher.
func (p *Publisher) locked(ctx context.Context, fn func() error) error {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return abi.Errorf(abi.Unavailable, "write the index in %q: %w", p.Dir, err)
	}
	unlock, err := lock(ctx, p.path(".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	return fn()
}

// change reads the index, lets fn alter it and writes a new snapshot if it did.
func (p *Publisher) change(ctx context.Context, fn func(*state) error) error {
	return p.locked(ctx, func() error {
		s, err := p.read()
		if err != nil {
			return err
		}
		if err := fn(s); err != nil {
			return err
		}
		if !s.changed {
			return nil
		}
		return p.finish(s)
	})
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// List reads every page, by name.
func (p *Publisher) List() ([]*Pack, error) {
	s, err := p.read()
	if err != nil {
		return nil, err
	}
	packs := []*Pack{}
	for _, role := range s.roles {
		for path := range role.Signed.Targets {
			name := path[len("packs/") : len(path)-len(".json")]
			page, err := p.page(s, role, name)
			if err != nil {
				return nil, err
			}
			packs = append(packs, page)
		}
	}
	slices.SortFunc(packs, func(a, b *Pack) int { return cmp.Compare(a.Name, b.Name) })
	return packs, nil
}
