package host_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/recall"
)

// research is a host with the Research pack, and the labelled corpus in its index.
func research(t *testing.T, cache string) *hosttest.Host {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{})
	h.WriteState("cache.toml", cache)
	h.Restart()
	h.Install(hosttest.BuildFolder(t, "packs/research"))
	raw, err := os.ReadFile("../packs/research/testdata/labelled/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, part := range strings.Split(string(raw), "-- ")[1:] {
		name, text, _ := strings.Cut(part, " --\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.Grant("arw/research", abi.FS, "read:"+dir)
	h.MustCall("research.ingest", fmt.Sprintf(`{"dir":%q}`, dir))
	return h
}

// seek asks the pack as a person and says where the answer came from.
func seek(t *testing.T, h *hosttest.Host, who, query string) (string, string) {
	t.Helper()
	in, _ := json.Marshal(map[string]string{"query": query})
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "research.search", Input: in, Actor: who})
	if err != nil {
		t.Fatal(err)
	}
	end := h.Wait(a.ID)
	if end.State != action.Completed {
		t.Fatalf("%q: %+v", query, end.Failure)
	}
	return string(end.Output), end.Usage.Cache
}

// What the Research pack's manifest says about its answers, on 40 labelled questions with 120 variants: every answer that would
// have been given is made anew and compared. docs/spec/cache.md has the table.
func TestRecallOnTheLabelledQuestions(t *testing.T) {
	t.Parallel()
	h := research(t, "schema = 1\n[recall]\naudit = 1\n")
	raw, err := os.ReadFile("../packs/research/testdata/labelled/paraphrases.txt")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{"same words", "other words", "something else"}
	given, wrong, of, worse := map[string]int{}, map[string]int{}, 0, 0
	grades := labels(t)
	totals := func() recall.Totals { _, all, _, _ := h.Services().Recall.Stats(); return all }
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		variants := strings.Split(line, " | ")
		if len(variants) != 4 {
			t.Fatalf("line %d has %d variants", i, len(variants))
		}
		of++
		for k, kind := range kinds {
			who := fmt.Sprintf("person:%d-%d", i, k) // each its own space: no wrong answer spares the next
			kept, _ := seek(t, h, who, variants[0])
			before := totals()
			fresh, _ := seek(t, h, who, variants[k+1])
			after := totals()
			given[kind] += int(after.Audits - before.Audits)
			wrong[kind] += int(after.False - before.False)
			switch {
			case after.False > before.False:
				was, is := grade(t, grades[variants[0]], kept), grade(t, grades[variants[0]], fresh)
				if was < is {
					worse++
				}
				t.Logf("wrong: %q for %q, graded %v and %v", variants[0], variants[k+1], was, is)
			case k == 0 && after.Audits == before.Audits:
				t.Logf("not given: %q for %q (verifier refused %d)", variants[0], variants[k+1], after.Refused-before.Refused)
			}
		}
	}
	for _, kind := range kinds {
		t.Logf("%-15s %2d of %d would have been answered, %d wrongly", kind, given[kind], of, wrong[kind])
	}
	t.Logf("by the labels %d of those were worse than what was made anew", worse)
	if given["same words"] < 30 || given["something else"] != 0 || wrong["same words"]+wrong["other words"] > 5 || worse > 1 {
		t.Errorf("given %v, wrong %v, worse %d", given, wrong, worse)
	}
}

// labels are the grades of the labelled questions: 2 answers it, 1 helps.
func labels(t *testing.T) map[string]map[string]float64 {
	t.Helper()
	raw, err := os.ReadFile("../packs/research/testdata/labelled/queries.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Query    string
		Relevant map[string]float64
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]float64{}
	for _, q := range all {
		out[q.Query] = q.Relevant
	}
	return out
}

// grade is that of an answer's first result.
func grade(t *testing.T, relevant map[string]float64, answer string) float64 {
	t.Helper()
	var out struct{ Results []struct{ Path string } }
	if err := json.Unmarshal([]byte(answer), &out); err != nil || len(relevant) == 0 {
		t.Fatalf("%s: %v, %d labels", answer, err, len(relevant))
	}
	if len(out.Results) == 0 {
		return 0
	}
	return relevant[strings.TrimSuffix(filepath.Base(out.Results[0].Path), ".md")]
}

// A search that found nothing is answered from memory until something is ingested.
func TestAMissIsRememberedUntilSomethingIsWritten(t *testing.T) {
	t.Parallel()
	h := research(t, "schema = 1\n")
	const question = "zeppelin maintenance"
	if got, from := seek(t, h, "person:ann", question); from != "miss" || !strings.Contains(got, `"results":[]`) {
		t.Fatalf("%s: %s", from, got)
	}
	if _, from := seek(t, h, "person:ann", question); from != "hit" {
		t.Fatalf("the second time: %s", from)
	}
	if _, all, _, _ := h.Services().Recall.Stats(); all.Empty != 1 {
		t.Fatalf("counted %+v", all)
	}
	if _, from := seek(t, h, "person:bob", question); from != "miss" {
		t.Fatalf("another person: %s", from)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "z.md"), []byte("# Zeppelin\n\nMaintenance of a zeppelin takes a hangar.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Grant("arw/research", abi.FS, "read:"+dir)
	h.MustCall("research.ingest", fmt.Sprintf(`{"dir":%q}`, dir))
	if got, from := seek(t, h, "person:ann", question); from != "miss" || !strings.Contains(got, "hangar") {
		t.Fatalf("after a write %s: %s", from, got)
	}
}

// What somebody took out of the journal may stand in any answer: none is given again. A pack that is removed leaves none.
func TestRedactionAndRemovalForget(t *testing.T) {
	t.Parallel()
	h := research(t, "schema = 1\n")
	keep := func() {
		t.Helper()
		seek(t, h, "person:ann", "bread crust")
		if _, from := seek(t, h, "person:ann", "bread crust"); from != "hit" {
			t.Fatalf("not kept: %s", from)
		}
	}
	gone := func(why string) {
		t.Helper()
		hosttest.Eventually(t, why, func() bool { _, _, n, _ := h.Services().Recall.Stats(); return n == 0 })
	}
	keep()
	at := h.Events(journal.Filter{Prefixes: []string{"actions.submitted"}})[0]
	if _, err := h.Services().Journal.RedactPath(t.Context(), journal.Author{Actor: "operator"}, at.ID, "/kind"); err != nil {
		t.Fatal(err)
	}
	gone("a redaction forgets")
	keep()
	if err := h.Services().Packs.Remove(t.Context(), "arw/research", pack.Options{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	gone("a removal forgets")

	hosttest.Eventually(t, "it is told", func() bool {
		told := h.Events(journal.Filter{Prefixes: []string{"recall.forgotten"}})
		return len(told) == 2
	})
}
