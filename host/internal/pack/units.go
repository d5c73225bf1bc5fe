package pack

import (
	"context"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// Units keeps the logic units that packs bring.
type Units interface {
	// Check refuses a unit.toml that could not be brought; nothing is kept.
	Check(ctx context.Context, pack, id, file string, src []byte) error
	// Bring makes a unit known. One that is known already stays as it is, so that bringing it again does no harm.
	Bring(ctx context.Context, pack, file string, src []byte, by, corr string) error
}

// units refuses a pack whose units could not be brought. It is part of step 4: the signature over them has been verified.
func (in *install) units(ctx context.Context) error {
	for _, u := range in.man.Units {
		if in.Units == nil {
			return nil
		}
		i := slices.IndexFunc(in.artifact.Files, func(f registry.File) bool { return f.Name == u.File })
		if i < 0 {
			return abi.Errorf(abi.Invalid, "read unit %q: the artifact does not hold the file %q", u.ID, u.File)
		}
		if err := in.Units.Check(ctx, in.man.Name, u.ID, u.File, in.artifact.Files[i].Data); err != nil {
			return err
		}
	}
	return nil
}

// bring makes the units of an installed version known. It comes after the commit and again at every start, so a stop
// between the two loses nothing.
func (m *Manager) bring(ctx context.Context, v *version, corr string) error {
	if m.Units == nil {
		return nil
	}
	for _, u := range v.man.Units {
		i := slices.IndexFunc(v.row.Content.Files, func(b blob) bool { return b.Name == u.File })
		if i < 0 {
			return abi.Errorf(abi.Corrupt, "bring unit %q of pack %q: its file %q is not among those that are kept", u.ID, v.row.Name, u.File)
		}
		src, err := m.CAS.Get(v.row.Content.Files[i].Digest)
		if err != nil {
			return wrap(err, "bring unit %q of pack %q", u.ID, v.row.Name)
		}
		if err := m.Units.Bring(ctx, v.row.Name, u.File, src, v.row.By, corr); err != nil {
			return wrap(err, "bring unit %q of pack %q", u.ID, v.row.Name)
		}
	}
	return nil
}

// bringAll does so for all packs. What fails is told and keeps no pack from starting.
func (m *Manager) bringAll(ctx context.Context) {
	corr := newCorr()
	for name, s := range m.index.Load().packs {
		v := s.current()
		if v == nil {
			continue
		}
		if err := m.bring(ctx, v, corr); err != nil {
			m.Log.Error("bring logic units", "pack", name, "error", err)
		}
	}
}
