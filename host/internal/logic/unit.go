package logic

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/host/internal/measure"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/manifests"
)

// States of a unit that is known. Whether it is active is told by its bindings.
const (
	Suggested = "suggested" // somebody proposes it; it can be looked at and not applied
	Installed = "installed"
	Archived  = "archived" // kept for the record; cannot be applied
)

// unit is one revision of a unit. It never changes but for its state.
type unit struct {
	man    *manifests.LogicUnit
	digest string
	origin string // where it came from: a pack, a file
	state  string
	at     time.Time
	actor  string
}

// Binding is one place in which a unit is active.
type Binding struct {
	Scope  Scope                      `json:"scope"`
	Stage  string                     `json:"stage"`
	Digest string                     `json:"digest"`
	Params map[string]json.RawMessage `json:"params"`
	Since  time.Time                  `json:"since"`
	By     string                     `json:"by"`
}

// Unit is what is known of a unit: its newest revision and where it is active.
type Unit struct {
	ID       string               `json:"id"`
	Title    string               `json:"title"`
	Version  string               `json:"version"`
	Category string               `json:"category"`
	Digest   string               `json:"digest"`
	State    string               `json:"state"`
	Origin   string               `json:"origin"`
	Revision int                  `json:"revision"` // how many different ones there were, this one included
	Active   []Binding            `json:"active"`
	Manifest *manifests.LogicUnit `json:"manifest,omitempty"`
}

// Install makes a revision of a unit known from the text of its unit.toml; the same unit again only changes its state.
// origin says in words where it came from. Errors: Invalid for text that is no unit, a unit whose documents this host
// does not have, whose patches do not fit them, whose own tests fail, or that requires itself in a circle.
//
// What runs code needs more than somebody's word: a transform or plugin whose origin nobody signed is Unsigned.
func (s *Store) Install(ctx context.Context, src []byte, state, origin, by, corr string) (Unit, error) {
	if signed(origin) {
		return Unit{}, abi.Errorf(abi.Invalid, "install a unit from %q: a text cannot say that of itself", origin)
	}
	return s.install(ctx, src, "", state, origin, by, corr)
}

// InstallOverride is Install for a person who answers for one digest that nobody signed.
func (s *Store) InstallOverride(ctx context.Context, src []byte, override, state, origin, by, corr string) (Unit, error) {
	if signed(origin) {
		return Unit{}, abi.Errorf(abi.Invalid, "install a unit from %q: a text cannot say that of itself", origin)
	}
	return s.install(ctx, src, override, state, origin, by, corr)
}

// FromRegistry makes a unit known that came as an artefact of its own, whose signatures were verified. ref names it with
// its digest.
func (s *Store) FromRegistry(ctx context.Context, src []byte, ref, state, by, corr string) (Unit, error) {
	man, err := manifests.ParseUnit("unit.toml", src)
	if err != nil {
		return Unit{}, err
	}
	name, _, _ := strings.Cut("registry:"+ref, "@")
	s.mu.RLock()
	known := s.units[man.ID]
	s.mu.RUnlock()
	if u := newest(known); u != nil && u.digest != man.Digest() && !strings.HasPrefix(u.origin, name+"@") {
		return Unit{}, abi.Errorf(abi.Conflict, "install unit %q from %q: there is another of that name, from %s", man.ID, ref, u.origin).WithHint("give the unit another id")
	}
	return s.install(ctx, src, "", state, "registry:"+ref, by, corr)
}

// signed reports whether an origin is one that signatures were verified of.
func signed(origin string) bool {
	return strings.HasPrefix(origin, "pack:") || strings.HasPrefix(origin, "registry:")
}

func mayRun(man *manifests.LogicUnit, origin, override string) error {
	if man.Kind == manifests.KindConfig || signed(origin) || override == man.Digest() {
		return nil
	}
	return abi.Errorf(abi.Unsigned, "install unit %q from %q: it is a %s, which runs code, and nobody signed it", man.ID, origin, man.Kind).
		WithHint("install it from a registry or with its pack; to answer for it yourself: --override-unsigned %s", man.Digest())
}

func (s *Store) install(ctx context.Context, src []byte, override, state, origin, by, corr string) (Unit, error) {
	man, err := manifests.ParseUnit(origin, src)
	if err == nil {
		err = mayRun(man, origin, override)
	}
	if err != nil {
		return Unit{}, err
	}
	text, err := json.Marshal(string(src))
	if err == nil {
		err = s.holdsNoSecret("install unit "+strconv.Quote(man.ID), text)
	}
	if err != nil {
		return Unit{}, err
	}
	if report := s.Test(ctx, man); !report.OK() {
		return Unit{}, abi.Errorf(abi.Invalid, "install unit %q: %s", man.ID, report.first()).WithHint("arw unit test shows all of it").WithDetail(report)
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if circle := s.circle(man); circle != "" {
		return Unit{}, abi.Errorf(abi.Invalid, "install unit %q: it requires itself: %s", man.ID, circle)
	}
	u := &unit{man, man.Digest(), origin, state, s.now(), by}
	err = s.db.Write(ctx, func(tx *sql.Tx) error { return s.keepUnit(tx, u, string(src), How{By: by, Corr: corr}) })
	if err != nil {
		return Unit{}, s.db.Explain(`install unit "`+man.ID+`"`, err)
	}
	s.remember(u)
	return s.Unit(man.ID)
}

// keepUnit writes a revision and its state with the event that tells it. An empty text is that of a revision that is known.
func (s *Store) keepUnit(tx *sql.Tx, u *unit, src string, how How) error {
	_, err := tx.Exec(`INSERT INTO logic_unit (id, digest, body, origin, state, at_ms, actor) VALUES (?,?,?,?,?,?,?)
		ON CONFLICT DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms, actor = excluded.actor, origin = excluded.origin`,
		u.man.ID, u.digest, src, u.origin, u.state, u.at.UnixMilli(), u.actor)
	if err != nil {
		return err
	}
	if err := s.showUnit(tx, view.Cause{Actor: how.By, Corr: how.Corr}, u); err != nil {
		return err
	}
	_, err = s.journal.AppendTx(tx, journal.Event{Kind: "logic.unit." + u.state, Actor: how.By, Corr: how.Corr, Body: map[string]any{
		"id": u.man.ID, "version": u.man.Version, "digest": u.digest, "origin": u.origin,
	}})
	return err
}

// remember makes a revision the newest. The caller has the turn.
func (s *Store) remember(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units[u.man.ID] = append(slices.DeleteFunc(s.units[u.man.ID], func(old *unit) bool { return old.digest == u.digest }), u)
}

// circle follows what a unit requires back to itself.
func (s *Store) circle(man *manifests.LogicUnit) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var walk func(id string, way []string) string
	walk = func(id string, way []string) string {
		requires := man.Requires
		if id != man.ID {
			u := newest(s.units[id])
			if u == nil || slices.Contains(way, id) {
				return ""
			}
			requires = u.man.Requires
		}
		for _, next := range requires {
			if next == man.ID {
				return strings.Join(append(way, id, next), " → ")
			}
			if found := walk(next, append(slices.Clone(way), id)); found != "" {
				return found
			}
		}
		return ""
	}
	return walk(man.ID, nil)
}

func newest(revisions []*unit) *unit {
	if len(revisions) == 0 {
		return nil
	}
	return revisions[len(revisions)-1]
}

// find is a revision: the newest, or the one with the digest.
func (s *Store) find(id, digest string) (*unit, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	revisions := s.units[id]
	if i := slices.IndexFunc(revisions, func(u *unit) bool { return u.digest == digest }); i >= 0 {
		return revisions[i], nil
	}
	if u := newest(revisions); u != nil && digest == "" {
		return u, nil
	}
	if digest != "" {
		id += "@" + digest
	}
	return nil, abi.Errorf(abi.NotFound, "find unit %q: it is not installed", id).WithHint("arw unit list; arw unit install FILE")
}

// Unit is what is known of one unit, with its manifest. NotFound.
func (s *Store) Unit(id string) (Unit, error) {
	u, err := s.find(id, "")
	if err != nil {
		return Unit{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	info := s.describe(u, len(s.units[id]), s.layers)
	info.Manifest = u.man
	return info, nil
}

// Units are all that are known, by id.
func (s *Store) Units() []Unit {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []Unit{}
	for _, revisions := range s.units {
		list = append(list, s.describe(newest(revisions), len(revisions), s.layers))
	}
	slices.SortFunc(list, func(a, b Unit) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (s *Store) describe(u *unit, revisions int, layers []*layer) Unit {
	info := Unit{
		ID: u.man.ID, Title: u.man.Title, Version: u.man.Version, Category: u.man.Category, Digest: u.digest, State: u.state,
		Origin: u.origin, Revision: revisions, Active: []Binding{},
	}
	for _, l := range layers {
		if l.unit == u.man.ID {
			info.Active = append(info.Active, Binding{l.scope, l.stage, l.digest, l.params, l.at, l.actor})
		}
	}
	return info
}

// TestReport is what became of a unit's own tests.
type TestReport struct {
	Unit    string       `json:"unit"`
	Results []TestResult `json:"results"`
}

// TestResult is one of them. Got is the document the unit made, where it made one.
type TestResult struct {
	Title   string        `json:"title"`
	Problem string        `json:"problem,omitempty"` // "": it passed
	Changes []tree.Change `json:"changes,omitempty"` // from what the test wants to what there was
}

// OK reports whether all passed.
func (r TestReport) OK() bool { return r.first() == "" }

func (r TestReport) first() string {
	for _, t := range r.Results {
		if t.Problem != "" {
			return fmt.Sprintf("test %q: %s", t.Title, t.Problem)
		}
	}
	return ""
}

// Test runs a unit's own tests, and one more that every unit must pass: with its default parameters its patches apply to
// the defaults of their documents and what they make fits the schemas. Nothing is changed.
func (s *Store) Test(ctx context.Context, man *manifests.LogicUnit) TestReport {
	report := TestReport{Unit: man.ID}
	defaults := TestResult{Title: "applies to the defaults"}
	if patches, _, err := s.patchesOf(ctx, man, nil, s.seen(nil, man.ID, Workspace)); err != nil {
		defaults.Problem = err.Error()
	} else {
		for _, target := range targetsOf(patches) {
			if _, err := s.tryOn(target, nil, man, patches); err != nil {
				defaults.Problem = err.Error()
				break
			}
		}
	}
	for _, g := range man.Guards {
		if _, err := measure.New(g.Metric, g.Of, nil); err != nil && defaults.Problem == "" {
			defaults.Problem = err.Error() + "; " + abi.HintOf(err)
		}
	}
	report.Results = append(report.Results, defaults)
	for _, test := range man.Tests {
		report.Results = append(report.Results, s.testOne(ctx, man, test))
	}
	return report
}

func (s *Store) testOne(ctx context.Context, man *manifests.LogicUnit, test manifests.UnitTest) TestResult {
	r := TestResult{Title: test.Title}
	see := s.seen(nil, man.ID, Workspace)
	if test.Before != nil {
		usual := see
		see = func(target string) (json.RawMessage, error) {
			if target == test.Target {
				return canonical(test.Before)
			}
			return usual(target)
		}
	}
	patches, _, err := s.patchesOf(ctx, man, test.Parameters, see)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	doc, err := s.tryOn(test.Target, test.Before, man, patches)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	got, err := tree.Parse(doc.Body)
	if err == nil {
		if r.Changes = tree.Diff(test.After, got); len(r.Changes) > 0 {
			r.Problem = fmt.Sprintf("%d values differ from what it expects, the first at %q", len(r.Changes), r.Changes[0].Path)
		}
	}
	return r
}

// tryOn makes a document of a given start, or of the default, with one unit's patches alone.
func (s *Store) tryOn(target string, before any, man *manifests.LogicUnit, patches []patch) (Doc, error) {
	t, err := s.target(target)
	if err != nil {
		return Doc{}, err
	}
	if before != nil {
		start := *t
		start.root = before
		t = &start
	}
	return fold(t, []*layer{(&layer{unit: man.ID, version: man.Version, patches: patches, share: 100}).index()}, chain())
}

// resolve puts parameters into a unit's patches. Values are canonical, so that the documents they make are too.
func resolve(man *manifests.LogicUnit, params map[string]json.RawMessage) ([]patch, error) {
	resolved, err := man.Resolve(params)
	if err != nil {
		return nil, err
	}
	patches := make([]patch, len(resolved))
	for i, p := range resolved {
		patches[i] = patch(p)
	}
	return patches, nil
}

// targetsOf are the documents that patches change, each once, in the order of their first patch.
func targetsOf(patches []patch) []string {
	var out []string
	for _, p := range patches {
		if !slices.Contains(out, p.Target) {
			out = append(out, p.Target)
		}
	}
	return out
}
