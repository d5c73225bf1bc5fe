package pack

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/lockfile"
)

// Lock describes what is installed as a lock file does.
func (m *Manager) Lock() *lockfile.File {
	f := &lockfile.File{Packs: []lockfile.Pack{}}
	for _, name := range m.names() {
		info, err := m.Get(name)
		if err != nil || info.Verdict == nil {
			continue
		}
		f.Packs = append(f.Packs, lockfile.Pack{
			Name: name, Version: info.Version, Digest: info.Digest, Registry: info.Verdict.Registry,
			Override: info.Verdict.Override != "", Proofs: locked(info.Verdict.Proofs),
		})
	}
	return f
}

func locked(proofs []Proof) []lockfile.Proof {
	out := []lockfile.Proof{}
	for _, p := range proofs {
		q := lockfile.Proof{Predicate: p.Predicate, Bundle: p.Bundle, Key: p.KeyID}
		if p.Identity != "" {
			q.Key, q.Identity, q.Issuer = "", p.Identity, p.Issuer
		}
		out = append(out, q)
	}
	return out
}

// SyncOptions of a sync.
type SyncOptions struct {
	By, Corr string
	DryRun   bool
	Prune    bool   // remove packs that the lock file does not name
	Registry string // where packs come from, instead of where the lock file says
	// Override are digests that a person admits although nothing trusted signed them.
	Override []string
}

// What a sync does to a pack.
const (
	SyncSame    = "same"
	SyncInstall = "install"
	SyncReplace = "replace"
	SyncRemove  = "remove"
	SyncExtra   = "extra" // not in the lock file, and left alone
)

// Synced is one pack of a sync.
type Synced struct {
	Pack    string   `json:"pack"`
	Do      string   `json:"do"`
	From    *Release `json:"from,omitempty"`
	To      *Release `json:"to,omitempty"`
	Held    []string `json:"held,omitempty"` // what waits for a person afterwards
	Done    bool     `json:"done"`
	Refused *Refusal `json:"refused,omitempty"`
}

// Sync makes what is installed equal to a lock file: docs/spec/lock.md, "Making a host equal to it". The report names every
// pack, also after an error; the error is the first refusal. When anything is refused while it is checked, nothing was
// changed.
func (m *Manager) Sync(ctx context.Context, f *lockfile.File, o SyncOptions) ([]Synced, error) {
	o.By, o.Corr = cmp.Or(o.By, "operator"), cmp.Or(o.Corr, newCorr())
	report := m.planSync(f, o)
	var first error
	for i := range report {
		s := &report[i]
		if s.Do != SyncInstall && s.Do != SyncReplace {
			continue
		}
		want, _ := f.Find(s.Pack)
		held, err := m.checkLocked(ctx, want, o)
		s.Held = held
		if err != nil {
			s.Refused = refusal(err)
			if first == nil {
				first = err
			}
		}
	}
	if first != nil || o.DryRun {
		return report, first
	}
	for i := range report {
		s := &report[i]
		var err error
		switch s.Do {
		case SyncInstall, SyncReplace:
			want, _ := f.Find(s.Pack)
			_, err = m.Install(ctx, lockedRef(want, o), m.lockedOptions(want, o))
		case SyncRemove:
			err = m.Remove(ctx, s.Pack, Options{By: o.By, Corr: o.Corr, Why: "the lock file does not name it"})
		}
		if err != nil {
			s.Refused = refusal(err)
			return report, err
		}
		s.Done = true
	}
	return report, nil
}

// planSync says what is to be done, by name.
func (m *Manager) planSync(f *lockfile.File, o SyncOptions) []Synced {
	report := []Synced{}
	for _, p := range f.Packs {
		s := Synced{Pack: p.Name, Do: SyncInstall, To: &Release{p.Version, p.Digest}}
		if info, err := m.Get(p.Name); err == nil {
			s.Do, s.From = SyncReplace, &Release{info.Version, info.Digest}
			if info.Digest == p.Digest {
				s.Do = SyncSame
			}
		}
		report = append(report, s)
	}
	for _, name := range m.names() {
		info, err := m.Get(name)
		if _, named := f.Find(name); named || err != nil {
			continue
		}
		s := Synced{Pack: name, Do: SyncExtra, From: &Release{info.Version, info.Digest}}
		if o.Prune {
			s.Do = SyncRemove
		}
		report = append(report, s)
	}
	slices.SortFunc(report, func(a, b Synced) int { return strings.Compare(a.Pack, b.Pack) })
	return report
}

func lockedRef(p lockfile.Pack, o SyncOptions) string {
	place := cmp.Or(o.Registry, p.Registry)
	switch {
	case place == "":
		return p.Name + "@" + p.Digest
	case strings.HasPrefix(place, "dir:"):
		return place + "//" + p.Name + "@" + p.Digest
	}
	return strings.TrimSuffix(place, "/") + "/" + p.Name + "@" + p.Digest
}

func (m *Manager) lockedOptions(p lockfile.Pack, o SyncOptions) Options {
	opts := Options{By: o.By, Corr: o.Corr, Why: "the lock file names it", Downgrade: true, AcceptSigner: true}
	if slices.Contains(o.Override, p.Digest) {
		opts.OverrideUnsigned = p.Digest
	}
	return opts
}

// checkLocked takes the steps of an install that change nothing, and holds the result to the lock file.
func (m *Manager) checkLocked(ctx context.Context, p lockfile.Pack, o SyncOptions) ([]string, error) {
	plan, err := m.Preview(ctx, lockedRef(p, o), m.lockedOptions(p, o))
	switch {
	case err != nil:
		return nil, err
	case plan.HeldBack != "":
		return nil, abi.Errorf(abi.Conflict, "sync pack %q: version %s was rolled back here: %s", p.Name, p.Version, plan.HeldBack).
			WithHint("if you know better: arw pack upgrade %s --to %s --again", p.Name, p.Version)
	case plan.To.Version != p.Version:
		return nil, abi.Errorf(abi.Invalid, "sync pack %q: %s is version %s, the lock file says %s", p.Name, p.Digest, plan.To.Version, p.Version).
			WithHint("write the lock file anew: arw pack lock")
	}
	have := locked(plan.Verdict.Proofs)
	for _, q := range p.Proofs {
		if !slices.Contains(have, q) {
			return nil, abi.Errorf(abi.Untrusted, "sync pack %q: a proof of the lock file is missing or does not count here: %s by %q (bundle %s)",
				p.Name, q.Predicate, cmp.Or(q.Identity, "key "+q.Key), q.Bundle).
				WithHint("publish the bundle beside the pack again, or write the lock file anew: arw pack lock").WithDetail(q)
		}
	}
	return plan.Held, nil
}
