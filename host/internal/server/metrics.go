package server

import (
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/arw-project/arw/host/internal/lease"
)

// metrics is the one registry of the host. Counters of the edge are kept here; everything else is read from the
// services when it is scraped, so no number is kept twice.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	sent     prometheus.Counter
	gaps     prometheus.Counter
	handler  fasthttpHandler
}

type fasthttpHandler = func(c *fiber.Ctx)

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "arw_route_latency_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"method", "route", "status"}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "arw_events_sse_sent_total", Help: "Events written to streams.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "arw_events_sse_gaps_total", Help: "Times that a stream was told of events that it does not get.",
		}),
	}
	m.registry.MustRegister(m.requests, m.sent, m.gaps, &snapshot{s: s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	serve := fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	m.handler = func(c *fiber.Ctx) { serve(c.Context()) }
	return m
}

func (m *metrics) request(method, path string, status int, took time.Duration) {
	m.requests.WithLabelValues(strings.Clone(method), strings.Clone(path), strconv.Itoa(status)).Observe(took.Seconds())
}

func (s *Server) getMetrics(c *fiber.Ctx) error {
	s.metrics.handler(c)
	return nil
}

// snapshot reads the services at scrape time.
type snapshot struct{ s *Server }

var (
	descWorkers = prometheus.NewDesc("arw_workers_configured", "Calls that may run at once.", nil, nil)
	descBusy    = prometheus.NewDesc("arw_workers_busy", "Calls that run now.", nil, nil)
	descQueue   = prometheus.NewDesc("arw_actions_queue_depth", "Actions that wait.", nil, nil)
	descJobs    = prometheus.NewDesc("arw_queue_jobs", "Jobs in the queue, by state.", []string{"state"}, nil)
	descSteps   = prometheus.NewDesc("arw_queue_steps_total", "Steps of jobs since start: put in, given out, done, given back, lease run out, buried by the queue.", []string{"step"}, nil)
	descActions = prometheus.NewDesc("arw_actions_total", "Actions since start, by outcome.", []string{"outcome"}, nil)
	descEvents  = prometheus.NewDesc("arw_journal_events_total", "Records in the journal.", nil, nil)
	descStreams = prometheus.NewDesc("arw_events_sse_clients", "Open event streams.", nil, nil)
	descLeases  = prometheus.NewDesc("arw_leases", "Leases, by state.", []string{"state"}, nil)
	descEgress  = prometheus.NewDesc("arw_egress_decisions_total", "Decisions of the egress guard since start, by reason.", []string{"decision", "reason"}, nil)
	descLeft    = prometheus.NewDesc("arw_egress_bytes_total", "Bytes that passed the egress guard since start.", []string{"direction"}, nil)
	descTunnels = prometheus.NewDesc("arw_egress_tunnels", "Tunnels of the egress proxy that are open.", nil, nil)
	descUsed    = prometheus.NewDesc("arw_quota_used", "Used of a quota in its present window.", []string{"quota", "subject", "side"}, nil)
	descLimit   = prometheus.NewDesc("arw_quota_limit", "What a quota allows in a window.", []string{"quota", "subject", "side"}, nil)
	descRefused = prometheus.NewDesc("arw_quota_refused", "Uses that a quota refused in its present window, since the host started.", []string{"quota", "subject"}, nil)
	descAsked   = prometheus.NewDesc("arw_infer_requests_total", "Requests for inference since start, by model and outcome.", []string{"model", "outcome"}, nil)
	descTokens  = prometheus.NewDesc("arw_infer_tokens_total", "Tokens of models since start; cached ones are among those of prompts.", []string{"model", "kind"}, nil)
	descCost    = prometheus.NewDesc("arw_infer_cost_usd_micros_total", "What models cost since start, in millionths of a USD.", []string{"model"}, nil)
	descRuntime = prometheus.NewDesc("arw_runtime_state", "Runtimes; 1 for the state each is in.", []string{"runtime", "profile", "state"}, nil)
	descBudget  = prometheus.NewDesc("arw_runtime_restarts_left", "Failures left before a runtime rests.", []string{"runtime"}, nil)
	descStarts  = prometheus.NewDesc("arw_runtime_starts_total", "Starts of a runtime.", []string{"runtime"}, nil)
	descMemory  = prometheus.NewDesc("arw_runtime_memory_bytes", "Resident memory of a runtime.", []string{"runtime"}, nil)
	descLoans   = prometheus.NewDesc("arw_runtime_requests", "Requests that a runtime answers or holds.", []string{"runtime"}, nil)
	descReused  = prometheus.NewDesc("arw_prompt_cache_total", "Memories of prompts in a runtime since its start: saved, restored, spoiled, emptied.", []string{"runtime", "what"}, nil)
	descPrefix  = prometheus.NewDesc("arw_prompt_cache_tokens_total", "Tokens of prompts in a runtime since its start, and those of them that were cached.", []string{"runtime", "kind"}, nil)
	descShelf   = prometheus.NewDesc("arw_model_files_bytes", "Bytes of model files on the shelf.", nil, nil)
	descPacks   = prometheus.NewDesc("arw_packs", "Installed packs; 1 for the state a pack is in.", []string{"pack", "version", "state"}, nil)
)

// Describe sends nothing: the series of packs come and go (an unchecked collector).
func (snapshot) Describe(chan<- *prometheus.Desc) {}

// Collect reads one consistent-enough picture; it takes no lock of its own.
func (n *snapshot) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	st := n.s.svc.Actions.Stats()
	gauge(descWorkers, float64(st.Workers))
	gauge(descBusy, float64(st.Running))
	gauge(descQueue, float64(st.Waiting))
	for state, n := range map[string]int{"ready": st.Line.Ready, "delayed": st.Line.Delayed, "leased": st.Line.Leased, "dead": st.Line.Dead} {
		gauge(descJobs, float64(n), state)
	}
	for step, n := range map[string]uint64{"put": st.Line.Put, "taken": st.Line.Taken, "done": st.Line.Done, "again": st.Line.Again, "expired": st.Line.Expired, "lost": st.Line.Lost} {
		count(descSteps, float64(n), step)
	}
	count(descActions, float64(st.Submitted), "submitted")
	count(descActions, float64(st.Completed), "completed")
	count(descActions, float64(st.Failed), "failed")
	count(descActions, float64(st.Cancelled), "cancelled")
	count(descActions, float64(st.Reused), "reused")
	count(descEvents, float64(n.s.svc.Journal.Last()))
	gauge(descStreams, float64(n.s.streams.Load()))
	states := map[string]int{}
	for _, l := range n.s.svc.Leases.List(lease.Filter{}) {
		states[l.State]++
	}
	for state, number := range states {
		gauge(descLeases, float64(number), state)
	}
	n.egress(gauge, count)
	n.quotas(gauge)
	n.models(gauge, count)
	n.bus(gauge, count)
	n.memo(gauge, count)
	n.recall(gauge, count)
	n.snappy(gauge, count)
	n.secrets(count)
	for _, p := range n.s.svc.Packs.List() {
		gauge(descPacks, 1, p.Name, p.Version, string(p.State))
	}
}

func (n *snapshot) egress(gauge, count func(*prometheus.Desc, float64, ...string)) {
	st := n.s.svc.Egress.Stats()
	for why, number := range st.Decisions {
		count(descEgress, float64(number), why[0], why[1])
	}
	count(descLeft, float64(st.Out), "out")
	count(descLeft, float64(st.In), "in")
	gauge(descTunnels, float64(st.Tunnels))
}

func (n *snapshot) quotas(gauge func(*prometheus.Desc, float64, ...string)) {
	for _, q := range n.s.svc.Quotas.List() {
		gauge(descRefused, float64(q.Refused), q.ID, q.Subject)
		for _, side := range []struct {
			name        string
			used, limit int64
		}{
			{"calls", q.Used.Calls, q.Limit.Calls}, {"bytes", q.Used.Bytes, q.Limit.Bytes}, {"tokens", q.Used.Tokens, q.Limit.Tokens},
			{"gas", q.Used.Gas, q.Limit.Gas}, {"usd_micros", q.Used.Money, q.Limit.Money},
		} {
			if side.limit > 0 {
				gauge(descUsed, float64(side.used), q.ID, q.Subject, side.name)
				gauge(descLimit, float64(side.limit), q.ID, q.Subject, side.name)
			}
		}
	}
}

func (n *snapshot) models(gauge, count func(*prometheus.Desc, float64, ...string)) {
	svc := &n.s.svc
	for model, c := range svc.Models.Stats() {
		count(descAsked, float64(c.Done), model, "done")
		count(descAsked, float64(c.Failed), model, "failed")
		count(descAsked, float64(c.Refused), model, "refused")
		count(descTokens, float64(c.Prompt), model, "prompt")
		count(descTokens, float64(c.Cached), model, "cached")
		count(descTokens, float64(c.Output), model, "output")
		count(descCost, float64(c.Micros), model)
	}
	gauge(descShelf, float64(svc.Shelf.Used()))
	sup := svc.Runtimes()
	if sup == nil {
		return
	}
	for _, st := range sup.List() {
		gauge(descRuntime, 1, st.ID, st.Profile, string(st.State))
		gauge(descBudget, float64(st.Restarts), st.ID)
		count(descStarts, float64(st.Generation), st.ID)
		gauge(descMemory, float64(st.Memory), st.ID)
		gauge(descLoans, float64(st.Requests), st.ID)
		if c := st.Cache; c != nil {
			for what, n := range map[string]int64{"saved": c.Saved, "restored": c.Restored, "spoiled": c.Spoiled, "emptied": c.Emptied} {
				count(descReused, float64(n), st.ID, what)
			}
			count(descPrefix, float64(c.Prompt), st.ID, "prompt")
			count(descPrefix, float64(c.Cached), st.ID, "cached")
		}
	}
}
