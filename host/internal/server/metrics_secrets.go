package server

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

var descFound = prometheus.NewDesc("arw_secrets_found_total", "Secrets that were found where they do not belong since start, by place, rule and what became of them.", []string{"where", "rule", "outcome"}, nil)

// secrets are what redaction found. Names of secrets are no labels: whoever scrapes need not know them.
func (n *snapshot) secrets(count metricFunc) {
	sums := map[[3]string]uint64{}
	for _, c := range n.s.svc.Redact.Counts() {
		rule, _, _ := strings.Cut(c.Rule, ":")
		sums[[3]string{c.Where, rule, c.Outcome}] += c.Count
	}
	for labels, sum := range sums {
		count(descFound, float64(sum), labels[:]...)
	}
}
