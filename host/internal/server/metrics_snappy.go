package server

import "github.com/prometheus/client_golang/prometheus"

var (
	descPace     = prometheus.NewDesc("arw_snappy_budget_seconds", "What the p95 of a route's span may be.", []string{"route", "budget"}, nil)
	descP95      = prometheus.NewDesc("arw_snappy_p95_seconds", "The p95 of a route's span over the sliding window.", []string{"route", "budget"}, nil)
	descBreached = prometheus.NewDesc("arw_snappy_breached", "1 while a budget is breached.", []string{"route", "budget"}, nil)
	descBreaches = prometheus.NewDesc("arw_snappy_breaches_total", "Breaches of a budget that began.", []string{"route", "budget"}, nil)
)

// snappy is how far the host keeps its budgets; only what is judged has series.
func (n *snapshot) snappy(gauge, count metricFunc) {
	for _, s := range n.s.svc.Snappy.Summaries() {
		if s.Budget == 0 {
			continue
		}
		labels := []string{s.Route, string(s.Measure)}
		gauge(descPace, s.Budget/1000, labels...)
		gauge(descP95, s.P95/1000, labels...)
		breached := 0.0
		if s.Breached {
			breached = 1
		}
		gauge(descBreached, breached, labels...)
		count(descBreaches, float64(s.Breaches), labels...)
	}
}
