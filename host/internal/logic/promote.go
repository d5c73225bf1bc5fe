package logic

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Gated is one thing that must hold before a unit becomes the default.
type Gated struct {
	Name   string `json:"name"` // tests, policy, trial, guard, approvals, experiment or shadow
	Passed bool   `json:"passed"`
	Text   string `json:"text"`
}

// Shadow is what became of recorded actions with other documents.
type Shadow struct {
	Actions   []ShadowAction `json:"actions"`
	Same      int            `json:"same"`
	Different int            `json:"different"` // answered, and otherwise
	Worse     int            `json:"worse"`     // answered before and fails now
	Unknown   int            `json:"unknown"`   // asks for what was not recorded, so that nobody can tell
}

// ShadowAction is one of them.
type ShadowAction struct {
	Action  string   `json:"action"`
	Tool    string   `json:"tool"`
	Outcome string   `json:"outcome"` // same, different, worse or unknown
	Why     string   `json:"why,omitempty"`
	Changes []string `json:"changes,omitempty"` // of the answer, in words
}

// Promote makes a unit that is active in a scope the workspace's default, with the same revision and parameters. It
// passes when all gates do: the unit's own tests, the policies, its trial's length, its guards, approvals, experiments, and
// with how.Shadow a replay in which nothing gets worse. A dry run tells what each gate says. Errors: as Apply, Denied from
// the policies, and Conflict that names the gates.
func (s *Store) Promote(ctx context.Context, id string, from Scope, how How) (Plan, error) {
	s.mu.RLock()
	l := s.active(id, from)
	s.mu.RUnlock()
	if l == nil {
		return Plan{}, abi.Errorf(abi.NotFound, "promote unit %q: it is not active in %s", id, from).WithHint("try it first: arw unit apply %s --scope project/ID", id)
	}
	u, err := s.find(id, l.digest)
	if err != nil {
		return Plan{}, err
	}
	gates, err := s.gates(ctx, u, l, how.By)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Units: []PlanUnit{{ID: id, Version: l.version, Digest: l.digest, Params: l.params}}, Gates: gates}
	if how.Shadow {
		if err := s.shadow(ctx, l, &plan); err != nil {
			return Plan{}, err
		}
	}
	for _, g := range plan.Gates {
		if !g.Passed {
			plan.Conflicts = append(plan.Conflicts, Conflict{Kind: "gate", Unit: id, With: g.Name, Text: g.Name + ": " + g.Text})
		}
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	c := s.begin(how, "logic.unit.promoted")
	if s.active(id, from) != l {
		return Plan{Version: s.version}, abi.Errorf(abi.Conflict, "promote unit %q: it changed meanwhile", id).WithHint("look at it and promote it again")
	}
	c.drop(l)
	if old := s.active(id, Workspace); old != nil && old != l {
		c.drop(old)
	}
	up := *l
	up.scope, up.stage, up.share = Workspace, Promoted, 100
	c.join(&up)
	plan.Version = s.version
	return s.finish(ctx, c, plan, "promote "+id)
}

// gates asks everything that must hold, in order. The error is that of the policies, or of a gate that cannot be asked.
func (s *Store) gates(ctx context.Context, u *unit, l *layer, by string) (out []Gated, err error) {
	report := s.Test(ctx, u.man)
	out = append(out, Gated{"tests", report.OK(), orWords(report.first(), fmt.Sprintf("%d of its own tests pass", len(report.Results)))})
	needed := u.man.Promotion.Approvals
	if s.parts.Gate != nil {
		more, err := s.parts.Gate(ctx, u.man, l.scope, by)
		if err != nil {
			return nil, err
		}
		needed = max(needed, more)
	}
	out = append(out, Gated{"policy", true, "the policies allow it"})
	if after := u.man.Promotion.After; after > 0 {
		was := s.now().Sub(l.at)
		out = append(out, Gated{"trial", was >= after, fmt.Sprintf("on trial for %s, wanted %s", was.Truncate(time.Second), after)})
	}
	readings, err := s.Readings(ctx, u.man.ID, l.scope)
	if err != nil {
		return nil, err
	}
	for _, r := range readings {
		out = append(out, Gated{"guard", !r.Breached && r.N >= r.Least, r.String()})
	}
	if needed > 0 {
		given, err := s.Approvals(ctx, u.man.ID)
		if err != nil {
			return nil, err
		}
		var who []string
		for _, a := range given {
			if a.What == whatOf(l) && s.now().Before(a.Expires) {
				who = append(who, a.By)
			}
		}
		out = append(out, Gated{"approvals", len(who) >= needed, fmt.Sprintf("%d of %d people agreed: %s", len(who), needed, orWords(strings.Join(who, ", "), "nobody"))})
	}
	if metric := u.man.Promotion.Experiment; metric != "" {
		text := "this host runs no experiments"
		if s.parts.Verdict != nil {
			if text, err = s.parts.Verdict(ctx, u.man.ID, l.digest, l.params, metric); err != nil {
				return nil, err
			}
		}
		out = append(out, Gated{"experiment", text == "better", fmt.Sprintf("by %s it is: %s", metric, text)})
	}
	return out, nil
}

func orWords(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Gates tells what stands between an active unit and its promotion by somebody. Errors as Promote.
func (s *Store) Gates(ctx context.Context, id string, from Scope, by string) ([]Gated, error) {
	plan, err := s.Promote(ctx, id, from, How{DryRun: true, By: by, Accept: true})
	return plan.Gates, err
}

// shadow replays what was recorded in the unit's scope with the documents as they would be for everybody.
func (s *Store) shadow(ctx context.Context, l *layer, plan *Plan) error {
	if s.parts.Shadow == nil {
		return abi.Errorf(abi.Unavailable, "replay in the shadow of unit %q: this host keeps no records", l.unit)
	}
	s.mu.RLock()
	after := slices.DeleteFunc(slices.Clone(s.layers), func(x *layer) bool { return x.unit == l.unit && (x.scope == Workspace || x == l) })
	up := *l
	up.scope, up.share = Workspace, 100
	after = append(after, &up)
	order(after)
	docs := map[string][]byte{}
	for name, t := range s.targets {
		d, err := fold(t, after, chain(l.scope))
		if err != nil {
			s.mu.RUnlock()
			return err
		}
		docs[name] = d.Body
	}
	s.mu.RUnlock()
	shadow, err := s.parts.Shadow(ctx, l.scope, docs)
	if err != nil {
		return err
	}
	plan.Shadow = shadow
	plan.Gates = append(plan.Gates, Gated{"shadow", shadow.Worse == 0, fmt.Sprintf("of %d recorded actions %d answer the same, %d otherwise, %d fail that did not, of %d nobody can tell",
		len(shadow.Actions), shadow.Same, shadow.Different, shadow.Worse, shadow.Unknown)})
	return nil
}

// Candidate are all documents as a scope would have them with units applied there, and the units as they would be. Nothing
// is changed and nobody is asked for permissions: a candidate is only looked at. Errors: as Apply; Unavailable for a model
// that a unit needs.
func (s *Store) Candidate(ctx context.Context, scope Scope, uses []Use) (map[string][]byte, []PlanUnit, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	c := s.begin(How{}, "")
	var units []PlanUnit
	for _, use := range uses {
		u, err := s.find(use.Unit, use.Digest)
		if err != nil {
			return nil, nil, err
		}
		if needs := s.needs(ctx, u.man); len(needs) > 0 {
			return nil, nil, abi.Errorf(abi.Unavailable, "%s", needs[0].Text).WithHint("arw model list says which models there are")
		}
		if old := s.active(u.man.ID, scope); old != nil {
			c.drop(old)
		}
		l, computed, err := s.layerOf(ctx, u, scope, use.Params)
		if err != nil {
			return nil, nil, err
		}
		units = append(units, PlanUnit{ID: u.man.ID, Version: u.man.Version, Digest: u.digest, Params: l.params, Computed: computed})
		c.join(l)
	}
	if found, _ := s.conflicts(c.joined, c.after, true); len(found) > 0 {
		return nil, nil, Plan{Conflicts: found}.Err("make a candidate")
	}
	for i, l := range c.joined {
		l.seq = s.seq + int64(i) + 1
	}
	c.after = append(c.after, c.joined...)
	order(c.after)
	docs := map[string][]byte{}
	for name, t := range s.targets {
		d, err := fold(t, c.after, chain(scope))
		if err != nil {
			return nil, nil, err
		}
		docs[name] = d.Body
	}
	return docs, units, nil
}
