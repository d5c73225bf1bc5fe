package main

import (
	"cmp"
	"math"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// recipeDoc is the document of the host's configuration that says how to search.
const recipeDoc = "recipes/retrieval"

// recipe is that document, as far as it concerns this pack. What the document leaves out keeps its default.
type recipe struct {
	Ranking    string  `json:"ranking"` // "bm25", or "rrf": that and closeness, fused
	K          int     `json:"k"`
	RRFK       int     `json:"rrf_k"`
	Diversity  float64 `json:"diversity"`  // 1 − lambda
	Candidates int     `json:"candidates"` // passages looked at for closeness and likeness
	K1         float64 `json:"bm25_k1"`
	B          float64 `json:"bm25_b"`
}

// defaults hold where no document may be read. BM25's are the usual constants (Robertson and Zaragoza, The Probabilistic
// Relevance Framework, 2009).
func defaults() recipe {
	return recipe{Ranking: "bm25", K: 5, RRFK: 60, Diversity: 0.28, Candidates: 40, K1: 1.2, B: 0.75}
}

// Bounds of a recipe, since a document may ask for more than a call can do.
const (
	maxK          = 50
	maxCandidates = 400
)

// readRecipe is the document as the calling project and agent have it; without a lease or a document, the defaults. What
// the question itself says goes above both.
func readRecipe(c *guest.Call, in SearchIn) (recipe, error) {
	r := defaults()
	err := c.Config(recipeDoc, &r)
	switch abi.CodeOf(err) {
	case abi.OK:
	case abi.NotFound, abi.Denied, abi.LeaseExpired, abi.LeaseRevoked, abi.BudgetExhausted:
		r = defaults()
	default:
		return r, err
	}
	r.K = min(max(cmp.Or(in.K, r.K), 1), maxK)
	if in.Lambda != 0 {
		r.Diversity = 1 - in.Lambda
	}
	r.Candidates = min(max(r.Candidates, 4*r.K), maxCandidates)
	r.RRFK = max(r.RRFK, 1)
	return r, nil
}

// relevance gives the best hits, which have their passages, their part of the score between 0 and 1 by which diverse
// weighs them, and their order.
func (r recipe) relevance(hits []hit, query []string, weight map[string]float64) {
	if len(hits) == 0 {
		return
	}
	if r.Ranking != "rrf" {
		for i := range hits {
			hits[i].rel = hits[i].score / hits[0].score
		}
		return
	}
	fuse(hits, closeness(hits, query, weight), float64(r.RRFK))
	first, last := hits[0].score, hits[len(hits)-1].score
	for i := range hits {
		// Fused scores lie near each other whatever the ranks, so they are stretched.
		hits[i].rel = 1
		if first > last {
			hits[i].rel = (hits[i].score - last) / (first - last)
		}
	}
}

// fuse scores hits, which are in the order of one ranking, by reciprocal rank fusion with another (Cormack, Clarke and
// Büttcher, 2009), and sorts them. 1 is the first of both.
func fuse(hits []hit, other []int, k float64) {
	for i := range hits {
		hits[i].score = (k + 1) / 2 * (1/(k+1+float64(i)) + 1/(k+1+float64(other[i])))
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
}

// closeness ranks passages by how much of the question they hold, rare words counting more, and then by how near to each
// other its words stand. It gives each passage's rank, from 0.
func closeness(hits []hit, query []string, weight map[string]float64) []int {
	type close struct {
		at, span int
		held     float64
	}
	list := make([]close, len(hits))
	for i, h := range hits {
		held, span := window(h.heading+"\n"+h.text, query)
		list[i] = close{at: i, span: span}
		for _, t := range held {
			list[i].held += weight[t]
		}
	}
	slices.SortStableFunc(list, func(a, b close) int { return cmp.Or(cmp.Compare(b.held, a.held), cmp.Compare(a.span, b.span)) })
	ranks := make([]int, len(hits))
	for rank, c := range list {
		ranks[c.at] = rank
	}
	return ranks
}

// window gives the words of the question that a text holds, in the question's order, and the length in bytes of the
// shortest stretch with all of them.
func window(text string, query []string) (held []string, span int) {
	type place struct{ start, end, term int }
	var places []place
	tokens(text, func(start, end int, t string) {
		if i := slices.Index(query, t); i >= 0 {
			places = append(places, place{start, end, i})
		}
	})
	total, distinct := make([]int, len(query)), 0
	for _, p := range places {
		total[p.term]++
	}
	for i, n := range total {
		if n > 0 {
			held = append(held, query[i])
		}
	}
	seen, left := make([]int, len(query)), 0
	span = math.MaxInt
	for _, p := range places {
		if seen[p.term]++; seen[p.term] == 1 {
			distinct++
		}
		for ; distinct == len(held); left++ {
			first := places[left]
			span = min(span, p.end-first.start)
			if seen[first.term]--; seen[first.term] == 0 {
				distinct--
			}
		}
	}
	return held, span
}
