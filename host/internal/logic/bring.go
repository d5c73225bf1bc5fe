package logic

import (
	"context"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// fromPack is the origin of a unit that a pack brought. No file name begins so: the word ends with a colon.
func fromPack(pack string) string { return "pack:" + pack }

// Check refuses a unit.toml that a pack could not bring. Beyond what Install refuses that is a unit that goes by another
// name than the pack says, and one whose name is taken by another pack or by a person: whoever chose that unit must not be
// handed somebody else's. Nothing is kept.
func (s *Store) Check(ctx context.Context, pack, id, file string, src []byte) error {
	_, err := s.check(ctx, pack, id, file, src)
	return err
}

func (s *Store) check(ctx context.Context, pack, id, file string, src []byte) (*manifests.LogicUnit, error) {
	man, err := manifests.ParseUnit(file, src)
	if err != nil {
		return nil, err
	}
	if id != "" && man.ID != id {
		return nil, abi.Errorf(abi.Invalid, "read unit %q: pack.toml calls it %q, the file %q", file, id, man.ID).WithHint("give both the same id")
	}
	// A transform that the pack brings with its own tool can be tested once the pack is there.
	own := id != "" && man.Transform != nil && man.Transform.Pack == pack
	if report := s.Test(ctx, man); !own && !report.OK() {
		return nil, abi.Errorf(abi.Invalid, "bring unit %q: %s", man.ID, report.first()).WithHint("arw unit test shows all of it").WithDetail(report)
	}
	if circle := s.circle(man); circle != "" {
		return nil, abi.Errorf(abi.Invalid, "bring unit %q: it requires itself: %s", man.ID, circle)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	known, digest := s.units[man.ID], man.Digest()
	if len(known) > 0 && !slices.ContainsFunc(known, func(u *unit) bool { return u.origin == fromPack(pack) || u.digest == digest }) {
		return nil, abi.Errorf(abi.Conflict, "bring unit %q of pack %q: there is another of that name, from %s", man.ID, pack, newest(known).origin).
			WithHint("give the unit another id")
	}
	return man, nil
}

// Bring makes a unit of a pack known. A revision that is known already stays as it is: bringing it again neither makes it
// the newest nor takes it out of the archive. Errors: as Check and Install.
func (s *Store) Bring(ctx context.Context, pack, file string, src []byte, by, corr string) error {
	man, err := s.check(ctx, pack, "", file, src)
	if err != nil {
		return err
	}
	if _, err := s.find(man.ID, man.Digest()); err == nil {
		return nil
	}
	_, err = s.install(ctx, src, "", Installed, fromPack(pack), by, corr)
	return err
}
