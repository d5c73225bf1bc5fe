package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

var update = flag.Bool("update", false, "write the golden report")

// question is one labelled query: 2 answers it, 1 helps, what is not named does neither.
type question struct {
	Query    string
	Relevant map[string]float64
}

// setup is one way to search.
type setup struct{ name, recipe string }

// setups are compared with the first. The second is what the unit retrieval-mmr-rrf sets with its parameters left alone; the
// two after it are its parts, the last spends less on novelty.
var setups = []setup{
	{"bm25", `{"ranking":"bm25","k":10,"diversity":0,"candidates":100}`},
	{"mmr+rrf", `{"ranking":"rrf","k":10,"diversity":0.5,"rrf_k":60,"candidates":100}`},
	{"rrf", `{"ranking":"rrf","k":10,"diversity":0,"rrf_k":60,"candidates":100}`},
	{"mmr", `{"ranking":"bm25","k":10,"diversity":0.5,"candidates":100}`},
	{"mmr+rrf 0.2", `{"ranking":"rrf","k":10,"diversity":0.2,"rrf_k":60,"candidates":100}`},
}

// labelled ingests the corpus and reads the questions.
func labelled(t testing.TB) (*guest.Memory, map[string]string, []question) {
	t.Helper()
	raw, err := os.ReadFile("testdata/labelled/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, part := range strings.Split(string(raw), "-- ")[1:] {
		name, text, _ := strings.Cut(part, " --\n")
		docs[name] = text
	}
	if raw, err = os.ReadFile("testdata/labelled/queries.json"); err != nil {
		t.Fatal(err)
	}
	var questions []question
	if err := json.Unmarshal(raw, &questions); err != nil {
		t.Fatal(err)
	}
	dir := corpusDir(t, docs)
	m := &guest.Memory{Folders: []string{dir}, Config: map[string]json.RawMessage{}}
	ingestAll(t, m, dir)
	return m, docs, questions
}

func TestTheLabelledSetIsWhole(t *testing.T) {
	t.Parallel()
	m, docs, questions := labelled(t)
	out, err := corpora(m.Call(), CorporaIn{})
	if err != nil || out.Passages != len(docs) || len(docs) < 40 {
		t.Errorf("%d documents make %d passages (%v), want at least 40 of one passage each", len(docs), out.Passages, err)
	}
	if len(questions) < 30 {
		t.Errorf("%d questions, want at least 30", len(questions))
	}
	for _, q := range questions {
		for name, grade := range q.Relevant {
			if docs[name+".md"] == "" || grade != 1 && grade != 2 {
				t.Errorf("%q: %s is graded %v", q.Query, name, grade)
			}
		}
		if len(q.Relevant) == 0 {
			t.Errorf("%q has no answer", q.Query)
		}
	}
}

// measures of one question's results: nDCG@10 with gains 2^grade−1, recall@10 of what is graded at all, and the mean
// unlikeness (1 − Jaccard of terms) of all pairs of results.
type measures struct{ NDCG, Recall, Diversity float64 }

func measure(q question, found []string, docs map[string]string) (m measures) {
	gain := func(grade float64, rank int) float64 { return (math.Exp2(grade) - 1) / math.Log2(float64(rank)+2) }
	var best, ideal float64
	grades := []float64{}
	for _, g := range q.Relevant {
		grades = append(grades, g)
	}
	slices.Sort(grades)
	slices.Reverse(grades)
	for i, g := range grades {
		ideal += gain(g, i)
	}
	words := make([]map[string]bool, len(found))
	for i, name := range found {
		if g := q.Relevant[name]; g > 0 {
			best += gain(g, i)
			m.Recall += 1 / float64(len(q.Relevant))
		}
		words[i] = map[string]bool{}
		tokens(docs[name+".md"], func(_, _ int, t string) { words[i][t] = true })
	}
	m.NDCG = best / ideal
	pairs := 0
	for i := range words {
		for j := range i {
			m.Diversity += 1 - likeness(words[i], words[j])
			pairs++
		}
	}
	m.Diversity /= float64(max(pairs, 1))
	return m
}

func names(out SearchOut) []string {
	var list []string
	for _, r := range out.Results {
		list = append(list, strings.TrimSuffix(filepath.Base(r.Path), ".md"))
	}
	return list
}

// interval is the mean of paired differences and its 95 % percentile bootstrap interval over 10,000 draws of questions.
func interval(diffs []float64) (mean, low, high float64) {
	dice := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, 10_000)
	for i := range means {
		for range diffs {
			means[i] += diffs[dice.IntN(len(diffs))] / float64(len(diffs))
		}
	}
	slices.Sort(means)
	for _, d := range diffs {
		mean += d / float64(len(diffs))
	}
	return mean, means[250], means[9749]
}

func verdict(low, high float64) string {
	switch {
	case low > 0:
		return "better"
	case high < 0:
		return "worse"
	}
	return "no clear winner"
}

// TestRetrievalOnTheLabelledSet holds the report in testdata/labelled/report.txt to what the code does.
func TestRetrievalOnTheLabelledSet(t *testing.T) {
	t.Parallel()
	m, docs, questions := labelled(t)
	var got strings.Builder
	fmt.Fprintf(&got, "%d documents, %d questions; differences to bm25 with 95%% paired bootstrap intervals\n", len(docs), len(questions))
	all := make([][]measures, len(setups))
	for i, s := range setups {
		m.Config[recipeDoc] = []byte(s.recipe)
		for _, q := range questions {
			out, err := search(m.Call(), SearchIn{Query: q.Query})
			if err != nil {
				t.Fatal(err)
			}
			all[i] = append(all[i], measure(q, names(out), docs))
		}
		fmt.Fprintf(&got, "\n%s\n", s.name)
		for _, of := range []struct {
			name string
			pick func(measures) float64
		}{
			{"nDCG@10", func(m measures) float64 { return m.NDCG }},
			{"recall@10", func(m measures) float64 { return m.Recall }},
			{"diversity", func(m measures) float64 { return m.Diversity }},
		} {
			var sum float64
			diffs := make([]float64, len(questions))
			for j := range questions {
				sum += of.pick(all[i][j])
				diffs[j] = of.pick(all[i][j]) - of.pick(all[0][j])
			}
			fmt.Fprintf(&got, "  %-9s %.3f", of.name, sum/float64(len(questions)))
			if i > 0 {
				mean, low, high := interval(diffs)
				fmt.Fprintf(&got, "  %+.3f [%+.3f, %+.3f]  %s", mean, low, high, verdict(low, high))
			}
			got.WriteByte('\n')
		}
	}
	const golden = "testdata/labelled/report.txt"
	if *update {
		writeFile(t, golden, got.String())
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != got.String() {
		t.Errorf("the report differs (%v); run with -update and look at it:\n%s", err, got.String())
	}
}

func TestTheRecipeDecides(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"long.md":  "lease lease lease " + strings.Repeat("filler words about other matters of the day ", 20) + "ends",
		"near.md":  "a lease ends here, said in a few more words than one would need for it",
		"near2.md": "a lease always ends here, said in a few more words than one would need for it",
	}
	for i := range 8 {
		files[fmt.Sprintf("copy%d.md", i)] = fmt.Sprintf("lease number %d", i)
	}
	dir := corpusDir(t, files)
	m := &guest.Memory{Folders: []string{dir}, Config: map[string]json.RawMessage{}}
	ingestAll(t, m, dir)
	under := func(recipe string, in SearchIn) []string {
		t.Helper()
		delete(m.Config, recipeDoc)
		if recipe != "" {
			m.Config[recipeDoc] = []byte(recipe)
		}
		out, err := search(m.Call(), in)
		if err != nil {
			t.Fatal(err)
		}
		return names(out)
	}
	in := SearchIn{Query: "lease ends"}
	if got := under("", in); len(got) != 5 {
		t.Errorf("without a document there are %d results, want the default's 5", len(got))
	}
	if got := under(`{"k":7,"diversity":0,"sources":[]}`, in); len(got) != 7 {
		t.Errorf("with k = 7 there are %d results", len(got))
	}
	if got := under(`{"k":7}`, SearchIn{Query: "lease ends", K: 2}); len(got) != 2 {
		t.Errorf("the question's own k gives %d results, want 2", len(got))
	}
	if got := under(`{"diversity":0,"bm25_k1":10,"bm25_b":0}`, in); got[0] != "long" {
		t.Errorf("where length is nothing and repetition much, the first is %v, want long", got)
	}
	if got := under(`{"diversity":0,"bm25_k1":1.2,"bm25_b":0.75}`, in); got[0] != "near" {
		t.Errorf("with the usual constants the first is %v, want near", got)
	}
	if got := under(`{"diversity":0,"ranking":"rrf","rrf_k":1,"bm25_k1":10,"bm25_b":0}`, in); got[0] != "near" || slices.Index(got, "long") > 2 {
		t.Errorf("fused, the order is %v, want near, which is second in one ranking and first in the other, before long", got)
	}
}

func TestSearchWithoutItsConfiguration(t *testing.T) {
	t.Parallel()
	dir := corpusDir(t, kitchen)
	for code, fails := range map[abi.Code]bool{abi.Denied: false, abi.LeaseRevoked: false, abi.LeaseExpired: false, abi.Unavailable: true} {
		m := &guest.Memory{Folders: []string{dir}, Config: map[string]json.RawMessage{recipeDoc: []byte(`{"k":1}`)}}
		ingestAll(t, m, dir)
		m.Deny = func(function string) error {
			if function == "config.get" {
				return abi.Errorf(code, "no")
			}
			return nil
		}
		out, err := search(m.Call(), SearchIn{Query: "lease"})
		if fails != (err != nil) || !fails && len(out.Results) != 2 {
			t.Errorf("%s: %d results, %v", code, len(out.Results), err)
		}
	}
}

func TestFuse(t *testing.T) {
	t.Parallel()
	hits := []hit{{id: 1}, {id: 2}, {id: 3}, {id: 4}}
	fuse(hits, []int{2, 0, 1, 3}, 1)
	var ids []uint32
	for _, h := range hits {
		ids = append(ids, h.id)
	}
	if !slices.Equal(ids, []uint32{2, 1, 3, 4}) || math.Abs(hits[0].score-(1.0/3+1.0/2)) > 1e-12 {
		t.Errorf("fused: %v, the first with %v", ids, hits[0].score)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text  string
		query []string
		held  string
		span  int
	}{
		{"alpha x beta and far beta", []string{"alpha", "beta", "gamma"}, "alpha beta", 12},
		{"alpha xxxxx beta alpha", []string{"alpha", "beta"}, "alpha beta", 10},
		{"alpha", []string{"alpha"}, "alpha", 5},
		{"nothing", []string{"alpha"}, "", math.MaxInt},
	} {
		held, span := window(tc.text, tc.query)
		if strings.Join(held, " ") != tc.held || span != tc.span {
			t.Errorf("%q: %v %d, want %s %d", tc.text, held, span, tc.held, tc.span)
		}
	}
}

// BenchmarkSearchRecipe is one question of the labelled set, in turn, under each way to search.
func BenchmarkSearchRecipe(b *testing.B) {
	m, _, questions := labelled(b)
	for _, s := range setups[:2] {
		b.Run(s.name, func(b *testing.B) {
			m.Config[recipeDoc] = []byte(s.recipe)
			for i := 0; b.Loop(); i++ {
				if _, err := search(m.Call(), SearchIn{Query: questions[i%len(questions)].Query}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
