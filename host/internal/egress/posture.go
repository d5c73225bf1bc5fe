package egress

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/view"
)

// Posture is the stance of the whole host, below every lease. There is no word that opens the guard.
type Posture string

// The postures.
const (
	Off       Posture = "off"       // nothing leaves
	Allowlist Posture = "allowlist" // only what an operator's scope names, to whoever holds a lease for it
	Public    Posture = "public"    // any place on the public network, to whoever holds a lease for it
)

func (p Posture) check() error {
	if p != Off && p != Allowlist && p != Public {
		return abi.Errorf(abi.Invalid, "set the egress posture: there is no posture %q", p).WithHint("off, allowlist and public (the default)")
	}
	return nil
}

// Scope is an operator's word about destinations, for every caller. It gives nobody anything by itself: a lease is needed too.
// One that allows makes its hosts reachable in the posture allowlist, opens the ports it names, and opens special addresses
// within its CIDRs for its hosts alone. One that denies wins over everything.
type Scope struct {
	ID          string    `json:"id"`
	Description string    `json:"description,omitempty"`
	Deny        bool      `json:"deny,omitempty"`
	Hosts       []string  `json:"hosts"`             // name, "*.name", "*", or an address; "domain:name" is a registrable domain and all below it
	Ports       []uint16  `json:"ports,omitempty"`   // none: 80 and 443
	Schemes     []string  `json:"schemes,omitempty"` // none: all
	CIDRs       []string  `json:"cidrs,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	Price       Price     `json:"price,omitzero"`
	By          string    `json:"by,omitempty"`

	ranges []netip.Prefix
}

// Price is what a destination costs, in millionths of a US dollar; estimates say whose scope they come from.
type Price struct {
	Call int64 `json:"per_call,omitempty"`
	MiB  int64 `json:"per_mib,omitempty"`
}

// Settings are what the operator decided.
type Settings struct {
	Posture Posture          `json:"posture"`
	Scopes  map[string]Scope `json:"scopes"`
}

// rules are the settings as the guard reads them; they never change.
type rules struct {
	posture Posture
	scopes  []Scope // deny first, then by id
}

var scopeID = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)

// check reads a scope; an error names what is wrong with it.
func (s *Scope) check(addresses *netguard.Addresses) error {
	bad := func(format string, args ...any) error {
		return abi.Errorf(abi.Invalid, "set egress scope %.80q: %s", s.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case !scopeID.MatchString(s.ID):
		return bad("an id is 1 to 64 of a-z, 0-9 and, not at the beginning, _ . -")
	case len(s.Hosts) == 0 || len(s.Hosts) > 256 || len(s.Ports) > 64 || len(s.CIDRs) > 64:
		return bad("it names 1 to 256 hosts, at most 64 ports and at most 64 ranges")
	case s.Deny && (len(s.CIDRs) > 0 || s.Price != Price{}):
		return bad("one that denies opens no ranges and has no price")
	case len(s.Description) > 300 || len(s.By) > 256:
		return bad("the description has at most 300 bytes")
	case s.Price.Call < 0 || s.Price.MiB < 0:
		return bad("a price is not negative")
	}
	for _, h := range s.Hosts {
		if err := checkPattern(h); err != nil {
			return bad("%s", err)
		}
		if len(s.CIDRs) > 0 && h == "*" {
			return bad("special addresses are opened for named hosts, not for *")
		}
	}
	if slices.Contains(s.Ports, 0) {
		return bad("there is no port 0")
	}
	for _, word := range s.Schemes {
		if !slices.Contains([]string{"http", "https", "ws", "wss"}, word) {
			return bad("the scheme %q is not http, https, ws or wss", word)
		}
	}
	s.ranges = nil
	for _, c := range s.CIDRs {
		p, err := addresses.CheckCIDR(c)
		if err != nil {
			return bad("%s", err)
		}
		s.ranges = append(s.ranges, p)
	}
	return nil
}

// checkPattern reads a host of a scope. Names that are no public place are allowed here: an operator knows the own network.
func checkPattern(h string) error {
	name := h
	for _, prefix := range []string{"domain:", "*."} {
		if rest, ok := strings.CutPrefix(h, prefix); ok {
			name = rest
			if netguard.PublicSuffix(name) {
				return fmt.Errorf("everybody may register below %q", name)
			}
			if prefix == "domain:" && netguard.Registrable(name) != name {
				return fmt.Errorf("%q is no registrable domain; %q is", name, netguard.Registrable(name))
			}
		}
	}
	if h == "*" {
		return nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && ip.Zone() == "" && name == h {
		if ip.Is6() != strings.HasPrefix(h, "[") {
			return fmt.Errorf("write the IPv6 address %q in brackets", h)
		}
		return nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return fmt.Errorf("%q is no host: a name in lower-case ASCII, *.name, domain:name, *, or an address", h)
		}
	}
	return nil
}

func matchHost(pattern string, d netguard.Dest) bool {
	if domain, ok := strings.CutPrefix(pattern, "domain:"); ok {
		return netguard.Registrable(d.Host) == domain
	}
	if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
		return !d.IP.IsValid() && strings.HasSuffix(d.Host, "."+suffix)
	}
	return pattern == d.Host || pattern == "*" && !d.IP.IsValid()
}

func (s *Scope) covers(d netguard.Dest, now time.Time) bool {
	if !s.Expires.IsZero() && !now.Before(s.Expires) || len(s.Schemes) > 0 && !slices.Contains(s.Schemes, d.Scheme) {
		return false
	}
	switch {
	case len(s.Ports) > 0 && !slices.Contains(s.Ports, d.Port):
		return false
	case len(s.Ports) == 0 && !s.Deny && d.Port != 80 && d.Port != 443:
		return false
	}
	return slices.ContainsFunc(s.Hosts, func(p string) bool { return matchHost(p, d) })
}

// find is the scope that speaks about a destination: one that denies before one that allows; nil when none does.
func (r *rules) find(d netguard.Dest, now time.Time) *Scope {
	for i := range r.scopes {
		if r.scopes[i].covers(d, now) {
			return &r.scopes[i]
		}
	}
	return nil
}

func (s *Scope) opens(ip netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// opensAlone reports whether a range of the scope is this one address: only so is an address of the host itself opened.
func (s *Scope) opensAlone(ip netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(p netip.Prefix) bool { return p.IsSingleIP() && p.Addr() == ip })
}

// Settings are those in force; scopes that ended are left out.
func (g *Guard) Settings() Settings {
	r := g.rules.Load()
	out := Settings{Posture: r.posture, Scopes: map[string]Scope{}}
	for _, s := range r.scopes {
		if s.Expires.IsZero() || time.Now().Before(s.Expires) {
			out.Scopes[s.ID] = s
		}
	}
	return out
}

// SetPosture changes the stance and journals egress.settings.updated. Connections that are open stay; the next request meets
// the new one.
func (g *Guard) SetPosture(ctx context.Context, by Cause, p Posture) error {
	if err := p.check(); err != nil {
		return err
	}
	return g.change(ctx, by, map[string]any{"posture": p}, func(tx *sql.Tx, r *rules) error {
		r.posture = p
		return g.exec(tx, "INSERT INTO egress_setting (name, value) VALUES ('posture', ?) ON CONFLICT DO UPDATE SET value = excluded.value", string(p))
	})
}

// SetScope adds a scope or replaces the one of its id.
func (g *Guard) SetScope(ctx context.Context, by Cause, s Scope) error {
	s.By = by.Actor
	if err := s.check(g.addresses()); err != nil {
		return err
	}
	if !s.Expires.IsZero() {
		if s.Expires = s.Expires.UTC().Truncate(time.Second); !s.Expires.After(time.Now()) {
			return abi.Errorf(abi.Invalid, "set egress scope %q: it would have ended before it began", s.ID)
		}
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return g.change(ctx, by, map[string]any{"scope": s}, func(tx *sql.Tx, r *rules) error {
		r.scopes = append(slices.DeleteFunc(slices.Clone(r.scopes), func(o Scope) bool { return o.ID == s.ID }), s)
		return g.exec(tx, "INSERT INTO egress_scope (id, body) VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body", s.ID, string(raw))
	})
}

// RemoveScope takes a scope away; NotFound when there is none of that id.
func (g *Guard) RemoveScope(ctx context.Context, by Cause, id string) error {
	if !slices.ContainsFunc(g.rules.Load().scopes, func(s Scope) bool { return s.ID == id }) {
		return abi.Errorf(abi.NotFound, "remove egress scope %.80q: there is none of that id", id).WithHint("arw egress posture lists them")
	}
	return g.change(ctx, by, map[string]any{"removed": id}, func(tx *sql.Tx, r *rules) error {
		r.scopes = slices.DeleteFunc(slices.Clone(r.scopes), func(o Scope) bool { return o.ID == id })
		return g.exec(tx, "DELETE FROM egress_scope WHERE id = ?", id)
	})
}

// Cause says who changes a setting, and in which undertaking.
type Cause struct{ Actor, Corr string }

// change makes one change of the rules durable with its event and the read model; it is in force when change returns.
func (g *Guard) change(ctx context.Context, by Cause, body map[string]any, fn func(*sql.Tx, *rules) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := *g.rules.Load()
	err := g.db.Write(ctx, func(tx *sql.Tx) error {
		if err := fn(tx, &next); err != nil {
			return err
		}
		next.sort()
		if _, err := g.journal.AppendTx(tx, journal.Event{Kind: KindSettings, Corr: by.Corr, Actor: by.Actor, Body: body}); err != nil {
			return err
		}
		_, err := g.view.ChangeTx(tx, view.Cause{Corr: by.Corr, Actor: by.Actor}, ViewID, func(e *view.Edit) error {
			next.show(e)
			return nil
		})
		return err
	})
	if err == nil {
		g.rules.Store(&next)
		g.pool.drop() // what was opened under other rules is not used again
	}
	return g.db.Explain("change the egress settings", err)
}

func (r *rules) sort() {
	slices.SortFunc(r.scopes, func(a, b Scope) int {
		if a.Deny != b.Deny {
			if a.Deny {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// show puts the settings into the read model.
func (r *rules) show(e *view.Edit) {
	e.Set(r.posture, "posture")
	scopes := map[string]Scope{}
	for _, s := range r.scopes {
		scopes[s.ID] = s
	}
	e.Set(scopes, "scopes")
}
