package action_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/host/internal/action"
)

// BenchmarkSubmitAndWait is the whole life of an action whose tool does nothing: what the record costs. The commits per
// action fall as more are under way, since they share them.
func BenchmarkSubmitAndWait(b *testing.B) {
	for _, parallel := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(parallel, "-at-once"), func(b *testing.B) {
			x := start(b, action.Config{Workers: parallel, PerPack: parallel, Queue: 4 * parallel})
			x.tools.set("a/b:t", echo)
			before := x.db.Stats().Commits
			var next atomic.Int64
			b.SetParallelism(parallel)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					a, _, err := x.Submit(b.Context(), action.Request{Kind: "t", Input: raw(next.Add(1))})
					if err == nil {
						_, err = x.Wait(b.Context(), a.ID)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(x.db.Stats().Commits-before)/float64(b.N), "commits/op")
		})
	}
}
