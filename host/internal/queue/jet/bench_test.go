package jet_test

import (
	"context"
	"testing"

	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/jet"
	"github.com/arw-project/arw/host/internal/queue/jet/embedded"
	"github.com/arw-project/arw/host/internal/queue/queuetest"
)

// BenchmarkJobs is the whole life of a job on the embedded server: synced is the durability of the host's own database for what is
// put in; acknowledgements of what is done are not waited for, in either row.
func BenchmarkJobs(b *testing.B) {
	for name, always := range map[string]bool{"synced": true, "unsynced": false} {
		b.Run(name, func(b *testing.B) {
			queuetest.BenchJobs(b, func() queue.Queue {
				s, err := embedded.Start(b.TempDir(), always)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { s.Close() })
				link, err := jet.Dial(context.Background(), jet.Server{Pipe: s.Conn})
				if err != nil {
					b.Fatal(err)
				}
				q, err := jet.Open(context.Background(), link, jet.Options{Name: "bench", Record: record(b, b.TempDir())})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { q.Close() })
				return q
			})
		})
	}
}
