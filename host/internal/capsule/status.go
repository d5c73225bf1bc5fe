package capsule

import (
	"time"

	"github.com/arw-project/arw/host/api"
)

// Status is a capsule as this host has it.
type Status = api.Capsule

func (b *Book) status(h *held, now time.Time) Status {
	c := &h.env.Capsule
	s := Status{
		ID: c.ID, Version: c.Version, Issuer: c.Issuer, Fingerprint: c.Fingerprint(), Denies: c.Denies, Propagate: c.Propagate, HopTTL: c.HopTTL,
		HopsLeft: h.env.Left(), Path: h.env.Path, IssuedAt: c.IssuedAt, Adopted: h.adopted.Truncate(time.Millisecond), By: h.by, State: h.state, LeaseUntil: c.LeaseUntil,
		RenewFrom: c.LeaseUntil.Add(-time.Duration(c.RenewWithin) * time.Millisecond), Ended: h.ended, Reason: h.reason,
	}
	left := c.LeaseUntil.Sub(now)
	if left <= 0 {
		s.ExpiredForMS = -left.Milliseconds()
		if s.State == Active {
			s.State = Expired // the ledger hears of it from Run
		}
	}
	if s.State == Active {
		s.ExpiresInMS, s.RenewInMS = left.Milliseconds(), max(s.RenewFrom.Sub(now).Milliseconds(), 0)
		s.RenewDue = !now.Before(s.RenewFrom)
	}
	return s
}

// List is every capsule that this host has or had, by id.
func (b *Book) List() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	out, now := []Status{}, b.now().UTC()
	for _, id := range b.ids() {
		out = append(out, b.status(b.held[id], now))
	}
	return out
}

// Document is List for a read model. Its countdowns are rounded up, to 5 seconds in the last two minutes and to minutes before, so
// that time alone does not make a version of it every moment.
func (b *Book) Document() any {
	items := map[string]Status{}
	for _, s := range b.List() {
		s.ExpiresInMS, s.RenewInMS, s.ExpiredForMS = coarse(s.ExpiresInMS), coarse(s.RenewInMS), 0
		items[s.ID] = s
	}
	return map[string]any{"node": b.node, "items": items}
}

func coarse(ms int64) int64 {
	step := int64(60_000)
	if ms <= 120_000 {
		step = 5_000
	}
	return (ms + step - 1) / step * step
}
