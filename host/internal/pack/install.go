package pack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
)

// install is one run of steps 1 to 11. What a step finds out it leaves in the fields below for the next, and in the
// verdict for people.
type install struct {
	*Manager
	opts    Options
	verdict *Verdict

	ref      registry.Ref
	digest   string // of the manifest; from step 1 on it alone says what is meant
	reg      *registry.Registry
	artifact *registry.Artifact
	bundles  [][]byte
	man      *manifests.Pack
	module   []byte
	toml     []byte
	shape    wasm.Shape
	who      policy.Pack
	grants   []grant
	content  content
	slot     *slot         // of the version before, nil at a first install
	version  *version      // the new one, once it is loaded
	before   []lease.Lease // of the version before, as long as that may still use them
	drained  bool
}

// Install takes a pack through steps 1 to 11 of Manager's comment and returns the verdict, also when it fails. Errors
// carry the code of the step that refused: NotFound, Unavailable, DigestMismatch, Unsigned, Untrusted, Invalid,
// Incompatible, Denied, Conflict, Busy and those of the engine.
func (m *Manager) Install(ctx context.Context, ref string, o Options) (*Verdict, error) {
	done, err := m.take(ctx)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "install pack %q: %w", ref, err)
	}
	defer done()
	o.By = cmp.Or(o.By, "operator")
	in := &install{Manager: m, opts: o, verdict: &Verdict{
		Ref: ref, By: o.By, Corr: cmp.Or(o.Corr, newCorr()), Time: now(),
		Digests: Digests{PolicySet: m.Policy.Digest(), TrustPolicy: m.Trust.Digest()},
	}}
	if err := in.run(ctx); err != nil {
		err = wrap(err, "install pack %q", ref)
		in.undo(ctx)
		return in.verdict, in.refuse(ctx, err)
	}
	return in.verdict, nil
}

func (in *install) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"resolve", in.resolve}, {"pull", in.pull}, {"verify", in.verify}, {"manifest", in.manifest}, {"inspect", in.inspect},
		{"admit", in.admit}, {"store", in.store}, {"load", in.load}, {"examples", in.examples}, {"drain", in.drain}, {"commit", in.commit},
	} {
		in.verdict.Step = step.name
		if in.opts.Step != nil {
			in.opts.Step(step.name)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// undo leaves what was installed before as it was. Blobs already stored stay until the sweep.
func (in *install) undo(ctx context.Context) {
	if in.drained {
		in.slot.open()
	}
	if in.version != nil {
		if err := in.version.close(context.WithoutCancel(ctx)); err != nil {
			in.Log.Error("close a program that was not installed", "pack", in.verdict.Pack, "error", err)
		}
	}
}

// refuse completes the verdict and journals it. It returns err; when the verdict cannot be written it says so too.
func (in *install) refuse(ctx context.Context, err error) error {
	v := in.verdict
	v.Refused = refusal(err)
	werr := in.DB.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		if err := putVerdict(tx, v); err != nil {
			return err
		}
		_, err := in.Journal.AppendTx(tx, journal.Event{Kind: "pack.refused", Corr: v.Corr, Actor: v.By, Pack: v.Pack, Body: v})
		return err
	})
	if werr != nil {
		return errors.Join(err, wrap(werr, "journal the refusal"))
	}
	return err
}

func refusal(err error) *Refusal {
	r := &Refusal{Code: abi.CodeOf(err).String(), Message: err.Error(), Hint: abi.HintOf(err)}
	if e, ok := errors.AsType[*abi.Error](err); ok && e.Detail != nil {
		r.Detail, _ = json.Marshal(e.Detail) // by contract it marshals; without it the message still stands
	}
	return r
}

// store is step 7.
func (in *install) store(ctx context.Context) error {
	in.content = content{Manifest: in.artifact.Digest, Module: in.verdict.Digests.Module, TOML: in.verdict.Digests.PackTOML}
	put := func(data []byte) (string, error) { return in.CAS.PutBytes(ctx, data) }
	if _, err := put(in.artifact.Manifest); err != nil {
		return err
	}
	for _, b := range in.bundles {
		digest, err := put(b)
		if err != nil {
			return err
		}
		in.content.Bundles = append(in.content.Bundles, digest)
	}
	for _, f := range in.artifact.Files {
		digest, err := put(f.Data)
		if err != nil {
			return err
		}
		in.content.Files = append(in.content.Files, blob{f.Name, f.MediaType, digest, int64(len(f.Data))})
	}
	return nil
}

// load is step 8.
func (in *install) load(ctx context.Context) error {
	v := in.newVersion(row{
		Name: in.man.Name, Version: in.man.Version, Digest: in.digest, Ref: in.verdict.Ref, By: in.opts.By,
		TOML: in.toml, Content: in.content, Verdict: in.verdict, Installed: in.verdict.Time,
	}, in.man, in.who)
	var err error
	if v.prog, err = v.load(ctx, in.Engine, in.module, in.cfg.Instances); err != nil {
		return err
	}
	in.version = v
	return nil
}

// drain is step 10.
func (in *install) drain(ctx context.Context) error {
	if in.slot == nil {
		return nil
	}
	if err := in.slot.drain(ctx, in.cfg.Drain); err != nil {
		return err
	}
	in.drained = true
	return nil
}

// commit is step 11.
func (in *install) commit(ctx context.Context) error {
	v := in.verdict
	v.Allowed, v.Time = true, now()
	in.before = in.Leases.List(lease.Filter{Pack: v.Pack})
	err := in.DB.Write(ctx, in.commitTx)
	if err != nil {
		v.Allowed, v.Carried = false, nil
		for i := range v.Links {
			v.Links[i].Lease, v.Links[i].Expires = "", nil // they never were
		}
		return err
	}
	s := in.slot
	if s == nil {
		s = &slot{name: in.man.Name}
	}
	in.index.Store(in.index.Load().with(s, in.version))
	if in.opts.Step != nil {
		in.opts.Step("done")
	}
	before := s.current()
	s.swap(in.version)
	in.version, in.drained = nil, false
	in.retire(context.WithoutCancel(ctx), before)
	return nil
}

// retire tidies up after the version before. What fails here is done by the next start: the install stands.
func (in *install) retire(ctx context.Context, before *version) {
	for _, l := range in.before {
		if err := in.revoke(ctx, in.verdict.Corr, l, in.opts.By, "version "+in.verdict.Version+" was installed"); err != nil {
			in.Log.Error("revoke a lease of the version before", "pack", in.verdict.Pack, "lease", l.ID, "error", err)
		}
	}
	if before != nil {
		if err := before.close(ctx); err != nil {
			in.Log.Error("close the program of the version before", "pack", in.verdict.Pack, "error", err)
		}
	}
}

func (in *install) commitTx(tx *sql.Tx) error {
	v := in.verdict
	if in.slot != nil {
		v.Replaces = in.slot.current().row.Digest
	}
	for _, g := range in.grants {
		l, err := in.Leases.GrantTx(tx, v.Corr, g.Grant)
		if err != nil {
			return err
		}
		link := &v.Links[g.link]
		link.Lease, link.Expires = l.ID, &l.Expires
	}
	if err := in.carryTx(tx); err != nil {
		return err
	}
	r := in.version.row
	r.Installed = v.Time
	in.version.row = r
	if err := errors.Join(r.put(tx), putVerdict(tx, v)); err != nil {
		return err
	}
	_, err := in.Journal.AppendTx(tx, journal.Event{Kind: "pack.installed", Corr: v.Corr, Actor: v.By, Pack: v.Pack, Body: v})
	return err
}

// grant is a lease to be, and the link of the verdict it belongs to.
type grant struct {
	lease.Grant
	link int
}

// wrap puts what was being done before an error and keeps its code, hint and detail.
func wrap(err error, format string, args ...any) *abi.Error {
	e := abi.Errorf(abi.CodeOf(err), format+": %w", append(args, err)...)
	if inner, ok := errors.AsType[*abi.Error](err); ok {
		e.Hint, e.Detail = inner.Hint, inner.Detail
	}
	return e
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(h[:])
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
