package pack

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
)

// FetchedUnit is a logic unit that came as an artefact of its own and was admitted.
type FetchedUnit struct {
	Source  []byte // unit.toml
	Ref     string // namespace/name@digest
	Verdict *Verdict
}

// FetchUnit brings a unit from a registry through the steps that a pack takes: resolve (with the index), pull with every
// digest checked, verify by trust.toml and revocations, read, and Cedar's load. Nothing is kept. A refusal is journaled as
// logic.unit.refused and names the reference. Errors: as Install's.
func (m *Manager) FetchUnit(ctx context.Context, ref string, o Options) (*FetchedUnit, error) {
	in := m.begin(ref, o)
	got, err := in.fetchUnit(ctx)
	if err == nil {
		return got, nil
	}
	err = wrap(err, "install unit %q", ref)
	v := in.verdict
	v.Refused = refusal(err)
	_, jerr := m.Journal.Append(context.WithoutCancel(ctx), journal.Event{Kind: "logic.unit.refused", Corr: v.Corr, Actor: v.By, Body: map[string]any{
		"ref": ref, "digest": v.Digests.Manifest, "step": v.Step, "error": v.Refused,
	}})
	if jerr != nil {
		return nil, wrap(jerr, "journal the refusal of unit %q", ref)
	}
	return nil, err
}

func (in *install) fetchUnit(ctx context.Context) (*FetchedUnit, error) {
	var man *manifests.LogicUnit
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"resolve", in.resolve}, {"pull", in.pullUnit}, {"manifest", func(context.Context) (err error) { man, err = in.unitManifest(); return err }},
		{"verify", func(ctx context.Context) error { return in.verifyAs(ctx, man.Version) }},
		{"admit", func(context.Context) error { return in.admitUnit(man) }},
	} {
		in.verdict.Step = step.name
		if err := cmp.Or(ctx.Err(), step.do(ctx)); err != nil {
			return nil, err
		}
	}
	in.verdict.Allowed = true
	return &FetchedUnit{in.toml, in.ref.Name + "@" + in.digest, in.verdict}, nil
}

func (in *install) pullUnit(ctx context.Context) (err error) {
	if in.artifact, err = in.reg.PullUnit(ctx, in.ref, in.opts.Progress); err != nil {
		return err
	}
	if in.artifact.Digest != in.digest {
		return abi.Errorf(abi.DigestMismatch, "pull %q: it was %s a moment ago and is %s now", in.ref.Name, in.digest, in.artifact.Digest)
	}
	in.bundles, err = in.reg.Bundles(ctx, in.ref.Name, in.digest)
	return err
}

// unitManifest reads unit.toml and refuses one that lies under another name or version than it says.
func (in *install) unitManifest() (*manifests.LogicUnit, error) {
	i := slices.IndexFunc(in.artifact.Files, func(f registry.File) bool { return f.MediaType == registry.MediaUnitTOML })
	if i < 0 {
		return nil, abi.Errorf(abi.Invalid, "read the artifact: a unit has a file of media type %s", registry.MediaUnitTOML)
	}
	in.toml = in.artifact.Files[i].Data
	man, err := manifests.ParseUnit("unit.toml", in.toml)
	if err != nil {
		return nil, err
	}
	in.verdict.Version, in.verdict.Digests.Canonical = man.Version, man.Digest()
	_, short, _ := strings.Cut(in.ref.Name, "/")
	version, tagged := registry.Version(in.artifact.Ref.Tag)
	switch {
	case manifests.UnitRepository(man.ID) != short:
		return nil, abi.Errorf(abi.Invalid, "read unit.toml: it is the unit %q, but lies in the repository %q", man.ID, in.ref.Name)
	case tagged && version != man.Version:
		return nil, abi.Errorf(abi.Invalid, "read unit.toml: it says version %q, but lies there as %q", man.Version, version)
	}
	return man, nil
}

// admitUnit asks Cedar as for a pack of that name: a unit that nobody trusted signed is not let in.
func (in *install) admitUnit(man *manifests.LogicUnit) error {
	in.who = principal(in.ref.Name, man.Version, in.digest, in.verdict.Signature)
	load := in.mayLoad(in.who, in.verdict)
	in.verdict.Load = &load
	if !load.Allowed {
		return denied(load, "admit unit %q", man.ID)
	}
	return nil
}
