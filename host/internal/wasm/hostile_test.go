package wasm_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

const okTool = "ok" // the tool of every hostile module that answers well

// hostile is a module whose tools run code, all but one, which answers "fine".
func hostile(edit func(*module) [][]byte) []byte {
	m := guest(2, -1)
	code := edit(m)
	m.bytes(100, "\x01fine")
	m.abiAlloc()
	m.fn("arw_call", "iiii", "l", "ii",
		get(1), i32c(2), eq32, iff(packed(i32c(100), i32c(5)), ret),
		cat(code...), packed(i32c(100), i32c(5)))
	return m.build()
}

func plain(code ...[]byte) []byte { return hostile(func(*module) [][]byte { return code }) }

// reply is a module that answers with the given frame.
func reply(frame string) []byte {
	return hostile(func(m *module) [][]byte {
		m.bytes(200, frame)
		return [][]byte{packed(i32c(200), i32c(len(frame))), ret}
	})
}

func TestHostileGuests(t *testing.T) {
	t.Parallel()
	recursion := func(locals string, code ...[]byte) []byte {
		return hostile(func(m *module) [][]byte {
			self := uint64(m.nImports)
			m.fn("", "i", "i", locals, get(0), callf(self), cat(code...), i32c(1), add32)
			return [][]byte{i32c(0), callf(self), drop}
		})
	}
	tests := []struct {
		name   string
		module []byte
		limits wasm.Limits
		code   abi.Code
		says   string
	}{
		{"loop on gas", plain(loop(br(0))), wasm.Limits{Gas: 1e6}, abi.GasExhausted, "gas"},
		{"loop on time", plain(loop(br(0))), wasm.Limits{Gas: 1 << 60, Time: 30 * time.Millisecond}, abi.Deadline, "deadline"},
		{"loop over calls", recursion("", i32c(0), op(0x04, 0x40), get(0), drop, op(0x0b)), wasm.Limits{Gas: 1e5, Depth: 1 << 30}, abi.GasExhausted, ""},
		{"fill again and again", plain(loop(i32c(0), i32c(1), i32c(131072), fillMem, br(0))), wasm.Limits{Gas: 1 << 60, Time: 30 * time.Millisecond}, abi.Deadline, ""},
		{"fill on gas", plain(i32c(0), i32c(1), i32c(131072), fillMem), wasm.Limits{Gas: 10_000}, abi.GasExhausted, ""},
		{"recursion", recursion(""), wasm.Limits{}, abi.DepthExceeded, "nest"},
		{"recursion with big frames", recursion(strings.Repeat("l", 5000)), wasm.Limits{Gas: 1 << 60}, abi.DepthExceeded, "nest"},
		{"indirect recursion", hostile(func(m *module) [][]byte {
			self := uint64(m.nImports)
			m.table(1, self)
			m.fn("", "i", "i", "", get(0), i32c(0), op(0x11), uleb(m.typ("i", "i")), op(0), i32c(1), add32)
			return [][]byte{i32c(0), callf(self), drop}
		}), wasm.Limits{}, abi.DepthExceeded, ""},
		{"memory", plain(loop(i32c(1), growMem, i32c(-1), op(0x47), brif(0)), unreachable), wasm.Limits{MemoryBytes: 4 << 20}, abi.MemoryExhausted, "4096 KiB"},
		{"memory refused and survived", plain(i32c(65535), growMem, drop), wasm.Limits{}, abi.OK, ""},
		{"unreachable", plain(unreachable), wasm.Limits{}, abi.Trap, "unreachable"},
		{"division", plain(i32c(1), i32c(0), op(0x6d), drop), wasm.Limits{}, abi.Trap, "integer divide by zero"},
		{"load outside", plain(i32c(-1), load8(0), drop), wasm.Limits{}, abi.Trap, "out of bounds memory access"},
		{"null call", hostile(func(m *module) [][]byte {
			m.table(2)
			return [][]byte{i32c(0), op(0x11), uleb(m.typ("", "")), op(0)}
		}), wasm.Limits{}, abi.Trap, "table"},
		{"exit 0", hostile(func(m *module) [][]byte {
			exit := m.imp("wasi_snapshot_preview1", "proc_exit", "i", "")
			return [][]byte{i32c(0), callf(exit)}
		}), wasm.Limits{}, abi.Exited, "status 0"},
		{"exit 3", hostile(func(m *module) [][]byte {
			exit := m.imp("wasi_snapshot_preview1", "proc_exit", "i", "")
			return [][]byte{i32c(3), callf(exit)}
		}), wasm.Limits{}, abi.Exited, "status 3"},
		{"reply outside", plain(packed(i32c(131071), i32c(2)), ret), wasm.Limits{}, abi.Invalid, "outside memory"},
		{"reply wraps", plain(packed(i32c(-1), i32c(2)), ret), wasm.Limits{}, abi.Invalid, "outside memory"},
		{"reply too long", plain(packed(i32c(0), i32c(9000)), ret), wasm.Limits{Output: 8999}, abi.TooLarge, "9000 bytes"},
		{"reply lies about its length", plain(packed(i32c(0), i32c(-1)), ret), wasm.Limits{}, abi.TooLarge, "4294967295"},
		{"empty reply", plain(packed(i32c(0), i32c(0)), ret), wasm.Limits{}, abi.Invalid, "empty"},
		{"unknown kind", reply("\x09x"), wasm.Limits{}, abi.Invalid, "kind 9"},
		{"short error", reply("\x02\x03\x00"), wasm.Limits{}, abi.Invalid, "error frame"},
		{"error with a long message", reply("\x02\x03\x00\x00\x00\xff\x00\x00\x00x"), wasm.Limits{}, abi.Invalid, "255"},
		{"error without a code", reply("\x02\x00\x00\x00\x00\x00\x00\x00\x00"), wasm.Limits{}, abi.Invalid, "code 0"},
		{"error with a detail that is no JSON", reply("\x02\x03\x00\x00\x00\x00\x00\x00\x00{"), wasm.Limits{}, abi.Invalid, "JSON"},
	}
	e := open(t, wasm.Options{})
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			p := load(t, e, wasm.Spec{Name: "t/hostile", Module: tc.module, Limits: wasm.Limits{MemoryBytes: tc.limits.MemoryBytes}})
			r, err := p.Call(t.Context(), wasm.Call{Tool: "bad", Limits: tc.limits})
			if abi.CodeOf(err) != tc.code || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v: %v, want %s with %q", abi.CodeOf(err), err, tc.code, tc.says)
			}
			if err != nil && r.Kind == abi.FrameError {
				t.Error("the failure looks like the tool's own answer")
			}
			if r, err := p.Call(t.Context(), wasm.Call{Tool: okTool}); err != nil || string(r.Body) != "fine" {
				t.Errorf("the next call: %q, %v", r.Body, err)
			}
		})
	}
}

// TestHostileStart: what a module does while it is loaded is bounded in the same way.
func TestHostileStart(t *testing.T) {
	t.Parallel()
	with := func(edit func(m *module)) []byte {
		m := guest(2, -1)
		edit(m)
		m.abiAlloc()
		m.fn("arw_call", "iiii", "l", "", i64c(0))
		return m.build()
	}
	tests := []struct {
		name   string
		module []byte
		code   abi.Code
	}{
		{"start loops", with(func(m *module) { m.start = uleb(m.fn("", "", "", "", loop(br(0)))) }), abi.GasExhausted},
		{"_initialize traps", with(func(m *module) { m.fn("_initialize", "", "", "", unreachable) }), abi.Trap},
		{"arw_init loops", with(func(m *module) { m.fn("arw_init", "", "", "", loop(br(0))) }), abi.GasExhausted},
		{"arw_init exits", with(func(m *module) {
			exit := m.imp("wasi_snapshot_preview1", "proc_exit", "i", "")
			m.fn("arw_init", "", "", "", i32c(0), callf(exit))
		}), abi.Exited},
		{"data outside", with(func(m *module) { m.bytes(131070, "abc") }), abi.Incompatible},
		{"memory too large", func() []byte {
			m := guest(2000, -1)
			m.abiAlloc()
			m.fn("arw_call", "iiii", "l", "", i64c(0))
			return m.build()
		}(), abi.TooLarge},
		{"no room", func() []byte {
			m := guest(2, -1)
			m.fn("arw_alloc", "i", "i", "", i32c(0))
			m.fn("arw_call", "iiii", "l", "", i64c(0))
			return m.build()
		}(), abi.TooLarge},
		{"room outside", func() []byte {
			m := guest(2, -1)
			m.fn("arw_alloc", "i", "i", "", i32c(131070))
			m.fn("arw_call", "iiii", "l", "", i64c(0))
			return m.build()
		}(), abi.TooLarge},
		{"operands do not match", func() []byte {
			m := guest(2, -1)
			m.abiAlloc()
			m.fn("arw_call", "iiii", "l", "", i32c(0))
			return m.build()
		}(), abi.Invalid},
	}
	e := open(t, wasm.Options{})
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			p, err := e.Load(t.Context(), wasm.Spec{Name: "t/start", Module: tc.module, Limits: wasm.Limits{Gas: 1e6}})
			if abi.CodeOf(err) != tc.code || !strings.Contains(err.Error(), `load "t/start"`) {
				t.Errorf("%s: %v, want %s", abi.CodeOf(err), err, tc.code)
			}
			if p != nil {
				t.Error("there is a program all the same")
			}
		})
	}
}

// blockingKV waits in Get until it is told to go on, or until its context ends.
type blockingKV struct {
	mapKV
	entered chan struct{}
	proceed chan struct{}
}

func (k *blockingKV) Get(ctx context.Context, key []byte) ([]byte, error) {
	k.entered <- struct{}{}
	select {
	case <-k.proceed:
		return []byte("v"), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// loopAfterGet calls kv.get, then loops forever.
func loopAfterGet() []byte {
	return hostile(func(m *module) [][]byte {
		kv := m.imp("arw:kv", "get", "iiii", "l")
		return [][]byte{i32c(0), i32c(1), i32c(0), i32c(0), callf(kv), drop, loop(br(0))}
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	for _, interpret := range []bool{false, true} {
		e := open(t, wasm.Options{Interpret: interpret})
		p := load(t, e, wasm.Spec{Name: "t/stop", Module: loopAfterGet()})
		for _, inHost := range []bool{false, true} {
			kv := &blockingKV{entered: make(chan struct{}), proceed: make(chan struct{})}
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := p.Call(ctx, wasm.Call{Tool: "bad", Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: kv}, Limits: wasm.Limits{Gas: 1 << 60, Time: time.Minute}})
				result <- err
			}()
			<-kv.entered
			if !inHost {
				kv.proceed <- struct{}{}
			}
			start := time.Now()
			cancel()
			if err := <-result; abi.CodeOf(err) != abi.Cancelled {
				t.Errorf("interpreted %t, in host %t: %v", interpret, inHost, err)
			}
			t.Logf("interpreted %t, in host %t: stopped after %v", interpret, inHost, time.Since(start))
			if r, err := p.Call(t.Context(), wasm.Call{Tool: okTool}); err != nil || string(r.Body) != "fine" {
				t.Errorf("the next call: %q, %v", r.Body, err)
			}
		}
	}
}

// TestDeadlineInHost: the deadline reaches a host function that waits, through its context.
func TestDeadlineInHost(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/stop", Module: loopAfterGet()})
	kv := &blockingKV{entered: make(chan struct{}, 1), proceed: make(chan struct{})}
	_, err := p.Call(t.Context(), wasm.Call{Tool: "bad", Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: kv}, Limits: wasm.Limits{Gas: 1 << 60, Time: 20 * time.Millisecond}})
	if abi.CodeOf(err) != abi.Deadline {
		t.Errorf("%v", err)
	}
}

// TestRecursionCost bounds what the deepest recursion takes from the host.
func TestRecursionCost(t *testing.T) {
	module := hostile(func(m *module) [][]byte {
		self := uint64(m.nImports)
		m.fn("", "i", "i", "", get(0), callf(self), i32c(1), add32)
		return [][]byte{i32c(0), callf(self), drop}
	})
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/deep", Module: module})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := p.Call(t.Context(), wasm.Call{Tool: "bad"})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; abi.CodeOf(err) != abi.DepthExceeded || took > 16<<20 {
		t.Errorf("%v after %d KiB", err, took>>10)
	}
}

func TestLimitsOfACall(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/echo", Module: echoGuest(), Limits: wasm.Limits{MemoryBytes: 1 << 20}})
	tests := []struct {
		name   string
		input  int
		limits wasm.Limits
		code   abi.Code
	}{
		{"input", 11, wasm.Limits{Input: 10}, abi.TooLarge},
		{"input at the limit", 10, wasm.Limits{Input: 10}, abi.OK},
		{"output", 10, wasm.Limits{Output: 10}, abi.TooLarge},
		{"output at the limit", 10, wasm.Limits{Output: 11}, abi.OK},
		{"request larger than memory", 2 << 20, wasm.Limits{}, abi.MemoryExhausted},
		{"request larger than the call's memory", 200 << 10, wasm.Limits{MemoryBytes: 128 << 10}, abi.MemoryExhausted},
		{"request within the call's memory", 200 << 10, wasm.Limits{MemoryBytes: 512 << 10}, abi.OK},
		{"memory is never above the program's", 2 << 20, wasm.Limits{MemoryBytes: 16 << 20}, abi.MemoryExhausted},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r, err := p.Call(t.Context(), wasm.Call{Tool: "echo", Input: make([]byte, tc.input), Limits: tc.limits})
			if abi.CodeOf(err) != tc.code || err == nil && len(r.Body) != tc.input {
				t.Errorf("%d bytes, %v", len(r.Body), err)
			}
			if _, err := p.Call(t.Context(), wasm.Call{Tool: "echo"}); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}
