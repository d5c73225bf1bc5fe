package host

import (
	"context"

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
