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

// TestHammer runs packs that misbehave in every way we know beside honest ones, all at once, on an engine that is short of
// instances and memory. The honest answers are right and the same state is found every time; each misdeed has its own
// error; and in the end nothing is left. It is worth most under the race detector.
func TestHammer(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{Instances: 40, MemoryBytes: 256 << 20})
	take := func(m *module) uint64 { return m.imp("arw:io", "take", "ii", "l") }
	villains := []struct {
		name   string
		module []byte
		codes  []abi.Code
	}{
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
		{"exhausts its handles", hostile(func(m *module) [][]byte {
			create, write := m.imp("arw:fs", "create", "iiii", "l"), m.imp("arw:stream", "write", "iii", "l")
			m.bytes(300, "/x")
			return [][]byte{loop(
				i32c(300), i32c(2), i32c(400), i32c(4), callf(create), i64c(32), op(0x88), wrap, // until one is refused
				i32c(2), i32c(300), i32c(2), callf(write), drop, i32c(99), i32c(300), i32c(2), callf(write), drop, op(0x45), brif(0))}
		}), []abi.Code{abi.OK}},
		{"changes its table", tableGuest(), []abi.Code{abi.OK}},
	}
	var work sync.WaitGroup
	kv := &mapKV{m: map[string][]byte{"user:42": []byte("honest")}}
	fs := &tray{files: map[string]string{}}
	end := time.Now().Add(1500 * time.Millisecond)
	for _, v := range villains {
		p := load(t, e, wasm.Spec{Name: "t/" + strings.ReplaceAll(v.name, " ", "-"), Module: v.module, Limits: wasm.Limits{MemoryBytes: 16 << 20}})
		again := &reenter{p: p}
		for range 2 {
			work.Go(func() {
				for time.Now().Before(end) {
					_, err := p.Call(context.Background(), wasm.Call{Tool: "bad", Input: []byte("x"), Effects: abi.Writes, Gate: openGate{},
						Host: wasm.Host{KV: kv, Action: again, FS: fs}, Limits: wasm.Limits{Gas: 3e6}})
					if code := abi.CodeOf(err); code == abi.Quarantined {
						p.Forgive()
					} else if !has(v.codes, code) {
						t.Errorf("%s: %v", v.name, err)
						return
					}
				}
			})
		}
	}
	honest := []struct {
		name, tool string
		module     []byte
		in, want   []byte
	}{
		{"kv", "get", kvGuest(), []byte("user:42"), []byte("honest")},
		{"echo", "echo", echoGuest(), bytes.Repeat([]byte("abc"), 5000), bytes.Repeat([]byte("abc"), 5000)},
		{"go", "count", goGuest(t), nil, []byte("101")},
	}
	for _, h := range honest {
		p := load(t, e, wasm.Spec{Name: "t/" + h.name, Module: h.module, Instances: 4})
		for range 3 {
			work.Go(func() {
				for time.Now().Before(end) {
					ctx, cancel := context.WithCancel(context.Background())
					given := rand.IntN(10) == 0
					if given { // some callers go away
						go cancel()
					}
					r, err := p.Call(ctx, wasm.Call{Tool: h.tool, Input: h.in, Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: kv}})
					cancel()
					if given && abi.CodeOf(err) == abi.Cancelled {
						continue
					}
					if err != nil || !bytes.Equal(r.Body, h.want) {
						t.Errorf("the honest %s: %.20q %v", h.name, r.Body, err)
						return
					}
				}
			})
		}
	}
	work.Wait()
	if fs.open != 0 || len(fs.files) > 0 {
		t.Errorf("%d files are open and %d were made by guests that never closed one", fs.open, len(fs.files))
	}
	if n, mem := e.Live(); n > 40 || mem > 256<<20 {
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
