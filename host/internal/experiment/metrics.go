package experiment

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/manifests"
)

// Metric is one of the closed list of what can be measured of a call. Those of rankings are written with the rank that
// they look at, as in ndcg@10.
type Metric struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	Lower  bool   `json:"lower,omitempty"` // is better
	Ranked bool   `json:"ranked,omitempty"`
}

// Metrics are all there are.
func Metrics() []Metric {
	return []Metric{
		{"abstains_rightly", "1 when the answer's member abstained is what the item's unsure says", false, false},
		{"answer_bytes", "length of the answer", true, false},
		{"contains", "1 when the answer holds the item's text", false, false},
		{"diversity", "mean unlikeness (1 − Jaccard of words) of all pairs of the first k", false, true},
		{"exact", "1 when the answer is the item's, as JSON", false, false},
		{"gas", "gas of the call", true, false},
		{"latency_ms", "time of the call by the wall clock", true, false},
		{"ndcg", "normalised discounted cumulative gain of the first k, gains 2^grade − 1", false, true},
		{"recall", "share of graded keys among the first k", false, true},
		{"success", "1 when the tool answered", false, false},
	}
}

// metric finds one by its name, without the rank.
func metric(name string) (Metric, error) {
	base, k, ranked := strings.Cut(name, "@")
	i := slices.IndexFunc(Metrics(), func(m Metric) bool { return m.Name == base })
	if i >= 0 && Metrics()[i].Ranked == ranked {
		if n, err := strconv.Atoi(k); !ranked || err == nil && n >= 1 && n <= 1000 {
			return Metrics()[i], nil
		}
	}
	var names []string
	for _, m := range Metrics() {
		if m.Ranked {
			m.Name += "@K"
		}
		names = append(names, m.Name)
	}
	return Metric{}, abi.Errorf(abi.Invalid, "there is no metric %q", name).WithHint("the metrics are %s", strings.Join(names, ", "))
}

func needsRank(name string) bool { m, err := metric(name); return err == nil && m.Ranked }

// measure takes all metrics of one answer. A call that failed has no quality: all but what it cost is 0.
func (d *Definition) measure(it Item, a Answer) map[string]float64 {
	values := map[string]float64{}
	var found []entry
	if d.Rank != nil && a.Code == abi.OK.String() {
		found = d.Rank.read(a.Body)
	}
	for _, name := range d.Metrics {
		base, cut, _ := strings.Cut(name, "@")
		k, _ := strconv.Atoi(cut)
		v := 0.0
		switch {
		case base == "latency_ms":
			v = a.MS
		case base == "gas":
			v = float64(a.Gas)
		case a.Code != abi.OK.String():
		case base == "ndcg":
			v = ndcg(found[:min(k, len(found))], it.Labels)
		case base == "recall":
			v = recall(found[:min(k, len(found))], it.Labels)
		case base == "diversity":
			v = diversity(found[:min(k, len(found))])
		default:
			v = plainMetric(base, it, a)
		}
		values[name] = v
	}
	return values
}

func plainMetric(base string, it Item, a Answer) float64 {
	yes := false
	switch base {
	case "success":
		yes = true
	case "answer_bytes":
		return float64(len(a.Body))
	case "contains":
		yes = it.Says != "" && bytes.Contains(a.Body, []byte(it.Says))
	case "exact":
		want, errWant := manifests.CanonicalJSON(it.Expect)
		got, errGot := manifests.CanonicalJSON(a.Body)
		yes = errWant == nil && errGot == nil && bytes.Equal(want, got)
	case "abstains_rightly":
		var said struct{ Abstained bool }
		yes = json.Unmarshal(a.Body, &said) == nil && it.Unsure != nil && said.Abstained == *it.Unsure
	}
	if yes {
		return 1
	}
	return 0
}

// entry is one of a ranking.
type entry struct {
	key   string
	words map[string]bool
}

func (r *Rank) read(body json.RawMessage) (list []entry) {
	root, err := tree.Parse(body)
	if err != nil {
		return nil
	}
	at, _ := tree.Get(root, r.List)
	items, _ := at.([]any)
	for _, item := range items {
		key, _ := tree.Get(item, r.Key)
		text, _ := tree.Get(item, r.Text)
		k, _ := key.(string)
		t, _ := text.(string)
		e := entry{key: strings.TrimSuffix(k, r.Cut), words: map[string]bool{}}
		for _, w := range strings.FieldsFunc(strings.ToLower(t), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
			e.words[w] = true
		}
		list = append(list, e)
	}
	return list
}

// grade is the label that an entry stands for. taken keeps two entries from counting for one label.
func grade(e entry, labels map[string]float64, taken map[string]bool) float64 {
	for label, g := range labels {
		if (e.key == label || strings.HasSuffix(e.key, "/"+label)) && !taken[label] {
			taken[label] = true
			return g
		}
	}
	return 0
}

func ndcg(found []entry, labels map[string]float64) float64 {
	gain := func(g float64, rank int) float64 { return (math.Exp2(g) - 1) / math.Log2(float64(rank)+2) }
	var got, ideal float64
	taken := map[string]bool{}
	for i, e := range found {
		got += gain(grade(e, labels, taken), i)
	}
	var grades []float64
	for _, g := range labels {
		grades = append(grades, g)
	}
	slices.Sort(grades)
	slices.Reverse(grades)
	for i, g := range grades {
		ideal += gain(g, i)
	}
	if ideal == 0 {
		return 0
	}
	return got / ideal
}

func recall(found []entry, labels map[string]float64) float64 {
	if len(labels) == 0 {
		return 0
	}
	hits, taken := 0, map[string]bool{}
	for _, e := range found {
		if grade(e, labels, taken) > 0 {
			hits++
		}
	}
	return float64(hits) / float64(len(labels))
}

func diversity(found []entry) float64 {
	sum, pairs := 0.0, 0
	for i := range found {
		for j := range i {
			common := 0
			for w := range found[i].words {
				if found[j].words[w] {
					common++
				}
			}
			if all := len(found[i].words) + len(found[j].words) - common; all > 0 {
				sum += 1 - float64(common)/float64(all)
			}
			pairs++
		}
	}
	return sum / float64(max(pairs, 1))
}
