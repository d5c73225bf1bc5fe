package lease

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Refusal is the Detail of a refused use.
type Refusal struct {
	Pack       string    `json:"pack"`
	Digest     string    `json:"digest"`
	Capability string    `json:"capability"`
	Target     string    `json:"target,omitempty"`
	Lease      string    `json:"lease,omitempty"` // the lease that ended; empty when none covered the target
	State      string    `json:"state,omitempty"`
	Ended      time.Time `json:"ended,omitzero"`
	Held       []string  `json:"held,omitempty"` // the scopes of the live leases that do not cover the target
}

// refuse says why no lease served. Of the leases that cover the target the one that ended last speaks, since the pack was
// living on that one; a revocation is never hidden behind a lease that ran out in the same moment.
func (s Seat) refuse(c abi.Capability, wanted string, t *target, leases []*entry) error {
	h := s.h
	leases = slices.DeleteFunc(slices.Clone(leases), func(e *entry) bool { return !e.grant.Where.holds(&s.at) })
	shown := clip(wanted)
	detail := Refusal{Pack: h.pack, Digest: h.digest, Capability: string(c), Target: shown}
	what := fmt.Sprintf("use %q for pack %q", c, h.pack)
	if shown != "" {
		what = fmt.Sprintf("use %q on %q for pack %q", c, shown, h.pack)
	}
	l, ok := h.book.lastEnded(t, leases)
	if !ok {
		return h.denied(c, what, t, leases, detail)
	}
	detail.Lease, detail.State = l.ID, l.State
	var e *abi.Error
	switch l.State {
	case Revoked:
		e = abi.Errorf(abi.LeaseRevoked, "%s: lease %q was revoked by %q: %s", what, l.ID, l.Ended.By, l.Ended.Reason)
	case Exhausted:
		e = abi.Errorf(abi.BudgetExhausted, "%s: lease %q has spent its budget of %s (used %s)", what, l.ID, bound(l.Budget), spent(l))
	default:
		e = abi.Errorf(abi.LeaseExpired, "%s: lease %q expired at %s", what, l.ID, stamp(l.Expires))
	}
	detail.Ended = l.Ended.Time.UTC()
	return e.WithHint("%s", h.command(c, shown)).WithDetail(detail)
}

// lastEnded is the ended lease that a refusal speaks of; false when none covers the target.
func (b *Book) lastEnded(t *target, leases []*entry) (Lease, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rank := [...]int{stateLive: 0, stateExpired: 1, stateExhausted: 2, stateRevoked: 3}
	now := b.now()
	var last *entry
	for _, e := range leases {
		if _, ok := e.match(t); !ok || e.stateAt(now) == stateLive {
			continue
		}
		if last == nil || cmp.Or(b.endOf(e).Compare(b.endOf(last)), cmp.Compare(rank[e.stateAt(now)], rank[last.stateAt(now)])) > 0 {
			last = e
		}
	}
	if last == nil {
		return Lease{}, false
	}
	return b.lease(last), true
}

// denied is the refusal of a pack that never held a lease for this.
func (h *Holder) denied(c abi.Capability, what string, t *target, leases []*entry, detail Refusal) error {
	now := h.book.now()
	for _, e := range leases {
		if e.stateAt(now) == stateLive {
			detail.Held = append(detail.Held, e.grant.Scope...)
		}
	}
	_, known := familyOf(c)
	switch {
	case !known:
		return abi.Errorf(abi.Denied, "%s: this host leases no such capability", what).
			WithHint("there are log, kv, event, state, fs, clock, rand, action and http").WithDetail(detail)
	case t != nil && t.text != "" && !t.ok:
		return abi.Errorf(abi.Denied, "%s: that is no target of this capability", what).
			WithHint("fs wants an absolute path behind read: or write:, kv, log, clock and rand want none").WithDetail(detail)
	case len(detail.Held) > 0:
		return abi.Errorf(abi.Denied, "%s: it lies outside the leased scope (%s)", what, quoted(detail.Held)).
			WithHint("%s", h.command(c, detail.Target)).WithDetail(detail)
	}
	return abi.Errorf(abi.Denied, "%s: it holds no lease for this", what).
		WithHint("%s (the manifest must ask for it: [capabilities.%s] in pack.toml)", h.command(c, detail.Target), c).
		WithDetail(detail)
}

// command is what the operator types next. The target comes from the guest, so it is quoted for a shell.
func (h *Holder) command(c abi.Capability, target string) string {
	s := fmt.Sprintf("arw lease grant %s %s", shellWord(h.pack), shellWord(string(c)))
	if f, ok := familyOf(c); ok && f != unscoped {
		if _, wrong := parsePattern(f, target); wrong != "" || len(target) > mostShown {
			target = exampleScope(f)
		}
		s += " --scope " + shellWord(target)
	}
	return s
}

// shellWord quotes a word for a POSIX shell unless every letter of it is harmless there.
func shellWord(s string) string {
	harmless := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/:._-+@,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const mostShown = 256

// clip keeps what a guest wrote short enough for a message; the mark makes it longer than mostShown.
func clip(s string) string {
	if len(s) <= mostShown {
		return s
	}
	return strings.ToValidUTF8(s[:mostShown], "") + "…"
}

func quoted(words []string) string {
	q := make([]string, 0, len(words))
	for _, w := range words {
		q = append(q, fmt.Sprintf("%q", w))
	}
	return strings.Join(q, ", ")
}

// bound says a budget in words.
func bound(b Budget) string {
	var parts []string
	if b.Calls > 0 {
		parts = append(parts, fmt.Sprintf("%d calls", b.Calls))
	}
	if b.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", b.Bytes))
	}
	parts = append(parts, b.rare()...)
	return strings.Join(parts, " and ")
}

func spent(l Lease) string {
	return strings.Join(append([]string{fmt.Sprintf("%d calls, %d bytes", l.Used.Calls, l.Used.Bytes)}, l.Used.rare()...), ", ")
}

// rare says the sides that few leases bound.
func (b Budget) rare() (parts []string) {
	if b.Tokens > 0 {
		parts = append(parts, fmt.Sprintf("%d tokens", b.Tokens))
	}
	if b.Gas > 0 {
		parts = append(parts, fmt.Sprintf("%d gas", b.Gas))
	}
	if b.Money > 0 {
		parts = append(parts, fmt.Sprintf("%d.%06d USD", b.Money/1e6, b.Money%1e6))
	}
	return parts
}
