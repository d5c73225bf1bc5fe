package experiment

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Verdicts of a comparison with the first variant.
const (
	Better  = "better"
	Worse   = "worse"
	Unclear = "no clear winner"
	TooFew  = "too few pairs"
)

// Compared is one variant by one metric.
type Compared struct {
	Mean    float64 `json:"mean"`
	Diff    float64 `json:"diff"` // of the means, to the first variant
	Low     float64 `json:"low"`  // interval of Diff
	High    float64 `json:"high"`
	Verdict string  `json:"verdict,omitempty"` // none of the first
}

// draws of the bootstrap; its dice are always the same.
const draws = 10_000

// compare is the mean of paired differences with its percentile bootstrap interval over draws of items (Efron and
// Tibshirani, An Introduction to the Bootstrap, 1993). An item is drawn with all its seeds, which are not independent of
// each other. others is how many variants are compared: the confidence is 95 % for all of them together (Bonferroni).
func compare(diffs []float64, others int) (mean, low, high float64) {
	dice := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, draws)
	for i := range means {
		for range diffs {
			means[i] += diffs[dice.IntN(len(diffs))]
		}
		means[i] /= float64(len(diffs))
	}
	slices.Sort(means)
	for _, d := range diffs {
		mean += d
	}
	mean /= float64(len(diffs))
	tail := int(0.025 / float64(max(others, 1)) * draws)
	return mean, means[tail], means[draws-1-tail]
}

// analyse compares every variant with the first by every metric.
func (d *Definition) analyse(rows []row) map[string]map[string]Compared {
	out := map[string]map[string]Compared{}
	for _, name := range d.Metrics {
		m, _ := metric(name) // check has seen it
		out[name] = map[string]Compared{}
		values := d.byItem(rows, name)
		for v, variant := range d.Variants {
			var c Compared
			diffs := make([]float64, len(values))
			for i, item := range values {
				c.Mean += item[v]
				diffs[i] = item[v] - item[0]
			}
			c.Mean /= float64(max(len(values), 1))
			if v > 0 && len(diffs) > 0 {
				c.Diff, c.Low, c.High = compare(diffs, len(d.Variants)-1)
				c.Verdict = verdict(len(diffs), d.MinItems, c.Low, c.High, m.Lower)
			}
			out[name][variant.Name] = c
		}
	}
	return out
}

// byItem is the mean over seeds of each item's values, by variant, in the order of the items.
func (d *Definition) byItem(rows []row, name string) [][]float64 {
	var out [][]float64
	last, n := "", 0
	for i := 0; i < len(rows); i += len(d.Variants) {
		if rows[i].item != last {
			out, last, n = append(out, make([]float64, len(d.Variants))), rows[i].item, 0
		}
		sums := out[len(out)-1]
		for v := range d.Variants {
			sums[v] = (sums[v]*float64(n) + rows[i+v].values[name]) / float64(n+1)
		}
		n++
	}
	return out
}

func verdict(n, least int, low, high float64, lower bool) string {
	if lower {
		low, high = -high, -low
	}
	switch {
	case n < least:
		return TooFew
	case low > 0:
		return Better
	case high < 0:
		return Worse
	}
	return Unclear
}

// winner decides by the primary metric; "" is none, and why says what can be said.
func (d *Definition) winner(results map[string]map[string]Compared, items int, spent string) (name, why string) {
	if items < d.MinItems {
		why = fmt.Sprintf("%s: %d items were done, %d are needed", TooFew, items, d.MinItems)
		if spent != "" {
			why += "; " + spent + " is spent"
		}
		return "", why
	}
	m, _ := metric(d.Primary)
	worse := 0
	for _, v := range d.Variants[1:] {
		c := results[d.Primary][v.Name]
		switch c.Verdict {
		case Better:
			if best := results[d.Primary][name].Mean; name == "" || c.Mean > best != m.Lower {
				name = v.Name
			}
		case Worse:
			worse++
		}
	}
	switch {
	case name != "":
		return name, fmt.Sprintf("by %s better than %s: the interval of the difference leaves out 0", d.Primary, d.Variants[0].Name)
	case worse == len(d.Variants)-1:
		return d.Variants[0].Name, "every other variant is worse by " + d.Primary
	}
	return "", Unclear + " by " + d.Primary + d.cheapest(results)
}

// cheapest says which variant costs less where nothing else decides: by gas, else by time, where they were measured.
func (d *Definition) cheapest(results map[string]map[string]Compared) string {
	for _, by := range []string{"gas", "latency_ms"} {
		table, measured := results[by]
		if !measured {
			continue
		}
		best := d.Variants[0].Name
		for _, v := range d.Variants[1:] {
			if table[v.Name].Mean < table[best].Mean {
				best = v.Name
			}
		}
		return "; " + best + " costs least by " + by
	}
	return ""
}
