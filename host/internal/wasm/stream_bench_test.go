package wasm_test

import (
	"context"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// nowhere takes parts and forgets them.
type nowhere struct{}

func (nowhere) Write(context.Context, abi.FrameKind, []byte) error { return nil }
func (nowhere) Close() error                                       { return nil }

// BenchmarkStream moves 16 MiB through a guest in pieces of 64 KiB, in and out, beside a plain copy of a megabyte.
func BenchmarkStream(b *testing.B) {
	b.Run("copy", func(b *testing.B) {
		from, to := make([]byte, 1<<20), make([]byte, 1<<20)
		b.SetBytes(1 << 20)
		for b.Loop() {
			copy(to, from)
		}
	})
	p := load(b, open(b, wasm.Options{}), wasm.Spec{Name: "t/b", Module: streamGuest()})
	for _, tc := range []struct {
		name   string
		record bool
	}{{"through", false}, {"recorded", true}} {
		b.Run(tc.name, func(b *testing.B) {
			const size = 16 << 20
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				call := wasm.Call{Tool: "t", In: &zeros{size}, Out: nowhere{}}
				if tc.record {
					call.Record = wasm.NewRecorder(wasm.RecordHead{}, 0)
				}
				if _, err := p.Call(context.Background(), call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecord is what a record costs a small call, and what a replay of it takes.
func BenchmarkRecord(b *testing.B) {
	kv := &mapKV{m: map[string][]byte{"user:42": []byte("a value of some length, as it would be")}}
	p := load(b, open(b, wasm.Options{}), wasm.Spec{Name: "t/b", Module: kvGuest()})
	req := wasm.Call{Tool: "get", Input: []byte("user:42"), Effects: abi.Writes, Gate: openGate{}, Host: wasm.Host{KV: kv}}
	for _, record := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "recorded"}[record]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call := req
				if record {
					call.Record = wasm.NewRecorder(wasm.RecordHead{}, 0)
				}
				if _, err := p.Call(context.Background(), call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("replayed", func(b *testing.B) {
		rec, _, err := recorded(b, p, req)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if r, err := p.Replay(context.Background(), rec, false, 0, wasm.Limits{}); err != nil || !r.Equal {
				b.Fatal(err, r)
			}
		}
	})
}
