package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
)

var body400 = map[string]string{"text": strings.Repeat("x", 380)}

// appendAll appends from as many goroutines until take says stop, and returns how many became durable.
func appendAll(b *testing.B, j *journal.Journal, writers int, take func() bool) int64 {
	var done atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for take() {
				if _, err := j.Append(context.Background(), journal.Event{Kind: "bench.event", Corr: "cor_019300000000", Pack: "arw/bench", Body: body400}); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return done.Load()
}

// BenchmarkAppend measures durable appends of 400-byte bodies. One writer is one commit per event.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			d, j := open(b, b.TempDir())
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			appendAll(b, j, writers, func() bool { return left.Add(-1) >= 0 })
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			st := d.Stats()
			b.ReportMetric(float64(st.Writes)/float64(max(st.Commits, 1)), "events/commit")
		})
	}
}

// BenchmarkGroupCommit gives the ratio that matters, measured so that the machine's moods meet all sides alike: one
// iteration is 200 ms with one writer, 200 ms with 16 and 200 ms with 256.
func BenchmarkGroupCommit(b *testing.B) {
	writers := []int{1, 16, 256}
	var events [3]int64
	var spent [3]time.Duration
	var journals [3]*journal.Journal
	for i := range writers {
		_, journals[i] = open(b, b.TempDir())
	}
	for b.Loop() {
		for i, n := range writers {
			start := time.Now()
			events[i] += appendAll(b, journals[i], n, func() bool { return time.Since(start) < 200*time.Millisecond })
			spent[i] += time.Since(start)
		}
	}
	rate := func(i int) float64 { return float64(events[i]) / spent[i].Seconds() }
	b.ReportMetric(rate(0), "events/s@1")
	b.ReportMetric(rate(1)/rate(0), "x@16")
	b.ReportMetric(rate(2)/rate(0), "x@256")
}

// BenchmarkBus measures deliveries to 64 followers of durable batches of 512, and holds the counts to be exact: what was
// delivered and what gaps named is everything, for each follower.
func BenchmarkBus(b *testing.B) {
	const followers, batch = 64, 512
	_, j := open(b, b.TempDir())
	events := make([]journal.Event, batch)
	for i := range events {
		events[i] = journal.Event{Kind: "bench.event", Body: map[string]int{"n": i}}
	}
	total := int64(b.N) * batch
	var wg sync.WaitGroup
	for range followers {
		cur, err := j.From(0, journal.Filter{}, journal.MaxLag(4096))
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer cur.Close()
			for at := int64(0); at < total; {
				page, err := cur.Next(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				for _, r := range page {
					if at = r.ID; r.ID == 0 {
						var g journal.Gap
						if err := json.Unmarshal(r.Body, &g); err != nil {
							b.Error(err)
						}
						at = g.To
					}
				}
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		if _, err := j.Append(context.Background(), events...); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	b.StopTimer()
	t := j.Traffic()
	if t.Delivered+t.Missed != followers*total {
		b.Fatalf("delivered %d, missed %d, of %d", t.Delivered, t.Missed, followers*total)
	}
	b.ReportMetric(float64(t.Delivered)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(t.Published)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(t.Missed)/float64(followers*total)*100, "%missed")
}
