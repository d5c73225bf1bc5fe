package policy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
)

// Every archive of testdata/policy is a test; adding one needs no Go.
func TestCases(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/policy/*.txtar")
	if err != nil || len(archives) < 5 {
		t.Fatalf("archives: %v, %v", archives, err)
	}
	for _, name := range archives {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		runArchive(t, policy.Source{Name: filepath.Base(name), Text: text})
	}
}

func runArchive(t *testing.T, archive policy.Source) {
	t.Helper()
	results, err := policy.Test(nil, archive)
	if err != nil {
		t.Errorf("%s: %v", archive.Name, err)
	}
	for _, r := range results {
		t.Run(archive.Name+"/"+r.Case, func(t *testing.T) {
			for _, wrong := range r.Wrong {
				t.Errorf("%s\ndecision: %+v", wrong, r.Got)
			}
		})
	}
}

// The specification's archives are run like any other, so that its examples cannot drift.
func TestSpecExamples(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/spec/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```txtar\n(.*?)^```").FindAllSubmatch(doc, -1)
	if len(blocks) == 0 {
		t.Fatal("docs/spec/policy.md holds no txtar example")
	}
	for i, b := range blocks {
		runArchive(t, policy.Source{Name: fmt.Sprintf("policy.md-%d", i+1), Text: b[1]})
	}
	for _, fact := range regexp.MustCompile(`(?m)^ {4}(\w+): `).FindAllStringSubmatch(string(policy.Schema()), -1) {
		if !strings.Contains(string(doc), "`"+fact[1]+"`") {
			t.Errorf("docs/spec/policy.md does not explain %q of the schema", fact[1])
		}
	}
	for _, rule := range load(t).Rules() {
		if !strings.Contains(string(doc), "`"+rule.ID+"`") {
			t.Errorf("docs/spec/policy.md does not name the shipped policy %q", rule.ID)
		}
	}
}

func load(t testing.TB, texts ...string) *policy.Set {
	t.Helper()
	var files []policy.Source
	for i, text := range texts {
		files = append(files, policy.Source{Name: fmt.Sprintf("f%d.cedar", i), Text: []byte(text)})
	}
	set, err := policy.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Test must notice: a case that is wrong about the decision, in each of the ways it can be wrong.
func TestCasesThatFail(t *testing.T) {
	t.Parallel()
	request := `"request": {"action": "link", "pack": {"name": "a/b"}, "capability": "kv", "context": {"verified": true}}`
	for name, tc := range map[string]struct{ want, wrong string }{
		"outcome":  {`{"outcome": "deny"}`, "outcome: allow, want deny"},
		"policies": {`{"outcome": "allow", "policies": ["x"]}`, "policies: [arw.link.own], want [x]"},
		"ttl":      {`{"outcome": "allow", "ttl": "1h"}`, "ttl: 24h0m0s, want 1h"},
		"budget":   {`{"outcome": "allow", "budget": {"calls": 5}}`, "budget: {0 0 0 0 0}, want {5 0 0 0 0}"},
		"reason":   {`{"outcome": "allow", "reason": "because"}`, "want because"},
		"errors":   {`{"outcome": "allow", "errors": ["x"]}`, "errors: [], want x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := "-- cases.json --\n[{\"case\": \"c\", " + request + ", \"want\": " + tc.want + "}]\n"
			results, err := policy.Test(nil, policy.Source{Name: "a.txtar", Text: []byte(text)})
			if err != nil || len(results) != 1 || len(results[0].Wrong) != 1 || !strings.Contains(results[0].Wrong[0], tc.wrong) {
				t.Errorf("got %+v, %v; want %q", results, err, tc.wrong)
			}
		})
	}
}

func TestBrokenArchives(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"no cases":         {"-- a.cedar --\n", "cases.json:1: EOF"},
		"empty list":       {"-- cases.json --\n[]", "no cases"},
		"unknown field":    {"-- cases.json --\n[\n{\"csae\": \"x\"}]", `cases.json:2: json: unknown field "csae"`},
		"something behind": {"-- cases.json --\n[] []", "something follows the list"},
		"unknown file":     {"-- readme --\n", `what is "readme"?`},
		"file twice":       {"-- a.cedar --\n-- a.cedar --\n", `two files named "a.cedar"`},
		"policies broken":  {"-- a.cedar --\npermit\n-- cases.json --\n[]", "a.cedar:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Test(nil, policy.Source{Name: "a.txtar", Text: []byte(tc.text)})
			if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	results, err := policy.Test(nil, policy.Source{Name: "a.txtar", Text: []byte("-- problems.txt --\na.cedar:1: x\n")})
	if err != nil || len(results) != 1 || len(results[0].Wrong) != 1 {
		t.Errorf("problems that do not come: %+v, %v", results, err)
	}
}

func TestLoadError(t *testing.T) {
	t.Parallel()
	_, err := policy.Load([]policy.Source{
		{Name: "b.cedar", Text: []byte("permit (principal, action, resource);")},
		{Name: "a.cedar", Text: []byte("nonsense")},
		{Name: "a.cedar", Text: nil},
	})
	if abi.CodeOf(err) != abi.Invalid {
		t.Fatalf("got %v", err)
	}
	e, _ := errors.AsType[*abi.Error](err)
	problems, ok := e.Detail.([]policy.Problem)
	if !ok || len(problems) != 3 || problems[0].File != "a.cedar" || problems[1].Msg != "two policy files have this name" || problems[2].File != "b.cedar" {
		t.Errorf("problems: %+v", problems)
	}
	if !strings.HasPrefix(err.Error(), "load policies: a.cedar:1: ") || e.Hint == "" {
		t.Errorf("message %q, hint %q", err, e.Hint)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	deep := func(n int) string {
		return "@id(\"x\") permit (principal, action, resource) when { " + strings.Repeat("(", n) + "true" + strings.Repeat(")", n) + " };"
	}
	for name, tc := range map[string]struct{ text, want string }{
		"deep enough":           {deep(policy.MaxNesting - 1), ""},
		"too deep":              {"\n\n" + deep(policy.MaxNesting), "f.cedar:3: brackets nest more than 64 deep"},
		"brackets in a string":  {"@id(\"x\") @reason(\"" + strings.Repeat("(", 100) + "\\\"((\") permit (principal, action, resource);", ""},
		"brackets in a comment": {"// " + strings.Repeat("(", 100), ""},
		"a comment to the end":  {"//\n// (((", ""},
		"too long":              {strings.Repeat("\n", policy.MaxSource+1), "f.cedar:1: the file has 262145 bytes, more than 262144"},
		"not text":              {"\xff\xfe", "f.cedar:1: invalid UTF-8 encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Load([]policy.Source{{Name: "f.cedar", Text: []byte(tc.text)}})
			if got := fmt.Sprint(err); (err != nil) != (tc.want != "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %v, want %q", got, tc.want)
			}
		})
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	mine := policy.Source{Name: "b.cedar", Text: []byte("\n@id(\"local.x\") @ttl(\"90m\") @mode(\"ask\") @reason(\"r\")\npermit (principal, action == Action::\"link\", resource);")}
	other := policy.Source{Name: "a.cedar", Text: []byte("// nothing")}
	set, err := policy.Load([]policy.Source{mine, other})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, src := range set.Sources() {
		names = append(names, src.Name)
	}
	if !slices.Equal(names, []string{policy.DefaultName, "a.cedar", "b.cedar"}) {
		t.Errorf("sources: %v", names)
	}
	rule, ok := set.Rule("local.x")
	want := policy.Rule{ID: "local.x", Effect: "permit", Actions: []string{"link"}, Mode: "ask", TTL: 90 * time.Minute, Reason: "r", File: "b.cedar", Line: 2}
	if !ok || !reflect.DeepEqual(rule, want) || !reflect.DeepEqual(set.Rules()[len(set.Rules())-1], want) {
		t.Errorf("rule: %+v", rule)
	}
	if _, ok := set.Rule("nobody"); ok {
		t.Error("found a policy that is not there")
	}
	swapped, _ := policy.Load([]policy.Source{other, mine})
	moved, _ := policy.Load([]policy.Source{{Name: "c.cedar", Text: mine.Text}, other})
	if set.Digest() != swapped.Digest() || set.Digest() == moved.Digest() || set.Digest() == load(t).Digest() ||
		!regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(set.Digest()) {
		t.Errorf("digests: %s %s %s", set.Digest(), swapped.Digest(), moved.Digest())
	}
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	d := policy.Decision{TTL: time.Hour, Budget: policy.Budget{Calls: 10}}
	for name, tc := range map[string]struct {
		ttl    time.Duration
		budget policy.Budget
		want   time.Duration
		left   policy.Budget
	}{
		"nothing asked": {0, policy.Budget{}, time.Hour, policy.Budget{Calls: 10}},
		"less asked":    {time.Minute, policy.Budget{Calls: 3, Bytes: 7}, time.Minute, policy.Budget{Calls: 3, Bytes: 7}},
		"more asked":    {time.Hour * 9, policy.Budget{Calls: 30}, time.Hour, policy.Budget{Calls: 10}},
	} {
		if ttl, budget := d.Narrow(tc.ttl, tc.budget); ttl != tc.want || budget != tc.left {
			t.Errorf("%s: got %v, %v", name, ttl, budget)
		}
	}
}

func TestHeads(t *testing.T) {
	t.Parallel()
	got := policy.Heads([]string{"research.done", "read:/srv/a.b", "arw/research:*", "research.", "*", "", "plain"})
	if want := []string{"", "*", "arw", "plain", "read", "research"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One set answers many goroutines, and a caller that changes what it was given changes nothing.
func TestConcurrentDecisions(t *testing.T) {
	t.Parallel()
	set := load(t, "@id(\"local.no\") forbid (principal in Namespace::\"evil\", action, resource);")
	set.Sources()[0] = policy.Source{}
	set.Rules()[0] = policy.Rule{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				name, want := "good/pack", policy.Allow
				if i%2 == 0 {
					name, want = "evil/pack", policy.Deny
				}
				d := set.Decide(policy.Request{Action: policy.ActionLoad, Pack: policy.Pack{Name: name}, Context: map[string]any{"verified": true}})
				if d.Outcome != want || d.Allowed != (want == policy.Allow) {
					t.Errorf("%s: %+v", name, d)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A permit of promote may want people to agree; the most that a deciding one wants holds; so may a permit of grant, and of a link that asks.
func TestApprovals(t *testing.T) {
	t.Parallel()
	src := func(text string) []policy.Source { return []policy.Source{{Name: "local.cedar", Text: []byte(text)}} }
	set, err := policy.Load(src("@id(\"local.two\")\n@approvals(\"2\")\npermit (principal, action == Action::\"promote\", resource) when { resource.category == \"policy\" };"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(category string) policy.Decision {
		return set.Decide(policy.Request{Action: policy.ActionPromote, Pack: policy.Pack{Name: "host/units"}, Actor: "operator", Unit: &policy.Unit{ID: "u", Category: category, From: "project/p"}})
	}
	if got := ask("policy"); !got.Allowed || got.Approvals != 2 {
		t.Errorf("a policy unit: %+v", got)
	}
	if got := ask("retrieval"); !got.Allowed || got.Approvals != 0 {
		t.Errorf("another unit: %+v", got)
	}
	for _, good := range []string{
		"@id(\"local.x\")\n@approvals(\"2\")\n@mode(\"ask\")\n@obligation(\"preview\")\npermit (principal, action == Action::\"link\", resource);",
		"@id(\"local.x\")\n@approvals(\"2\")\npermit (principal, action == Action::\"grant\", resource);",
	} {
		if _, err := policy.Load(src(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"@id(\"local.x\")\n@obligation(\"preview\")\npermit (principal, action == Action::\"link\", resource);",
		"@id(\"local.x\")\n@approvals(\"2\")\npermit (principal, action == Action::\"call\", resource);",
		"@id(\"local.x\")\n@approvals(\"0\")\npermit (principal, action == Action::\"promote\", resource);",
		"@id(\"local.x\")\n@approvals(\"2\")\npermit (principal, action == Action::\"link\", resource);",
		"@id(\"local.x\")\n@approvals(\"2\")\nforbid (principal, action == Action::\"promote\", resource);",
	} {
		if _, err := policy.Load(src(bad)); err == nil {
			t.Errorf("this loads: %s", bad)
		}
	}
}
