package index

import (
	"context"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// Delegate gives a namespace to a key; the targets key and the namespace's own sign. Errors: Conflict when somebody has it.
func (p *Publisher) Delegate(ctx context.Context, namespace string) error {
	if !spaceGrammar.MatchString(namespace) {
		return abi.Errorf(abi.Invalid, "give away namespace %q: not a namespace", namespace).WithHint("use lower-case letters, digits and -")
	}
	role := roleOf(namespace)
	return p.change(ctx, func(s *state) error {
		if s.roles[role] != nil {
			return abi.Errorf(abi.Conflict, "give away namespace %q: somebody has it", namespace).WithHint("arw registry index rotate %s changes its key", namespace)
		}
		key, err := p.one(role)
		if err != nil {
			return err
		}
		s.roles[role] = metadata.Targets(p.now())
		s.roles[role].Signed.Version = 0
		if err := s.setKey(role, namespace, key); err != nil {
			return err
		}
		if err := p.signTargets(s); err != nil {
			return err
		}
		return p.signRole(s, namespace)
	})
}

// setKey makes a key the only one of a namespace.
func (s *state) setKey(role, namespace string, k *signing.Key) error {
	key, id, err := tufKey(k.Signer().Public())
	if err != nil {
		return err
	}
	d := s.targets.Signed.Delegations
	if d == nil {
		d = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		s.targets.Signed.Delegations = d
	}
	d.Keys[id] = key
	if r := s.delegation(role); r != nil {
		r.KeyIDs = []string{id}
	} else {
		d.Roles = append(d.Roles, metadata.DelegatedRole{Name: role, KeyIDs: []string{id}, Threshold: 1, Terminating: true, Paths: []string{"packs/" + namespace + "/*"}})
	}
	used := map[string]bool{}
	for _, r := range d.Roles {
		for _, id := range r.KeyIDs {
			used[id] = true
		}
	}
	for id := range d.Keys {
		if !used[id] {
			delete(d.Keys, id)
		}
	}
	return nil
}

// Rotate gives a role the key that Key now has for it: RoleTargets and RoleOnline (a new root says so) or a namespace. For
// RoleRoot, old are the keys until now, without which no reader follows.
func (p *Publisher) Rotate(ctx context.Context, role string, old []*signing.Key) error {
	return p.change(ctx, func(s *state) error {
		switch role {
		case RoleRoot:
			return p.rotateRoot(s, old)
		case RoleTargets:
			return p.rotateTop(s, role, func() error { return p.signTargets(s) }, metadata.TARGETS)
		case RoleOnline:
			return p.rotateTop(s, role, func() error { return nil }, metadata.SNAPSHOT, metadata.TIMESTAMP)
		}
		if s.roles[roleOf(role)] == nil {
			return abi.Errorf(abi.NotFound, "rotate %q: it is neither root, targets, online nor a namespace of the index", role)
		}
		key, err := p.one(roleOf(role))
		if err != nil {
			return err
		}
		if err := s.setKey(roleOf(role), role, key); err != nil {
			return err
		}
		if err := p.signTargets(s); err != nil {
			return err
		}
		return p.signRole(s, role)
	})
}

// rotateTop changes the key of top-level roles in a new root and has them sign.
func (p *Publisher) rotateTop(s *state, role string, then func() error, names ...string) error {
	key, err := p.one(role)
	if err != nil {
		return err
	}
	for _, name := range names {
		for _, id := range slices.Clone(s.root.Signed.Roles[name].KeyIDs) {
			if err := s.root.Signed.RevokeKey(id, name); err != nil {
				return abi.Errorf(abi.Internal, "rotate %q: %w", role, err)
			}
		}
		if err := addKey(s.root, key, name); err != nil {
			return err
		}
	}
	if err := p.renewRoot(s); err != nil {
		return err
	}
	s.snapshot.Signed.Expires = time.Time{} // the new key signs it now
	return then()
}

func (p *Publisher) rotateRoot(s *state, old []*signing.Key) error {
	keys, err := p.Key(RoleRoot)
	if err != nil {
		return err
	}
	role := s.root.Signed.Roles[metadata.ROOT]
	before := &metadata.Role{KeyIDs: slices.Clone(role.KeyIDs), Threshold: role.Threshold}
	for _, id := range before.KeyIDs {
		if err := s.root.Signed.RevokeKey(id, metadata.ROOT); err != nil {
			return abi.Errorf(abi.Internal, "rotate the root: %w", err)
		}
	}
	for _, k := range keys {
		if err := addKey(s.root, k, metadata.ROOT); err != nil {
			return err
		}
	}
	return p.signRoot(s, before, append(slices.Clone(old), keys...))
}
