package local_test

import (
	"testing"

	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/local"
	"github.com/arw-project/arw/host/internal/queue/queuetest"
)

// BenchmarkJobs is the whole life of a job, each step on the disk before it is acknowledged. See queuetest.Bench for what is measured;
// package jet has the same for its backend.
func BenchmarkJobs(b *testing.B) {
	queuetest.BenchJobs(b, func() queue.Queue {
		q, d := open(b, b.TempDir(), local.Options{})
		b.Cleanup(func() { d.Close() })
		return q
	})
}
