package snappy

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// slots is in how many parts the window slides.
const slots = 4

// Bounds of what is measured, in microseconds; beyond, the bound counts.
const (
	shortest = 1
	longest  = 120_000_000
	digits   = 2 // significant ones
)

// series is one span of one route: a window of histograms, and what counts since the start.
type series struct {
	route   string
	measure Measure
	budget  time.Duration
	slot    time.Duration

	mu     sync.Mutex
	parts  [slots]part
	hits   int64
	errors int64

	breached bool
	since    time.Time
	strikes  int
	breaches int64
}

type part struct {
	epoch int64
	hist  *hdrhistogram.Histogram
}

func newSeries(route string, m Measure, window time.Duration) *series {
	return &series{route: route, measure: m, slot: max(window/slots, time.Millisecond)}
}

func (s *series) add(now time.Time, took time.Duration, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits++
	if failed {
		s.errors++
	}
	epoch := now.UnixNano() / int64(s.slot)
	p := &s.parts[epoch%slots]
	switch {
	case p.hist == nil:
		p.hist = hdrhistogram.New(shortest, longest, digits)
	case p.epoch != epoch:
		p.hist.Reset()
	}
	p.epoch = epoch
	_ = p.hist.RecordValue(min(longest, max(shortest, took.Microseconds()))) // within its bounds it never fails
}

// Summary is a series as it stands.
type Summary struct {
	Route    string        `json:"-"`
	Measure  Measure       `json:"-"`
	Samples  int64         `json:"samples"` // in the window
	P50      float64       `json:"p50_ms"`
	P95      float64       `json:"p95_ms"`
	P99      float64       `json:"p99_ms"`
	Max      float64       `json:"max_ms"`
	Budget   float64       `json:"budget_ms,omitempty"`
	Breached bool          `json:"breached,omitempty"`
	Breaches int64         `json:"breaches,omitempty"` // since the start
	Hits     int64         `json:"-"`                  // since the start
	Errors   int64         `json:"-"`
	p95      time.Duration // of the window
}

func (s *series) summary(now time.Time) Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.summed(now)
}

// summed merges what of the window is still in it.
func (s *series) summed(now time.Time) Summary {
	all := hdrhistogram.New(shortest, longest, digits)
	epoch := now.UnixNano() / int64(s.slot)
	for i := range s.parts {
		if p := &s.parts[i]; p.hist != nil && p.epoch > epoch-slots && p.epoch <= epoch {
			all.Merge(p.hist)
		}
	}
	ms := func(q float64) float64 { return float64(all.ValueAtQuantile(q)) / 1000 }
	return Summary{
		Route: s.route, Measure: s.measure, Samples: all.TotalCount(), P50: ms(50), P95: ms(95), P99: ms(99), Max: float64(all.Max()) / 1000,
		Budget: millis(s.budget), Breached: s.breached, Breaches: s.breaches, Hits: s.hits, Errors: s.errors,
		p95: time.Duration(all.ValueAtQuantile(95)) * time.Microsecond,
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
