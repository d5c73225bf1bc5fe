package pack

import (
	"context"
	"errors"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// Catalogue decides which digest a name and a version mean: a signed index. Where it covers a name, no registry is asked
// what the name means, only for the bytes of the digest.
type Catalogue interface {
	// Pick looks a pack up; version or digest may be empty, both mean the newest. covered is false when the name is none of
	// its business. Errors: NotFound, Denied (yanked or revoked), DigestMismatch, and Untrusted when it cannot be believed.
	Pick(ctx context.Context, name, version, digest string) (p Picked, covered bool, err error)
}

// Picked is what a catalogue decided.
type Picked struct {
	Version, Digest string
	Warning         string // for the person who installs: yanked, superseded
}

// pick has the catalogue decide what a reference means, when there is one and it covers the name.
func (in *install) pick(ctx context.Context, ref registry.Ref) (registry.Ref, bool, error) {
	if in.Catalogue == nil {
		return ref, false, nil
	}
	version := ""
	if ref.Tag != "" {
		v, ok := registry.Version(ref.Tag)
		if !ok {
			v = ref.Tag // no version: the catalogue does not list it, and says so
		}
		version = v
	}
	p, covered, err := in.Catalogue.Pick(ctx, ref.Name, version, ref.Digest)
	if err != nil || !covered {
		return ref, covered, err
	}
	ref.Tag, ref.Digest = registry.Tag(p.Version), p.Digest
	in.verdict.Warning = p.Warning
	return ref, true, nil
}

// swapped tells apart a registry that does not have a version from one that has something else under it.
func swapped(ctx context.Context, reg *registry.Registry, ref registry.Ref, missing error) error {
	if abi.CodeOf(missing) != abi.NotFound || ref.Tag == "" {
		return missing
	}
	tagged := ref
	tagged.Digest = ""
	got, err := reg.Resolve(ctx, tagged)
	if err != nil || got == ref.Digest {
		return missing
	}
	return abi.Errorf(abi.DigestMismatch, "version %q of %q is %s in the index, and the registry %q has %s under it", ref.Tag, ref.Name, ref.Digest, ref.Registry, got).
		WithHint("do not use what is there; use another registry, or ask the publisher")
}

// resolve is step 1.
func (in *install) resolve(ctx context.Context) error {
	places := in.cfg.Registries
	if len(places) == 0 {
		places = []string{""}
	}
	var errs []error
	for _, place := range places {
		ref, err := registry.ParseRef(in.verdict.Ref, place)
		if err != nil {
			return err
		}
		in.verdict.Pack = ref.Name
		reg, err := registry.Open(ref.Registry, in.cfg.Registry)
		if err != nil {
			return err
		}
		ref, picked, err := in.pick(ctx, ref)
		if err != nil {
			return err
		}
		digest, err := reg.Resolve(ctx, ref)
		if err != nil && picked {
			err = swapped(ctx, reg, ref, err)
		}
		if err == nil {
			in.reg, in.ref, in.digest, in.verdict.Digests.Manifest = reg, ref, digest, digest
			in.verdict.Registry = ref.Registry
			return nil
		}
		if ref.Registry != place || abi.CodeOf(err) != abi.NotFound {
			return err // the reference named its registry, or this one is in trouble: another must not answer in its stead
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// pull is step 2.
func (in *install) pull(ctx context.Context) (err error) {
	if in.artifact, err = in.reg.Pull(ctx, in.ref, in.opts.Progress); err != nil {
		return err
	}
	if in.artifact.Digest != in.digest {
		return abi.Errorf(abi.DigestMismatch, "pull %q: it was %s a moment ago and is %s now", in.ref.Name, in.digest, in.artifact.Digest)
	}
	in.bundles, err = in.reg.Bundles(ctx, in.ref.Name, in.digest)
	return err
}

// versionIn is the version that an artefact's manifest says, for a trust rule that wants one; none if it does not read,
// which is step 4's to refuse.
func versionIn(art *registry.Artifact) string {
	for _, f := range art.Files {
		if f.MediaType != registry.MediaPackTOML {
			continue
		}
		if man, err := manifests.ParsePack("pack.toml", f.Data); err == nil {
			return man.Version
		}
	}
	return ""
}

// verify is step 3. A revoked digest is refused whatever its signatures say, and nobody admits it by hand.
func (in *install) verify(ctx context.Context) error { return in.verifyAs(ctx, versionIn(in.artifact)) }

func (in *install) verifyAs(ctx context.Context, version string) error {
	verdict, err := in.Trust.Judge(ctx, signing.Question{Pack: in.ref.Name, Digest: in.digest, Version: version}, in.bundles)
	in.verdict.Signature = verdict
	if r, bad := in.revoked(in.ref.Name, in.digest); bad {
		return abi.Errorf(abi.Denied, "admit %s: it was revoked: %s", in.digest, r.Reason).
			WithHint("choose another version").WithDetail(r)
	}
	if err == nil {
		in.verdict.Proofs = proofs(verdict, in.bundles)
		return nil
	}
	code := abi.CodeOf(err)
	if in.opts.OverrideUnsigned == in.digest && (code == abi.Unsigned || code == abi.Untrusted) {
		in.verdict.Override = in.digest
		return nil
	}
	return err
}

// proofs names the bundles that counted.
func proofs(v *signing.Verdict, bundles [][]byte) []Proof {
	var out []Proof
	for _, s := range v.Signers {
		if s.Bundle < 0 || s.Bundle >= len(bundles) {
			continue
		}
		out = append(out, Proof{
			Predicate: s.Predicate, Bundle: sum(bundles[s.Bundle]), Signer: s.Name, KeyID: s.KeyID, Identity: s.Identity, Issuer: s.Issuer,
		})
	}
	return out
}
