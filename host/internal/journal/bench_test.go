package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/host/internal/journal"
)

var body400 = map[string]string{"text": strings.Repeat("x", 380)}

// BenchmarkAppend measures durable appends of 400-byte bodies. One writer is one commit per event.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			d, j := open(b, b.TempDir())
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := j.Append(b.Context(), journal.Event{Kind: "bench.event", Corr: "cor_019300000000", Pack: "arw/bench", Body: body400}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			st := d.Stats()
			b.ReportMetric(float64(st.Writes)/float64(max(st.Commits, 1)), "events/commit")
		})
	}
}
