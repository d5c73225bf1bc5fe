package logic

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/manifests"
)

// Permit is a change of what may be done that comes with a change of the configuration, in words. A person accepts the
// ones that widen; those that end need nobody.
type Permit struct {
	Unit       string   `json:"unit"`
	Pack       string   `json:"pack,omitempty"`
	Capability string   `json:"capability,omitempty"`
	Scope      []string `json:"scope,omitempty"`
	Target     string   `json:"target,omitempty"` // of a bound in a document that is loosened
	Pointer    string   `json:"pointer,omitempty"`
	Widens     bool     `json:"widens"`
	Policies   []string `json:"policies,omitempty"`
	Text       string   `json:"text"`
	grant      *lease.Grant
	layer      *layer
}

// permits judges the leases that joining units ask for, tells those that end, and refuses what cannot be given or was not
// accepted. A lease that a replaced layer of the same unit had is given anew: nothing is inherited in silence.
func (s *Store) permits(ctx context.Context, c *change, plan *Plan) {
	for _, l := range c.joined {
		if l.unit == "" {
			continue
		}
		man := s.revision(l)
		for _, p := range man.Permissions {
			plan.Permits = append(plan.Permits, s.permit(ctx, c, plan, l, p))
		}
	}
	for _, l := range c.dropped {
		for _, held := range s.leasesOf(l) {
			plan.Permits = append(plan.Permits, Permit{Unit: l.unit, Pack: held.Pack, Capability: string(held.Capability), Scope: held.Scope,
				Text: fmt.Sprintf("%s loses %s%s, which it had for %s", held.Pack, held.Capability, inScope(held.Scope), l.unit)})
		}
	}
	plan.Permits = append(plan.Permits, s.loosened(c, plan.Docs)...)
	for _, p := range plan.Permits {
		if p.Widens && !c.how.Accept {
			plan.Conflicts = append(plan.Conflicts, Conflict{Kind: "permission", Unit: p.Unit, With: p.Pack, Target: p.Target, Pointer: p.Pointer, Text: p.Text + ", and nobody has accepted that"})
		}
	}
}

func (s *Store) permit(ctx context.Context, c *change, plan *Plan, l *layer, p manifests.Permission) Permit {
	out := Permit{Unit: l.unit, Pack: p.Pack, Capability: p.Capability, Scope: p.Scope, Widens: true, layer: l}
	project, inProject := strings.CutPrefix(string(l.scope), "project/")
	refuse := func(kind, why string) Permit {
		out.Text = fmt.Sprintf("%s asks for %s%s on behalf of %s", l.unit, p.Capability, inScope(p.Scope), p.Pack)
		out.Widens = false
		plan.Conflicts = append(plan.Conflicts, Conflict{Kind: kind, Unit: l.unit, With: p.Pack, Text: out.Text + ": " + why})
		return out
	}
	switch {
	case s.parts.Judge == nil || s.parts.Leases == nil:
		return refuse("denied", "this host gives no leases")
	case l.scope != Workspace && !inProject:
		return refuse("denied", "a lease is bound to a project or to nothing, not to an agent")
	case l.share < 100:
		return refuse("denied", "a lease cannot be given for a share of runs")
	}
	g, err := s.parts.Judge(ctx, c.how.Corr, c.how.By, p, project)
	if err != nil {
		return refuse("denied", err.Error())
	}
	out.Scope, out.Policies, out.grant = g.Scope, g.Policies, &g
	where := ""
	if inProject {
		where = " in project " + project
	}
	out.Text = fmt.Sprintf("%s may use %s%s%s for %s: %s", p.Pack, p.Capability, inScope(g.Scope), where, g.TTL, p.Reason)
	return out
}

func inScope(scope []string) string {
	if len(scope) == 0 {
		return ""
	}
	return " (" + strings.Join(scope, ", ") + ")"
}

// leaseWord begins the reason of every lease of a layer; by it they are found again, also after they were carried over to
// another version of their pack.
func leaseWord(l *layer) string { return fmt.Sprintf("unit %s, layer %d: ", l.unit, l.seq) }

// leasesOf are the leases of a layer that hold.
func (s *Store) leasesOf(l *layer) []lease.Lease {
	if s.parts.Leases == nil || l.unit == "" {
		return nil
	}
	word := leaseWord(l)
	return slices.DeleteFunc(s.parts.Leases.List(lease.Filter{State: lease.Live}), func(x lease.Lease) bool { return !strings.HasPrefix(x.Reason, word) })
}

// lend gives and takes back leases in the transaction of the change that they belong to.
func (s *Store) lend(tx *sql.Tx, c *change, plan *Plan) error {
	for _, l := range c.dropped {
		for _, held := range s.leasesOf(l) {
			if err := s.parts.Leases.RevokeTx(tx, c.how.Corr, held.ID, c.how.By, "unit "+l.unit+" is no longer active in "+l.scope.String()); err != nil {
				return err
			}
		}
	}
	for _, p := range plan.Permits {
		if p.grant == nil {
			continue
		}
		g := *p.grant
		g.Reason = leaseWord(p.layer) + p.grant.Reason
		if len(g.Reason) > 1000 {
			g.Reason = g.Reason[:1000]
		}
		if _, err := s.parts.Leases.GrantTx(tx, c.how.Corr, g); err != nil {
			return err
		}
	}
	return nil
}

// loosened finds bounds in documents that a joining unit loosens: a document says which of its values are bounds.
func (s *Store) loosened(c *change, docs []DocChange) (out []Permit) {
	for _, d := range docs {
		for _, v := range d.Changes {
			kind := s.targets[d.Target].Bounds[v.Path]
			joins := slices.ContainsFunc(c.joined, func(l *layer) bool { return l.unit != "" && l.unit == v.To.Unit })
			if kind == "" || !joins || !looser(kind, v.Change) {
				continue
			}
			out = append(out, Permit{Unit: v.To.Unit, Target: d.Target, Pointer: v.Path, Widens: true,
				Text: fmt.Sprintf("%s loosens the bound %s %s in %s from %s to %s", v.To.Unit, d.Target, v.Path, d.Scope, plain(v.Before), plain(v.After))})
		}
	}
	return out
}

func plain(v any) string {
	if v == nil {
		return "none"
	}
	raw, _ := json.Marshal(v) // trees always marshal
	return string(raw)
}

// looser compares two values of a bound: a "cap" is at most, and 0 or nothing bounds nothing; a "floor" is at least.
func looser(kind string, c tree.Change) bool {
	number := func(v any) float64 {
		n, _ := v.(json.Number)
		f, _ := n.Float64()
		return f
	}
	before, after := number(c.Before), number(c.After)
	if kind == "floor" {
		return after < before
	}
	return before > 0 && (after == 0 || after > before)
}

// denied reports whether a plan cannot happen because of what the policies say.
func (p Plan) denied() bool {
	return slices.ContainsFunc(p.Conflicts, func(c Conflict) bool { return c.Kind == "denied" })
}
