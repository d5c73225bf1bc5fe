package lease

import (
	"context"

	"github.com/arw-project/arw/abi"
)

// Spend counts n bytes more of a use that Use or Take has begun, as they pass: the use of a stream ends when its lease does. It
// counts no call. Any live lease that covers the target serves, in the order of Use, so that a transfer goes on when a
// second lease takes over. Errors are Use's.
func (h *Holder) Spend(ctx context.Context, capability abi.Capability, wanted string, n int64) error {
	leases, t := h.of(capability, wanted)
	now := h.book.now()
	for _, e := range leases {
		if !e.usable(now) {
			continue
		}
		if _, ok := e.match(&t); !ok {
			continue
		}
		if !e.bytes.take(n) {
			h.book.exhaust(e)
			continue
		}
		if e.bytes.overdrawn() {
			if err := h.book.waitReserved(ctx, e); err != nil {
				e.bytes.give(n)
				return err
			}
		}
		switch {
		case e.bytes.spent():
			h.book.exhaust(e)
		case e.bytes.watched():
			h.book.poke()
		}
		if e.state.Load() != stateRevoked {
			return nil
		}
	}
	return h.refuseAny(capability, wanted, leases, &t)
}

// Would tells which lease a use would be counted against, and counts nothing. Errors are Use's.
func (h *Holder) Would(capability abi.Capability, wanted string, n int64) (scope, id string, err error) {
	leases, t := h.of(capability, wanted)
	now := h.book.now()
	for _, e := range leases {
		if !e.usable(now) || !e.calls.fits(1) || !e.bytes.fits(n) {
			continue
		}
		if scope, ok := e.match(&t); ok {
			return scope, e.id, nil
		}
	}
	return "", "", h.refuseAny(capability, wanted, leases, &t)
}

// of finds the leases of a capability and reads the target their way.
func (h *Holder) of(capability abi.Capability, wanted string) ([]*entry, target) {
	v := h.view.Load()
	for i := range v.capabilities {
		if c := &v.capabilities[i]; c.name == capability {
			return c.leases, parseTarget(c.family, wanted)
		}
	}
	return nil, target{}
}

func (h *Holder) refuseAny(capability abi.Capability, wanted string, leases []*entry, t *target) error {
	if leases == nil {
		return h.refuse(capability, wanted, nil, nil)
	}
	return h.refuse(capability, wanted, t, leases)
}

func (c *counter) fits(n int64) bool { return c.limit == 0 || n <= c.limit-c.used.Load() }
