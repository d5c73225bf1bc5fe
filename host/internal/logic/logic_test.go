package logic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/manifests"
)

var how = How{By: "operator", Corr: "c1"}

func open(t testing.TB, dir string, gate Gate) *Store {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema}, {Owner: "logic", Steps: Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), d, j, view.Open(d, j), Parts{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// text makes a unit.toml.
func text(id string, priority int, more, patches string) string {
	return fmt.Sprintf("id = %q\ntitle = \"A unit\"\nversion = \"0.1.0\"\ncategory = \"retrieval\"\ndescription = \"Changes things.\"\npriority = %d\n%s\n%s\n", id, priority, more, patches)
}

func merge(target, value string) string {
	return fmt.Sprintf("[[patches]]\ntarget = %q\nvalue = '%s'\n", target, value)
}

func install(t testing.TB, s *Store, src string) {
	t.Helper()
	if _, err := s.Install(t.Context(), []byte(src), Installed, "test.toml", "operator", "c0"); err != nil {
		t.Fatal(err)
	}
}

func apply(t testing.TB, s *Store, scope Scope, ids ...string) Plan {
	t.Helper()
	var uses []Use
	for _, id := range ids {
		uses = append(uses, Use{Unit: id})
	}
	p, err := s.Apply(t.Context(), scope, uses, how)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func body(t testing.TB, s *Store, target string, scopes ...Scope) string {
	t.Helper()
	d, err := s.Get(target, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return string(d.Body)
}

func wantErr(t *testing.T, err error, code abi.Code, words ...string) {
	t.Helper()
	if abi.CodeOf(err) != code {
		t.Fatalf("the error is %v with code %v, want %v", err, abi.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func TestAUnitChangesWhatItSaysInItsScopeAlone(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("mmr", 50, "[parameters.share]\ntype = \"number\"\ndescription = \"x\"\ndefault = 0.5\nmaximum = 1", merge("recipes/retrieval", `{"ranking":"rrf","diversity":"${share}"}`)))
	before := body(t, s, "recipes/retrieval", "project/a")
	p, err := s.Apply(t.Context(), "project/a", []Use{{Unit: "mmr", Params: map[string]json.RawMessage{"share": json.RawMessage("0.25")}}}, how)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Docs) != 1 || len(p.Docs[0].Changes) != 2 || !p.Done || p.Version != 1 {
		t.Fatalf("the plan is %+v", p)
	}
	got := p.Docs[0].Changes[0]
	if got.Path != "/diversity" || got.Before != json.Number("0") || got.After != json.Number("0.25") || got.From.String() != "default" || got.To.String() != "mmr 0.1.0" {
		t.Errorf("the first change is %+v", got)
	}
	if a := body(t, s, "recipes/retrieval", "project/a"); !strings.Contains(a, `"diversity":0.25`) {
		t.Errorf("project a sees %s", a)
	}
	for _, other := range []Scope{Workspace, "project/b"} {
		if b := body(t, s, "recipes/retrieval", other); b != before {
			t.Errorf("%s sees %s", other, b)
		}
	}
	if _, err := s.Revert(t.Context(), "mmr", "project/a", how); err != nil {
		t.Fatal(err)
	}
	if a := body(t, s, "recipes/retrieval", "project/a"); a != before {
		t.Errorf("after the revert project a sees %s", a)
	}
}

func TestScopesBuildOnEachOther(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	for i, scope := range []Scope{Workspace, "project/p", "agent/a"} {
		id := fmt.Sprintf("u%d", i)
		install(t, s, text(id, 50, "", merge("policies/budget", fmt.Sprintf(`{"tokens_soft":%d}`, i+1))))
		apply(t, s, scope, id)
	}
	for want, scopes := range map[string][]Scope{`"tokens_soft":1`: nil, `"tokens_soft":2`: {"project/p"}, `"tokens_soft":3`: {"project/p", "agent/a"}} {
		if got := body(t, s, "policies/budget", scopes...); !strings.Contains(got, want) {
			t.Errorf("%v sees %s, want %s", scopes, got, want)
		}
	}
}

func TestWhatDoesNotGoTogetherIsRefusedAndNamed(t *testing.T) {
	t.Parallel()
	k := func(id string, priority int, more string) string {
		return text(id, priority, more, merge("recipes/retrieval", `{"k":20}`))
	}
	cases := []struct {
		name  string
		units []string
		hand  string
		apply []string
		kind  string
		says  string
	}{
		{"one place", []string{k("a", 50, ""), k("b", 50, "")}, "", []string{"a", "b"}, "place", "/k"},
		{"one slot", []string{text("a", 50, `slots = ["rank"]`, merge("recipes/retrieval", `{"k":20}`)), text("b", 50, `slots = ["rank"]`, merge("recipes/sampling", `{"samples":2}`))}, "", []string{"a", "b"}, "slot", `"rank"`},
		{"declared", []string{k("a", 50, ""), text("b", 50, "[compat]\nconflicts = [\"a\"]", merge("recipes/sampling", `{"samples":2}`))}, "", []string{"a", "b"}, "declared", "manifest"},
		{"required", []string{k("a", 50, "[compat]\nrequires = [\"b\"]"), k("b", 40, "")}, "", []string{"a"}, "requires", "b"},
		{"by hand", []string{k("a", 50, "")}, `{"k":9}`, []string{"a"}, "hand", "by hand"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), nil)
			for _, src := range c.units {
				install(t, s, src)
			}
			if c.hand != "" {
				v, _ := tree.Parse([]byte(c.hand))
				if _, err := s.Edit(t.Context(), Workspace, "recipes/retrieval", "merge", v, how); err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range c.apply[:len(c.apply)-1] {
				apply(t, s, Workspace, id)
			}
			was, version := body(t, s, "recipes/retrieval"), s.Version()
			plan, err := s.Apply(t.Context(), Workspace, []Use{{Unit: c.apply[len(c.apply)-1]}}, how)
			wantErr(t, err, abi.Conflict, c.says)
			if len(plan.Conflicts) != 1 || plan.Conflicts[0].Kind != c.kind {
				t.Errorf("the conflicts are %+v", plan.Conflicts)
			}
			if s.Version() != version || body(t, s, "recipes/retrieval") != was {
				t.Error("a refused plan changed something")
			}
		})
	}
}

func TestPriorityOrdersUnitsOfOnePlace(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("high", 60, "", merge("recipes/retrieval", `{"k":60}`)))
	install(t, s, text("low", 40, "", merge("recipes/retrieval", `{"k":40}`)))
	apply(t, s, Workspace, "high")
	p := apply(t, s, Workspace, "low")
	if len(p.Notes) != 1 || len(p.Docs) != 0 {
		t.Errorf("the plan is %+v", p)
	}
	if got := body(t, s, "recipes/retrieval"); !strings.Contains(got, `"k":60`) {
		t.Errorf("the lower one won: %s", got)
	}
	if _, err := s.Revert(t.Context(), "high", Workspace, how); err != nil {
		t.Fatal(err)
	}
	if got := body(t, s, "recipes/retrieval"); !strings.Contains(got, `"k":40`) {
		t.Errorf("the lower one does not show: %s", got)
	}
}

func TestHandEditsStayOverUnits(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20,"diversity":0.5}`)))
	apply(t, s, Workspace, "u")
	if _, err := s.Edit(t.Context(), Workspace, "recipes/retrieval", "jsonpatch", []any{map[string]any{"op": "replace", "path": "/k", "value": json.Number("9")}}, how); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revert(t.Context(), "u", Workspace, how); err != nil {
		t.Fatal(err)
	}
	doc, err := s.Get("recipes/retrieval")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(doc.Body); !strings.Contains(got, `"k":9`) || !strings.Contains(got, `"diversity":0,`) {
		t.Errorf("after the revert: %s", got)
	}
	if o := doc.originOf("/k"); o.String() != "by hand (operator)" {
		t.Errorf("k is due to %s", o)
	}
	p, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "u"}}, How{KeepHand: true, By: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, s, "recipes/retrieval"); !strings.Contains(got, `"k":9`) || !strings.Contains(got, `"diversity":0.5`) || len(p.Docs[0].Changes) != 1 {
		t.Errorf("beneath the hand edit: %s, %+v", got, p.Docs)
	}
	if _, err := s.Unedit(t.Context(), Workspace, "recipes/retrieval", how); err != nil {
		t.Fatal(err)
	}
	if got := body(t, s, "recipes/retrieval"); !strings.Contains(got, `"k":20`) {
		t.Errorf("without the hand edit: %s", got)
	}
}

func TestARevertThatWouldBreakALaterChangeIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("maker", 40, "", merge("context/assembly", `{"slots":{"notes":3}}`)))
	install(t, s, text("user", 60, "", merge("context/assembly", `{"tokens":5}`)))
	apply(t, s, Workspace, "maker", "user")
	if _, err := s.Edit(t.Context(), "project/p", "context/assembly", "jsonpatch", []any{map[string]any{"op": "replace", "path": "/slots/notes", "value": json.Number("7")}}, how); err != nil {
		t.Fatal(err)
	}
	_, err := s.Revert(t.Context(), "maker", Workspace, how)
	wantErr(t, err, abi.Conflict, "by hand (operator)", `"notes"`)
	if got := body(t, s, "context/assembly", "project/p"); !strings.Contains(got, `"notes":7`) {
		t.Errorf("the refused revert changed %s", got)
	}
}

func TestBadUnitsAreNotInstalled(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("b", 50, "[compat]\nrequires = [\"a\"]", merge("recipes/retrieval", `{"k":20}`)))
	cases := []struct{ name, src, says string }{
		{"a document there is not", text("x", 50, "", merge("recipes/retrieva", `{"k":20}`)), `"recipes/retrieva"`},
		{"a value that does not fit", text("x", 50, "", merge("recipes/retrieval", `{"k":"many"}`)), "/k"},
		{"a place there is not", text("x", 50, "", "[[patches]]\ntarget = \"recipes/retrieval\"\nop = \"jsonpatch\"\nvalue = [{ op = \"replace\", path = \"/none\", value = 1 }]"), `"/none"`},
		{"a circle", text("a", 50, "[compat]\nrequires = [\"b\"]", merge("recipes/retrieval", `{"k":20}`)), "a → b → a"},
		{"a test that fails", text("x", 50, "", merge("recipes/retrieval", `{"k":20}`)+"[[tests]]\ntitle = \"mine\"\ntarget = \"recipes/retrieval\"\nafter = { k = 21 }\nbefore = '{\"k\":1,\"ranking\":\"bm25\",\"diversity\":0}'"), `"mine"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Install(t.Context(), []byte(c.src), Installed, "x.toml", "operator", "")
			wantErr(t, err, abi.Invalid, c.says)
			if _, err := s.Unit("x"); abi.CodeOf(err) != abi.NotFound {
				t.Errorf("it is there: %v", err)
			}
		})
	}
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	refusal := errors.New("")
	s := open(t, t.TempDir(), func(_ context.Context, u *manifests.LogicUnit, _ Scope, by string) (int, error) {
		if by != "operator" {
			refusal = abi.Errorf(abi.Denied, "promote unit %q: only the operator may", u.ID)
			return 0, refusal
		}
		return 0, nil
	})
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20}`)))
	_, err := s.Promote(t.Context(), "u", "project/p", how)
	wantErr(t, err, abi.NotFound, "not active")
	apply(t, s, "project/p", "u")
	_, err = s.Promote(t.Context(), "u", "project/p", How{By: "pack:acme/x"})
	wantErr(t, err, abi.Denied, "operator")
	if _, err := s.Promote(t.Context(), "u", "project/p", how); err != nil {
		t.Fatal(err)
	}
	u, err := s.Unit("u")
	if err != nil || len(u.Active) != 1 || u.Active[0].Scope != Workspace || u.Active[0].Stage != Promoted {
		t.Errorf("the unit is %+v, %v", u, err)
	}
	if got := body(t, s, "recipes/retrieval", "project/q"); !strings.Contains(got, `"k":20`) {
		t.Errorf("another project sees %s", got)
	}
}

func TestStaleCallersAreTold(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20}`)))
	seen := s.Version()
	apply(t, s, "project/p", "u")
	_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "u"}}, How{By: "operator", If: &seen})
	wantErr(t, err, abi.Conflict, "version 1, not 0")
}

// TestAnyOrder is the promise of the package, with random units, hand edits and reverts in random order: what a plan
// shows is what happens; every version can be seen again; taking all units away leaves what hands alone have made.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	histories := uint64(40)
	if testing.Short() { // as under the race detector
		histories = 4
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWalk(t, seed)
			for range 40 {
				w.step()
			}
			w.reopen()
			w.takeAllAway()
		})
	}
}

// walk is a random history beside what it must have led to.
type walk struct {
	t     *testing.T
	dir   string
	rnd   *rand.Rand
	s     *Store
	ids   []string
	past  []map[string]string // by version: every document in every scope
	hands map[Scope][]patch
}

var walkScopes = []Scope{Workspace, "project/p", "project/q", "agent/a"}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewPCG(seed, 1)), hands: map[Scope][]patch{}}
	w.s = open(t, w.dir, nil)
	for i := range 12 {
		id := fmt.Sprintf("u%d", i)
		var patches string
		for range 1 + w.rnd.IntN(3) {
			target, value := w.value()
			patches += merge(target, value)
		}
		install(t, w.s, text(id, w.rnd.IntN(100), "", patches))
		w.ids = append(w.ids, id)
	}
	w.past = append(w.past, w.all())
	return w
}

func (w *walk) value() (target, value string) {
	switch w.rnd.IntN(4) {
	case 0:
		return "recipes/retrieval", fmt.Sprintf(`{"k":%d,"sources":["s%d"]}`, 1+w.rnd.IntN(50), w.rnd.IntN(5))
	case 1:
		return "context/assembly", fmt.Sprintf(`{"slots":{"n%d":%d}}`, w.rnd.IntN(6), w.rnd.IntN(9))
	case 2:
		return "memory/hygiene", fmt.Sprintf(`{"keep_days":%d}`, w.rnd.IntN(90))
	}
	return "policies/budget", fmt.Sprintf(`{"cost_usd":%d.5,"tokens_hard":null}`, w.rnd.IntN(9))
}

func (w *walk) all() map[string]string {
	out := map[string]string{}
	for _, target := range w.s.Targets() {
		for _, scope := range walkScopes {
			out[string(scope)+"|"+target.Name] = body(w.t, w.s, target.Name, scope)
		}
	}
	return out
}

func (w *walk) step() {
	scope := walkScopes[w.rnd.IntN(len(walkScopes))]
	id := w.ids[w.rnd.IntN(len(w.ids))]
	var do func(How) (Plan, error)
	switch w.rnd.IntN(7) {
	case 0, 1, 2:
		do = func(h How) (Plan, error) {
			h.KeepHand = true
			return w.s.Apply(w.t.Context(), scope, []Use{{Unit: id}}, h)
		}
	case 3, 4:
		do = func(h How) (Plan, error) { return w.s.Revert(w.t.Context(), id, scope, h) }
	case 5:
		target, value := w.value()
		v, _ := tree.Parse([]byte(value))
		do = func(h How) (Plan, error) { return w.s.Edit(w.t.Context(), scope, target, "merge", v, h) }
		w.hands[scope] = append(w.hands[scope], patch{target, "merge", v})
	case 6:
		version := w.rnd.Int64N(w.s.Version() + 1)
		w.goBack(version)
		return
	}
	w.check(do)
}

// check does something twice, dry and wet, and holds both to each other and to the documents.
func (w *walk) check(do func(How) (Plan, error)) {
	before := w.all()
	dry, dryErr := do(How{DryRun: true, Accept: true, By: "operator"})
	if got := w.all(); fmt.Sprint(got) != fmt.Sprint(before) {
		w.t.Fatal("a dry run changed something")
	}
	wet, err := do(How{Accept: true, By: "operator"})
	after := w.all()
	if (err == nil) != (dryErr == nil && len(dry.Conflicts) == 0) {
		w.t.Fatalf("dry: %v %+v; wet: %v", dryErr, dry.Conflicts, err)
	}
	if err != nil {
		if fmt.Sprint(after) != fmt.Sprint(before) {
			w.t.Fatalf("a refusal changed something: %v", err)
		}
		return
	}
	w.past = append(w.past, after)
	shown, _ := json.Marshal(dry.Docs)
	done, _ := json.Marshal(wet.Docs)
	if !sameDocs(dry.Docs, wet.Docs) {
		w.t.Fatalf("shown:\n%s\ndone:\n%s", shown, done)
	}
	for _, d := range wet.Docs {
		key := string(d.Scope) + "|" + d.Target
		root, _ := tree.Parse([]byte(before[key]))
		raw, _ := json.Marshal(d.Patch)
		patch, _ := tree.Parse(raw)
		ops, err := tree.Ops(patch)
		if err != nil {
			w.t.Fatal(err)
		}
		root, err = tree.Apply(root, ops)
		if err != nil {
			w.t.Fatal(err)
		}
		if got, _ := canonical(root); string(got) != after[key] || digest(got) != d.After {
			w.t.Fatalf("the patch of %s leads to %s, the document is %s", key, got, after[key])
		}
		before[key] = after[key]
	}
	for _, target := range w.s.Targets() { // who has no layers of a document sees the workspace's
		for _, scope := range walkScopes {
			own := func(l *layer) bool {
				return l.scope == scope && slices.ContainsFunc(l.patches, func(p patch) bool { return p.Target == target.Name })
			}
			if !slices.ContainsFunc(w.s.layers, own) && !slices.ContainsFunc(wet.Docs, func(d DocChange) bool { return d.Scope == scope && d.Target == target.Name }) {
				before[string(scope)+"|"+target.Name] = before["|"+target.Name]
			}
		}
	}
	if fmt.Sprint(before) != fmt.Sprint(after) {
		w.t.Fatal("something changed that the plan does not show")
	}
}

// sameDocs compares plans but for the times of their origins: a dry run is a moment earlier.
func sameDocs(a, b []DocChange) bool {
	return slices.EqualFunc(a, b, func(a, b DocChange) bool {
		return a.Target == b.Target && a.Scope == b.Scope && a.Before == b.Before && a.After == b.After &&
			slices.EqualFunc(a.Changes, b.Changes, func(a, b ValueChange) bool {
				return a.Path == b.Path && a.Op == b.Op && tree.Equal(a.Before, b.Before) && tree.Equal(a.After, b.After) && a.From.String() == b.From.String() && a.To.String() == b.To.String()
			})
	})
}

func (w *walk) goBack(version int64) {
	if _, err := w.s.RevertTo(w.t.Context(), version, How{By: "operator", Accept: true}); err != nil {
		w.t.Fatal(err)
	}
	got := w.all()
	if fmt.Sprint(got) != fmt.Sprint(w.past[version]) {
		w.t.Fatalf("version %d was\n%v\nand came back as\n%v", version, w.past[version], got)
	}
	w.past = append(w.past, got)
}

func (w *walk) reopen() {
	want := w.all()
	if err := w.s.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.s = open(w.t, w.dir, nil)
	if got := w.all(); fmt.Sprint(got) != fmt.Sprint(want) || w.s.Version() != int64(len(w.past)-1) {
		w.t.Fatalf("reopened at version %d:\n%v\nwant\n%v", w.s.Version(), got, want)
	}
	for version, docs := range w.past {
		for _, scope := range walkScopes {
			doc, err := w.s.At(w.t.Context(), int64(version), "recipes/retrieval", scope)
			if err != nil || string(doc.Body) != docs[string(scope)+"|recipes/retrieval"] {
				w.t.Fatalf("version %d in %s: %s, %v", version, scope, doc.Body, err)
			}
		}
	}
}

// takeAllAway reverts every unit in random order; what stays is what hands alone would have made of the defaults.
func (w *walk) takeAllAway() {
	for _, scope := range walkScopes {
		for _, i := range w.rnd.Perm(len(w.ids)) {
			if w.s.active(w.ids[i], scope) != nil {
				w.check(func(h How) (Plan, error) { return w.s.Revert(w.t.Context(), w.ids[i], scope, h) })
			}
		}
	}
	var hands []*layer
	for _, l := range w.s.layers {
		if l.unit != "" {
			w.t.Fatalf("%s is still active", l.unit)
		}
		hands = append(hands, l)
	}
	for key, got := range w.all() {
		scope, target, _ := strings.Cut(key, "|")
		want, err := fold(w.s.targets[target], hands, chain(Scope(scope)))
		if err != nil || string(want.Body) != got {
			w.t.Errorf("%s is %s, by hand alone it would be %s (%v)", key, got, want.Body, err)
		}
		if len(hands) == 0 && got != w.past[0][key] {
			w.t.Errorf("%s is %s and was %s", key, got, w.past[0][key])
		}
	}
}

func TestChangesTakeTurns(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	const n = 16
	for i := range n {
		install(t, s, text(fmt.Sprintf("u%d", i), 50, "", merge("context/assembly", fmt.Sprintf(`{"slots":{"n%d":1}}`, i))))
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := s.Apply(t.Context(), Workspace, []Use{{Unit: fmt.Sprintf("u%d", i)}}, how); err != nil {
				t.Error(err)
			}
			_ = body(t, s, "context/assembly")
		})
	}
	wg.Wait()
	if got := body(t, s, "context/assembly"); strings.Count(got, `"n`) != n || s.Version() != n {
		t.Errorf("version %d: %s", s.Version(), got)
	}
}
