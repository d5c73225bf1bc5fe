package pack

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Suspension says why a version may not run. It is the Detail of the errors that calls get meanwhile.
type Suspension struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Time   time.Time `json:"time"`
	// Revoked says that the digest was revoked: then nobody resumes it before the revocation is gone.
	Revoked bool `json:"revoked,omitempty"`
}

// Revocation is what a source knows against a digest.
type Revocation struct {
	Reason string    `json:"reason"`
	Source string    `json:"source,omitempty"` // who says so
	Time   time.Time `json:"time,omitzero"`
}

// Revocations knows which packs must not run any more. A signed index is one. It answers from what it has at hand and
// never dials; who refreshes it calls Manager.Recheck afterwards.
type Revocations interface {
	// Revoked reports whether the manifest digest of a pack is revoked, and why.
	Revoked(name, digest string) (Revocation, bool)
}

// IndexState is what a source of revocations can say about itself and one digest, for "arw why". A Revocations may
// implement it.
type IndexState interface {
	State(name, digest string) any
}

// byHost is who does what nobody asked for.
const byHost = "host"

func (m *Manager) revoked(name, digest string) (Revocation, bool) {
	if m.Revocations == nil {
		return Revocation{}, false
	}
	return m.Revocations.Revoked(name, digest)
}

// err is what calls of a suspended version get.
func (s *Suspension) err(name string) *abi.Error {
	e := abi.Errorf(abi.Denied, "call pack %q: it is suspended by %q: %s", name, s.By, s.Reason).WithDetail(s)
	if s.Revoked {
		return e.WithHint("its digest was revoked; install another version: arw pack upgrade %s", name)
	}
	return e.WithHint("when it may run again: arw pack resume %s", name)
}

// Suspend keeps an installed pack from running. From the moment it returns, also with an error, new calls get the typed
// error, calls in flight are cut off and none of their host calls succeeds; versions that were finishing are cut off too.
// It holds over restarts until Resume; a person's also over upgrades and rollbacks, while a revocation is about one digest.
// An already suspended pack stays as it is, except that a revocation outranks a person's reason. Errors: NotFound; those of the database, after which it holds as long as
// this host runs.
func (m *Manager) Suspend(ctx context.Context, name string, why Suspension, corr string) error {
	s := m.index.Load().packs[name]
	if s == nil || s.current() == nil {
		return notInstalled(name)
	}
	v := s.current()
	why.By, why.Reason, why.Time = cmp.Or(why.By, "operator"), cmp.Or(why.Reason, "no reason was given"), m.now()
	v.mu.Lock()
	if was := v.row.Standing.Suspended; was != nil && (was.Revoked || !why.Revoked) {
		v.mu.Unlock()
		return nil
	}
	v.row.Standing.Suspended = &why
	st := v.row.Standing
	v.mu.Unlock()
	cut := 0
	for _, each := range s.versions() {
		if each == v || each.row.Digest == v.row.Digest {
			cut += s.halt(each, why.err(name))
		}
	}
	err := m.DB.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		if err := putStanding(tx, name, v.row.Digest, st); err != nil {
			return err
		}
		return m.changed(tx, v, Suspended, why.By, why.Reason, cmp.Or(corr, newCorr()), map[string]any{"suspension": why, "cut": cut})
	})
	if err != nil {
		return wrap(err, "suspend pack %q: it is suspended as long as this host runs, but that is not written down", name)
	}
	return nil
}

// Resume lets a suspended pack run again. Errors: NotFound; Conflict when it is not suspended; Denied as long as its digest
// is revoked; those of the database.
func (m *Manager) Resume(ctx context.Context, name, by, reason, corr string) error {
	s := m.index.Load().packs[name]
	if s == nil || s.current() == nil {
		return notInstalled(name)
	}
	v := s.current()
	v.mu.Lock()
	st := v.row.Standing
	v.mu.Unlock()
	if st.Suspended == nil {
		return abi.Errorf(abi.Conflict, "resume pack %q: it is not suspended", name).WithHint("see arw why %s", name)
	}
	if r, bad := m.revoked(name, v.row.Digest); bad {
		return abi.Errorf(abi.Denied, "resume pack %q: its digest %s is revoked: %s", name, v.row.Digest, r.Reason).
			WithHint("install another version: arw pack upgrade %s", name).WithDetail(st.Suspended)
	}
	st.Suspended = nil
	err := m.DB.Write(ctx, func(tx *sql.Tx) error {
		if err := putStanding(tx, name, v.row.Digest, st); err != nil {
			return err
		}
		return m.changed(tx, v, Resumed, cmp.Or(by, "operator"), reason, cmp.Or(corr, newCorr()), map[string]any{"reason": reason})
	})
	if err != nil {
		return wrap(err, "resume pack %q", name)
	}
	v.mu.Lock()
	v.row.Standing.Suspended = nil
	v.mu.Unlock()
	v.halted.Store(nil)
	return nil
}

// Recheck asks the source of revocations about everything that runs and suspends what is revoked. Versions that only finish
// their calls are cut off. A revocation that is gone resumes nothing: that is for a person.
func (m *Manager) Recheck(ctx context.Context) error {
	var errs []error
	for _, name := range m.names() {
		if s := m.index.Load().packs[name]; s != nil {
			errs = append(errs, m.recheck(ctx, s))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) recheck(ctx context.Context, s *slot) error {
	var errs []error
	for _, v := range s.versions() {
		r, bad := m.revoked(s.name, v.row.Digest)
		if !bad {
			continue
		}
		why := Suspension{Reason: "its digest was revoked: " + r.Reason, By: cmp.Or(r.Source, "index"), Time: m.now(), Revoked: true}
		if v != s.current() {
			s.halt(v, why.err(s.name))
			continue
		}
		errs = append(errs, m.Suspend(ctx, s.name, why, ""))
	}
	return errors.Join(errs...)
}

// follow is the suspension of a version that takes another's place: its own when its digest was revoked, else what a
// person said about the pack.
func follow(own, before *Suspension) *Suspension {
	if own != nil && own.Revoked {
		return own
	}
	if before != nil && !before.Revoked {
		return before
	}
	return nil
}

// changed writes one change of the installed version into its history and the journal, as event "pack." and the change.
func (m *Manager) changed(tx *sql.Tx, v *version, change, by, why, corr string, body map[string]any) error {
	c := Change{Change: change, Version: v.row.Version, Digest: v.row.Digest, Time: m.now(), By: by, Why: why, Corr: corr}
	if err := putChange(tx, v.row.Name, c); err != nil {
		return err
	}
	body["name"], body["version"], body["digest"], body["by"] = v.row.Name, v.row.Version, v.row.Digest, by
	_, err := m.Journal.AppendTx(tx, journal.Event{Kind: "pack." + change, Corr: corr, Actor: by, Pack: v.row.Name, Body: body})
	return err
}
