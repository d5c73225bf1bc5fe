package host

import (
	"cmp"
	"context"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/local"
)

// Queue says where actions wait, and for how long the host may give no sign of life before they are given out again.
type Queue struct {
	Backend  string        // "sqlite" or "nats"; empty is sqlite
	Lease    time.Duration // 30 s; at least 100 ms
	Attempts int           // how often an action that does no harm begins at most, when it is cut off: 3
}

func (q Queue) backend() string { return cmp.Or(q.Backend, "sqlite") }

// openQueue opens the configured one.
func (h *Host) openQueue(ctx context.Context) (queue.Queue, error) {
	switch q := h.cfg.Queue; q.backend() {
	case "sqlite":
		line, err := local.Open(ctx, h.db, local.Options{})
		if err != nil {
			return nil, err
		}
		h.onClose(line.Close)
		return line, nil
	default:
		return nil, abi.Errorf(abi.Invalid, "open the queue: backend %q is none", q.Backend).WithHint(`use "sqlite" or "nats"`)
	}
}
