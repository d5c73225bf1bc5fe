package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/view"
)

// chancy is a tool that is right with a probability that a document names: ranking "rrf" has the second, others the first.
type chancy struct {
	right  [2]float64
	calls  int
	refuse error
	seen   []string
	fail   bool
}

func (c *chancy) May(string) error { return c.refuse }

func (c *chancy) Call(_ context.Context, _, _, _ string, input json.RawMessage, docs map[string][]byte) (Answer, error) {
	c.calls++
	which := 0
	if strings.Contains(string(docs["recipes/retrieval"]), `"rrf"`) {
		which = 1
	}
	c.seen = append(c.seen, string(input))
	if c.fail && which == 1 {
		return Answer{Code: "tool_failed", Gas: 1}, nil
	}
	var in struct{ N, Seed uint64 }
	if err := json.Unmarshal(input, &in); err != nil {
		return Answer{}, err
	}
	// One draw for an item and seed, the same for both variants: the items are paired.
	draw := rand.New(rand.NewPCG(in.N, in.Seed)).Float64()
	said := "no"
	if draw < c.right[which] {
		said = "yes"
	}
	return Answer{Body: fmt.Appendf(nil, `{"answer":%q}`, said), Code: "ok", MS: float64(1 + which), Gas: uint64(10 + 10*which)}, nil
}

func openBook(t *testing.T, dir string, r Runner) *Book {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema},
		{Owner: "logic", Steps: logic.Schema}, {Owner: "experiment", Steps: Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	v := view.Open(d, j)
	noModel := func(name string) error { return abi.Errorf(abi.Unavailable, "no model %q is configured", name) }
	l, err := logic.Open(t.Context(), d, j, v, logic.Parts{Model: func(name string, _ int64) error { return noModel(name) }})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := cas.Open(filepath.Join(dir, "cas"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	b, err := Open(t.Context(), Parts{DB: d, Journal: j, View: v, CAS: blobs, Logic: l, Runner: r, Model: noModel})
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{
		"id = \"rrf\"\ntitle = \"U\"\nversion = \"1.0.0\"\ncategory = \"retrieval\"\ndescription = \"x\"\n[[patches]]\ntarget = \"recipes/retrieval\"\nvalue = { ranking = \"rrf\" }\n",
		"id = \"vote\"\ntitle = \"U\"\nversion = \"1.0.0\"\ncategory = \"sampling\"\ndescription = \"x\"\n[compat]\nmodels = [\"chat\"]\n[[patches]]\ntarget = \"recipes/sampling\"\nvalue = { samples = 5 }\n",
	} {
		if _, err := l.Install(t.Context(), []byte(src), logic.Installed, "test", "operator", ""); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// definition compares going without with the unit rrf, on n items.
func definition(n int) Definition {
	d := Definition{
		ID: "yes-or-no", Title: "T", Tool: "tool", Primary: "contains", Metrics: []string{"contains", "gas", "latency_ms", "success"},
		Variants: []Variant{{Name: "plain"}, {Name: "rrf", Units: []logic.Use{{Unit: "rrf"}}}},
	}
	for i := range n {
		d.Items = append(d.Items, Item{ID: fmt.Sprint(i), Input: fmt.Appendf(nil, `{"n":%d}`, i), Says: "yes"})
	}
	return d
}

func TestAWinnerIsNamedOnlyWhereChanceIsNoExplanation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		right  [2]float64
		items  int
		winner string
		why    string
	}{
		{"far apart", [2]float64{0.6, 0.8}, 120, "rrf", "better than plain"},
		{"the other way", [2]float64{0.8, 0.6}, 120, "plain", "every other variant is worse"},
		{"near each other", [2]float64{0.70, 0.72}, 30, "", "no clear winner by contains; plain costs least by gas"},
		{"the same", [2]float64{0.7, 0.7}, 60, "", "no clear winner"},
		{"too few", [2]float64{0, 1}, 29, "", "too few pairs: 29 items were done, 30 are needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &chancy{right: c.right}
			b := openBook(t, t.TempDir(), r)
			before := b.Logic.Version()
			s, err := b.Run(t.Context(), definition(c.items), "operator", "corr")
			if err != nil {
				t.Fatal(err)
			}
			if s.Winner != c.winner || !strings.Contains(s.Why, c.why) || s.Status != Completed {
				t.Errorf("winner %q, %s; want %q, %s", s.Winner, s.Why, c.winner, c.why)
			}
			if r.calls != 2*c.items || b.Logic.Version() != before {
				t.Errorf("%d calls for %d items; the configuration went from version %d to %d", r.calls, c.items, before, b.Logic.Version())
			}
			got := s.Metrics["contains"]["rrf"]
			if got.Low > got.Diff || got.Diff > got.High || math.Abs(got.Mean-s.Metrics["contains"]["plain"].Mean-got.Diff) > 1e-9 {
				t.Errorf("the difference is %+v", got)
			}
			again, err := b.Run(t.Context(), definition(c.items), "operator", "corr")
			if err != nil || again.Metrics["contains"]["rrf"] != got {
				t.Errorf("the same calls give %+v, then %+v (%v)", got, again.Metrics["contains"]["rrf"], err)
			}
		})
	}
}

func TestWhatAnExperimentLeaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBook(t, dir, &chancy{right: [2]float64{0.5, 0.9}})
	s, err := b.Run(t.Context(), definition(60), "operator", "corr")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.CAS.Get(s.CSV)
	if err != nil || !strings.HasPrefix(string(raw), "item,seed,variant,code,contains,gas,latency_ms,success\n0,0,plain,ok,") || strings.Count(string(raw), "\n") != 121 {
		t.Errorf("the calls are %.200s, %v", raw, err)
	}
	var report Summary
	if raw, err = b.CAS.Get(s.Report); err != nil || json.Unmarshal(raw, &report) != nil || report.Winner != "rrf" || report.CSV != s.CSV {
		t.Errorf("the report is %s, %v", raw, err)
	}
	if !b.Keeps(s.CSV) || !b.Keeps(s.Report) || !b.Keeps(s.Definition) {
		t.Error("a sweep would take its reports away")
	}
	page, err := b.Journal.Read(t.Context(), 0, 0, journal.Filter{Prefixes: []string{"experiment."}})
	if err != nil || len(page) != 2 || page[1].Kind != "experiment.completed" || page[1].Corr != "corr" {
		t.Errorf("the journal has %+v, %v", page, err)
	}
	u, err := b.Logic.Unit("rrf")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Verdict(t.Context(), "rrf", u.Digest, map[string]json.RawMessage{}, "contains"); got != Better || err != nil {
		t.Errorf("the verdict is %q, %v", got, err)
	}
	if got, _ := b.Verdict(t.Context(), "rrf", "sha256:other", map[string]json.RawMessage{}, "contains"); got == Better {
		t.Error("another revision is better by it too")
	}
	if got, _ := b.Verdict(t.Context(), "rrf", u.Digest, map[string]json.RawMessage{"k": json.RawMessage("1")}, "contains"); got == Better {
		t.Error("other parameters are better by it too")
	}
}

func TestRefusedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	change := func(f func(*Definition)) Definition { d := definition(40); f(&d); return d }
	for name, c := range map[string]struct {
		d    Definition
		code abi.Code
		says string
	}{
		"a missing model":             {change(func(d *Definition) { d.Models = []string{"chat"} }), abi.Unavailable, `no model "chat"`},
		"a model that a unit needs":   {change(func(d *Definition) { d.Variants[1].Units[0].Unit = "vote" }), abi.Unavailable, `no model "chat"`},
		"a unit there is not":         {change(func(d *Definition) { d.Variants[1].Units[0].Unit = "none" }), abi.NotFound, `"none"`},
		"one variant":                 {change(func(d *Definition) { d.Variants = d.Variants[:1] }), abi.Invalid, "2 to 8"},
		"two of one name":             {change(func(d *Definition) { d.Variants[1].Name = "plain" }), abi.Invalid, `"plain"`},
		"an unknown metric":           {change(func(d *Definition) { d.Metrics = append(d.Metrics, "joy") }), abi.Invalid, `"joy"`},
		"a rank where there is none":  {change(func(d *Definition) { d.Metrics = append(d.Metrics, "ndcg@10") }), abi.Invalid, "rank"},
		"a primary that is not there": {change(func(d *Definition) { d.Primary = "exact" }), abi.Invalid, `"exact"`},
		"seeds that change nothing":   {change(func(d *Definition) { d.Seeds = []int64{1, 2} }), abi.Invalid, "seed_field"},
		"no items":                    {change(func(d *Definition) { d.Items = nil }), abi.Invalid, "items"},
		"too few to decide":           {change(func(d *Definition) { d.MinItems = 2 }), abi.Invalid, "min_items is 2"},
		"a bad id":                    {change(func(d *Definition) { d.ID = "A b" }), abi.Invalid, "id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &chancy{}
			b := openBook(t, t.TempDir(), r)
			_, err := b.Run(t.Context(), c.d, "operator", "")
			if abi.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v that says %q", err, c.code, c.says)
			}
			if list, _ := b.List(t.Context(), 10); r.calls != 0 || len(list) != 0 {
				t.Errorf("%d calls, %d runs", r.calls, len(list))
			}
		})
	}
}

func TestBudgetsEndItAndSaySo(t *testing.T) {
	t.Parallel()
	b := openBook(t, t.TempDir(), &chancy{right: [2]float64{0, 1}})
	d := definition(60)
	d.Budget.Calls = 41
	s, err := b.Run(t.Context(), d, "operator", "")
	if err != nil || s.Items != 20 || s.Winner != "" || !strings.Contains(s.Why, "the budget of 41 calls is spent") {
		t.Errorf("%+v, %v", s, err)
	}
	d = definition(60)
	d.Budget.Gas = 900 // 30 for both of an item
	if s, err = b.Run(t.Context(), d, "operator", ""); err != nil || s.Items != 30 || s.Spent != "the budget of 900 gas" || s.Winner != "rrf" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSeedsArePairedAndItemsAreDrawnWhole(t *testing.T) {
	t.Parallel()
	r := &chancy{right: [2]float64{0.5, 0.5}}
	b := openBook(t, t.TempDir(), r)
	d := definition(30)
	d.Seeds, d.SeedField = []int64{7, 8, 9}, "seed"
	s, err := b.Run(t.Context(), d, "operator", "")
	if err != nil || r.calls != 180 || s.Items != 30 {
		t.Fatalf("%d calls, %+v, %v", r.calls, s, err)
	}
	for i := 0; i < len(r.seen); i += 2 {
		if r.seen[i] != r.seen[i+1] || !strings.Contains(r.seen[i], `"seed":`) {
			t.Fatalf("one pair is %s and %s", r.seen[i], r.seen[i+1])
		}
	}
	if c := s.Metrics["contains"]["rrf"]; c.Diff != 0 || c.Low != 0 || c.High != 0 {
		t.Errorf("the same draws differ by %+v", c)
	}
}

func TestFailuresCountAsNothing(t *testing.T) {
	t.Parallel()
	b := openBook(t, t.TempDir(), &chancy{right: [2]float64{1, 1}, fail: true})
	s, err := b.Run(t.Context(), definition(40), "operator", "")
	if err != nil || s.Winner != "plain" || s.Metrics["success"]["rrf"].Mean != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestARunThatWasCutOffHasFailed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBook(t, dir, &chancy{})
	d := definition(30)
	if err := d.check(); err != nil {
		t.Fatal(err)
	}
	s, _, err := b.prepare(t.Context(), &d, "operator")
	if err == nil {
		_, err = b.begin(t.Context(), s, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DB.Close(); err != nil {
		t.Fatal(err)
	}
	_ = b.CAS.Close()
	b = openBook(t, dir, &chancy{})
	if s, err := b.Get(t.Context(), 1); err != nil || s.Status != Failed || !strings.Contains(s.Error, "stopped") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestRankings(t *testing.T) {
	t.Parallel()
	r := &Rank{List: "/results", Key: "/path", Text: "/text", Cut: ".md"}
	found := r.read([]byte(`{"results":[{"path":"/x/b.md","text":"one two"},{"path":"/x/a.md","text":"one three"},{"path":"/y/a.md","text":"four"}]}`))
	labels := map[string]float64{"a": 2, "b": 1, "c": 1}
	// gains 1 and 3 at ranks 1 and 2; a second entry for one label counts nothing. Ideal: 3, 1, 1.
	want := (1 + 3/math.Log2(3)) / (3 + 1/math.Log2(3) + 1/math.Log2(4))
	if got := ndcg(found, labels); math.Abs(got-want) > 1e-12 {
		t.Errorf("ndcg is %v, want %v", got, want)
	}
	if got := recall(found, labels); math.Abs(got-2.0/3) > 1e-12 {
		t.Errorf("recall is %v", got)
	}
	if got := diversity(found); math.Abs(got-(2.0/3+1+1)/3) > 1e-12 {
		t.Errorf("diversity is %v", got)
	}
	if got := ndcg(nil, nil) + recall(nil, nil) + diversity(nil); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}
