package index

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// numbered is the file of one version of a role's metadata.
func numbered(version int64, role string) string {
	return strconv.FormatInt(version, 10) + "." + role + ".json"
}

// read takes the index in the folder from its timestamp down. It trusts the folder: readers verify, the publisher owns it.
func (p *Publisher) read() (*state, error) {
	s := &state{roles: map[string]*metadata.Metadata[metadata.TargetsType]{}, pages: map[string][]byte{}, files: map[string][]byte{}}
	err := func() (err error) {
		if s.stamp, err = load[metadata.TimestampType](p, "timestamp.json"); err != nil {
			return err
		}
		if s.root, err = p.newestRoot(); err != nil {
			return err
		}
		meta := s.stamp.Signed.Meta["snapshot.json"]
		if meta == nil {
			return fmt.Errorf("timestamp.json names no snapshot")
		}
		if s.snapshot, err = load[metadata.SnapshotType](p, numbered(meta.Version, metadata.SNAPSHOT)); err != nil {
			return err
		}
		for file, m := range s.snapshot.Signed.Meta {
			role := strings.TrimSuffix(file, ".json")
			got, err := load[metadata.TargetsType](p, numbered(m.Version, role))
			if err != nil {
				return err
			}
			if role == metadata.TARGETS {
				s.targets = got
			} else {
				s.roles[role] = got
			}
		}
		if s.targets == nil {
			return fmt.Errorf("the snapshot names no targets")
		}
		return nil
	}()
	switch {
	case missing(err):
		return nil, abi.Errorf(abi.NotFound, "read the index in %q: %w", p.Dir, err).WithHint("arw registry index init --dir %s", p.Dir)
	case err != nil:
		return nil, abi.Errorf(abi.Corrupt, "read the index in %q: %w", p.Dir, err).WithHint("restore the folder from a backup")
	}
	return s, nil
}

func load[T metadata.Roles](p *Publisher, name string) (*metadata.Metadata[T], error) {
	raw, err := os.ReadFile(p.path(name))
	if err != nil {
		return nil, err
	}
	m, err := (&metadata.Metadata[T]{}).FromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func (p *Publisher) newestRoot() (*metadata.Metadata[metadata.RootType], error) {
	names, err := filepath.Glob(p.path("*.root.json"))
	if err != nil {
		return nil, err
	}
	best := int64(0)
	for _, n := range names {
		v, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(n), ".root.json"), 10, 64)
		if err == nil {
			best = max(best, v)
		}
	}
	return load[metadata.RootType](p, numbered(best, metadata.ROOT))
}

// tufKey is a public key as the metadata writes it.
func tufKey(pub crypto.PublicKey) (*metadata.Key, string, error) {
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return nil, "", abi.Errorf(abi.Unsupported, "use a key in an index: %w", err)
	}
	id, err := k.ID()
	return k, id, err
}

func addKey(root *metadata.Metadata[metadata.RootType], k *signing.Key, role string) error {
	key, _, err := tufKey(k.Signer().Public())
	if err != nil {
		return err
	}
	return root.Signed.AddKey(key, role)
}

// sign puts one signature under some metadata: ECDSA P-256 with SHA-256 over the canonical JSON of what is signed.
func sign[T metadata.Roles](m *metadata.Metadata[T], k *signing.Key) error {
	_, id, err := tufKey(k.Signer().Public())
	if err != nil {
		return err
	}
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return abi.Errorf(abi.Internal, "sign the index: %w", err)
	}
	sum := sha256.Sum256(payload)
	sig, err := k.Signer().Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return abi.Errorf(abi.Internal, "sign the index: %w", err)
	}
	m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: sig})
	return nil
}

// signRoot makes the next root. The keys of the one before must sign it as well, that readers can follow.
func (p *Publisher) signRoot(s *state, before *metadata.Role, keys []*signing.Key) error {
	s.root.Signed.Version++
	s.root.Signed.Expires = p.now().Add(p.Lifetimes.withDefaults().Root)
	s.root.ClearSignatures()
	role := s.root.Signed.Roles[metadata.ROOT]
	now, then := 0, 0
	for _, k := range keys {
		_, id, err := tufKey(k.Signer().Public())
		if err != nil {
			return err
		}
		isNow := slices.Contains(role.KeyIDs, id)
		isThen := before != nil && slices.Contains(before.KeyIDs, id)
		if !isNow && !isThen {
			continue
		}
		if isNow {
			now++
		}
		if isThen {
			then++
		}
		if err := sign(s.root, k); err != nil {
			return err
		}
	}
	if now < role.Threshold || before != nil && then < before.Threshold {
		return abi.Errorf(abi.NotFound, "sign the index's root: %d of its keys are at hand, %d must sign", min(now, max(then, now)), role.Threshold).
			WithHint("bring the offline root keys: --root-keys FOLDER")
	}
	return stage(s, numbered(s.root.Signed.Version, metadata.ROOT), s.root)
}

// renewRoot signs the root again with the keys it has.
func (p *Publisher) renewRoot(s *state) error {
	keys, err := p.Key(RoleRoot)
	if err != nil {
		return err
	}
	return p.signRoot(s, s.root.Signed.Roles[metadata.ROOT], keys)
}

func (p *Publisher) signTargets(s *state) error {
	key, err := p.one(RoleTargets)
	if err != nil {
		return err
	}
	s.targets.Signed.Version++
	s.targets.Signed.Expires = p.now().Add(p.Lifetimes.withDefaults().Targets)
	s.targets.ClearSignatures()
	if err := p.mine(s.root.Signed.Roles[metadata.TARGETS].KeyIDs, key, RoleTargets); err != nil {
		return err
	}
	if err := sign(s.targets, key); err != nil {
		return err
	}
	return stage(s, numbered(s.targets.Signed.Version, metadata.TARGETS), s.targets)
}

func (p *Publisher) signRole(s *state, namespace string) error {
	role := roleOf(namespace)
	key, err := p.one(role)
	if err != nil {
		return err
	}
	m := s.roles[role]
	m.Signed.Version++
	m.Signed.Expires = p.now().Add(p.Lifetimes.withDefaults().Namespace)
	m.ClearSignatures()
	if d := s.delegation(role); d == nil {
		return abi.Errorf(abi.Corrupt, "sign as %q: nobody was given that namespace", role)
	} else if err := p.mine(d.KeyIDs, key, role); err != nil {
		return err
	}
	if err := sign(m, key); err != nil {
		return err
	}
	return stage(s, numbered(m.Signed.Version, role), m)
}

// mine refuses to sign with a key that readers would not accept.
func (p *Publisher) mine(ids []string, k *signing.Key, role string) error {
	_, id, err := tufKey(k.Signer().Public())
	if err == nil && !slices.Contains(ids, id) {
		err = abi.Errorf(abi.Denied, "sign as %q: the key %s is not the role's", role, k.ID()).
			WithHint("give the role's own key, or make this one its key: arw registry index rotate %s", role)
	}
	return err
}

func (s *state) delegation(role string) *metadata.DelegatedRole {
	if s.targets.Signed.Delegations == nil {
		return nil
	}
	for i := range s.targets.Signed.Delegations.Roles {
		if d := &s.targets.Signed.Delegations.Roles[i]; d.Name == role {
			return d
		}
	}
	return nil
}

func stage[T metadata.Roles](s *state, name string, m *metadata.Metadata[T]) error {
	raw, err := m.ToBytes(false)
	if err != nil {
		return abi.Errorf(abi.Internal, "write %q of the index: %w", name, err)
	}
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	s.files[name] = raw
	s.changed = true
	return nil
}

// finish signs a new snapshot and timestamp over what is staged, and writes everything, the timestamp last. A process
// killed before that leaves files nobody looks at.
func (p *Publisher) finish(s *state) error {
	key, err := p.one(RoleOnline)
	if err != nil {
		return err
	}
	if err := p.mine(s.root.Signed.Roles[metadata.TIMESTAMP].KeyIDs, key, RoleOnline); err != nil {
		return err
	}
	life, now := p.Lifetimes.withDefaults(), p.now()
	snap := s.snapshot
	if len(s.files) > 0 || len(s.pages) > 0 || snap.Signed.Expires.Sub(now) < life.Snapshot/2 {
		if err := p.snapshot(s, now.Add(life.Snapshot), key); err != nil {
			return err
		}
	}
	raw := s.files[numbered(snap.Signed.Version, metadata.SNAPSHOT)]
	if raw == nil {
		if raw, err = os.ReadFile(p.path(numbered(snap.Signed.Version, metadata.SNAPSHOT))); err != nil {
			return abi.Errorf(abi.Corrupt, "read the index's snapshot: %w", err)
		}
	}
	s.stamp.Signed.Version++
	s.stamp.Signed.Expires = now.Add(life.Timestamp)
	s.stamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": metaOf(snap.Signed.Version, raw)}
	s.stamp.ClearSignatures()
	if err := sign(s.stamp, key); err != nil {
		return err
	}
	stamp, err := s.stamp.ToBytes(false)
	if err != nil {
		return abi.Errorf(abi.Internal, "write the index's timestamp: %w", err)
	}
	return p.write(s, stamp)
}

func (p *Publisher) snapshot(s *state, expires time.Time, key *signing.Key) error {
	snap := s.snapshot
	meta := map[string]*metadata.MetaFiles{}
	for role, m := range s.roles {
		if err := p.describe(s, meta, role, m.Signed.Version); err != nil {
			return err
		}
	}
	if err := p.describe(s, meta, metadata.TARGETS, s.targets.Signed.Version); err != nil {
		return err
	}
	snap.Signed.Meta = meta
	snap.Signed.Version++
	snap.Signed.Expires = expires
	snap.ClearSignatures()
	if err := sign(snap, key); err != nil {
		return err
	}
	return stage(s, numbered(snap.Signed.Version, metadata.SNAPSHOT), snap)
}

// describe enters a role's metadata with its digest, so that nobody can pair a snapshot with other bytes of that version.
func (p *Publisher) describe(s *state, meta map[string]*metadata.MetaFiles, role string, version int64) error {
	name := numbered(version, role)
	raw := s.files[name]
	if raw == nil {
		var err error
		if raw, err = os.ReadFile(p.path(name)); err != nil {
			return abi.Errorf(abi.Corrupt, "read %q of the index: %w", name, err)
		}
	}
	meta[role+".json"] = metaOf(version, raw)
	return nil
}

func metaOf(version int64, raw []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(raw)
	return &metadata.MetaFiles{Version: version, Length: int64(len(raw)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func (p *Publisher) write(s *state, stamp []byte) error {
	put := func(name string, raw []byte) error {
		if err := writeFile(p.path(filepath.FromSlash(name)), raw); err != nil {
			return abi.Errorf(abi.Unavailable, "write %q of the index: %w", name, err)
		}
		return nil
	}
	for name, raw := range s.pages {
		if err := put("targets/"+name, raw); err != nil {
			return err
		}
	}
	for name, raw := range s.files {
		if err := put(name, raw); err != nil {
			return err
		}
	}
	return put("timestamp.json", stamp)
}
