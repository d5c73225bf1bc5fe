package logic

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/manifests"
)

// Use is one unit to be applied. Digest "" is the newest revision.
type Use struct {
	Unit   string                     `json:"unit"`
	Digest string                     `json:"digest,omitempty"`
	Params map[string]json.RawMessage `json:"params,omitempty"`
}

// How says under which conditions a change happens.
type How struct {
	DryRun   bool   // only plan
	KeepHand bool   // apply units beneath what was changed by hand, which stays
	Accept   bool   // what the change lets packs do more (Plan.Permits) is accepted
	Share    int    // of an experimental unit: percent of runs that have it; 0 is all
	Shadow   bool   // of a promotion: replay what was recorded first
	If       *int64 // the version of the configuration that the caller has seen; another one is a Conflict
	Why      string // in words, for the record
	Excuse   string // Plan.SafetyDigest of findings that the person By answers for
	Override string // digest of an unsigned unit that somebody answers for
	By, Corr string
}

// Apply makes units active in a scope, all or none; one that is active there already is replaced. The plan tells what
// happened, or with DryRun what would. Errors: NotFound, Invalid for parameters or outcomes that do not fit, Conflict
// with the whole plan as its detail.
func (s *Store) Apply(ctx context.Context, scope Scope, uses []Use, how How) (Plan, error) {
	if how.Share < 0 || how.Share > 100 {
		return Plan{}, abi.Errorf(abi.Invalid, "apply units to %d percent of runs: a share lies between 1 and 99, 0 is all", how.Share)
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	c := s.begin(how, "logic.unit.applied")
	plan := Plan{Version: s.version}
	for _, use := range uses {
		u, err := s.find(use.Unit, use.Digest)
		if err != nil {
			return plan, err
		}
		if u.state != Installed {
			return plan, abi.Errorf(abi.Conflict, "apply unit %q: it is %s", u.man.ID, u.state).WithHint("install it first: arw unit install")
		}
		entry := PlanUnit{ID: u.man.ID, Version: u.man.Version, Digest: u.digest}
		if old := s.active(u.man.ID, scope); old != nil {
			entry.Replaces = old.digest
			c.drop(old)
		}
		l, computed, err := s.layerOf(ctx, u, scope, use.Params)
		if err != nil {
			return plan, err
		}
		if how.Share != 0 {
			l.share = how.Share
		}
		entry.Params, entry.Computed, entry.Share = l.params, computed, l.share
		plan.Units = append(plan.Units, entry)
		plan.Conflicts = append(plan.Conflicts, s.needs(ctx, u.man)...)
		c.join(l)
	}
	names := make([]string, len(uses))
	for i, use := range uses {
		names[i] = use.Unit
	}
	return s.finish(ctx, c, plan, "apply "+strings.Join(names, ", ")+" to "+scope.String())
}

// holdsNoSecret refuses a value that everybody who may read the configuration would read.
func (s *Store) holdsNoSecret(doing string, raw []byte) error {
	if s.parts.Refuse == nil {
		return nil
	}
	return s.parts.Refuse(doing, raw)
}

// layerOf makes the layer that a unit would be in a scope. The caller has the turn.
func (s *Store) layerOf(ctx context.Context, u *unit, scope Scope, params map[string]json.RawMessage) (*layer, *Computed, error) {
	values, err := u.man.Values(params)
	if err != nil {
		return nil, nil, err
	}
	given, err := json.Marshal(values)
	if err == nil {
		err = s.holdsNoSecret("apply unit "+strconv.Quote(u.man.ID), given)
	}
	if err != nil {
		return nil, nil, err
	}
	patches, computed, err := s.patchesOf(ctx, u.man, params, s.seen(s.layers, u.man.ID, scope))
	if err != nil {
		return nil, nil, err
	}
	return (&layer{
		scope: scope, unit: u.man.ID, digest: u.digest, version: u.man.Version, stage: Experimental, params: values, patches: patches, rank: u.man.Priority, share: 100,
	}).index(), computed, nil
}

// Revert takes a unit out of a scope. What others have changed since stays. Errors: NotFound when it is not active
// there; Conflict when another active unit requires it or a later change stands on what it made.
func (s *Store) Revert(ctx context.Context, id string, scope Scope, how How) (Plan, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	c := s.begin(how, "logic.unit.reverted")
	l := s.active(id, scope)
	if l == nil {
		return Plan{Version: s.version}, abi.Errorf(abi.NotFound, "revert unit %q: it is not active in %s", id, scope).WithHint("arw unit list shows where units are active")
	}
	c.drop(l)
	plan := Plan{Version: s.version, Units: []PlanUnit{{ID: id, Version: l.version, Digest: l.digest, Params: l.params}}}
	for _, other := range c.after {
		if other.unit != "" && slices.Contains(s.revision(other).Requires, id) && !slices.ContainsFunc(c.after, func(x *layer) bool { return x.unit == id && sees(other.scope, x.scope) }) {
			plan.Conflicts = append(plan.Conflicts, Conflict{Kind: "requires", Unit: other.unit, With: id, Text: other.unit + " requires " + id + " and is active in " + other.scope.String()})
		}
	}
	return s.finish(ctx, c, plan, strings.TrimSuffix("revert "+id+" in "+scope.String()+": "+how.Why, ": "))
}

// Edit is a change by hand. It goes over every unit, and stays until it is taken back (Unedit).
func (s *Store) Edit(ctx context.Context, scope Scope, target, op string, value any, how How) (Plan, error) {
	t, err := s.target(target)
	if err != nil {
		return Plan{}, err
	}
	if op != "merge" && op != "jsonpatch" {
		return Plan{}, abi.Errorf(abi.Invalid, "change document %q: there is no operation %q", t.Name, op).WithHint("merge (RFC 7396) or jsonpatch (RFC 6902)")
	}
	raw, err := canonical(value)
	if err == nil {
		value, err = tree.Parse(raw)
	}
	if err != nil {
		return Plan{}, abi.Errorf(abi.Invalid, "change document %q: %w", t.Name, err)
	}
	if err := s.holdsNoSecret("change document "+strconv.Quote(t.Name), raw); err != nil {
		return Plan{}, err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	c := s.begin(how, "config.patch.applied")
	c.join((&layer{scope: scope, patches: []patch{{t.Name, op, value}}, rank: handRank, share: 100, stage: "hand"}).index())
	return s.finish(ctx, c, Plan{Version: s.version}, "change "+t.Name+" by hand in "+scope.String())
}

// Unedit takes back what was changed by hand in a document, as one scope has it. NotFound when nothing was.
func (s *Store) Unedit(ctx context.Context, scope Scope, target string, how How) (Plan, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	c := s.begin(how, "config.patch.applied")
	for _, l := range s.layers {
		if l.unit == "" && l.scope == scope && l.patches[0].Target == target { // a hand edit has one patch
			c.drop(l)
		}
	}
	if len(c.dropped) == 0 {
		return Plan{Version: s.version}, abi.Errorf(abi.NotFound, "take back changes of %q in %s: nobody changed it by hand there", target, scope)
	}
	return s.finish(ctx, c, Plan{Version: s.version}, "take back changes of "+target+" by hand in "+scope.String())
}

// change is a change of the layers that is being made. The caller has the turn.
type change struct {
	how     How
	kind    string
	after   []*layer
	joined  []*layer
	dropped []*layer
	now     time.Time
}

func (s *Store) begin(how How, kind string) *change {
	return &change{how: how, kind: kind, after: slices.Clone(s.layers), now: s.now()}
}

func (c *change) drop(l *layer) {
	c.after = slices.DeleteFunc(c.after, func(x *layer) bool { return x == l })
	c.dropped = append(c.dropped, l)
}

func (c *change) join(l *layer) {
	l.at, l.actor = c.now, c.how.By
	c.joined = append(c.joined, l)
}

// active is the layer of a unit in a scope, or nil. The caller has the turn or the read lock.
func (s *Store) active(id string, scope Scope) *layer {
	for _, l := range s.layers {
		if l.unit == id && l.scope == scope {
			return l
		}
	}
	return nil
}

// revision is the manifest that a unit's layer was made of; installed revisions never go away.
func (s *Store) revision(l *layer) *manifests.LogicUnit {
	u, err := s.find(l.unit, l.digest)
	if err != nil {
		return &manifests.LogicUnit{ID: l.unit}
	}
	return u.man
}

// finish plans a change and, unless it is a dry run or cannot happen, makes it.
func (s *Store) finish(ctx context.Context, c *change, plan Plan, what string) (Plan, error) {
	if c.how.If != nil && *c.how.If != s.version {
		return plan, abi.Errorf(abi.Conflict, "%s: the configuration is at version %d, not %d", what, s.version, *c.how.If).WithHint("look at it again, then repeat")
	}
	units := slices.DeleteFunc(slices.Clone(c.joined), func(l *layer) bool { return l.unit == "" })
	conflicts, notes := s.conflicts(units, c.after, c.how.KeepHand)
	plan.Conflicts, plan.Notes = append(plan.Conflicts, conflicts...), append(plan.Notes, notes...)
	for i, l := range c.joined {
		l.seq = s.seq + int64(i) + 1
	}
	c.after = append(c.after, c.joined...)
	order(c.after)
	docs, err := s.differences(s.layers, c.after, slices.Concat(c.joined, c.dropped))
	if err != nil {
		return plan, abi.Errorf(abi.CodeOf(err), "%s: %w", what, err).WithHint("%s", abi.HintOf(err))
	}
	plan.Docs = docs
	if err := s.inspect(c, &plan); err != nil {
		return plan, err
	}
	s.permits(ctx, c, &plan)
	if c.how.DryRun {
		return plan, nil
	}
	if err := plan.Err(what); err != nil {
		return plan, err
	}
	if err := s.commit(ctx, c, &plan, what); err != nil {
		return plan, s.db.Explain(what, err)
	}
	return plan, nil
}

// commit makes a change durable together with its events, then visible.
func (s *Store) commit(ctx context.Context, c *change, plan *Plan, what string) error {
	version := s.version + 1
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		if err := writeLayers(tx, c, version); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO logic_version (version, digest, what, at_ms, actor, corr) VALUES (?,?,?,?,?,?)",
			version, digestOf(c.after), what, c.now.UnixMilli(), c.how.By, c.how.Corr)
		if err != nil {
			return err
		}
		if err := s.showChange(tx, c, version, what); err != nil {
			return err
		}
		if err := s.lend(tx, c, plan); err != nil {
			return err
		}
		_, err = s.journal.AppendTx(tx, c.events(plan, version, what)...)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layers, s.version, s.seq = c.after, version, s.seq+int64(len(c.joined))
	close(s.changed)
	s.changed = make(chan struct{})
	plan.Version, plan.Done = version, true
	return nil
}

func writeLayers(tx *sql.Tx, c *change, version int64) error {
	for _, l := range c.dropped {
		if _, err := tx.Exec("UPDATE logic_layer SET removed = ? WHERE seq = ?", version, l.seq); err != nil {
			return err
		}
	}
	for _, l := range c.joined {
		params, err := json.Marshal(l.params)
		if err != nil {
			return err
		}
		patches, err := json.Marshal(l.patches)
		if err != nil {
			return err
		}
		l.added = version
		_, err = tx.Exec(`INSERT INTO logic_layer (seq, scope, unit, digest, stage, params, patches, rank, at_ms, actor, added, share)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`, l.seq, string(l.scope), l.unit, l.digest, l.stage, string(params), string(patches), l.rank, l.at.UnixMilli(), l.actor, version, l.share)
		if err != nil {
			return err
		}
	}
	return nil
}

// events tell the change: one for each unit, or one for the whole where there is none.
func (c *change) events(plan *Plan, version int64, what string) []journal.Event {
	docs, in := make([]map[string]any, len(plan.Docs)), ""
	for i, d := range plan.Docs {
		if id, ok := strings.CutPrefix(d.Scope.String(), "project/"); ok && id != "default" { // a plan is about one scope
			in = id
		}
		docs[i] = map[string]any{"target": d.Target, "scope": d.Scope.String(), "before": d.Before, "after": d.After, "changes": len(d.Changes)}
	}
	event := func(body map[string]any) journal.Event {
		body["config_version"], body["what"], body["docs"] = version, what, docs
		return journal.Event{Kind: c.kind, Actor: c.how.By, Corr: c.how.Corr, Project: in, Body: body}
	}
	if len(plan.Units) == 0 {
		body := map[string]any{}
		if len(plan.Safety) > 0 {
			body["safety"] = plan.Safety
		}
		return []journal.Event{event(body)}
	}
	var events []journal.Event
	for _, u := range plan.Units {
		body := map[string]any{"id": u.ID, "version": u.Version, "digest": u.Digest, "params": u.Params}
		if u.Computed != nil {
			body["computed"] = u.Computed
		}
		if len(plan.Permits) > 0 {
			body["permits"] = plan.Permits
		}
		if len(plan.Safety) > 0 {
			body["safety"] = plan.Safety
		}
		events = append(events, event(body))
	}
	return events
}
