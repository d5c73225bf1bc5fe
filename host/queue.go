package host

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/jet"
	"github.com/arw-project/arw/host/internal/queue/jet/embedded"
	"github.com/arw-project/arw/host/internal/queue/local"
)

// Queue says where actions wait, and for how long the host may give no sign of life before they are given out again.
type Queue struct {
	Backend  string        // "sqlite" or "nats"; empty is sqlite
	Lease    time.Duration // 30 s; at least 100 ms
	Attempts int           // how often an action that does no harm begins at most, when it is cut off: 3
	NATS     NATS
}

// NATS is how the backend of that name is reached: a server in this process, or servers of one's own.
type NATS struct {
	Embedded bool
	NoSync   bool // of the embedded one: acknowledge what is not on the disk yet, which a power cut may lose
	URLs     []string
	CA       string
	Cert     string
	Key      string
	// Credentials is a file with a user's JWT and key.
	Credentials string
	Name        string // of this host's queue among others on the same servers: "host"
	Replicas    int    // copies of what waits: 1
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
	case "nats":
		return h.openNATS(ctx, q)
	default:
		return nil, abi.Errorf(abi.Invalid, "open the queue: backend %q is none", q.Backend).WithHint(`use "sqlite" or "nats"`)
	}
}

func (h *Host) openNATS(ctx context.Context, q Queue) (queue.Queue, error) {
	n := q.NATS
	server := jet.Server{URLs: n.URLs, CA: n.CA, Cert: n.Cert, Key: n.Key, Credentials: n.Credentials, Log: h.cfg.Log}
	if n.Embedded {
		if len(n.URLs) > 0 || n.Replicas > 1 {
			return nil, abi.Errorf(abi.Invalid, "open the queue: an embedded server is one, and at no address").WithHint("leave urls and replicas out, or embedded")
		}
		s, err := embedded.Start(filepath.Join(h.cfg.StateDir, "nats"), !n.NoSync)
		if err != nil {
			return nil, err
		}
		h.onClose(s.Close)
		server.Pipe = s.Conn
	}
	link, err := jet.Dial(ctx, server)
	if err != nil {
		return nil, err
	}
	line, err := jet.Open(ctx, link, jet.Options{
		Name: cmp.Or(n.Name, "host"), Replicas: n.Replicas, Wait: q.Lease, Log: h.cfg.Log,
		Record: func(ctx context.Context, also queue.Also) error { return h.db.Write(ctx, also) },
	})
	if err != nil {
		link.Close()
		return nil, err
	}
	h.onClose(line.Close)
	return line, nil
}
