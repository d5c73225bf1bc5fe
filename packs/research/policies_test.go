package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/sdk/go/guest"
)

// TestAbstentionOnTheLabelledSet holds the report of what the gate keeps back: of questions that the corpus answers, and of
// others that it does not, written without looking at what the gate makes of them.
func TestAbstentionOnTheLabelledSet(t *testing.T) {
	t.Parallel()
	m, _, questions := labelled(t)
	raw, err := os.ReadFile("testdata/labelled/unanswerable.json")
	if err != nil {
		t.Fatal(err)
	}
	var strange []string
	if err := json.Unmarshal(raw, &strange); err != nil {
		t.Fatal(err)
	}
	m.Config[recipeDoc] = []byte(setups[0].recipe)
	held := func(query string) bool {
		out, err := search(m.Call(), SearchIn{Query: query})
		if err != nil {
			t.Fatal(err)
		}
		if out.Abstained != (len(out.Results) == 0) && out.Matched > 0 {
			t.Errorf("%q: abstained is %v with %d results", query, out.Abstained, len(out.Results))
		}
		return out.Abstained
	}
	var got strings.Builder
	fmt.Fprintf(&got, "%d questions with an answer, %d without\n", len(questions), len(strange))
	for _, threshold := range []float64{0, 0.2, 0.3, 0.4, 0.5} {
		m.Config[abstentionDoc] = fmt.Appendf(nil, `{"threshold":%g,"escalate":"human"}`, threshold)
		wrongly, rightly := 0, 0
		for _, q := range questions {
			if held(q.Query) {
				wrongly++
			}
		}
		for _, q := range strange {
			if held(q) {
				rightly++
			}
		}
		fmt.Fprintf(&got, "threshold %.1f: keeps back %2d of those with, %2d of those without\n", threshold, wrongly, rightly)
	}
	golden(t, "testdata/labelled/abstention.txt", got.String())
}

// TestBudgetOnTheLabelledSet holds the report of what a bound of tokens costs in quality.
func TestBudgetOnTheLabelledSet(t *testing.T) {
	t.Parallel()
	m, docs, questions := labelled(t)
	m.Config[recipeDoc] = []byte(setups[0].recipe)
	var got strings.Builder
	for _, hard := range []int{0, 400, 200, 100} {
		m.Config[budgetDoc] = fmt.Appendf(nil, `{"tokens_soft":%d,"tokens_hard":%d}`, hard/2, hard)
		var ndcg float64
		most, results := 0, 0
		for _, q := range questions {
			out, err := search(m.Call(), SearchIn{Query: q.Query})
			if err != nil {
				t.Fatal(err)
			}
			if hard > 0 && out.Tokens > hard && len(out.Results) > 1 {
				t.Errorf("%q: %d tokens, at most %d", q.Query, out.Tokens, hard)
			}
			ndcg += measure(q, names(out), docs).NDCG / float64(len(questions))
			most, results = max(most, out.Tokens), results+len(out.Results)
		}
		fmt.Fprintf(&got, "at most %3d tokens: nDCG@10 %.3f, %.1f results, the largest answer has %d tokens\n", hard, ndcg, float64(results)/float64(len(questions)), most)
	}
	golden(t, "testdata/labelled/budget.txt", got.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		writeFile(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); run with -update and look at it:\n%s", file, err, got)
	}
}

func TestAnswersAreHeldBack(t *testing.T) {
	t.Parallel()
	dir := corpusDir(t, kitchen)
	m := &guest.Memory{Folders: []string{dir}, Config: map[string]json.RawMessage{}}
	ingestAll(t, m, dir)
	in := SearchIn{Query: "lease zebra quagga"}
	if out, err := search(m.Call(), in); err != nil || out.Abstained || out.Confidence != 0 || len(out.Results) == 0 {
		t.Errorf("without a document: %+v, %v", out, err)
	}
	m.Config[abstentionDoc] = []byte(`{"threshold":0.9,"escalate":"human"}`)
	out, err := search(m.Call(), in)
	if err != nil || !out.Abstained || out.Escalate != "human" || len(out.Results) != 0 || out.Matched == 0 || out.Confidence <= 0 || out.Confidence >= 0.9 {
		t.Errorf("with a gate: %+v, %v", out, err)
	}
	m.Config[abstentionDoc] = []byte(`{"threshold":0.9}`)
	if out, err = search(m.Call(), SearchIn{Query: "lease"}); err != nil || out.Abstained || out.Confidence != 1 {
		t.Errorf("a question that is answered: %+v, %v", out, err)
	}
	m.Config[budgetDoc] = []byte(`{"tokens_soft":1,"tokens_hard":2}`)
	if out, err = search(m.Call(), SearchIn{Query: "lease"}); err != nil || len(out.Results) != 1 || out.Budget != "hard" {
		t.Errorf("with two tokens: %+v, %v", out, err)
	}
}
