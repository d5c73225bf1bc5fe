package layout

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"fmt"
)

// maxClients bounds what the limiter remembers.
const maxClients = 1 << 14

// limiter gives every address so many requests a second and lets it save up for a burst.
type limiter struct {
	rate, burst float64
	now         func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// allow takes one request of an address; otherwise it says how long to wait.
func (l *limiter) allow(r *http.Request) (time.Duration, bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[host]
	if b == nil {
		if l.buckets == nil || len(l.buckets) >= maxClients {
			l.buckets = map[string]*bucket{} // forgetting everybody favours everybody for one burst
		}
		b = &bucket{left: l.burst, at: now}
		l.buckets[host] = b
	}
	b.left = min(l.burst, b.left+now.Sub(b.at).Seconds()*l.rate)
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / l.rate * float64(time.Second)), false
	}
	b.left--
	return 0, true
}

// counts are what /metrics shows.
type counts struct {
	requests [6]atomic.Int64 // by the first digit of the status
	in, out  atomic.Int64
	stale    atomic.Int64
}

// counted counts an answer.
type counted struct {
	http.ResponseWriter
	c    *counts
	done bool
}

func (c *counted) WriteHeader(status int) {
	if !c.done && status >= 200 {
		c.done = true
		c.c.requests[min(status/100, 5)].Add(1)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(b []byte) (int, error) {
	if !c.done {
		c.WriteHeader(http.StatusOK)
	}
	n, err := c.ResponseWriter.Write(b)
	c.c.out.Add(int64(n))
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (s *server) metrics(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(w, "# HELP arw_registry_requests_total Answers, by class of status.\n# TYPE arw_registry_requests_total counter\n")
	for class := 2; class <= 5; class++ {
		fmt.Fprintf(w, "arw_registry_requests_total{class=\"%dxx\"} %d\n", class, s.counts.requests[class].Load())
	}
	for _, m := range []struct {
		name, help string
		v          int64
	}{
		{"arw_registry_received_bytes_total", "Bytes of request bodies.", s.counts.in.Load()},
		{"arw_registry_sent_bytes_total", "Bytes of answers.", s.counts.out.Load()},
		{"arw_registry_stale_total", "Answers of a mirror that its upstream could not confirm.", s.counts.stale.Load()},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n%s %d\n", m.name, m.help, m.name, m.name, m.v)
	}
}
