package pack

import (
	"context"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

// Why is everything this host knows about why a pack is what it is here: the last verdict on it, and around that what
// stands now. "arw why" and the API give the same record.
type Why struct {
	*Verdict
	// Installed is what runs; absent when nothing of the name is installed. When the last verdict is a refusal, it runs on
	// an earlier one: then Running is that.
	Installed *Now     `json:"installed,omitempty"`
	Running   *Verdict `json:"running,omitempty"`
	// Linked says for every host function the module imports what the pack may do with it, by the verdict it runs on.
	Linked []Linked `json:"linked,omitempty"`
	// Index is what the source of revocations knows of the digest; absent when there is no source.
	Index   *Index        `json:"index,omitempty"`
	Leases  []lease.Lease `json:"leases"`
	History []Change      `json:"history"`
}

// Now is the standing of an installed pack.
type Now struct {
	Version    string      `json:"version"`
	Digest     string      `json:"digest"`
	State      State       `json:"state"`
	Reason     string      `json:"reason,omitempty"`
	Draining   int         `json:"draining,omitempty"`
	Held       []Item      `json:"held,omitempty"`
	Suspension *Suspension `json:"suspension,omitempty"`
	Trial      *Trial      `json:"trial,omitempty"`
}

// Linked is one imported host function and what became of its capability.
type Linked struct {
	Import  string `json:"import"`
	Outcome string `json:"outcome"`
	Lease   string `json:"lease,omitempty"`
}

// Index is what a source of revocations says.
type Index struct {
	Revoked bool   `json:"revoked"`
	Reason  string `json:"reason,omitempty"`
	Source  string `json:"source,omitempty"`
	State   any    `json:"state,omitempty"` // what the source tells about itself
}

// whyHistory is how many changes the record has; History has more.
const whyHistory = 20

// Why tells everything about a pack. NotFound when this host never judged the name.
func (m *Manager) Why(ctx context.Context, name string) (*Why, error) {
	last, err := m.Verdict(ctx, name)
	if err != nil {
		return nil, err
	}
	w := &Why{Verdict: last, Leases: m.Leases.List(lease.Filter{Pack: name})}
	if w.History, err = m.History(ctx, name, whyHistory); err != nil && abi.CodeOf(err) != abi.NotFound {
		return nil, err
	}
	decided, digest := last, last.Digests.Manifest
	if info, err := m.Get(name); err == nil {
		w.Installed = &Now{info.Version, info.Digest, info.State, info.Reason, info.Draining, info.Held, info.Suspension, info.Trial}
		digest = info.Digest
		if info.Verdict != nil && info.Verdict.Corr != last.Corr {
			w.Running, decided = info.Verdict, info.Verdict
		}
	}
	for _, im := range decided.Imports {
		capability, _, _ := strings.Cut(im, ".")
		l := Linked{Import: im, Outcome: Denied}
		if abi.Capability(capability) == abi.IO {
			l.Outcome = Granted // it carries no authority
		}
		for _, k := range decided.Links {
			if k.Capability == capability {
				l.Outcome, l.Lease = k.Outcome, k.Lease
			}
		}
		w.Linked = append(w.Linked, l)
	}
	if m.Revocations != nil {
		r, bad := m.Revocations.Revoked(name, digest)
		w.Index = &Index{Revoked: bad, Reason: r.Reason, Source: r.Source}
		if s, ok := m.Revocations.(IndexState); ok {
			w.Index.State = s.State(name, digest)
		}
	}
	return w, nil
}
