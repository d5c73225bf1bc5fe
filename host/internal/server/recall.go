package server

import (
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/arw-project/arw/host/api"
)

func (s *Server) getRecall(c *fiber.Ctx) error { return c.JSON(s.svc.RecallNow()) }

func (s *Server) deleteRecall(c *fiber.Ctx) error {
	f := api.RecallForgotten{Pack: c.Query("pack"), Project: c.Query("project"), Person: c.Query("person"), Why: "somebody asked"}
	out, err := s.svc.ForgetRecall(s.ctx, f, s.actor(c), corr(c))
	if err != nil {
		return err
	}
	return c.JSON(out)
}

var (
	descRecall = map[string]*prometheus.Desc{
		"hits":    prometheus.NewDesc("arw_recall_hits_total", "Answers that were given again, by how they were found.", []string{"how"}, nil),
		"miss":    prometheus.NewDesc("arw_recall_miss_total", "Calls that ran although answers of their tool may be given again.", nil, nil),
		"refused": prometheus.NewDesc("arw_recall_refused_total", "Answers to near questions that the verifier kept back.", nil, nil),
		"stale":   prometheus.NewDesc("arw_recall_stale_total", "Answers that a change of what they were made from ended.", nil, nil),
		"evicted": prometheus.NewDesc("arw_recall_evicted_total", "Answers that went because there were too many.", nil, nil),
		"audits":  prometheus.NewDesc("arw_recall_audits_total", "Near answers that were made anew and compared.", nil, nil),
		"false":   prometheus.NewDesc("arw_recall_false_total", "Audits in which the two answers differed.", nil, nil),
		"lost":    prometheus.NewDesc("arw_recall_events_lost_total", "Events that were not journaled because the journal was busy.", nil, nil),
	}
	descRecallEntries = prometheus.NewDesc("arw_recall_entries", "Answers in memory.", nil, nil)
	descRecallBytes   = prometheus.NewDesc("arw_recall_bytes", "Bytes of answers in memory.", nil, nil)
	descRecallSaved   = prometheus.NewDesc("arw_recall_latency_saved_ms_total", "Milliseconds that runs would have taken, by what the first run took.", nil, nil)
	descRecallSpared  = prometheus.NewDesc("arw_recall_payload_bytes_saved_total", "Bytes of answers that were not made again.", nil, nil)
)

// recall is what answers that are given again save, and how often they were wrong.
func (n *snapshot) recall(gauge, count metricFunc) {
	if n.s.svc.Recall == nil {
		return
	}
	_, all, entries, size := n.s.svc.Recall.Stats()
	for how, v := range map[string]int64{"exact": all.Exact, "near": all.Near, "empty": all.Empty} {
		count(descRecall["hits"], float64(v), how)
	}
	for name, v := range map[string]int64{
		"miss": all.Misses, "refused": all.Refused, "stale": all.Stale, "evicted": all.Evicted, "audits": all.Audits, "false": all.False, "lost": n.s.svc.Recall.Lost(),
	} {
		count(descRecall[name], float64(v))
	}
	gauge(descRecallEntries, float64(entries))
	gauge(descRecallBytes, float64(size))
	count(descRecallSaved, float64(all.SavedNS/1e6))
	count(descRecallSpared, float64(all.SavedBytes))
}
