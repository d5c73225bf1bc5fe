package rewrite_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// tightLoop counts a local down; a loop of four instructions is where counting costs most.
func tightLoop() []byte {
	code := []byte{0, 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x0b}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body ...byte) {
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	section(1, 1, 0x60, 1, 0x7f, 0)
	section(3, 1, 0)
	section(7, 1, 4, 'l', 'o', 'o', 'p', 0, 0)
	section(10, append([]byte{1, byte(len(code))}, code...)...)
	return out
}

type work struct {
	name string
	bin  []byte
	fn   string
	arg  uint64
	real bool // a program, not a loop made to be the worst case
}

func works(b *testing.B) []work {
	out := filepath.Join(b.TempDir(), "work.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/work")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if msg, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, msg)
	}
	golang, err := os.ReadFile(out)
	if err != nil {
		b.Fatal(err)
	}
	tiny, err := os.ReadFile(filepath.Join(engineDir(b), "internal", "integration_test", "bench", "testdata", "case.wasm"))
	if err != nil {
		b.Fatal(err)
	}
	return []work{
		{"tight loop", tightLoop(), "loop", 1_000_000, false},
		{"tinygo fibonacci", tiny, "fibonacci", 22, true},
		{"tinygo reverse", tiny, "reverse_array", 20_000, true},
		{"tinygo matrix", tiny, "random_mat_mul", 40, true},
		{"tinygo strings", tiny, "string_manipulation", 300, true},
		{"go sha256", golang, "sha", 50, true},
		{"go sort", golang, "sorting", 5_000, true},
		{"go json", golang, "parse", 50, true},
		{"go text", golang, "text", 50, true},
	}
}

// BenchmarkOverhead reports how many times longer each work takes with the bounds built in, by the shortest of
// interleaved runs: auto as shipped, local and global with the counter kept in one place. The last row has the geometric
// mean of auto over the works that are programs, and the worst of all works, the bare loop among them.
func BenchmarkOverhead(b *testing.B) {
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	if _, err := rt.NewHostModuleBuilder("env").NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}),
		[]api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, nil).Export("get_random_string").Instantiate(ctx); err != nil {
		b.Fatal(err)
	}
	o := rewrite.Options{Pages: 1024}
	product, count := 1.0, 0.0
	worst := 1.0
	for _, w := range works(b) {
		b.Run(w.name, func(b *testing.B) {
			fns := []api.Function{bounded(b, rt, w, nil)}
			for _, o := range []rewrite.Options{o, o.CountIn(true), o.CountIn(false)} {
				fns = append(fns, bounded(b, rt, w, &o))
			}
			best := make([]time.Duration, len(fns))
			for b.Loop() {
				for i, fn := range fns {
					start := time.Now()
					if _, err := fn.Call(ctx, w.arg); err != nil {
						b.Fatal(err)
					}
					if d := time.Since(start); best[i] == 0 || d < best[i] {
						best[i] = d
					}
				}
			}
			for i, name := range []string{"", "auto-x", "local-x", "global-x"} {
				if i > 0 {
					b.ReportMetric(float64(best[i])/float64(best[0]), name)
				}
			}
			x := float64(best[1]) / float64(best[0])
			if worst = max(worst, x); w.real {
				product, count = product*x, count+1
			}
		})
	}
	if count > 0 {
		b.Run("geometric mean", func(b *testing.B) {
			for b.Loop() { // the works above were the measurement
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(math.Pow(product, 1/count), "real-x")
			b.ReportMetric(worst, "worst-x")
		})
	}
}

// bounded instantiates the work's module, rewritten when o is given, and returns its function.
func bounded(b *testing.B, rt wazero.Runtime, w work, o *rewrite.Options) api.Function {
	bin := w.bin
	if o != nil {
		m, err := rewrite.Decode(bin)
		if err != nil {
			b.Fatal(err)
		}
		res, err := m.Rewrite(*o)
		if err != nil {
			b.Fatal(err)
		}
		bin = res.Binary
	}
	ctx := context.Background()
	mod, err := rt.InstantiateWithConfig(ctx, bin, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	if o != nil {
		mod.ExportedGlobal(rewrite.ExportLimit).(api.MutableGlobal).Set(1 << 62)
		mod.ExportedGlobal(rewrite.ExportDepth).(api.MutableGlobal).Set(1 << 20)
	}
	for _, name := range []string{rewrite.ExportStart, "_initialize", "_start"} {
		if fn := mod.ExportedFunction(name); fn != nil {
			if _, err := fn.Call(ctx); err != nil {
				b.Fatalf("%s: %v", name, err)
			}
			break
		}
	}
	return mod.ExportedFunction(w.fn)
}
