package lease_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

// BenchmarkUse is the check in front of every host call.
func BenchmarkUse(b *testing.B) {
	ctx := context.Background()
	path := "read:/srv/documents/projects/2026/report-final.md"
	for _, bc := range []struct {
		name   string
		grant  lease.Grant
		target string
		n      int
	}{
		{"kv", grantOf(abi.KV), "", 0},
		{"kv-budget", withBudget(grantOf(abi.KV), 1<<50, 1<<60), "", 100},
		{"event", grantOf(abi.Event, "research."), "research.ingested", 200},
		{"fs", grantOf(abi.FS, "read:/srv/documents"), path, 4096},
		{"fs-budget", withBudget(grantOf(abi.FS, "read:/srv/documents"), 1<<50, 1<<60), path, 4096},
		{"fs-8-folders", grantOf(abi.FS, "read:/a", "read:/b", "read:/c", "read:/d", "read:/e", "read:/f", "read:/g", "read:/srv"), path, 4096},
		{"action", grantOf(abi.Action, "arw/*:*"), "arw/research:research.search", 0},
		{"action-where", grantOf(abi.Action, `arw/*:* where /limit in 1..10`), "arw/research:research.search", 0},
	} {
		b.Run(bc.name, func(b *testing.B) {
			h := open(b, b.TempDir())
			for _, c := range []abi.Capability{abi.Log, abi.Clock, abi.Rand} { // a pack holds several
				h.grant(b, grantOf(c))
			}
			h.grant(b, bc.grant)
			seat, args := h.holder().At(lease.Where{}), []byte(`{"query":"what is a lease","limit":5}`)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := seat.TakeWith(ctx, bc.grant.Capability, bc.target, args, bc.n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUseParallel is two goroutines on one lease.
func BenchmarkUseParallel(b *testing.B) {
	h := open(b, b.TempDir())
	h.grant(b, withBudget(grantOf(abi.KV), 1<<50, 1<<60))
	holder := h.holder()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := holder.Use(context.Background(), abi.KV, "", 100); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkGrant(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			h := open(b, b.TempDir())
			b.SetParallelism(max(1, writers/2))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					h.grant(b, grantOf(abi.KV))
				}
			})
		})
	}
}

func withBudget(g lease.Grant, calls, bytes int64) lease.Grant {
	g.Budget = lease.Budget{Calls: calls, Bytes: bytes}
	return g
}

// BenchmarkClock is the floor: the one reading of the clock that every use makes.
func BenchmarkClock(b *testing.B) {
	base := time.Now()
	for b.Loop() {
		if time.Since(base) < 0 {
			b.Fatal("the clock runs backwards")
		}
	}
}
