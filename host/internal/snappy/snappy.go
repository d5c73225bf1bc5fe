// Package snappy keeps one promise: a host that answers people too slowly says so, while it does and no longer.
//
// A Governor measures, for each route, four spans: from an interaction to the first feedback anybody sees of it, to the
// first part of a streamed answer, between parts, and to the full result. Measurements live in a sliding window. The p95 of
// a protected route that stays above its budget is a breach: one event (snappy.notice) when it begins and one when it ends,
// with hysteresis between. It costs one lock and one histogram update per measurement.
package snappy

import (
	"cmp"
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
)

// Measure is one of the four spans.
type Measure string

// The spans.
const (
	Feedback     Measure = "i2f"           // interaction to first feedback: the answer, or the first event of it on a stream
	FirstPartial Measure = "first_partial" // interaction to the first part of a streamed answer
	Cadence      Measure = "cadence"       // between two parts
	Full         Measure = "full_result"   // to the whole answer
)

// Measures are all of them, in order.
var measures = [...]Measure{Feedback, FirstPartial, Cadence, Full}

// NoticeKind is the kind of the event that tells that a breach begins or ends.
const NoticeKind = "snappy.notice"

// Budgets bound the p95 of each span; zero means no bound.
type Budgets map[Measure]time.Duration

// Defaults are the budgets of a host that is told nothing.
func Defaults() Budgets {
	return Budgets{Feedback: 50 * time.Millisecond, FirstPartial: 150 * time.Millisecond, Cadence: 250 * time.Millisecond, Full: 2 * time.Second}
}

// Config of a Governor; zero fields mean the defaults named.
type Config struct {
	Window  time.Duration      // 60 s
	Every   time.Duration      // between judgements: 2 s
	Samples int64              // in the window, below which nothing is judged: 20
	Budgets Budgets            // Defaults, where a span is missing
	Routes  map[string]Budgets // by route, where they differ
	// Protected are the routes that are judged, by the beginning of "METHOD /path" or of "/path". The rest is measured only.
	Protected []string
	Now       func() time.Time // the clock; for tests
	// Hints go over Budgets; they are asked at every judgement, so that a change of them needs no restart. nil has none.
	Hints func() Budgets
}

// protected are the routes that people wait for.
var protected = []string{"/state", "/actions", "/v1/", "/leases", "/packs", "/queue", "actions:"}

// maxSeries bounds the series, and so the memory: about 90 KB each once used.
const maxSeries = 128

// Governor measures and judges. Safe for concurrent use.
type Governor struct {
	cfg     Config
	journal *journal.Journal

	mu      sync.Mutex
	series  map[key]*series
	budgets Budgets // that hold: the configured ones and the hints; never changed, only replaced

	asking  sync.Mutex
	begun   map[string]begun // by correlation id: interactions without feedback so far
	waiting atomic.Int64
}

type key struct {
	route   string
	measure Measure
}

type begun struct {
	route string
	at    time.Time
}

// New makes a Governor that tells j of breaches.
func New(j *journal.Journal, c Config) *Governor {
	c.Window, c.Every, c.Samples = cmp.Or(c.Window, time.Minute), cmp.Or(c.Every, 2*time.Second), cmp.Or(c.Samples, 20)
	budgets := Defaults()
	for m, d := range c.Budgets {
		budgets[m] = d
	}
	c.Budgets = budgets
	if c.Protected == nil {
		c.Protected = protected
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Governor{cfg: c, journal: j, series: map[key]*series{}, budgets: budgets, begun: map[string]begun{}}
}

// Observe notes one span of a route ("GET /state/:id"). A nil Governor measures nothing.
func (g *Governor) Observe(route string, m Measure, took time.Duration, failed bool) {
	if g == nil {
		return
	}
	g.of(route, m).add(g.cfg.Now(), took, failed)
}

// of gives a series; routes beyond the bound share one.
func (g *Governor) of(route string, m Measure) *series {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := key{route, m}
	if s := g.series[k]; s != nil {
		return s
	}
	if len(g.series) >= maxSeries {
		k.route = "other"
	}
	s := g.series[k]
	if s == nil {
		s = newSeries(k.route, m, g.cfg.Window)
		s.budget = g.budget(k.route, m)
		g.series[k] = s
	}
	return s
}

// retune takes over what the hints say now.
func (g *Governor) retune() {
	if g.cfg.Hints == nil {
		return
	}
	next := maps.Clone(g.cfg.Budgets)
	maps.Copy(next, g.cfg.Hints())
	g.mu.Lock()
	defer g.mu.Unlock()
	if maps.Equal(next, g.budgets) {
		return
	}
	g.budgets = next
	for k, s := range g.series {
		s.mu.Lock()
		s.budget = g.budget(k.route, k.measure)
		s.mu.Unlock()
	}
}

// budget is what bounds a route's span; 0: nothing. The caller has the lock.
func (g *Governor) budget(route string, m Measure) time.Duration {
	_, path, _ := strings.Cut(route, " ")
	for _, p := range g.cfg.Protected {
		if strings.HasPrefix(route, p) || path != "" && strings.HasPrefix(path, p) {
			if d, own := g.cfg.Routes[route][m]; own {
				return d
			}
			return g.budgets[m]
		}
	}
	return 0
}

// maxBegun bounds the interactions that wait for feedback.
const maxBegun = 4096

// Begin notes an interaction whose feedback is awaited under a correlation id.
func (g *Governor) Begin(corr, route string, at time.Time) {
	if g == nil || corr == "" {
		return
	}
	g.asking.Lock()
	defer g.asking.Unlock()
	if len(g.begun) < maxBegun {
		g.begun[corr] = begun{route, at}
		g.waiting.Store(int64(len(g.begun)))
	}
}

// Feedback notes that somebody was shown something of an interaction; the first time counts.
func (g *Governor) Feedback(corr string) {
	if g == nil || corr == "" || g.waiting.Load() == 0 {
		return
	}
	g.asking.Lock()
	b, ok := g.begun[corr]
	delete(g.begun, corr)
	g.waiting.Store(int64(len(g.begun)))
	g.asking.Unlock()
	if ok {
		g.Observe(b.route, Feedback, g.cfg.Now().Sub(b.at), false)
	}
}

// Run judges at every beat, and measures actions by their events, until ctx ends. Errors: those of following.
func (g *Governor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g.follow(ctx) }()
	beat := time.NewTicker(g.cfg.Every)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case <-beat.C:
			if err := g.Judge(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}
