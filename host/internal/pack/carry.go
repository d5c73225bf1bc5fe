package pack

import (
	"database/sql"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/manifests"
)

// carrier moves what one version holds to the one that takes its place, inside the write that installs it. A lease goes
// over as it is, in whatever state it is, when the new version asks for all of it: what a person took back stays taken
// back, what is spent stays spent. Where the new version asks for less, it gets a lease on what is left.
type carrier struct {
	*Manager
	old      *version
	man      *manifests.Pack
	digest   string
	corr, by string
	// outcome is what Cedar answers to a capability of the new version now; afresh are those whose policy lease is made
	// anew because something wider was accepted.
	outcome func(abi.Capability) string
	afresh  map[abi.Capability]bool
	// skip, when set, chooses leases that do not go over.
	skip func(lease.Lease) bool

	carried []Carry
	policy  map[abi.Capability]lease.Lease // policy leases that went over, by capability
	left    []string                       // what stays with the old version until it is closed
}

func (c *carrier) tx(tx *sql.Tx) error {
	c.policy = map[abi.Capability]lease.Lease{}
	for _, l := range c.Leases.List(lease.Filter{Pack: c.old.row.Name, Digest: c.old.row.Digest}) {
		kept, err := c.one(tx, l)
		if err != nil {
			return err
		}
		if kept.ID != l.ID && (l.State == lease.Live || l.State == lease.Expired && l.Renewable) {
			c.left = append(c.left, l.ID)
		}
		if kept.ID == "" {
			continue
		}
		c.carried = append(c.carried, Carry{string(l.Capability), kept.ID, l.ID})
		if l.By == byPolicy {
			c.policy[l.Capability] = kept
		}
	}
	return nil
}

// one carries a lease, whole or in part; the zero Lease when the new version gets nothing of it.
func (c *carrier) one(tx *sql.Tx, l lease.Lease) (lease.Lease, error) {
	want, ok := c.man.Capability(l.Capability)
	outcome := c.outcome(l.Capability)
	byRule := l.By == byPolicy
	switch {
	case !ok, outcome == Denied, c.skip != nil && c.skip(l), byRule && outcome == Asked, byRule && c.afresh[l.Capability]:
		return lease.Lease{}, nil
	case l.State == lease.Revoked && (!byRule || l.Ended.By == byPolicy || l.Ended.By == byHost):
		return lease.Lease{}, nil // history, or for the policies to decide again
	case l.State == lease.Expired && !l.Renewable, l.State == lease.Exhausted && !byRule:
		return lease.Lease{}, nil
	}
	if lease.Covers(l.Capability, want.Scope, l.Scope) == nil {
		return c.Leases.CarryTx(tx, c.corr, c.by, l.ID, c.old.row.Digest, c.digest)
	}
	if l.State == lease.Revoked || l.State == lease.Exhausted {
		return lease.Lease{}, nil
	}
	g, ok := rest(l, want.Scope)
	if !ok {
		return lease.Lease{}, nil
	}
	g.Digest = c.digest
	return c.Leases.GrantTx(tx, c.corr, g)
}

// rest is a grant of what is left of a lease: of its scope what lies within another one, and of its time and budget what
// is not used up. False when that is nothing.
func rest(l lease.Lease, within []string) (lease.Grant, bool) {
	g := l.Grant
	g.Scope = nil
	for _, entry := range l.Scope {
		if lease.Covers(l.Capability, within, []string{entry}) == nil {
			g.Scope = append(g.Scope, entry)
			continue
		}
		for _, w := range within {
			if lease.Covers(l.Capability, []string{entry}, []string{w}) == nil && !slices.Contains(g.Scope, w) {
				g.Scope = append(g.Scope, w)
			}
		}
	}
	g.TTL = time.Until(l.Expires)
	if l.State == lease.Expired {
		g.TTL = l.TTL // it would be renewed
	}
	if len(g.Scope) == 0 && len(l.Scope) > 0 || g.TTL < lease.MinTTL {
		return g, false
	}
	var left bool
	g.Budget, left = l.Budget.Left(l.Used)
	return g, left
}
