// Package measure turns the journal into numbers that a guard can be held to. Its promise: a metric is one of a closed
// list, each a function of journaled events alone, so that anybody who has the journal finds the same number.
package measure

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
)

// Metric is one of the list.
type Metric struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	What string `json:"what"`
	Of   string `json:"of"` // what Series' of filters by
}

// Metrics are all there are, by name.
func Metrics() []Metric {
	return []Metric{
		{"actions.count", "actions", "actions that ended", "tool"},
		{"actions.failed_ratio", "0 to 1", "share of ended actions that failed", "tool"},
		{"actions.gas_mean", "gas", "gas of an action that completed, in the mean", "tool"},
		{"actions.ran_ms_mean", "ms", "time that an ended action ran, in the mean", "tool"},
		{"actions.ran_ms_p95", "ms", "time that 95 of 100 ended actions ran at most", "tool"},
		{"infer.count", "requests", "times that a model was asked", "model"},
		{"infer.failed_ratio", "0 to 1", "share of requests that a model did not answer to the end", "model"},
		{"infer.ms_mean", "ms", "time of a request, in the mean", "model"},
		{"infer.tokens", "tokens", "tokens in and out, in all", "model"},
		{"infer.usd", "US dollars", "what models cost, in all", "model"},
		{"policy.denied_count", "refusals", "times that Cedar or a held capability refused", "pack"},
	}
}

// Prefixes are the events that metrics are made of.
func Prefixes() []string { return []string{"actions.", "infer.", "policy.denied"} }

// maxValues bounds the values a percentile is made of; beyond them the newest take the place of the oldest.
const maxValues = 4096

// Series adds records up to one metric. It is not safe for concurrent use.
type Series struct {
	name, of string
	match    func(*journal.Record) bool
	n, hits  int
	sum      float64
	values   []float64
}

// New begins a series. of limits it to one tool, model or pack; match chooses records, nil takes all. Invalid for a metric
// that is not on the list.
func New(name, of string, match func(*journal.Record) bool) (*Series, error) {
	if !slices.ContainsFunc(Metrics(), func(m Metric) bool { return m.Name == name }) {
		var names []string
		for _, m := range Metrics() {
			names = append(names, m.Name)
		}
		return nil, abi.Errorf(abi.Invalid, "measure %q: there is no such metric", name).WithHint("the metrics are %s", strings.Join(names, ", "))
	}
	return &Series{name: name, of: of, match: match}, nil
}

// Add counts a record, in the order of the journal, and reports whether the metric is made of it.
func (s *Series) Add(r *journal.Record) bool {
	if s.match != nil && !s.match(r) {
		return false
	}
	switch head, _, _ := strings.Cut(s.name, "."); {
	case head == "actions" && (r.Kind == "actions.completed" || r.Kind == "actions.failed"):
		return s.action(r)
	case head == "infer" && (r.Kind == "infer.done" || r.Kind == "infer.failed"):
		return s.infer(r)
	case head == "policy" && r.Kind == "policy.denied" && (s.of == "" || s.of == r.Pack):
		s.put(1, true)
		return true
	}
	return false
}

func (s *Series) put(v float64, hit bool) {
	s.n++
	s.sum += v
	if hit {
		s.hits++
	}
	if strings.HasSuffix(s.name, "_p95") {
		if len(s.values) == maxValues {
			s.values = s.values[1:]
		}
		s.values = append(s.values, v)
	}
}

func (s *Series) action(r *journal.Record) bool {
	var e api.ActionEvent
	if json.Unmarshal(r.Body, &e) != nil || s.of != "" && s.of != e.Kind {
		return false
	}
	if s.name == "actions.gas_mean" {
		if r.Kind != "actions.completed" || e.Usage == nil {
			return false
		}
		s.put(float64(e.Usage.Gas), false)
		return true
	}
	s.put(float64(e.RanMS), r.Kind == "actions.failed")
	return true
}

func (s *Series) infer(r *journal.Record) bool {
	var e api.InferEvent
	if json.Unmarshal(r.Body, &e) != nil || s.of != "" && s.of != e.Model {
		return false
	}
	v := float64(e.MS)
	switch s.name {
	case "infer.tokens":
		v = float64(e.Prompt + e.Output)
	case "infer.usd":
		v = float64(e.Money) / 1e6
	}
	s.put(v, r.Kind == "infer.failed")
	return true
}

// Value is the metric so far and how many observations it is made of; 0 of none.
func (s *Series) Value() (value float64, n int) {
	switch {
	case s.n == 0:
		return 0, 0
	case strings.HasSuffix(s.name, "_count") || strings.HasSuffix(s.name, ".count"):
		return float64(s.n), s.n
	case strings.HasSuffix(s.name, "_ratio"):
		return float64(s.hits) / float64(s.n), s.n
	case strings.HasSuffix(s.name, "_mean"):
		return s.sum / float64(s.n), s.n
	case strings.HasSuffix(s.name, "_p95"):
		sorted := slices.Sorted(slices.Values(s.values))
		return sorted[int(math.Ceil(0.95*float64(len(sorted))))-1], s.n
	}
	return s.sum, s.n
}
