package main

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// Bounds of a search.
const (
	maxTerms     = 32  // of a query
	snippetBytes = 280 // around the best place
)

// SearchIn asks a question.
type SearchIn struct {
	Query   string  `json:"query"`
	K       int     `json:"k,omitempty"`
	Lambda  float64 `json:"lambda,omitempty"` // 1: the best whatever they repeat; towards 0: as different as can be
	Project string  `json:"project,omitempty"`
}

// SearchOut answers it, best first.
type SearchOut struct {
	Results []Result `json:"results"`
	Matched int      `json:"matched"` // passages that hold any word of the query

	// Where policies/abstention asks for some confidence: what there is of it. Below, Abstained is set and the results are
	// kept back; Escalate says who is to be asked instead.
	Confidence float64 `json:"confidence,omitempty"`
	Abstained  bool    `json:"abstained,omitempty"`
	Escalate   string  `json:"escalate,omitempty"`
	// Where policies/budget bounds tokens: about how many the results have, and which bound they reached, "soft" or "hard".
	Tokens int    `json:"tokens,omitempty"`
	Budget string `json:"budget,omitempty"`
}

// Result is one passage and where it stands.
type Result struct {
	Pointer string  `json:"pointer"` // path:from-to
	Path    string  `json:"path"`
	From    int     `json:"from"`
	To      int     `json:"to"`
	SHA256  string  `json:"sha256"` // of the file as it was read
	Heading string  `json:"heading,omitempty"`
	Score   float64 `json:"score"`
	Snippet string  `json:"snippet"`
}

// hit is a passage that holds words of the query.
type hit struct {
	id    uint32
	score float64
	rel   float64 // see recipe.relevance
	stored
	words map[string]bool // its distinct terms, for comparing it with others
}

func search(c *guest.Call, in SearchIn) (SearchOut, error) {
	x, err := openIndex(c, in.Project)
	if err != nil {
		return SearchOut{}, err
	}
	r, err := readRecipe(c, in)
	if err != nil {
		return SearchOut{}, err
	}
	query := queryTerms(in.Query)
	if len(query) == 0 {
		return SearchOut{}, guest.Errorf(abi.Invalid, "search %q: it has no word to look for", in.Query)
	}
	hits, weight, err := x.rank(query, r.K1, r.B)
	if err != nil {
		return SearchOut{}, err
	}
	out := SearchOut{Results: []Result{}, Matched: len(hits)}
	best := hits[:min(len(hits), r.Candidates)]
	for i := range best {
		if best[i].stored, err = x.passage(best[i].id); err != nil {
			return out, err
		}
	}
	r.relevance(best, query, weight)
	p, err := readPolicies(c)
	if err != nil {
		return out, err
	}
	picked := diverse(best, r.K, 1-r.Diversity)
	if p.abstains(&out, picked, query, weight) {
		return out, nil
	}
	for _, h := range picked {
		var file record
		if err := x.get("f/"+h.path, &file); err != nil {
			return out, err
		}
		next := Result{
			Pointer: h.path + ":" + strconv.Itoa(h.from) + "-" + strconv.Itoa(h.to), Path: h.path, From: h.from, To: h.to,
			SHA256: file.SHA, Heading: h.heading, Score: math.Round(h.score*1000) / 1000, Snippet: snippet(h.text, query),
		}
		if !p.affords(&out, next) {
			break
		}
		out.Results = append(out.Results, next)
	}
	return out, nil
}

// queryTerms are the distinct terms of a question in their order.
func queryTerms(q string) []string {
	var out []string
	tokens(q, func(_, _ int, t string) {
		if len(out) < maxTerms && !slices.Contains(out, t) {
			out = append(out, t)
		}
	})
	return out
}

// rank scores every passage that holds a term by BM25, best first; equal scores keep the order in which they were ingested.
// It gives the weight of each term too.
func (x *index) rank(query []string, k1, b float64) ([]hit, map[string]float64, error) {
	scores, weight := map[uint32]float64{}, map[string]float64{}
	average := float64(x.meta.Tokens) / float64(max(x.meta.Docs, 1))
	for _, t := range query {
		list, err := x.postings(t)
		if err != nil {
			return nil, nil, err
		}
		n := float64(len(list))
		idf := math.Log(1 + (float64(x.meta.Docs)-n+0.5)/(n+0.5))
		weight[t] = idf
		for _, p := range list {
			tf := float64(p.count)
			scores[p.id] += idf * tf * (k1 + 1) / (tf + k1*(1-b+b*float64(p.length)/max(average, 1)))
		}
	}
	hits := make([]hit, 0, len(scores))
	for id, s := range scores {
		hits = append(hits, hit{id: id, score: s})
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id)) })
	return hits, weight, nil
}

// postings reads all that is known of one term.
func (x *index) postings(term string) ([]posting, error) {
	keys, _, err := x.kv.List(x.prefix+"s/"+term+"/", "", 1000)
	if err != nil {
		return nil, err
	}
	var list []posting
	for _, k := range keys {
		raw, err := x.kv.Get(k.Name)
		if err != nil {
			return nil, err
		}
		if list, err = x.readPostings(list, raw); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// diverse picks k of the hits by maximal marginal relevance (Carbonell and Goldstein, 1998): at each step the one with
// the best lambda·relevance − (1−lambda)·likeness to what is picked already. Relevance is the hit's rel.
func diverse(hits []hit, k int, lambda float64) []hit {
	for i := range hits {
		hits[i].words = map[string]bool{}
		tokens(hits[i].text, func(_, _ int, t string) { hits[i].words[t] = true })
	}
	like := make([]float64, len(hits)) // to the nearest picked one
	taken := make([]bool, len(hits))
	var out []hit
	for len(out) < min(k, len(hits)) {
		pick, value := -1, math.Inf(-1)
		for i, h := range hits {
			if v := lambda*h.rel - (1-lambda)*like[i]; !taken[i] && v > value {
				pick, value = i, v
			}
		}
		taken[pick] = true
		out = append(out, hits[pick])
		for i := range hits {
			like[i] = max(like[i], likeness(hits[i].words, hits[pick].words))
		}
	}
	return out
}

// likeness is the share of words that two passages have in common (Jaccard).
func likeness(a, b map[string]bool) float64 {
	common := 0
	for w := range a {
		if b[w] {
			common++
		}
	}
	if all := len(a) + len(b) - common; all > 0 {
		return float64(common) / float64(all)
	}
	return 0
}

// snippet is the part of a text with the most distinct words of the query, at word boundaries.
func snippet(text string, query []string) string {
	if len(text) <= snippetBytes {
		return text
	}
	type place struct {
		at   int
		term string
	}
	var places []place
	tokens(text, func(start, _ int, t string) {
		if slices.Contains(query, t) {
			places = append(places, place{start, t})
		}
	})
	from, most := 0, 0
	for i, p := range places {
		seen := map[string]bool{}
		for _, q := range places[i:] {
			if q.at-p.at > snippetBytes-40 {
				break
			}
			seen[q.term] = true
		}
		if len(seen) > most {
			from, most = p.at, len(seen)
		}
	}
	from = max(0, min(from-20, len(text)-snippetBytes))
	if i := strings.LastIndexAny(text[:from], " \n"); from > 0 && i >= 0 {
		from = i + 1
	}
	to := min(len(text), from+snippetBytes)
	if i := strings.LastIndexAny(text[from:to], " \n"); to < len(text) && i > 0 {
		to = from + i
	}
	return clean(text[from:to])
}

// clean drops halves of characters at the edges.
func clean(s string) string {
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return strings.ToValidUTF8(s, "")
}

// CorporaIn asks what is there.
type CorporaIn struct {
	Project string `json:"project,omitempty"`
}

// CorporaOut says it.
type CorporaOut struct {
	Corpora  map[string]corpus `json:"corpora"`
	Passages int               `json:"passages"`
}

func corpora(c *guest.Call, in CorporaIn) (CorporaOut, error) {
	x, err := openIndex(c, in.Project)
	return CorporaOut{x.meta.Corpora, x.meta.Docs}, err
}

// ForgetIn names a folder to forget.
type ForgetIn struct {
	Dir     string `json:"dir"`
	Project string `json:"project,omitempty"`
}

// ForgetOut says how many files were forgotten, and whether there are more: then the caller calls again.
type ForgetOut struct {
	Removed int  `json:"removed"`
	Done    bool `json:"done"`
}

func forget(c *guest.Call, in ForgetIn) (ForgetOut, error) {
	x, err := openIndex(c, in.Project)
	if err != nil {
		return ForgetOut{}, err
	}
	g := &ingester{index: x, c: c, in: IngestIn{Dir: path.Clean(in.Dir), Project: in.Project}, terms: map[string][]posting{}}
	paths, err := g.records("")
	if err != nil {
		return ForgetOut{}, err
	}
	out := ForgetOut{Done: len(paths) <= maxCallFiles}
	for _, p := range paths[:min(len(paths), maxCallFiles)] {
		if err := g.remove(p); err != nil {
			return out, err
		}
		out.Removed++
	}
	if out.Done {
		delete(g.meta.Corpora, g.in.Dir)
	}
	g.run = run{}
	if err := g.flush(); err != nil {
		return out, err
	}
	if !out.Done {
		return out, nil
	}
	g.batch.Delete(g.prefix + g.runKey())
	if err := g.kv.Apply(&g.batch); err != nil {
		return out, err
	}
	return out, g.publish(c, in.Project)
}
