package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/server"
	"github.com/arw-project/arw/host/internal/snappy"
)

// TestSlowRoutesAreToldEverywhere holds that a budget nobody can keep is breached in the event, the document and the metrics.
func TestSlowRoutesAreToldEverywhere(t *testing.T) {
	t.Parallel()
	e := before(t, hosttest.New(t, hosttest.Options{Config: func(c *host.Config) {
		c.Snappy = snappy.Config{Every: time.Millisecond, Samples: 5, Budgets: snappy.Budgets{snappy.Full: time.Nanosecond}}
	}}), server.Options{})
	for range 10 {
		e.ask("GET", "/packs", "")
	}
	var notice snappy.Notice
	for r, err := range e.Services().Journal.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{snappy.NoticeKind}}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(r.Body, &notice); err != nil {
			t.Fatal(err)
		}
		if notice.Route == "GET /packs" {
			break
		}
	}
	if notice.State != "breach" || notice.Budget != snappy.Full || notice.Samples < 5 {
		t.Errorf("%+v", notice)
	}
	text := bodyOf(t, e.ask("GET", "/metrics", ""))
	for _, want := range []string{
		`arw_snappy_breached{budget="full_result",route="GET /packs"} 1`, `arw_snappy_breaches_total{budget="full_result",route="GET /packs"} 1`,
		`arw_snappy_budget_seconds{budget="full_result",route="GET /packs"}`, `arw_snappy_p95_seconds{budget="full_result",route="GET /packs"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	// The documents follow by themselves; each is read when a patch says that it changed.
	for id, part := range map[string]string{"snappy": `"GET /packs full_result"`, "route_stats": `"GET /packs":{"errors":0,"hits":10`} {
		for range e.Services().Journal.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{"state"}}) {
			if doc, err := e.Services().View.Get(t.Context(), id); err == nil && strings.Contains(string(doc.Body), part) {
				break
			}
		}
		if got := bodyOf(t, e.ask("GET", "/state/"+id, "")); !strings.Contains(got, part) {
			t.Errorf("%s: %s", id, got)
		}
	}
}

// TestAnActionsFeedbackIsMeasured holds that submitting has a feedback span, and that being told to wait is no slowness.
func TestAnActionsFeedbackIsMeasured(t *testing.T) {
	t.Parallel()
	e := still(t, server.Options{})
	for i := range 3 {
		e.ask("POST", "/actions", fmt.Sprintf(`{"kind":"no.such.tool.%d"}`, i))
	}
	spans := map[string]int64{}
	for _, s := range e.Services().Snappy.Summaries() {
		spans[s.Route+" "+string(s.Measure)] = s.Hits
	}
	if spans["POST /actions i2f"] != 3 {
		t.Errorf("%v", spans)
	}
}
