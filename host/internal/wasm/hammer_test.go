package wasm_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// villain is a guest that does wrong, and how its calls may end.
type villain struct {
	name   string
	module []byte
	codes  []abi.Code
}

func villains() []villain {
	take := func(m *module) uint64 { return m.imp("arw:io", "take", "ii", "l") }
	list := []villain{
		{"lies about its reply", plain(packed(i32c(-1), i32c(2)), ret), []abi.Code{abi.Invalid}},
		{"lies to host functions", hostile(func(m *module) [][]byte {
			kv, io := m.imp("arw:kv", "get", "iiii", "l"), take(m)
			return [][]byte{
				i32c(-1), i32c(-1), i32c(0), i32c(64), callf(kv), drop, i32c(0), i32c(8), i32c(131071), i32c(-1), callf(kv), drop,
				i32c(-8), i32c(-1), callf(io), drop, i32c(131064), i32c(9), callf(io), drop,
			}
		}), []abi.Code{abi.OK}},
		{"exits in a call", hostile(func(m *module) [][]byte {
			exit := m.imp("wasi_snapshot_preview1", "proc_exit", "i", "")
			return [][]byte{i32c(9), callf(exit)}
		}), []abi.Code{abi.Exited}},
		{"uses up its gas", plain(loop(br(0))), []abi.Code{abi.GasExhausted}},
		{"takes all memory", plain(loop(i32c(1), growMem, i32c(-1), op(0x47), brif(0)), unreachable), []abi.Code{abi.MemoryExhausted, abi.Busy, abi.GasExhausted}},
		{"traps after writing everywhere", plain(i32c(0), i32c(255), i32c(131072), fillMem, unreachable), []abi.Code{abi.Trap}},
		{"re-enters by an action", hostile(func(m *module) [][]byte {
			call := m.imp("arw:action", "call", "iiiiii", "l")
			return [][]byte{i32c(100), i32c(1), i32c(100), i32c(1), i32c(200), i32c(64), callf(call), drop}
		}), []abi.Code{abi.OK}},
		{"changes its table", tableGuest(), []abi.Code{abi.OK}},
	}
	for _, m := range misuses {
		codes := []abi.Code{abi.OK}
		if m.traps {
			codes = []abi.Code{abi.Trap}
		}
		list = append(list, villain{m.name, hostile(func(mod *module) [][]byte { return m.body(lending(mod)) }), codes})
	}
	return list
}

// harm calls the villain until the end, at least once.
func (v villain) harm(t *testing.T, p *wasm.Program, kv wasm.KV, lent *wares, end time.Time) {
	for more := true; more; more = time.Now().Before(end) {
		fs := &tray{files: map[string]string{"/x": "old"}}
		host := lent.host(fs)
		host.KV, host.Action = kv, &reenter{p: p}
		_, err := p.Call(context.Background(), wasm.Call{Tool: "bad", Input: []byte("x"), Effects: abi.OpenWorld, Gate: openGate{},
			Host: host, Limits: wasm.Limits{Gas: 3e6}})
		if fs.open != 0 {
			t.Errorf("%s: %d files are open", v.name, fs.open)
		}
		if code := abi.CodeOf(err); code == abi.Quarantined {
			p.Forgive()
		} else if !has(v.codes, code) {
			t.Errorf("%s: %v", v.name, err)
			return
		}
	}
}

// honest is a guest that does right.
type honest struct {
	name, tool string
	module     []byte
	in, want   []byte
}

func honests(t *testing.T) []honest {
	return []honest{
		{"kv", "get", kvGuest(), []byte("user:42"), []byte("honest")},
		{"echo", "echo", echoGuest(), bytes.Repeat([]byte("abc"), 5000), bytes.Repeat([]byte("abc"), 5000)},
		{"go", "count", goGuest(t), nil, []byte("101")},
		{"keeper", "keep", keeper(), []byte("kept as it was"), []byte("kept as it was")},
	}
}

// serve calls the guest until the end; some of its callers go away.
func (h honest) serve(t *testing.T, p *wasm.Program, kv wasm.KV, end time.Time) {
	for more := true; more; more = time.Now().Before(end) {
		ctx, cancel := context.WithCancel(context.Background())
		given := rand.IntN(10) == 0
		if given {
			go cancel()
		}
		r, err := p.Call(ctx, wasm.Call{Tool: h.tool, Input: h.in, Effects: abi.Writes, Gate: openGate{},
			Host: wasm.Host{KV: kv, FS: &tray{files: map[string]string{}}}})
		cancel()
		if given && abi.CodeOf(err) == abi.Cancelled {
			continue
		}
		if err != nil || !bytes.Equal(r.Body, h.want) {
			t.Errorf("the honest %s: %.20q %v", h.name, r.Body, err)
			return
		}
	}
}

// TestHammer runs packs that misbehave in every way we know beside honest ones, all at once, on an engine that is short of
// instances and memory. The honest answers are right and the same state is found every time; each misdeed has its own
// error; and in the end nothing is left. It is worth most under the race detector.
func TestHammer(t *testing.T) {
	t.Parallel()
	// Room for every caller at once, those within the re-entering one's included: whoever is refused was hurt by another.
	const room = 64
	e := open(t, wasm.Options{Instances: room, MemoryBytes: 256 << 20})
	bad, good := villains(), honests(t)
	var programs []*wasm.Program // all are loaded before the first call
	for _, v := range bad {
		programs = append(programs, load(t, e, wasm.Spec{Name: "t/" + strings.ReplaceAll(v.name, " ", "-"), Module: v.module, Limits: wasm.Limits{MemoryBytes: 16 << 20}}))
	}
	for _, h := range good {
		programs = append(programs, load(t, e, wasm.Spec{Name: "t/" + h.name, Module: h.module, Instances: 4}))
	}
	kv, lent, end := &mapKV{m: map[string][]byte{"user:42": []byte("honest")}}, &wares{}, time.Now().Add(1500*time.Millisecond)
	var work sync.WaitGroup
	for i, v := range bad {
		for range 2 {
			work.Go(func() { v.harm(t, programs[i], kv, lent, end) })
		}
	}
	for i, h := range good {
		for range 3 {
			work.Go(func() { h.serve(t, programs[len(bad)+i], kv, end) })
		}
	}
	work.Wait()
	if lent.out.Load() != 0 || lent.lent.Load() == 0 {
		t.Errorf("%d of %d requests and answers are open", lent.out.Load(), lent.lent.Load())
	}
	if n, mem := e.Live(); n > room || mem > 256<<20 {
		t.Errorf("%d instances with %d bytes live", n, mem)
	}
}

func has(codes []abi.Code, code abi.Code) bool {
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}

// reenter answers an action of a pack by calling the same pack, to a depth of three.
type reenter struct{ p *wasm.Program }

type depthKey struct{}

func (r *reenter) Call(ctx context.Context, _ string, in []byte) (abi.FrameKind, []byte, error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	if depth == 3 {
		return 0, nil, abi.Errorf(abi.DepthExceeded, "too many packs deep")
	}
	reply, err := r.p.Call(context.WithValue(ctx, depthKey{}, depth+1), wasm.Call{Tool: "bad", Input: in, Effects: abi.Writes, Gate: openGate{}, Host: wasm.Host{Action: r}})
	return reply.Kind, reply.Body, err
}
