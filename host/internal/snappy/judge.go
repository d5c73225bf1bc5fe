package snappy

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Notice is the body of NoticeKind.
type Notice struct {
	State    string  `json:"state"` // breach or clear
	Route    string  `json:"route"`
	Budget   Measure `json:"budget"` // which one
	BudgetMS float64 `json:"budget_ms"`
	P95      float64 `json:"p95_ms"`
	Samples  int64   `json:"samples"`
	WindowMS float64 `json:"window_ms"`
	Since    string  `json:"since"` // when the breach began
}

// A breach begins at the second judgement in a row above the budget, and ends at the second in a row at or below four
// fifths of it, or with too few samples to tell.
const (
	strikes = 2
	relief  = 0.8
)

// Judge looks at every budget once and journals what began or ended. Errors: those of the journal.
func (g *Governor) Judge(ctx context.Context) error {
	var events []journal.Event
	g.retune()
	now := g.cfg.Now()
	for _, s := range g.all() {
		if n, told := s.judge(now, g.cfg.Samples, g.cfg.Window); told {
			events = append(events, journal.Event{Kind: NoticeKind, Actor: "host", Body: n})
		}
	}
	g.forget(now)
	if len(events) == 0 {
		return nil
	}
	_, err := g.journal.Append(ctx, events...)
	return err
}

// forget drops interactions that nobody was ever shown anything of, after the longest span that is measured.
func (g *Governor) forget(now time.Time) {
	g.asking.Lock()
	defer g.asking.Unlock()
	for corr, b := range g.begun {
		if now.Sub(b.at) > longest*time.Microsecond {
			delete(g.begun, corr)
		}
	}
	g.waiting.Store(int64(len(g.begun)))
}

func (g *Governor) all() []*series {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*series, 0, len(g.series))
	for _, s := range g.series {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *series) int {
		return strings.Compare(a.route+"\x00"+string(a.measure), b.route+"\x00"+string(b.measure))
	})
	return out
}

func (s *series) judge(now time.Time, least int64, window time.Duration) (Notice, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.budget == 0 {
		return Notice{}, false
	}
	sum := s.summed(now)
	enough := sum.Samples >= least
	var against bool // the state it is in
	if s.breached {
		against = !enough || float64(sum.p95) <= relief*float64(s.budget)
	} else {
		against = enough && sum.p95 > s.budget
	}
	if !against {
		s.strikes = 0
		return Notice{}, false
	}
	if s.strikes++; s.strikes < strikes {
		return Notice{}, false
	}
	s.strikes, s.breached = 0, !s.breached
	n := Notice{State: "clear", Route: s.route, Budget: s.measure, BudgetMS: millis(s.budget), P95: sum.P95, Samples: sum.Samples, WindowMS: millis(window)}
	if s.breached {
		n.State, s.since = "breach", now
		s.breaches++
	}
	n.Since = s.since.UTC().Format("2006-01-02T15:04:05.000Z")
	return n, true
}

// Summaries are all series as they stand, by route and span.
func (g *Governor) Summaries() []Summary {
	if g == nil {
		return nil
	}
	now := g.cfg.Now()
	var out []Summary
	for _, s := range g.all() {
		out = append(out, s.summary(now))
	}
	return out
}

// Document is the read model "snappy": what is judged, with its budgets.
func (g *Governor) Document() any {
	routes := map[string]map[Measure]Summary{}
	breached := []string{}
	for _, s := range g.Summaries() {
		if s.Budget == 0 {
			continue
		}
		if routes[s.Route] == nil {
			routes[s.Route] = map[Measure]Summary{}
		}
		routes[s.Route][s.Measure] = s
		if s.Breached {
			breached = append(breached, s.Route+" "+string(s.Measure))
		}
	}
	budgets := map[string]float64{}
	g.mu.Lock()
	held := g.budgets
	g.mu.Unlock()
	for _, m := range measures {
		budgets[string(m)+"_ms"] = millis(held[m])
	}
	return map[string]any{"budgets": budgets, "protected": g.cfg.Protected, "window_ms": millis(g.cfg.Window), "routes": routes, "breached": breached}
}

// RouteStats is the read model "route_stats": every route that was asked for, but those that only watch the host, which
// would keep the document from ever resting.
func (g *Governor) RouteStats() any {
	type stat struct {
		Hits   int64 `json:"hits"`
		Errors int64 `json:"errors"`
		Summary
	}
	items := map[string]stat{}
	for _, s := range g.Summaries() {
		if s.Measure == Full && s.Route != "GET /metrics" && s.Route != "GET /healthz" {
			hits, errs := s.Hits, s.Errors
			s.Budget, s.Breached, s.Breaches = 0, false, 0
			items[s.Route] = stat{hits, errs, s}
		}
	}
	return map[string]any{"items": items, "window_ms": millis(g.cfg.Window)}
}

// follow measures actions: from being accepted to their end, by what their events say.
func (g *Governor) follow(ctx context.Context) error {
	f := journal.Filter{Prefixes: []string{"actions.completed", "actions.failed"}}
	for r, err := range g.journal.Follow(ctx, g.journal.Last(), f) {
		if err != nil {
			if abi.CodeOf(err) == abi.Unavailable { // the host closes
				return nil
			}
			return err
		}
		var end struct {
			Kind   string `json:"kind"`
			Waited int64  `json:"waited_ms"`
			Ran    int64  `json:"ran_ms"`
		}
		if json.Unmarshal(r.Body, &end) == nil && end.Kind != "" {
			g.Observe("actions:"+end.Kind, Full, time.Duration(end.Waited+end.Ran)*time.Millisecond, r.Kind == "actions.failed")
		}
	}
	return nil
}
