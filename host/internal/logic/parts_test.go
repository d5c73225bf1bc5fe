package logic

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/manifests"
)

// openWith is open with parts, and with a lease book when they ask for one.
func openWith(t testing.TB, dir string, parts Parts) *Store {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema},
		{Owner: "lease", Steps: lease.Schema}, {Owner: "logic", Steps: Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if parts.Judge != nil {
		if parts.Leases, err = lease.Open(t.Context(), d, j); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), d, j, view.Open(d, j), parts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// tools answers for a pack's tools.
type tools struct {
	pure     func(input []byte) ([]byte, error)
	contract error
	calls    int
	input    []byte
}

func (f *tools) Pure(_ context.Context, _, _ string, input []byte, _ uint64) ([]byte, string, error) {
	f.calls++
	f.input = input
	out, err := f.pure(input)
	return out, "1.0.0 sha256:aa", err
}

func (f *tools) Contract(context.Context, string, string, []string) error { return f.contract }

const transformUnit = `id = "tuned"
title = "Tuned"
version = "1.0.0"
category = "retrieval"
description = "Computes."
kind = "transform"
[transform]
pack = "acme/tuner"
tool = "tune"
documents = ["recipes/retrieval"]
[parameters.by]
type = "integer"
description = "how much"
default = 2
`

// fromRegistry installs a unit that runs code, whose signatures somebody has verified.
func fromRegistry(t testing.TB, s *Store, src string) {
	t.Helper()
	man, err := manifests.ParseUnit("unit.toml", []byte(src))
	if err == nil {
		_, err = s.FromRegistry(t.Context(), []byte(src), "acme/"+man.ID+"@sha256:00", Installed, "operator", "c0")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestATransformComputesFromWhatItIsShown(t *testing.T) {
	t.Parallel()
	f := &tools{pure: func(input []byte) ([]byte, error) {
		var in struct {
			Parameters struct{ By int }
			Documents  map[string]struct{ K int }
		}
		err := json.Unmarshal(input, &in)
		k := in.Documents["recipes/retrieval"].K * in.Parameters.By
		return fmt.Appendf(nil, `{"patches":[{"target":"recipes/retrieval","value":{"k":%d}}]}`, k), err
	}}
	s := openWith(t, t.TempDir(), Parts{Tools: f})
	fromRegistry(t, s, transformUnit)
	before := body(t, s, "recipes/retrieval")
	p := apply(t, s, "project/a", "tuned")
	if got := body(t, s, "recipes/retrieval", "project/a"); !strings.Contains(got, `"k":16`) {
		t.Errorf("8 by 2 is %s", got)
	}
	if c := p.Units[0].Computed; c == nil || c.Pack != "acme/tuner" || c.Input != digest(f.input) {
		t.Errorf("it was computed by %+v", c)
	}
	if f.calls%2 != 0 {
		t.Errorf("%d calls: each computation is done twice", f.calls)
	}
	// It does not feed on itself: applied again it starts from what is there without it.
	apply(t, s, "project/a", "tuned")
	if got := body(t, s, "recipes/retrieval", "project/a"); !strings.Contains(got, `"k":16`) {
		t.Errorf("applied twice it is %s", got)
	}
	if _, err := s.Revert(t.Context(), "tuned", "project/a", how); err != nil {
		t.Fatal(err)
	}
	if got := body(t, s, "recipes/retrieval", "project/a"); got != before {
		t.Errorf("after the revert: %s", got)
	}
}

func TestWhatATransformMayNotAnswer(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, answer string
		err          error
		code         abi.Code
		says         string
	}{
		{"no JSON", `{`, nil, abi.Invalid, "no JSON"},
		{"no patches", `{"patches":{}}`, nil, abi.Invalid, "not a list"},
		{"another document", `{"patches":[{"target":"policies/budget","value":{}}]}`, nil, abi.Invalid, `"policies/budget"`},
		{"the whole document", `{"patches":[{"target":"recipes/retrieval","value":3}]}`, nil, abi.Invalid, "the whole"},
		{"no value", `{"patches":[{"target":"recipes/retrieval"}]}`, nil, abi.Invalid, "item 1"},
		{"an unknown member", `{"patches":[{"target":"recipes/retrieval","value":{},"grant":"fs"}]}`, nil, abi.Invalid, "item 1"},
		{"an unknown operation", `{"patches":[{"target":"recipes/retrieval","op":"set","value":{}}]}`, nil, abi.Invalid, `"set"`},
		{"a bad JSON patch", `{"patches":[{"target":"recipes/retrieval","op":"jsonpatch","value":[{"op":"spam","path":"/k"}]}]}`, nil, abi.Invalid, "RFC 6902"},
		{"a schema violation", `{"patches":[{"target":"recipes/retrieval","value":{"k":"many"}}]}`, nil, abi.Invalid, "/k"},
		{"a missing path", `{"patches":[{"target":"recipes/retrieval","op":"jsonpatch","value":[{"op":"replace","path":"/none","value":1}]}]}`, nil, abi.Conflict, `"/none"`},
		{"no gas", ``, abi.Errorf(abi.GasExhausted, "out of gas"), abi.GasExhausted, "out of gas"},
		{"no pack", ``, abi.Errorf(abi.NotFound, "find pack"), abi.NotFound, "find pack"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			good := true
			s := openWith(t, t.TempDir(), Parts{Tools: &tools{pure: func([]byte) ([]byte, error) {
				if good {
					return []byte(`{"patches":[]}`), nil
				}
				return []byte(c.answer), c.err
			}}})
			fromRegistry(t, s, transformUnit)
			good = false
			_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "tuned"}}, how)
			wantErr(t, err, c.code, c.says)
			if s.Version() != 0 {
				t.Error("it changed something")
			}
		})
	}
}

func TestATransformThatDisagreesWithItselfIsRefused(t *testing.T) {
	t.Parallel()
	n := 0
	s := openWith(t, t.TempDir(), Parts{Tools: &tools{pure: func([]byte) ([]byte, error) {
		n++
		return fmt.Appendf(nil, `{"patches":[{"target":"recipes/retrieval","value":{"k":%d}}]}`, n), nil
	}}})
	_, err := s.FromRegistry(t.Context(), []byte(transformUnit), "acme/tuned@sha256:00", Installed, "operator", "")
	wantErr(t, err, abi.Invalid, "twice, and differently")
}

func TestWhatRunsCodeNeedsASignature(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{Tools: &tools{pure: func([]byte) ([]byte, error) { return []byte(`{"patches":[]}`), nil }}})
	man, err := manifests.ParseUnit("unit.toml", []byte(transformUnit))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Install(t.Context(), []byte(transformUnit), Installed, "mine.toml", "operator", "")
	wantErr(t, err, abi.Unsigned, "nobody signed it")
	_, err = s.Install(t.Context(), []byte(transformUnit), Installed, "registry:acme/tuned@sha256:00", "operator", "")
	wantErr(t, err, abi.Invalid, "cannot say that of itself")
	_, err = s.InstallOverride(t.Context(), []byte(transformUnit), "sha256:other", Installed, "mine.toml", "operator", "")
	wantErr(t, err, abi.Unsigned)
	if _, err = s.InstallOverride(t.Context(), []byte(transformUnit), man.Digest(), Installed, "mine.toml", "operator", ""); err != nil {
		t.Error(err)
	}
}

func TestAPluginNeedsItsTools(t *testing.T) {
	t.Parallel()
	f := &tools{contract: abi.Errorf(abi.NotFound, "the pack is not installed")}
	s := openWith(t, t.TempDir(), Parts{Tools: f})
	fromRegistry(t, s, text("plug", 50, "kind = \"plugin\"\n[plugin]\npack = \"acme/x\"\ntools = [\"x.do\"]", merge("recipes/retrieval", `{"k":20}`)))
	_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "plug"}}, how)
	wantErr(t, err, abi.Conflict, "acme", "not installed")
	pairs, err := s.Matrix(t.Context())
	if err != nil || len(pairs) != 1 || pairs[0].Conflicts[0].Kind != "pack" {
		t.Errorf("the matrix is %+v, %v", pairs, err)
	}
	f.contract = nil
	apply(t, s, Workspace, "plug")
}

func TestAUnitNamesTheModelItNeeds(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{Model: func(name string, _ int64) error {
		return abi.Errorf(abi.Unavailable, "no model %q is configured", name)
	}})
	install(t, s, text("vote", 50, "[compat]\nmodels = [\"chat\"]", merge("recipes/sampling", `{"samples":5}`)))
	_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "vote"}}, how)
	wantErr(t, err, abi.Conflict, `no model "chat"`)
	pairs, err := s.Matrix(t.Context())
	if err != nil || len(pairs) != 1 || pairs[0].Conflicts[0].Kind != "model" {
		t.Errorf("the matrix is %+v, %v", pairs, err)
	}
	_, _, err = s.Candidate(t.Context(), Workspace, []Use{{Unit: "vote"}})
	wantErr(t, err, abi.Unavailable, `no model "chat"`)
}

const asks = `[[permissions]]
pack = "acme/x"
capability = "http"
scope = ["GET https://api.acme.example"]
reason = "asks its service"
`

// judged is a judge that gives an hour of what is asked, but nothing to "pack:" actors.
func judged(_ context.Context, _, by string, p manifests.Permission, project string) (lease.Grant, error) {
	if strings.HasPrefix(by, "agent:") {
		return lease.Grant{}, abi.Errorf(abi.Denied, "grant as %q: only the operator grants", by)
	}
	return lease.Grant{Pack: p.Pack, Digest: "sha256:" + strings.Repeat("a", 64), Capability: abi.Capability(p.Capability), Scope: p.Scope, TTL: time.Hour, By: by,
		Reason: p.Reason, Policies: []string{"arw.grant.operator"}, Where: lease.Where{Project: project}}, nil
}

func TestPermissionsAreLeasesAsLongAsTheUnitIsActive(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{Judge: judged})
	install(t, s, text("ask", 50, asks, merge("recipes/retrieval", `{"k":20}`)))
	use := []Use{{Unit: "ask"}}
	live := func() []lease.Lease { return s.parts.Leases.List(lease.Filter{State: lease.Live}) }

	plan, err := s.Apply(t.Context(), "project/p", use, how)
	wantErr(t, err, abi.Conflict, "acme/x may use http (GET https://api.acme.example) in project p for 1h0m0s: asks its service", "nobody has accepted")
	if len(plan.Permits) != 1 || !plan.Permits[0].Widens || s.Version() != 0 || len(live()) != 0 {
		t.Fatalf("refused, and yet: %+v, version %d, %v", plan.Permits, s.Version(), live())
	}
	_, err = s.Apply(t.Context(), "project/p", use, How{By: "agent:a", Accept: true})
	wantErr(t, err, abi.Denied, "only the operator grants")
	_, err = s.Apply(t.Context(), "agent/a", use, How{By: "operator", Accept: true})
	wantErr(t, err, abi.Denied, "not to an agent")

	if _, err := s.Apply(t.Context(), "project/p", use, How{By: "operator", Accept: true}); err != nil {
		t.Fatal(err)
	}
	if l := live(); len(l) != 1 || l[0].Project != "p" || l[0].Scope[0] != "GET https://api.acme.example" {
		t.Fatalf("the leases are %v", l)
	}
	// Promoting widens from one project to all, so it is asked again.
	_, err = s.Promote(t.Context(), "ask", "project/p", how)
	wantErr(t, err, abi.Conflict, "nobody has accepted")
	if _, err := s.Promote(t.Context(), "ask", "project/p", How{By: "operator", Accept: true}); err != nil {
		t.Fatal(err)
	}
	if l := live(); len(l) != 1 || l[0].Project != "" {
		t.Fatalf("after the promotion the leases are %v", l)
	}
	plan, err = s.Revert(t.Context(), "ask", Workspace, how)
	if err != nil || len(live()) != 0 {
		t.Fatalf("after the revert: %v, %v", live(), err)
	}
	if len(plan.Permits) != 1 || plan.Permits[0].Widens || !strings.Contains(plan.Permits[0].Text, "acme/x loses http") {
		t.Errorf("the plan says %+v", plan.Permits)
	}
}

func TestAUnitDoesNotLoosenABoundInSilence(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{})
	install(t, s, text("tight", 40, "", merge("policies/budget", `{"cost_usd":1,"ms_hard":100}`)+merge("policies/abstention", `{"threshold":0.5}`)))
	install(t, s, text("tighter", 60, "", merge("policies/budget", `{"cost_usd":0.5}`)))
	cases := map[string]string{
		`{"cost_usd":2}`: "from 1 to 2", `{"cost_usd":0}`: "from 1 to 0", `{"cost_usd":null}`: "from 1 to none",
	}
	apply(t, s, Workspace, "tight")
	for value, says := range cases {
		install(t, s, text("loose", 60, "", merge("policies/budget", value)))
		_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "loose"}}, how)
		wantErr(t, err, abi.Conflict, "loosens the bound policies/budget /cost_usd", says)
	}
	install(t, s, text("bold", 60, "", merge("policies/abstention", `{"threshold":0.1}`)))
	_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "bold"}}, how)
	wantErr(t, err, abi.Conflict, "/threshold")
	if _, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "bold"}}, How{By: "operator", Accept: true}); err != nil {
		t.Error(err)
	}
	apply(t, s, Workspace, "tighter") // a narrower bound needs nobody
}

func TestGates(t *testing.T) {
	t.Parallel()
	at := &clock{time.Now()}
	verdict := "no finished experiment compares it with going without"
	s := openWith(t, t.TempDir(), Parts{
		Now: at.now,
		Gate: func(context.Context, *manifests.LogicUnit, Scope, string) (int, error) {
			return 2, nil
		},
		Verdict: func(_ context.Context, _, _ string, _ map[string]json.RawMessage, metric string) (string, error) {
			if metric != "ndcg@10" {
				return "", abi.Errorf(abi.Invalid, "metric %q", metric)
			}
			return verdict, nil
		},
	})
	install(t, s, text("u", 50, "[promotion]\nafter = \"1h\"\nexperiment = \"ndcg@10\"\n[[guards]]\nmetric = \"actions.failed_ratio\"\nmax = 0.5\nleast = 2\nwindow = \"24h\"\n", merge("recipes/retrieval", `{"k":20}`)))
	apply(t, s, "project/p", "u")
	open := func() string {
		t.Helper()
		gates, err := s.Gates(t.Context(), "u", "project/p", "operator")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, g := range gates {
			if !g.Passed {
				names = append(names, g.Name)
			}
		}
		return strings.Join(names, " ")
	}
	if got := open(); got != "trial guard approvals experiment" {
		t.Errorf("open are %q", got)
	}
	_, err := s.Promote(t.Context(), "u", "project/p", how)
	wantErr(t, err, abi.Conflict, "0 of 2 people", "no finished experiment", "of 0 observations")

	approve := func(by string, code abi.Code) {
		t.Helper()
		_, err := s.Approve(t.Context(), "u", "project/p", 2*time.Hour, "", How{By: by})
		if abi.CodeOf(err) != code {
			t.Fatalf("%s: %v", by, err)
		}
	}
	approve("agent:robot", abi.Denied)
	approve("person:anna", abi.OK)
	approve("person:anna", abi.OK) // the same person counts once
	for range 2 {
		record(t, s, "actions.completed", "p")
	}
	at.at = at.at.Add(time.Hour)
	verdict = "better"
	if got := open(); got != "approvals" {
		t.Errorf("open are %q", got)
	}
	approve("person:ben", abi.OK)
	if got := open(); got != "" {
		t.Errorf("open are %q", got)
	}
	at.at = at.at.Add(90 * time.Minute) // anna's yes is over
	if got := open(); got != "approvals" {
		t.Errorf("open are %q", got)
	}
	approve("person:anna", abi.OK)
	if _, err := s.Promote(t.Context(), "u", "project/p", how); err != nil {
		t.Error(err)
	}
}

func TestAnApprovalIsForWhatWasSeen(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{Gate: func(context.Context, *manifests.LogicUnit, Scope, string) (int, error) { return 1, nil }})
	install(t, s, text("u", 50, "[parameters.k]\ntype = \"integer\"\ndescription = \"x\"\ndefault = 9", merge("recipes/retrieval", `{"k":"${k}"}`)))
	apply(t, s, "project/p", "u")
	if _, err := s.Approve(t.Context(), "u", "project/p", 0, "", How{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), "project/p", []Use{{Unit: "u", Params: map[string]json.RawMessage{"k": json.RawMessage("99")}}}, how); err != nil {
		t.Fatal(err)
	}
	_, err := s.Promote(t.Context(), "u", "project/p", how)
	wantErr(t, err, abi.Conflict, "0 of 1 people")
}

// record journals the end of an action.
func record(t testing.TB, s *Store, kind, project string) {
	t.Helper()
	_, err := s.journal.Append(t.Context(), journal.Event{Kind: kind, Corr: "run", Actor: "agent:a", Project: project, Body: map[string]any{
		"id": "x", "kind": "tool", "state": strings.TrimPrefix(kind, "actions."), "ran_ms": 5,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestABreachedGuardTakesTheUnitBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openWith(t, dir, Parts{})
	guarded := "[[guards]]\nmetric = \"actions.failed_ratio\"\nmax = 0.4\nleast = 3\nwindow = \"1h\"\n"
	install(t, s, text("bad", 50, guarded, merge("recipes/retrieval", `{"k":20}`)))
	install(t, s, text("fine", 50, guarded, merge("recipes/sampling", `{"samples":2}`)))
	before := body(t, s, "recipes/retrieval", "project/p")
	apply(t, s, "project/p", "bad")
	apply(t, s, "project/q", "fine")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Guard(ctx) }()
	record(t, s, "actions.failed", "p") // before it could be heard, or after: both count
	record(t, s, "actions.completed", "p")
	record(t, s, "actions.failed", "q") // one of one: too few to tell
	record(t, s, "actions.failed", "p")
	for r, err := range s.journal.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{"logic.unit.breached"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(r.Body), `"id":"bad"`) || !strings.Contains(string(r.Body), `"n":3`) {
			t.Errorf("the breach is %s", r.Body)
		}
		break
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := body(t, s, "recipes/retrieval", "project/p"); got != before {
		t.Errorf("after the breach: %s", got)
	}
	if s.active("fine", "project/q") == nil {
		t.Error("the other unit is gone too")
	}
	list, err := s.Snapshots(t.Context(), 1)
	if err != nil || list[0].By != "host" || !strings.Contains(list[0].What, "guard breached: actions.failed_ratio is 0.666667 of 3") {
		t.Errorf("the history says %+v, %v", list, err)
	}
}

func TestAUnknownMetricDoesNotInstall(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{})
	_, err := s.Install(t.Context(), []byte(text("u", 50, "[[guards]]\nmetric = \"happiness\"\nmin = 1\nwindow = \"1h\"", merge("recipes/retrieval", `{"k":20}`))), Installed, "x", "operator", "")
	wantErr(t, err, abi.Invalid, `"happiness"`)
}

func TestAShareOfRuns(t *testing.T) {
	t.Parallel()
	s := openWith(t, t.TempDir(), Parts{})
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20}`)))
	before := body(t, s, "recipes/retrieval", "project/p")
	if _, err := s.Apply(t.Context(), "project/p", []Use{{Unit: "u"}}, How{By: "operator", Share: 25}); err != nil {
		t.Fatal(err)
	}
	have := 0
	for i := range 2000 {
		run := fmt.Sprintf("corr-%d", i)
		d, err := s.Run("recipes/retrieval", run, "project/p")
		again, _ := s.Run("recipes/retrieval", run, "project/p")
		if err != nil || string(d.Body) != string(again.Body) {
			t.Fatal("one run sees two configurations")
		}
		if string(d.Body) != before {
			have++
		}
		docs, err := s.AllAt(t.Context(), s.Version(), run, "project/p")
		i := slices.IndexFunc(docs, func(d Doc) bool { return d.Target == "recipes/retrieval" })
		if err != nil || string(docs[i].Body) != string(d.Body) {
			t.Fatalf("the past tells another configuration of run %s", run)
		}
	}
	if have < 400 || have > 600 {
		t.Errorf("%d of 2000 runs have it, want about 500", have)
	}
	if _, err := s.Promote(t.Context(), "u", "project/p", how); err != nil {
		t.Fatal(err)
	}
	d, _ := s.Run("recipes/retrieval", "any", "project/p")
	if !strings.Contains(string(d.Body), `"k":20`) {
		t.Error("promoted, and still for a share alone")
	}
}

func TestSuggestedTakenArchived(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openWith(t, dir, Parts{})
	src := text("u", 50, "", merge("recipes/retrieval", `{"k":20}`))
	if _, err := s.Install(t.Context(), []byte(src), Suggested, "x", "agent:a", ""); err != nil {
		t.Fatal(err)
	}
	_, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "u"}}, how)
	wantErr(t, err, abi.Conflict, "suggested")
	if _, err := s.Take(t.Context(), "u", how); err != nil {
		t.Fatal(err)
	}
	apply(t, s, "project/p", "u")
	_, err = s.Archive(t.Context(), "u", how)
	wantErr(t, err, abi.Conflict, "active in project/p")
	if _, err := s.Revert(t.Context(), "u", "project/p", how); err != nil {
		t.Fatal(err)
	}
	if u, err := s.Archive(t.Context(), "u", how); err != nil || u.State != Archived || u.Revision != 1 {
		t.Fatalf("%+v, %v", u, err)
	}
	_, err = s.Apply(t.Context(), Workspace, []Use{{Unit: "u"}}, how)
	wantErr(t, err, abi.Conflict, "archived")
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, dir, Parts{})
	if u, err := s.Unit("u"); err != nil || u.State != Archived || u.Manifest == nil {
		t.Fatalf("after a start: %+v, %v", u, err)
	}
	var kinds []string
	page, err := s.journal.Read(t.Context(), 0, 0, journal.Filter{Prefixes: []string{"logic.unit."}})
	for _, r := range page {
		kinds = append(kinds, strings.TrimPrefix(r.Kind, "logic.unit."))
	}
	if got := strings.Join(kinds, " "); err != nil || got != "suggested installed applied reverted archived" {
		t.Errorf("the journal tells %s, %v", got, err)
	}
}

// TestTakingAwayIsIdentity: whatever layers of units are put over whatever document, taking them away in any order gives
// the bytes that were there, at each step those of the ones that stay.
func TestTakingAwayIsIdentity(t *testing.T) {
	t.Parallel()
	schema, err := manifests.ParseSchema([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	rounds := 5000
	if testing.Short() {
		rounds = 500
	}
	for range rounds {
		root := randomTree(rnd, 4, false)
		if _, ok := root.(map[string]any); !ok {
			root = map[string]any{"root": root}
		}
		target := &Target{Name: "t", Schema: schema, root: root}
		var layers []*layer
		for i := range 1 + rnd.IntN(6) {
			layers = append(layers, (&layer{seq: int64(i), unit: fmt.Sprint("u", i), share: 100, rank: rnd.IntN(3), patches: []patch{{"t", "merge", randomTree(rnd, 3, true)}}}).index())
		}
		order(layers)
		before := folded(t, target, nil)
		full := folded(t, target, layers)
		for left := slices.Clone(layers); len(left) > 0; {
			i := rnd.IntN(len(left))
			taken := left[i]
			left = slices.Delete(slices.Clone(left), i, i+1)
			got := folded(t, target, left)
			again := append(slices.Clone(left), taken)
			order(again)
			if len(left) == len(layers)-1 && folded(t, target, again) != full {
				t.Fatal("taken away and put back, it is not what it was")
			}
			if len(left) == 0 && got != before {
				t.Fatalf("%s became %s", before, got)
			}
		}
		a, _ := tree.Parse([]byte(before))
		b, _ := tree.Parse([]byte(full))
		changed, err := tree.Apply(a, tree.Patch(tree.Diff(a, b)))
		if raw, _ := canonical(changed); err != nil || string(raw) != full {
			t.Fatalf("the difference shown leads from %s to %s, not to %s (%v)", before, raw, full, err)
		}
	}
}

func folded(t *testing.T, target *Target, layers []*layer) string {
	t.Helper()
	d, err := fold(target, layers, chain())
	if err != nil {
		t.Fatal(err)
	}
	return string(d.Body)
}

func randomTree(r *rand.Rand, depth int, table bool) any {
	switch n := r.IntN(8); {
	case table || n < 3 && depth > 0:
		fields := map[string]any{}
		for range r.IntN(5) {
			fields[fmt.Sprintf("k%d/~", r.IntN(6))] = randomTree(r, max(depth-1, 0), false)
		}
		return fields
	case n == 3 && depth > 0:
		items := []any{}
		for range r.IntN(4) {
			items = append(items, randomTree(r, depth-1, false))
		}
		return items
	case n == 4:
		return nil
	case n == 5:
		return r.IntN(2) == 0
	case n == 6:
		return json.Number(fmt.Sprint(r.IntN(5)))
	}
	return fmt.Sprintf("s%d", r.IntN(5))
}
