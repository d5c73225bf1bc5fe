package wasm_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// subject is a module, and what may be asked of it.
type subject struct {
	name   string
	module []byte
	tools  []string
	// runtime is empty for modules that speak the ABI.
	runtime string
}

// extismTools are those of the Extism guest that leave most behind, or end badly.
var extismTools = []string{"echo", "countUp", "vars", "put", "get", "fails", "traps", "panics", "far", "spins", "recurses", "grows", "leftovers", "nothing"}

// conformTools are those of abi/abitest that leave most behind, or end badly.
var conformTools = []string{
	"conform.echo", "conform.json", "conform.typed", "conform.fail", "conform.do", "conform.size", "conform.count", "conform.keep",
	"conform.spin", "conform.grow", "conform.recurse", "conform.trap", "none",
}

// conformInputs are good input for some of them.
var conformInputs = []string{
	`{}`, `{"text":"kept"}`, `{"size":70000}`, `{"name":"a","count":3,"tags":["b","c"]}`, `{"code":12,"message":"m"}`,
	`{"ops":[{"op":"kv.put","key":"a","value":"b"},{"op":"kv.get","key":"a"}]}`, `[1,{"deep":[[[["x"]]]]},"é"]`,
}

// subjects are guests of every kind there is: written by hand, the Go kit, and the conformance guests of the other
// languages' SDKs where "make sdks" has built them.
func subjects(t *testing.T) []subject {
	messy := hostile(func(m *module) [][]byte {
		// Each call grows memory, dirties the first and last byte of it, the data and three globals, then does what its
		// input says: 0 answers, 1 traps, 2 loops, 3 recurses, 4 grows without end.
		a, b, c := m.glob("i", i32c(7)), m.glob("l", i64c(1)), m.glob("d", op(0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f))
		self := uint64(m.nImports)
		m.fn("", "i", "i", "", get(0), callf(self), i32c(1), add32)
		is := func(n int) []byte { return cat(get(2), load8(0), i32c(n), eq32) }
		return [][]byte{
			i32c(1), growMem, drop,
			i32c(0), i32c(255), store8(0), sizeMem, i32c(16), op(0x74), i32c(1), sub32, i32c(255), store8(0),
			i32c(70000), i32c(3), store8(0),
			gget(a), i32c(1), add32, gset(a), gget(b), i64c(3), add64, gset(b), gget(c), gget(c), op(0xa0), gset(c),
			is(1), iff(unreachable), is(2), iff(loop(br(0))), is(3), iff(i32c(0), callf(self), drop),
			is(4), iff(loop(i32c(1), growMem, i32c(-1), op(0x47), brif(0)), unreachable),
		}
	})
	out := []subject{
		{name: "echo", module: echoGuest(), tools: []string{"echo"}},
		{name: "kv", module: kvGuest(), tools: []string{"get"}},
		{name: "messy", module: messy, tools: []string{"do", okTool}},
		{name: "extism by hand", module: extismGuest(t), tools: extismTools, runtime: wasm.RuntimeExtism},
		{name: "go by hand", module: goGuest(t), tools: []string{"echo", "count", "get", "put", "loop", "recurse", "grow", "panic", "exit", "nil", "time", "rand", "print", "goroutines", "none"}},
		{name: "go kit", module: buildGo(t, "../../../testdata/guests/hostile"), tools: []string{
			"hostile.loop", "hostile.recurse", "hostile.grow", "hostile.panic", "hostile.exit", "hostile.huge", "hostile.wide", "hostile.echo", "none"}},
	}
	return append(out, sdkSubjects(t)...)
}

// sdkSubjects are the conformance guests that "make sdks" has built. It names them in ARW_SDKS, and then none may be missing.
func sdkSubjects(t *testing.T) (out []subject) {
	files, err := filepath.Glob("../../../sdk/build/*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	missing := strings.Fields(os.Getenv("ARW_SDKS"))
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".wasm")
		if strings.Contains(name, "-") {
			continue // an example
		}
		missing = slices.DeleteFunc(missing, func(s string) bool { return s == name })
		bin, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s := subject{name: name, module: bin, tools: conformTools}
		if name == "extism" {
			s.runtime = wasm.RuntimeExtism
		}
		out = append(out, s)
	}
	if len(missing) > 0 {
		t.Errorf("no module in sdk/build for %v", missing)
	}
	return out
}

// TestRestore: after any sequence of calls, whatever became of them, an instance that waits for the next one equals one that
// was made anew, byte for byte and global for global.
func TestRestore(t *testing.T) {
	t.Parallel()
	list := subjects(t)
	for _, o := range []struct {
		name    string
		options wasm.Options
		rounds  int
	}{
		{"native", wasm.Options{}, 60},
		{"portable", wasm.Options{Portable: true}, 30},
		{"interpreter", wasm.Options{Interpret: true}, 10},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			e := open(t, o.options)
			for _, s := range list {
				t.Run(s.name, func(t *testing.T) { restores(t, e, s, o.rounds) })
			}
		})
	}
}

func restores(t *testing.T, e *wasm.Engine, s subject, rounds int) {
	p := load(t, e, wasm.Spec{Name: "t/" + s.name, Module: s.module, Runtime: s.runtime, Limits: wasm.Limits{MemoryBytes: 16 << 20}, Instances: 3})
	fresh, err := p.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	kv := &mapKV{m: map[string][]byte{"a": []byte("1")}}
	for round := range rounds {
		tool := s.tools[rng.IntN(len(s.tools))]
		input := make([]byte, 1+rng.IntN(200))
		for i := range input {
			input[i] = byte(rng.IntN(5))
		}
		if strings.HasPrefix(tool, "conform.") && rng.IntN(4) > 0 {
			input = []byte(conformInputs[rng.IntN(len(conformInputs))])
		}
		if rng.IntN(8) == 0 {
			input = bytes.Repeat(input, 1000) // more than there is room for
		}
		limits := wasm.Limits{Gas: 1 + rng.Uint64N(4e6), Time: time.Minute}
		_, err := p.Call(t.Context(), wasm.Call{Tool: tool, Input: input, Effects: abi.Writes, Limits: limits, Gate: openGate{}, Host: wasm.Host{KV: kv}})
		if abi.CodeOf(err) == abi.Quarantined {
			p.Forgive()
		}
		if abi.CodeOf(err) == abi.Internal {
			t.Fatal(err)
		}
		idle := p.Idle()
		for i, is := range idle {
			if diff := differ(is, fresh); diff != "" {
				t.Fatalf("seed %d, after call %d (%s: %v), instance %d of %d: %s", seed, round, tool, err, i, len(idle), diff)
			}
		}
	}
	if s := p.Stats(); s.Restores == 0 && s.Discards < uint64(rounds) {
		t.Errorf("nothing was tried: %+v", s)
	}
}

func differ(is, was wasm.Contents) string {
	switch {
	case len(is.Memory) != len(was.Memory):
		return fmt.Sprintf("memory is %d bytes, was %d", len(is.Memory), len(was.Memory))
	case !slices.Equal(is.Globals, was.Globals):
		return fmt.Sprintf("globals are %v, were %v", is.Globals, was.Globals)
	case is.In != was.In:
		return fmt.Sprintf("the room for requests is %v, was %v", is.In, was.In)
	}
	for i := range is.Memory {
		if is.Memory[i] != was.Memory[i] {
			return fmt.Sprintf("byte %d is %d, was %d", i, is.Memory[i], was.Memory[i])
		}
	}
	return ""
}

// TestTablesAreFresh: a module that changes a table cannot be set back, so each of its calls has an instance of its own.
func TestTablesAreFresh(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/table", Module: tableGuest()})
	for range 3 {
		if r, err := p.Call(t.Context(), wasm.Call{Tool: "bad"}); err != nil || string(r.Body) != "fine" {
			t.Errorf("a call saw what the last one did: %q %v", r.Body, err)
		}
	}
	if s := p.Stats(); s.Restores != 0 || s.Discards != 3 {
		t.Errorf("%+v", s)
	}
}

// TestRetire: an instance serves so many calls and no more; the next call has a new one, which starts where every call does.
// A session keeps its instance: its state would go with it.
func TestRetire(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/retire", Module: goGuest(t), Instances: 1})
	p.RetireAfter(3)
	for n := range uint64(10) {
		if r, err := p.Call(t.Context(), wasm.Call{Tool: "count"}); err != nil || string(r.Body) != "101" {
			t.Fatalf("call %d: %q %v", n, r.Body, err)
		}
		if s := p.Stats(); s.Discards != (n+1)/3 || s.Restores != n+1-s.Discards || s.Instances != 1+n/3 {
			t.Fatalf("after %d calls: %+v", n+1, s)
		}
	}
	for n := range 7 {
		want := strconv.Itoa(101 + n)
		if r, err := p.Call(t.Context(), wasm.Call{Tool: "count", Session: "s"}); err != nil || string(r.Body) != want {
			t.Fatalf("call %d of the session: %q %v, want %q", n, r.Body, err, want)
		}
	}
}

// tableGuest traps when the entry of its table is not null, and sets it.
func tableGuest() []byte {
	return hostile(func(m *module) [][]byte {
		m.table(1)
		f := m.fn("", "", "", "")
		m.export("f", 0, f) // declares the reference
		return [][]byte{
			i32c(0), op(0x25, 0), op(0xd1), op(0x45), iff(unreachable),
			i32c(0), op(0xd2), uleb(f), op(0x26, 0),
		}
	})
}

// TestRandomness: what a guest draws for its security differs from call to call, though every call starts from the same
// state; a pure tool draws the same every time, so that its answer can be kept. What the language seeded once, at its start, repeats:
// sdk/README.md says so.
func TestRandomness(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{})
	p := load(t, e, wasm.Spec{Name: "t/rand", Module: goGuest(t)})
	for _, tc := range []struct {
		tool    string
		effects abi.Effect
		want    int // different answers
	}{{"rand", abi.Reads, 20}, {"rand", abi.Pure, 1}, {"chance", abi.Reads, 1}} {
		seen := map[string]bool{}
		for range 20 {
			r, err := p.Call(t.Context(), wasm.Call{Tool: tc.tool, Effects: tc.effects})
			if err != nil {
				t.Fatal(err)
			}
			seen[string(r.Body)] = true
		}
		if len(seen) != tc.want {
			t.Errorf("%s, effects %s: %d different numbers of 20, want %d", tc.tool, tc.effects, len(seen), tc.want)
		}
	}
}

// TestDeadline: a hung guest is stopped soon after its deadline, whatever it hangs in.
func TestDeadline(t *testing.T) {
	module := hostile(func(m *module) [][]byte {
		kv := m.imp("arw:kv", "get", "iiii", "l")
		is := func(n int) []byte { return cat(get(2), load8(0), i32c(n), eq32) }
		return [][]byte{
			is(1), iff(loop(i32c(0), i32c(1), i32c(0), i32c(0), callf(kv), drop, br(0))),
			is(2), iff(loop(i32c(0), i32c(1), i32c(131072), fillMem, br(0))),
			is(3), iff(i32c(0), i32c(1), i32c(0), i32c(0), callf(kv), drop),
			loop(br(0)),
		}
	})
	const limit, grace = 20 * time.Millisecond, 50 * time.Millisecond
	for _, interpret := range []bool{false, true} {
		p := load(t, open(t, wasm.Options{Interpret: interpret}), wasm.Spec{Name: "t/hang", Module: module})
		for i, name := range []string{"a loop", "host calls", "filling", "a blocked host call"} {
			best := time.Duration(1 << 62)
			for range 3 { // a busy machine may hold any one of them up
				var kv wasm.KV = &mapKV{m: map[string][]byte{}}
				if i == 3 {
					kv = &blockingKV{entered: make(chan struct{}, 1), proceed: make(chan struct{})}
				}
				p.Forgive()
				start := time.Now()
				_, err := p.Call(t.Context(), wasm.Call{Tool: "bad", Input: []byte{byte(i)}, Effects: abi.Reads, Gate: openGate{},
					Host: wasm.Host{KV: kv}, Limits: wasm.Limits{Gas: 1 << 60, Time: limit}})
				if abi.CodeOf(err) != abi.Deadline {
					t.Errorf("%s: %v", name, err)
				}
				best = min(best, time.Since(start))
			}
			if best > limit+grace {
				t.Errorf("interpreted %t, %s: stopped %v after its deadline", interpret, name, best-limit)
			}
			t.Logf("interpreted %t, %s: %v after its deadline", interpret, name, best-limit)
		}
	}
}
