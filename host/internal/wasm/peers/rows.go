package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/arw-project/arw/host/internal/wasm"
)

// calls: the same task on every path, and a megabyte through those that have a guest.
func calls(ctx context.Context, dir string, _ []byte) ([]row, error) {
	h, err := openHouse(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer h.close()
	p, err := h.engine.Load(ctx, wasm.Spec{Name: "bench/small", Module: smallGuest})
	if err != nil {
		return nil, err
	}
	defer p.Close(ctx)
	plain, err := openRaw(ctx, smallGuest, wazero.NewRuntimeConfig())
	if err != nil {
		return nil, err
	}
	defer plain.rt.Close(ctx)
	ex, err := openExtism(ctx)
	if err != nil {
		return nil, err
	}
	defer ex.Close(ctx)
	plug, stop, err := openPlugin()
	if err != nil {
		return nil, err
	}
	defer stop()
	pipe, hangUp, err := openPipe()
	if err != nil {
		return nil, err
	}
	defer hangUp()
	mega := strings.Repeat("0123456789abcdef", 1<<16)
	t, err := race(
		path{"arw, session", h.call(p, "s", "kv", request, answer)},
		path{"arw, fresh", h.call(p, "", "kv", request, answer)},
		path{"raw", func() error { return plain.call(ctx, "kv", request, answer) }},
		path{"extism", callExtism(ex, "kv", request, answer)},
		path{"go-plugin", plug},
		path{"pipe", pipe},
		path{"native", func() error {
			if s := task(request); s != answer {
				return fmt.Errorf("%q", s)
			}
			return nil
		}},
		path{"arw 1 MB", h.call(p, "m", "echo", mega, mega)},
		path{"raw 1 MB", func() error { return plain.call(ctx, "echo", mega, mega) }},
		path{"extism 1 MB", callExtism(ex, "echo", mega, mega)},
	)
	if err != nil {
		return nil, err
	}
	warm, fresh, rawT := t[0], t[1], t[2]
	above := func(d time.Duration) string { return fmt.Sprintf("+%.2f µs", float64(d-rawT)/1e3) }
	return []row{
		{"warm call, C guest, one host call, state kept", show(warm), "raw engine " + show(rawT), above(warm), "≤ 1 µs above raw"},
		{"the same", show(warm), "Extism SDK " + show(t[3]), times(t[3], warm), "≥ 100×"},
		{"the same", show(warm), "go-plugin, gRPC " + show(t[4]), times(t[4], warm), "–"},
		{"the same", show(warm), "child over pipes " + show(t[5]), times(t[5], warm), "–"},
		{"the same", show(warm), "native Go " + show(t[6]), times(t[6], warm), "–"},
		{"call with fresh state, C guest, everything included", show(fresh), "raw engine, state kept " + show(rawT), above(fresh), "≤ 4 µs, resetting ≤ 2 µs"},
		{"1 MB in and out, C guest", show(t[7]), "Extism SDK " + show(t[9]), times(t[9], t[7]), "≥ 200×"},
		{"the same", show(t[7]), "raw engine " + show(t[8]), times(t[8], t[7]), "–"},
	}, nil
}

// states: calls that start from a clean state, by restoring and by instantiating.
func states(ctx context.Context, dir string, goGuest []byte) ([]row, error) {
	var rows []row
	for _, g := range []struct {
		name, tool, in, want, aim string
		bin                       []byte
	}{
		{"C guest", "kv", request, answer, "≤ 2 µs of resetting", smallGuest},
		{"Go guest", "get", "user:42", value, "≤ 25 µs, ≥ 200×", goGuest},
	} {
		h, err := openHouse(ctx, dir)
		if err != nil {
			return nil, err
		}
		p, err := h.engine.Load(ctx, wasm.Spec{Name: "bench/guest", Module: g.bin})
		if err != nil {
			return nil, err
		}
		plain, err := openRaw(ctx, g.bin, wazero.NewRuntimeConfig())
		if err != nil {
			return nil, err
		}
		t, err := race(
			path{"restored", h.call(p, "", g.tool, g.in, g.want)},
			path{"instantiated", func() error {
				if err := plain.fresh(ctx); err != nil {
					return err
				}
				defer plain.mod.Close(ctx)
				return plain.call(ctx, g.tool, g.in, g.want)
			}},
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{"call with fresh state, " + g.name, show(t[0]), "raw engine, instantiating " + show(t[1]), times(t[1], t[0]), g.aim})
		if g.name == "C guest" {
			// A session that nobody has used before is a new instance. Each program has room for a thousand.
			made := time.Duration(1 << 62)
			for range rounds {
				q, err := h.engine.Load(ctx, wasm.Spec{Name: "bench/made", Module: g.bin})
				if err != nil {
					return nil, err
				}
				start := time.Now()
				for i := range 500 {
					if err := h.call(q, strconv.Itoa(i), g.tool, g.in, g.want)(); err != nil {
						return nil, err
					}
				}
				made = min(made, time.Since(start)/500)
				if err := q.Close(ctx); err != nil {
					return nil, err
				}
			}
			rows = append(rows, row{"new instance and its first call, C guest", show(made), "raw engine " + show(t[1]), times(t[1], made), "≤ 10 µs"})
		}
		p.Close(ctx)
		plain.rt.Close(ctx)
		h.close()
	}
	return rows, nil
}

// hostCalls: what one more call to the host costs a guest, lease and gas included.
func hostCalls(ctx context.Context, dir string, _ []byte) ([]row, error) {
	h, err := openHouse(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer h.close()
	p, err := h.engine.Load(ctx, wasm.Spec{Name: "bench/small", Module: smallGuest})
	if err != nil {
		return nil, err
	}
	defer p.Close(ctx)
	plain, err := openRaw(ctx, smallGuest, wazero.NewRuntimeConfig())
	if err != nil {
		return nil, err
	}
	defer plain.rt.Close(ctx)
	const few, many = "\x00\x01\x00\x00", "\x00\x11\x00\x00" // 256 and 4352, 4096 apart
	t, err := race(
		path{"few", h.call(p, "s", "host", few, "")}, path{"many", h.call(p, "s", "host", many, "")},
		path{"raw few", func() error { return plain.call(ctx, "host", few, "") }}, path{"raw many", func() error { return plain.call(ctx, "host", many, "") }},
	)
	if err != nil {
		return nil, err
	}
	ours, theirs := (t[1]-t[0])/4096, (t[3]-t[2])/4096
	return []row{{"host call (kv.get of 26 B) with lease and gas", fmt.Sprintf("%d ns", ours), fmt.Sprintf("raw engine, without %d ns", theirs), times(theirs, ours), "≤ 100 ns"}}, nil
}

// starts: from nothing to the first reply.
func starts(ctx context.Context, dir string, goGuest []byte) ([]row, error) {
	var rows []row
	for _, g := range []struct {
		name, tool, in, want string
		bin                  []byte
		aimWarm, aimCold     string
	}{
		{"C guest", "kv", request, answer, smallGuest, "≤ 2 ms", "–"},
		{"Go guest", "get", "user:42", value, goGuest, "≤ 30 ms", "≤ 200 ms"},
	} {
		best := make([]time.Duration, 4)
		for i := range rounds {
			ours, theirs := filepath.Join(dir, fmt.Sprint("ours", g.name, i)), filepath.Join(dir, fmt.Sprint("theirs", g.name, i))
			for j, f := range []func() (time.Duration, error){
				func() (time.Duration, error) { return firstReply(ctx, dir, ours, g.bin, g.tool, g.in, g.want) },
				func() (time.Duration, error) { return firstReply(ctx, dir, ours, g.bin, g.tool, g.in, g.want) },
				func() (time.Duration, error) { return rawFirstReply(ctx, theirs, g.bin, g.tool, g.in, g.want) },
				func() (time.Duration, error) { return rawFirstReply(ctx, theirs, g.bin, g.tool, g.in, g.want) },
			} {
				took, err := f()
				if err != nil {
					return nil, err
				}
				if best[j] == 0 || took < best[j] {
					best[j] = took
				}
			}
		}
		rows = append(rows,
			row{"installed pack to first reply in a new engine, " + g.name, show(best[1]), "raw engine with its cache " + show(best[3]), times(best[3], best[1]), g.aimWarm},
			row{"first install to first reply, " + g.name, show(best[0]), "raw engine, compiling " + show(best[2]), times(best[2], best[0]), g.aimCold},
		)
	}
	return rows, nil
}

func firstReply(ctx context.Context, dir, cache string, bin []byte, tool, in, want string) (time.Duration, error) {
	h, err := openHouse(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer h.close()
	start := time.Now()
	e, err := wasm.Open(wasm.Options{CacheDir: cache})
	if err != nil {
		return 0, err
	}
	defer e.Close()
	p, err := e.Load(ctx, wasm.Spec{Name: "bench/first", Module: bin, Tiered: true})
	if err != nil {
		return 0, err
	}
	defer p.Close(ctx)
	err = h.call(p, "", tool, in, want)()
	took := time.Since(start)
	if err == nil {
		err = p.Settle(ctx)
	}
	return took, err
}

func rawFirstReply(ctx context.Context, cache string, bin []byte, tool, in, want string) (time.Duration, error) {
	start := time.Now()
	kept, err := wazero.NewCompilationCacheWithDir(cache)
	if err != nil {
		return 0, err
	}
	defer kept.Close(ctx)
	r, err := openRaw(ctx, bin, wazero.NewRuntimeConfig().WithCompilationCache(kept))
	if err != nil {
		return 0, err
	}
	defer r.rt.Close(ctx)
	err = r.call(ctx, tool, in, want)
	return time.Since(start), err
}

// memory: what a thousand instances take, each after one call.
func memory(ctx context.Context, dir string, goGuest []byte) ([]row, error) {
	var rows []row
	for _, g := range []struct {
		name, tool, in, want, aim string
		bin                       []byte
		raw                       int // instances of the peer, which is larger
	}{
		{"C guest", "kv", request, answer, "≤ 16 MiB", smallGuest, 1000},
		{"Go guest", "get", "user:42", value, "≤ 256 MiB", goGuest, 50},
	} {
		h, err := openHouse(ctx, dir)
		if err != nil {
			return nil, err
		}
		p, err := h.engine.Load(ctx, wasm.Spec{Name: "bench/many", Module: g.bin})
		if err != nil {
			return nil, err
		}
		before := resident()
		for i := range 1000 {
			if err := h.call(p, strconv.Itoa(i), g.tool, g.in, g.want)(); err != nil {
				return nil, err
			}
		}
		ours := resident() - before
		p.Close(ctx)
		h.close()
		plain, err := openRaw(ctx, g.bin, wazero.NewRuntimeConfig())
		if err != nil {
			return nil, err
		}
		before = resident()
		for range g.raw {
			if err := plain.fresh(ctx); err != nil {
				return nil, err
			}
			if err := plain.call(ctx, g.tool, g.in, g.want); err != nil {
				return nil, err
			}
		}
		theirs := (resident() - before) * 1000 / int64(g.raw)
		plain.rt.Close(ctx)
		rows = append(rows, row{"1,000 live instances, each after a call, " + g.name, fmt.Sprintf("%.1f MiB", float64(ours)/(1<<20)),
			fmt.Sprintf("raw engine %.0f MiB", float64(theirs)/(1<<20)), fmt.Sprintf("%.3g×", float64(theirs)/float64(ours)), g.aim})
	}
	return rows, nil
}

// resident is the memory of this process that is its own, garbage left out.
func resident() int64 {
	runtime.GC()
	runtime.GC()
	data, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 1
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	total := int64(0)
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			total = kib << 10
		}
	}
	return total - int64(m.HeapIdle-m.HeapReleased)
}

// cores: calls per second of one and of two goroutines.
func cores(ctx context.Context, dir string, _ []byte) ([]row, error) {
	h, err := openHouse(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer h.close()
	p, err := h.engine.Load(ctx, wasm.Spec{Name: "bench/small", Module: smallGuest})
	if err != nil {
		return nil, err
	}
	defer p.Close(ctx)
	each := func(workers int) time.Duration {
		const n = 20_000
		var wg sync.WaitGroup
		start := time.Now()
		for range workers {
			call := h.call(p, "", "kv", request, answer)
			wg.Go(func() {
				for range n {
					if call() != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start) / time.Duration(n*workers)
	}
	one, two := time.Duration(1<<62), time.Duration(1<<62)
	for range rounds {
		one, two = min(one, each(1)), min(two, each(2))
	}
	return []row{{"fresh-state calls on two cores", show(two) + " a call", "on one " + show(one), times(one, two), "≥ 1.8×"}}, nil
}
