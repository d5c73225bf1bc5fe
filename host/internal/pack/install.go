package pack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
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
	slot     *slot    // of the version before, nil at a first install
	version  *version // the new one, once it is loaded
	trying   *trying  // its examples
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
	in := m.begin(ref, o)
	if err := in.steps(ctx, ""); err != nil {
		err = wrap(err, "install pack %q", ref)
		in.undo(ctx)
		return in.verdict, in.refuse(ctx, err)
	}
	return in.verdict, nil
}

func (m *Manager) begin(ref string, o Options) *install {
	o.By = cmp.Or(o.By, "operator")
	return &install{Manager: m, opts: o, verdict: &Verdict{
		Ref: ref, By: o.By, Corr: cmp.Or(o.Corr, newCorr()), Time: m.now(),
		Digests: Digests{PolicySet: m.Policy.Digest(), TrustPolicy: m.Trust.Digest()},
	}}
}

// steps runs them in order, up to the named one; "" means all.
func (in *install) steps(ctx context.Context, until string) error {
	if err := in.held(); err != nil { // it would be compiled, and its examples run
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"resolve", in.resolve}, {"pull", in.pull}, {"verify", in.verify}, {"manifest", in.manifest}, {"inspect", in.inspect},
		{"admit", in.admit}, {"compare", in.compare}, {"store", in.store}, {"load", in.load}, {"examples", in.examples}, {"commit", in.commit},
	} {
		if step.name == until {
			return nil
		}
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
		c := Change{Change: Refused, Version: v.Version, Digest: v.Digests.Manifest, From: v.Replaces, Time: v.Time, By: v.By, Why: v.Refused.Message, Corr: v.Corr, Verdict: v.summary()}
		if err := errors.Join(putVerdict(tx, v), putChange(tx, v.Pack, c)); err != nil {
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

// store is step 8.
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

// load is step 9.
func (in *install) load(ctx context.Context) error {
	v := in.newVersion(row{
		Name: in.man.Name, Version: in.man.Version, Digest: in.digest, Ref: in.verdict.Ref, By: in.opts.By,
		TOML: in.toml, Content: in.content, Verdict: in.verdict, Installed: in.verdict.Time,
	}, in.man, in.who)
	var err error
	spec := v.spec(in.module, in.cfg.Instances)
	in.trying = newTrying(v, in.verdict.Links)
	if in.opts.Soon {
		spec.Tiered, spec.Check = true, in.trying.compare
	}
	if v.prog, err = in.Engine.Load(ctx, spec); err != nil {
		return err
	}
	in.version = v
	return nil
}

// commit is step 11.
func (in *install) commit(ctx context.Context) error {
	v := in.verdict
	v.Allowed, v.Time = true, in.now()
	s := in.slot
	if s == nil {
		s = &slot{name: in.man.Name}
	}
	move := in.successor()
	s.tidy.Lock()
	err := in.DB.Write(ctx, func(tx *sql.Tx) error { return in.commitTx(tx, move) })
	if err != nil {
		s.tidy.Unlock()
		v.Allowed, v.Carried = false, nil
		for i := range v.Links {
			v.Links[i].Lease, v.Links[i].Expires = "", nil // they never were
		}
		return err
	}
	if in.opts.Step != nil {
		in.opts.Step("done")
	}
	in.replace(s, in.version, move.shelf)
	s.tidy.Unlock()
	if move.old != nil {
		in.retire(retirement{s: s, v: move.old, corr: v.Corr, by: in.version.row.Version, leases: move.left})
	}
	if err := in.bring(context.WithoutCancel(ctx), in.version, v.Corr); err != nil {
		in.Log.Error("bring logic units; the next start tries again", "pack", s.name, "error", err)
	}
	in.version = nil
	in.settle(ctx, s)
	return nil
}

// settle looks once more at a version that has just come: a revocation that arrived after it was judged must not be missed.
func (m *Manager) settle(ctx context.Context, s *slot) {
	if err := m.recheck(context.WithoutCancel(ctx), s); err != nil {
		m.Log.Error("suspend a version that was revoked while it came", "pack", s.name, "error", err)
	}
}

// replace lets calls find a version that has been committed.
func (m *Manager) replace(s *slot, v *version, shelf []*row) {
	s.swap(v)
	m.index.Store(m.index.Load().with(s, v))
	m.setShelf(s.name, shelf)
}

// successor is how the version before, if there is one, hands over.
func (in *install) successor() *handover {
	v := in.verdict
	h := &handover{carrier: carrier{
		Manager: in.Manager, old: in.current(), man: in.man, digest: in.digest, corr: v.Corr, by: v.By,
		afresh: map[abi.Capability]bool{},
		outcome: func(c abi.Capability) string {
			for _, l := range v.Links {
				if l.Capability == string(c) {
					return l.Outcome
				}
			}
			return Denied
		},
	}}
	if in.opts.Accept && v.Diff != nil {
		for _, subject := range v.Diff.Held() {
			if name, ok := strings.CutPrefix(subject, "capability:"); ok {
				h.afresh[abi.Capability(name)] = true
			}
		}
	}
	return h
}

// handover is a carrier and what stands of the old version on paper.
type handover struct {
	carrier
	shelf []*row
}

// knows reports whether leases may be carried at all: people gave them to a pack by those who made the version before.
func (in *install) knows(old *version) bool {
	return old.man != nil && (old.row.Digest == in.digest || in.verdict.Signer == nil && len(hands(in.verdict.Signature)) > 0 && len(hands(old.row.Verdict.Signature)) > 0)
}

func (in *install) commitTx(tx *sql.Tx, h *handover) error {
	v, r := in.verdict, in.version.row
	h.carried, h.left = nil, nil
	change := Installed
	if h.old != nil {
		change = in.change(h.old)
		if in.knows(h.old) {
			if err := h.tx(tx); err != nil {
				return err
			}
		} else {
			h.left = in.all(h.old)
		}
		if h.old.row.Digest == in.digest {
			h.left = nil
			r.Standing = h.old.standing()
		} else {
			goes := h.old.paper()
			goes.Standing.Left = h.left
			h.shelf = in.shelve(v.Pack, goes, in.digest)
			r.Standing.Suspended = follow(nil, h.old.standing().Suspended)
			r.Standing.Trial = &trialStart{Since: v.Time, From: h.old.row.Digest}
		}
	}
	if h.shelf == nil {
		h.shelf = in.shelve(v.Pack, nil, in.digest)
	}
	v.Carried = h.carried
	if err := in.grantTx(tx, h); err != nil {
		return err
	}
	if v.Diff != nil && len(v.Held) > 0 {
		for _, i := range v.Diff.Items {
			if i.Holds {
				r.Standing.Held = append(r.Standing.Held, i)
			}
		}
	}
	r.Installed = v.Time
	in.version.stand(r, in.Manager)
	c := Change{Change: change, Version: r.Version, Digest: r.Digest, From: v.Replaces, Time: v.Time, By: v.By, Why: in.opts.Why, Corr: v.Corr, Verdict: v.summary()}
	if err := errors.Join(r.put(tx), putShelf(tx, r.Name, h.shelf), dropHold(tx, r.Name, r.Digest), putVerdict(tx, v), putChange(tx, r.Name, c)); err != nil {
		return err
	}
	_, err := in.Journal.AppendTx(tx, journal.Event{Kind: "pack.installed", Corr: v.Corr, Actor: v.By, Pack: v.Pack, Body: v})
	return err
}

func (in *install) change(old *version) string {
	switch order := manifests.CompareVersions(in.man.Version, old.row.Version); {
	case old.row.Digest == in.digest:
		return Reinstall
	case order < 0:
		return Downgraded
	}
	return Upgraded
}

// grantTx gives what Cedar permits, unless the version before had it, was refused it by a person, or had less.
func (in *install) grantTx(tx *sql.Tx, h *handover) error {
	for i := range in.verdict.Links {
		link := &in.verdict.Links[i]
		if had, ok := h.policy[abi.Capability(link.Capability)]; ok {
			link.Lease, link.Expires = had.ID, &had.Expires
			if had.State == lease.Revoked {
				link.Outcome = Asked // somebody took it back; an upgrade does not bring it
			}
		}
	}
	for _, g := range in.grants {
		link := &in.verdict.Links[g.link]
		if link.Lease != "" {
			continue
		}
		l, err := in.Leases.GrantTx(tx, in.verdict.Corr, g.Grant)
		if err != nil {
			return err
		}
		link.Lease, link.Expires = l.ID, &l.Expires
	}
	return nil
}

// all are the leases of a version that nothing carries.
func (m *Manager) all(v *version) []string {
	var all []string
	for _, l := range m.Leases.List(lease.Filter{Pack: v.row.Name, Digest: v.row.Digest}) {
		if l.State == lease.Live || l.State == lease.Expired && l.Renewable {
			all = append(all, l.ID)
		}
	}
	return all
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
