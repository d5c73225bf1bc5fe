package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/logic"
)

// labelled DIR FILE writes the labelled set of the Research pack: its texts into a folder, and an experiment on its
// questions into a file.
func labelled(ts *testscript.TestScript, _ bool, args []string) {
	at := filepath.Join(moduleRoot, "packs", "research", "testdata", "labelled")
	raw, err := os.ReadFile(filepath.Join(at, "corpus.txt"))
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, part := range strings.Split(string(raw), "-- ")[1:] {
		name, text, _ := strings.Cut(part, " --\n")
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	raw, err = os.ReadFile(filepath.Join(at, "queries.json"))
	ts.Check(err)
	var questions []struct {
		Query    string
		Relevant map[string]float64
	}
	ts.Check(json.Unmarshal(raw, &questions))
	d := experiment.Definition{
		ID: "mmr-rrf", Title: "MMR and RRF against plain BM25", Tool: "research.search", Primary: "ndcg@8",
		Metrics:  []string{"ndcg@8", "recall@8", "diversity@8", "latency_ms", "gas"},
		Rank:     &experiment.Rank{List: "/results", Key: "/path", Text: "/snippet", Cut: ".md"},
		Variants: []experiment.Variant{{Name: "bm25"}, {Name: "mmr+rrf", Units: []logic.Use{{Unit: "retrieval-mmr-rrf"}}}},
	}
	for _, q := range questions {
		input, err := json.Marshal(map[string]string{"query": q.Query})
		ts.Check(err)
		d.Items = append(d.Items, experiment.Item{ID: q.Query, Input: input, Labels: q.Relevant})
	}
	raw, err = json.MarshalIndent(d, "", " ")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o644))
}
