package queuetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/queue"
)

// BenchJobs measures jobs a second through their whole life (put, take, done) with as many callers at once as workers take. What
// is written beside a step is nothing: the numbers are the queue's own.
func BenchJobs(b *testing.B, fresh func() queue.Queue) {
	for _, at := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(at, "-at-once"), func(b *testing.B) {
			q := fresh()
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			go q.Run(ctx, nil)
			var put, done atomic.Int64
			var wg sync.WaitGroup
			finished := make(chan struct{})
			b.ResetTimer()
			for range at {
				wg.Go(func() {
					for {
						n := put.Add(1)
						if n > int64(b.N) {
							return
						}
						if _, err := q.Put(ctx, queue.Job{ID: fmt.Sprint(n), Lane: fmt.Sprint(n % 4)}, nil, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
				wg.Go(func() { work(ctx, b, q, &done, finished) })
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

// work takes and ends jobs until all are done.
func work(ctx context.Context, b *testing.B, q queue.Queue, done *atomic.Int64, finished chan struct{}) {
	for !b.Failed() {
		changed := q.Changed()
		ls, err := q.Take(ctx, queue.Ask{})
		for err == nil && len(ls) > 0 {
			if n := done.Add(1); n == int64(b.N) {
				close(finished)
			}
			ls, err = q.End(ctx, ls[0], queue.End{How: queue.Done, Next: &queue.Ask{}})
		}
		if err != nil {
			b.Error(err)
			return
		}
		select {
		case <-changed:
		case <-finished:
			return
		case <-time.After(time.Second): // a job that another worker has
		}
	}
}
