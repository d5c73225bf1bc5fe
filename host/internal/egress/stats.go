package egress

import (
	"maps"
	"sync"
)

// Stats count what was decided and moved in this life of the host.
type Stats struct {
	Decisions map[[2]string]int64 // by decision and reason, names that were asked for included
	Out, In   int64               // bytes of bodies, messages and tunnels, of rows that are settled
	Tunnels   int64               // open now
}

type counts struct {
	mu sync.Mutex // guards the rest
	s  Stats
}

// Stats copies the counts.
func (g *Guard) Stats() Stats {
	g.counts.mu.Lock()
	defer g.counts.mu.Unlock()
	s := g.counts.s
	s.Decisions = maps.Clone(s.Decisions)
	s.Tunnels = g.tunnels.Load()
	return s
}

func (c *counts) decided(r *Row) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.Decisions == nil {
		c.s.Decisions = map[[2]string]int64{}
	}
	c.s.Decisions[[2]string{r.Decision, r.Reason}]++ // reasons are this package's words and the codes: few
}

func (c *counts) moved(o *Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Out, c.s.In = c.s.Out+o.Out, c.s.In+o.In
}
