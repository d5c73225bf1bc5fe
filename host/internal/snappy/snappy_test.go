package snappy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/snappy"
)

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func governor(t *testing.T, cfg snappy.Config) (*snappy.Governor, *journal.Journal, *clock) {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	cfg.Now = c.now
	return snappy.New(j, cfg), j, c
}

func observe(g *snappy.Governor, n int, route string, m snappy.Measure, took time.Duration) {
	for range n {
		g.Observe(route, m, took, false)
	}
}

// notices are what the journal was told, "state budget route".
func notices(t *testing.T, j *journal.Journal) (all []string) {
	t.Helper()
	page, err := j.Read(t.Context(), 0, 0, journal.Filter{Prefixes: []string{snappy.NoticeKind}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page {
		var n snappy.Notice
		if err := json.Unmarshal(r.Body, &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s %s", n.State, n.Budget, n.Route))
	}
	return all
}

func judge(t *testing.T, g *snappy.Governor, times int) {
	t.Helper()
	for range times {
		if err := g.Judge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABreachIsToldOnceAndEnds(t *testing.T) {
	t.Parallel()
	g, j, c := governor(t, snappy.Config{})
	const route = "GET /state/:id"
	want := func(all ...string) {
		t.Helper()
		if got := notices(t, j); strings.Join(got, "|") != strings.Join(all, "|") {
			t.Errorf("told %q, want %q", got, all)
		}
	}
	observe(g, 19, route, snappy.Full, 3*time.Second)
	judge(t, g, 3)
	want() // too few to tell
	observe(g, 1, route, snappy.Full, 3*time.Second)
	judge(t, g, 1)
	want() // once is not enough
	judge(t, g, 5)
	want("breach full_result " + route) // and no more often than once
	// A burst that is over leaves the window, and with it the p95.
	c.pass(30 * time.Second)
	observe(g, 2000, route, snappy.Full, 1900*time.Millisecond)
	judge(t, g, 4)
	want("breach full_result " + route) // below the budget, but not by enough
	c.pass(30 * time.Second)
	observe(g, 4000, route, snappy.Full, 10*time.Millisecond)
	c.pass(35 * time.Second)
	judge(t, g, 2)
	want("breach full_result "+route, "clear full_result "+route)
	// Silence ends a breach too.
	c.pass(2 * time.Minute)
	observe(g, 30, route, snappy.Full, 5*time.Second)
	judge(t, g, 2)
	c.pass(2 * time.Minute)
	judge(t, g, 2)
	want("breach full_result "+route, "clear full_result "+route, "breach full_result "+route, "clear full_result "+route)
	for _, s := range g.Summaries() {
		if s.Route == route && (s.Samples != 0 || s.P95 != 0 || s.Breaches != 2 || s.Breached) {
			t.Errorf("%+v", s)
		}
	}
}

func TestEachSpanHasItsBudget(t *testing.T) {
	t.Parallel()
	g, j, _ := governor(t, snappy.Config{
		Budgets:   snappy.Budgets{snappy.Cadence: time.Second},
		Routes:    map[string]snappy.Budgets{"POST /v1/chat": {snappy.Full: time.Minute}, "GET /free": {snappy.Full: 0}},
		Protected: []string{"/v1", "POST /actions", "/free"},
	})
	for _, o := range []struct {
		route string
		m     snappy.Measure
		took  time.Duration
	}{
		{"POST /actions", snappy.Feedback, 60 * time.Millisecond},         // 50 by default
		{"POST /v1/chat", snappy.FirstPartial, 200 * time.Millisecond},    // 150 by default
		{"POST /v1/chat", snappy.Cadence, 900 * time.Millisecond},         // 1 s here
		{"POST /v1/chat", snappy.Full, 30 * time.Second},                  // a minute for this route
		{"POST /v1/other", snappy.Full, 30 * time.Second},                 // 2 s by default
		{"GET /free", snappy.Full, 30 * time.Second},                      // no bound
		{"GET /actions", snappy.Full, 30 * time.Second},                   // another method than the one protected
		{"POST /packs", snappy.Full, 30 * time.Second},                    // not protected
		{"GET /actions/:id/stream", snappy.FirstPartial, 9 * time.Second}, // not protected
	} {
		observe(g, 20, o.route, o.m, o.took)
	}
	judge(t, g, 2)
	want := "breach i2f POST /actions|breach first_partial POST /v1/chat|breach full_result POST /v1/other"
	if got := strings.Join(notices(t, j), "|"); got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
	doc, err := json.Marshal(g.Document())
	if err != nil || !strings.Contains(string(doc), `"breached":["POST /actions i2f","POST /v1/chat first_partial","POST /v1/other full_result"]`) {
		t.Errorf("%s, %v", doc, err)
	}
}

func TestFeedbackIsTheFirstThatAnybodySees(t *testing.T) {
	t.Parallel()
	g, _, c := governor(t, snappy.Config{})
	g.Begin("cor_1", "POST /actions", c.now())
	c.pass(30 * time.Millisecond)
	g.Feedback("cor_2") // somebody else's
	g.Feedback("cor_1")
	c.pass(time.Second)
	g.Feedback("cor_1")
	g.Begin("cor_3", "POST /actions", c.now()) // nobody ever sees it
	c.pass(time.Hour)
	judge(t, g, 1)
	g.Feedback("cor_3")
	all := g.Summaries()
	if len(all) != 1 || all[0].Hits != 1 || all[0].Measure != snappy.Feedback {
		t.Errorf("%+v", all)
	}
}

func TestRouteStatsCountAndSummarise(t *testing.T) {
	t.Parallel()
	g, _, _ := governor(t, snappy.Config{})
	for i := range 1000 {
		g.Observe("GET /packs", snappy.Full, time.Duration(i+1)*time.Millisecond, i%10 == 0)
	}
	g.Observe("GET /metrics", snappy.Full, time.Second, false)
	raw, err := json.Marshal(g.RouteStats())
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Items map[string]struct {
			Hits, Errors, Samples int64
			P50                   float64 `json:"p50_ms"`
			P95                   float64 `json:"p95_ms"`
			P99                   float64 `json:"p99_ms"`
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	got := doc.Items["GET /packs"]
	near := func(v, want float64) bool { return v > want*.98 && v < want*1.02 }
	if len(doc.Items) != 1 || got.Hits != 1000 || got.Errors != 100 || got.Samples != 1000 || !near(got.P50, 500) || !near(got.P95, 950) || !near(got.P99, 990) {
		t.Errorf("%s", raw)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	g, _, _ := governor(t, snappy.Config{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				g.Observe(fmt.Sprintf("GET /%d/%d", w, i), snappy.Full, time.Millisecond, false)
				g.Begin(fmt.Sprint(w, i), "x", time.Now())
			}
		})
	}
	wg.Wait()
	total := int64(0)
	all := g.Summaries()
	for _, s := range all {
		total += s.Hits
	}
	if len(all) > 129 || total != 1200 {
		t.Errorf("%d series of %d observations", len(all), total)
	}
}

// TestRunMeasuresActions holds that actions are measured by what their events say.
func TestRunMeasuresActions(t *testing.T) {
	t.Parallel()
	g, j, _ := governor(t, snappy.Config{Every: time.Millisecond, Samples: 1})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	// Until the breach is told, actions go on ending slowly: Run may begin to follow later than we begin to write.
	told := make(chan struct{})
	go func() {
		defer close(told)
		for r := range j.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{snappy.NoticeKind}}) {
			if r.Kind == snappy.NoticeKind {
				return
			}
		}
	}()
	for more := true; more; {
		select {
		case <-told:
			more = false
		default:
			if _, err := j.Append(t.Context(), journal.Event{Kind: "actions.failed", Action: "act_1", Body: map[string]any{"kind": "slow.tool", "waited_ms": 4000, "ran_ms": 1000}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	all := g.Summaries()
	if len(all) != 1 || all[0].Route != "actions:slow.tool" || all[0].Errors != all[0].Hits || all[0].P50 < 4900 || all[0].P50 > 5100 {
		t.Errorf("%+v", all)
	}
}

func TestWithoutAGovernorNothingIsMeasured(t *testing.T) {
	t.Parallel()
	var g *snappy.Governor
	g.Observe("x", snappy.Full, time.Second, false)
	g.Begin("c", "x", time.Now())
	g.Feedback("c")
	if g.Summaries() != nil {
		t.Error("something came of it")
	}
}
