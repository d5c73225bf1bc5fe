package pack

import (
	"context"
	"errors"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

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
		digest, err := reg.Resolve(ctx, ref)
		if err == nil {
			in.reg, in.ref, in.digest, in.verdict.Digests.Manifest = reg, ref, digest, digest
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

// verify is step 3.
func (in *install) verify(ctx context.Context) error {
	verdict, err := in.Trust.Judge(ctx, signing.Question{Pack: in.ref.Name, Digest: in.digest, Version: versionIn(in.artifact)}, in.bundles)
	in.verdict.Signature = verdict
	if err == nil {
		return nil
	}
	code := abi.CodeOf(err)
	if in.opts.OverrideUnsigned == in.digest && (code == abi.Unsigned || code == abi.Untrusted) {
		in.verdict.Override = in.digest
		return nil
	}
	return err
}
