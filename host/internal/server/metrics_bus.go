package server

import "github.com/prometheus/client_golang/prometheus"

var (
	descPublished = prometheus.NewDesc("arw_bus_published_total", "Events that became visible to followers.", nil, nil)
	descDelivered = prometheus.NewDesc("arw_bus_delivered_total", "Events that followers took, all together.", nil, nil)
	descLagged    = prometheus.NewDesc("arw_bus_lagged_total", "Events that gaps named, once for each follower that missed them.", nil, nil)
	descGaps      = prometheus.NewDesc("arw_bus_gaps_total", "Times that a follower was told of a gap.", nil, nil)
	descReceivers = prometheus.NewDesc("arw_bus_receivers", "Followers of the journal, the host's own and streams.", nil, nil)
	descRemoved   = prometheus.NewDesc("arw_journal_pruned_through", "The last record that retention removed.", nil, nil)

	descMemo = map[string]*prometheus.Desc{
		"hits":              prometheus.NewDesc("arw_tool_cache_hits_total", "Calls of pure tools that were answered from memory or disk.", nil, nil),
		"miss":              prometheus.NewDesc("arw_tool_cache_miss_total", "Calls of pure tools that ran.", nil, nil),
		"coalesced":         prometheus.NewDesc("arw_tool_cache_coalesced_total", "Calls that waited for an equal one.", nil, nil),
		"errors":            prometheus.NewDesc("arw_tool_cache_errors_total", "Runs that failed; nothing is kept of them.", nil, nil),
		"bypass":            prometheus.NewDesc("arw_tool_cache_bypass_total", "Calls that the policy kept from the cache.", nil, nil),
		"payload_too_large": prometheus.NewDesc("arw_tool_cache_payload_too_large_total", "Answers that were too large to be kept.", nil, nil),
		"corrupt":           prometheus.NewDesc("arw_tool_cache_corrupt_total", "Kept answers that were not what they were.", nil, nil),
		"dropped":           prometheus.NewDesc("arw_tool_cache_dropped_total", "Answers that did not reach the disk because it was busy.", nil, nil),
	}
	descMemoEntries = prometheus.NewDesc("arw_tool_cache_entries", "Answers in memory.", nil, nil)
	descMemoBytes   = prometheus.NewDesc("arw_tool_cache_bytes", "Bytes of answers in memory.", nil, nil)
	descMemoSaved   = prometheus.NewDesc("arw_tool_cache_latency_saved_ms_total", "Milliseconds that runs would have taken, by what the first run took.", nil, nil)
	descMemoSpared  = prometheus.NewDesc("arw_tool_cache_payload_bytes_saved_total", "Bytes of answers that were not made again.", nil, nil)
)

type metricFunc = func(*prometheus.Desc, float64, ...string)

// bus is what following costs.
func (n *snapshot) bus(gauge, count metricFunc) {
	t := n.s.svc.Journal.Traffic()
	count(descPublished, float64(t.Published))
	count(descDelivered, float64(t.Delivered))
	count(descLagged, float64(t.Missed))
	count(descGaps, float64(t.Gaps))
	gauge(descReceivers, float64(t.Followers))
	gauge(descRemoved, float64(n.s.svc.Journal.Floor()))
}

// memo is what kept answers save.
func (n *snapshot) memo(gauge, count metricFunc) {
	if n.s.svc.Memo == nil {
		return
	}
	m := n.s.svc.Memo.Stats()
	for name, v := range map[string]int64{
		"hits": m.Hits, "miss": m.Misses, "coalesced": m.Coalesced, "errors": m.Errors, "bypass": m.Bypassed,
		"payload_too_large": m.TooLarge, "corrupt": m.Corrupt, "dropped": m.Dropped,
	} {
		count(descMemo[name], float64(v))
	}
	gauge(descMemoEntries, float64(m.Entries))
	gauge(descMemoBytes, float64(m.Bytes))
	count(descMemoSaved, float64(m.Saved.Milliseconds()))
	count(descMemoSpared, float64(m.SavedBytes))
}
