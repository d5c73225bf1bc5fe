package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/host/internal/snappy"
	"github.com/arw-project/arw/host/internal/view"
)

// snappyModels are the documents that say how fast the host answers.
func (h *Host) snappyModels() []view.Computed {
	g := h.parts.Snappy
	return []view.Computed{
		{ID: "snappy", Kinds: []string{snappy.NoticeKind}, Every: metricsEvery, Make: func(context.Context) (any, error) { return g.Document(), nil }},
		{ID: "route_stats", Every: metricsEvery, Make: func(context.Context) (any, error) { return g.RouteStats(), nil }},
	}
}

// hints are the budgets that units or people set in governor/hints for the whole workspace. What is the document's own default
// there says nothing: arw.toml holds.
func (h *Host) hints() snappy.Budgets {
	if h.parts.Logic == nil {
		return nil
	}
	doc, err := h.parts.Logic.Get("governor/hints")
	var ms map[string]int64
	if err == nil {
		err = json.Unmarshal(doc.Body, &ms)
	}
	if err != nil {
		h.cfg.Log.Error("read governor/hints", "error", err) // the configured budgets hold
		return nil
	}
	out := snappy.Budgets{}
	for name, m := range map[string]snappy.Measure{"feedback_ms": snappy.Feedback, "first_partial_ms": snappy.FirstPartial, "full_ms": snappy.Full} {
		if n, said := ms[name]; said && !doc.Due("/"+name).Default() {
			out[m] = time.Duration(n) * time.Millisecond
		}
	}
	return out
}
