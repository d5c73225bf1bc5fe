package pack

import (
	"context"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/signing"
)

// compare is step 7.
func (in *install) compare(ctx context.Context) error {
	if err := in.mayReplace(ctx); err != nil {
		return err
	}
	if in.verdict.Diff == nil || in.opts.Accept {
		return nil
	}
	in.verdict.Held = in.verdict.Diff.Held()
	for i := range in.verdict.Links {
		link := &in.verdict.Links[i]
		if link.Outcome == Granted && slices.Contains(in.verdict.Held, "capability:"+link.Capability) {
			link.Outcome = Held
			in.grants = slices.DeleteFunc(in.grants, func(g grant) bool { return g.link == i })
		}
	}
	return nil
}

// mayReplace finds out what the new version is to the old one, and refuses what a person has to say yes to.
func (in *install) mayReplace(ctx context.Context) error {
	v := in.verdict
	held, err := in.holds(ctx, in.man.Name)
	if err != nil {
		return err
	}
	if reason, back := held[in.digest]; back && !in.opts.Again {
		return abi.Errorf(abi.Conflict, "install version %s: it was rolled back and is held back: %s", in.man.Version, reason).
			WithHint("if you know better: arw pack upgrade %s --to %s --again", in.man.Name, in.man.Version)
	}
	old := in.current()
	if old == nil || old.row.Digest == in.digest {
		return nil
	}
	v.Replaces = old.row.Digest
	v.Signer = signerChange(old.row.Verdict.Signature, v.Signature)
	if old.man != nil {
		v.Diff = Compare(old.man, in.man)
		if s := v.Signer; s != nil {
			v.Diff.add(Item{ID: "signer", Class: Wider, Before: join(s.Before), After: join(s.After)}, "it was signed by %s, the version before by %s", join(s.After), join(s.Before))
		}
	}
	if manifests.CompareVersions(in.man.Version, old.row.Version) < 0 && !in.opts.Downgrade {
		return abi.Errorf(abi.Conflict, "install version %s: %s is installed, which is higher", in.man.Version, old.row.Version).
			WithHint("arw pack rollback %s goes back to a version that ran here; arw pack upgrade %s --to %s --downgrade installs this one", in.man.Name, in.man.Name, in.man.Version)
	}
	if v.Signer != nil && !in.opts.AcceptSigner {
		return abi.Errorf(abi.Conflict, "install version %s: it was signed by %s, the installed version by %s", in.man.Version, join(v.Signer.After), join(v.Signer.Before)).
			WithHint("make sure of it, then: arw pack upgrade %s --to %s --accept-signer", in.man.Name, in.man.Version).WithDetail(v.Signer)
	}
	return nil
}

// current is the version that would be replaced.
func (in *install) current() *version {
	if in.slot == nil {
		return nil
	}
	return in.slot.current()
}

// signerChange compares who signed two versions; nil when a key or an identity counted for both, or when the first was
// admitted by hand. It goes by key and identity: the names of the trust policy may mean somebody else today.
func signerChange(before, after *signing.Verdict) *SignerChange {
	old, fresh := hands(before), hands(after)
	if len(old) == 0 || slices.ContainsFunc(fresh, func(h string) bool { return slices.Contains(old, h) }) {
		return nil
	}
	return &SignerChange{Before: old, After: fresh}
}

// hands are the keys and identities that released something: its authors where the trust policy knows roles, else those
// that signed it, not those that attested how it was made, unless there are no others.
func hands(v *signing.Verdict) []string {
	if v == nil || !v.Allowed {
		return nil
	}
	var all, signed, authors []string
	for _, s := range v.Signers {
		h := "key " + s.KeyID
		if s.Identity != "" {
			h = s.Identity + " by " + s.Issuer
		}
		if !slices.Contains(all, h) {
			all = append(all, h)
		}
		if s.Predicate == signing.PredicateSign && !slices.Contains(signed, h) {
			signed = append(signed, h)
		}
		if s.Role == "author" && !slices.Contains(authors, h) {
			authors = append(authors, h)
		}
	}
	if len(authors) > 0 {
		return authors
	}
	if len(signed) > 0 {
		return signed
	}
	return all
}

func join(words []string) string {
	if len(words) == 0 {
		return "nobody"
	}
	out := words[0]
	for _, w := range words[1:] {
		out += ", " + w
	}
	return out
}

// Plan is what an install would do, found out without doing it.
type Plan struct {
	Pack string `json:"pack"`
	// Ref is the reference by digest: installing it does what the plan says.
	Ref       string        `json:"ref"`
	From      *Release      `json:"from,omitempty"`
	To        Release       `json:"to"`
	Same      bool          `json:"same,omitempty"` // the very digest is installed
	Downgrade bool          `json:"downgrade,omitempty"`
	HeldBack  string        `json:"held_back,omitempty"` // why the digest was rolled back before
	Signer    *SignerChange `json:"signer_change,omitempty"`
	Diff      *Diff         `json:"diff,omitempty"`
	Held      []string      `json:"held"` // what it would go without until a person accepts it
	Verdict   *Verdict      `json:"verdict"`
}

// Release is one version by name and digest.
type Release struct {
	Version string `json:"version"`
	Digest  string `json:"digest"`
}

// Preview finds out what Install would decide and change, and changes nothing. What a person would have to say yes to is
// in the plan; what nobody may say yes to is the error, with the verdict so far in the plan.
func (m *Manager) Preview(ctx context.Context, ref string, o Options) (*Plan, error) {
	in := m.begin(ref, o)
	in.opts.AcceptSigner, in.opts.Downgrade, in.opts.Again, in.opts.Step = true, true, true, nil
	err := in.steps(ctx, "store")
	p := &Plan{Pack: in.verdict.Pack, Verdict: in.verdict, Held: []string{}}
	if err != nil {
		err = wrap(err, "preview pack %q", ref)
		in.verdict.Refused = refusal(err)
		return p, err
	}
	pinned := in.ref
	pinned.Tag, pinned.Digest = "", in.digest
	p.Ref, p.To = pinned.String(), Release{in.man.Version, in.digest}
	p.Signer, p.Diff, p.Held = in.verdict.Signer, in.verdict.Diff, append(p.Held, in.verdict.Held...)
	if old := in.current(); old != nil {
		p.From = &Release{old.row.Version, old.row.Digest}
		p.Same = old.row.Digest == in.digest
		p.Downgrade = manifests.CompareVersions(in.man.Version, old.row.Version) < 0
	}
	held, err := m.holds(ctx, in.man.Name)
	p.HeldBack = held[in.digest]
	return p, err
}
