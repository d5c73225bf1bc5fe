package rewrite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// generator writes random programs that are valid and end: loops count down, and functions call only earlier ones.
// Between statements the operand stack is empty; every function is (i32 i32) -> i32 with six i32 locals, the last three
// of which count loops.
type generator struct {
	src    entropy
	out    []byte
	self   int   // index of the function being written
	labels []int // open constructs, inner last: 0 takes nothing, 1 takes an i32; loops take nothing
	loops  int
	calls  int
}

// entropy gives bytes until they run out, then zeros, which choose the simplest of everything.
type entropy struct{ data []byte }

func (e *entropy) n(n int) int {
	if len(e.data) == 0 {
		return 0
	}
	b := e.data[0]
	e.data = e.data[1:]
	return int(b) % n
}

func (g *generator) op(b ...byte) { g.out = append(g.out, b...) }

func (g *generator) i32(v int) {
	g.op(0x41)
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			g.op(b)
			return
		}
		g.op(b | 0x80)
	}
}

// expr leaves an i32.
func (g *generator) expr(depth int) {
	choice := g.src.n(14)
	if depth <= 0 {
		choice %= 3
	}
	switch choice {
	case 0:
		g.i32(g.src.n(256) - 128)
	case 1:
		g.op(0x20, byte(g.src.n(8)))
	case 2:
		g.op(0x23, byte(g.src.n(2)))
	case 3, 4:
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.op([]byte{0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x48, 0x4d, 0x6d, 0x70}[g.src.n(10)]) // the last two trap on zero
	case 5:
		g.address(depth)
		g.op(0x28, 2, byte(g.src.n(64)))
	case 6:
		if g.self == 0 || g.calls > 2 {
			g.op(0x3f, 0)
			return
		}
		g.calls++
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.op(0x10, byte(g.src.n(g.self)))
	case 7:
		g.expr(depth - 1)
		g.construct(0x04, 1, func() { g.stmts(1); g.expr(depth - 1) }, func() { g.expr(depth - 1) })
	case 8:
		g.construct(0x02, 1, func() {
			g.expr(depth - 1)
			g.expr(depth - 1)
			g.op(0x0d, 0) // br_if with a value
			g.stmts(1)
		}, nil)
	case 9:
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.op(0x1b)
	case 10:
		g.i32(g.src.n(3))
		g.op(0x40, 0)
	case 11:
		if g.self == 0 || g.calls > 2 {
			g.op(0x20, 1)
			return
		}
		g.calls++
		g.expr(depth - 1)
		g.expr(depth - 1)
		g.i32(g.src.n(2)) // 1 is null and traps
		g.op(0x11, 0, 0)
	default:
		g.op(0x20, 0)
	}
}

// address leaves an address well inside the first page.
func (g *generator) address(depth int) {
	g.expr(depth - 1)
	g.i32(0x7ff)
	g.op(0x71)
}

func (g *generator) construct(op byte, results int, then, otherwise func()) {
	g.op(op, []byte{0x40, 0x7f}[results])
	label := results
	if op == 0x03 {
		label = 0
	}
	g.labels = append(g.labels, label)
	then()
	if otherwise != nil {
		g.op(0x05)
		otherwise()
	}
	g.op(0x0b)
	g.labels = g.labels[:len(g.labels)-1]
}

func (g *generator) stmts(depth int) {
	for range g.src.n(4) {
		g.stmt(depth)
	}
}

func (g *generator) stmt(depth int) {
	choice := g.src.n(14)
	if depth <= 0 {
		choice %= 4
	}
	switch choice {
	case 0:
		g.expr(2)
		g.op(0x21, byte(2+g.src.n(3)))
	case 1:
		g.address(2)
		g.expr(2)
		g.op(0x36, 2, byte(g.src.n(64)))
	case 2:
		g.expr(2)
		g.op(0x24, byte(g.src.n(2)))
	case 3:
		g.expr(3)
		g.op(0x1a)
	case 4, 5:
		g.expr(2)
		var otherwise func()
		if g.src.n(2) == 1 {
			otherwise = func() { g.stmts(depth - 1) }
		}
		g.construct(0x04, 0, func() { g.stmts(depth - 1) }, otherwise)
	case 6, 7:
		g.construct(0x02, 0, func() { g.stmts(depth - 1); g.branch(); g.stmts(depth - 1) }, nil)
	case 8, 9:
		g.loop(depth)
	case 10:
		g.branch()
	case 11:
		g.address(1)
		g.address(1)
		g.i32(g.src.n(200))
		g.op(0xfc, 10, 0, 0)
	case 12:
		g.address(1)
		g.expr(1)
		g.i32(g.src.n(200))
		g.op(0xfc, 11, 0)
	case 13:
		g.expr(1)
		g.construct(0x04, 0, func() { g.expr(1); g.op(0x0f) }, nil)
	}
}

// loop counts a local of its own down.
func (g *generator) loop(depth int) {
	if g.loops == 3 {
		return
	}
	counter := byte(5 + g.loops)
	g.loops++
	g.i32(1 + g.src.n(4))
	g.op(0x21, counter)
	g.construct(0x02, 0, func() {
		g.construct(0x03, 0, func() {
			g.op(0x20, counter, 0x45, 0x0d, 1) // leave at zero
			g.op(0x20, counter, 0x41, 1, 0x6b, 0x21, counter)
			g.stmts(depth - 1)
			if g.src.n(3) == 0 {
				g.expr(1)
				g.op(0x0d, 0)
				g.stmts(depth - 1)
			}
			g.op(0x0c, 0)
		}, nil)
	}, nil)
	g.loops--
}

// branch leaves for some construct further out, on a condition or through a table. Loop heads are among them: each has
// counted down before anything in it can come back.
func (g *generator) branch() {
	to := g.src.n(len(g.labels))
	takes := g.labels[len(g.labels)-1-to]
	if takes == 1 {
		g.expr(1)
	}
	g.expr(1)
	if g.src.n(3) > 0 {
		g.op(0x0d, byte(to))
	} else {
		var same []byte
		for i := range g.labels {
			if g.labels[len(g.labels)-1-i] == takes {
				same = append(same, byte(i))
			}
		}
		g.op(0x0e, byte(len(same)))
		g.op(same...)
		g.op(byte(to))
		return // what follows is dead, and must still be valid
	}
	if takes == 1 {
		g.op(0x1a)
	}
}

// program is a module of four functions, the last of which is exported as "run".
func program(data []byte) []byte {
	g := &generator{src: entropy{data}}
	const funcs = 4
	var code bytes.Buffer
	code.WriteByte(funcs)
	for i := range funcs {
		g.out, g.self, g.calls, g.labels = []byte{1, 6, 0x7f}, i, 0, []int{1}
		g.stmts(3)
		g.stmts(3)
		g.expr(3)
		g.op(0x0b)
		code.Write(binary.AppendUvarint(nil, uint64(len(g.out))))
		code.Write(g.out)
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body ...byte) {
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	section(1, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f)
	section(3, funcs, 0, 0, 0, 0)
	section(4, 1, 0x70, 0, funcs)
	section(5, 1, 1, 1, 4)
	section(6, 2, 0x7f, 1, 0x41, 7, 0x0b, 0x7f, 1, 0x41, 9, 0x0b)
	section(7, 3, 3, 'r', 'u', 'n', 0, funcs-1, 1, 'm', 2, 0, 2, 'g', '0', 3, 0)
	section(9, 1, 0, 0x41, 0, 0x0b, 1, 0)
	section(10, code.Bytes()...)
	section(11, 1, 0, 0x41, 16, 0x0b, 4, 1, 2, 3, 4)
	return out
}

// outcome is all that a run shows.
type outcome struct {
	result uint64
	fault  string
	memory []byte
	g0     uint64
	gas    uint64
	why    uint64
}

func (o outcome) equal(p outcome) bool {
	return o.result == p.result && o.fault == p.fault && o.g0 == p.g0 && bytes.Equal(o.memory, p.memory)
}

func run(tb testing.TB, w *world, bin []byte, limit uint64) outcome {
	ctx := context.Background()
	in, err := w.instantiate(ctx, bin, "")
	if err != nil {
		tb.Fatalf("%v\n%x", err, bin)
	}
	defer in.Close(ctx)
	in.depth()
	if limit > 0 {
		in.ExportedGlobal(rewrite.ExportLimit).(api.MutableGlobal).Set(limit)
	}
	var o outcome
	res, err := in.ExportedFunction("run").Call(ctx, 3, 5)
	if o.fault = fault(err); err == nil {
		o.result = res[0]
	}
	mem, _ := in.ExportedMemory("m").Read(0, in.ExportedMemory("m").Size())
	o.memory, o.g0 = bytes.Clone(mem), in.ExportedGlobal("g0").Get()
	if in.gas != nil {
		o.gas, o.why = in.gas.Get(), in.why.Get()
	}
	return o
}

type trio struct{ plain, compiled, interpreted *world }

func newTrio(tb testing.TB) trio {
	ctx := context.Background()
	mk := func(cfg wazero.RuntimeConfig, rewritten bool) *world {
		w := &world{rt: wazero.NewRuntimeWithConfig(ctx, cfg), rewrite: rewritten}
		tb.Cleanup(func() { w.rt.Close(ctx) })
		return w
	}
	return trio{mk(wazero.NewRuntimeConfig(), false), mk(wazero.NewRuntimeConfig(), true), mk(wazero.NewRuntimeConfigInterpreter(), true)}
}

// check runs one program in all three worlds, and again with less gas than it needs.
func (w trio) check(tb testing.TB, data []byte) {
	bin := program(data)
	a, b, c := run(tb, w.plain, bin, 0), run(tb, w.compiled, bin, 0), run(tb, w.interpreted, bin, 0)
	if !a.equal(b) || !b.equal(c) || b.gas != c.gas {
		tb.Fatalf("as it is %d %q, rewritten %d %q, interpreted %d %q; gas %d and %d\n%x", a.result, a.fault, b.result, b.fault, c.result, c.fault, b.gas, c.gas, bin)
	}
	for _, limit := range []uint64{b.gas / 2, b.gas - b.gas/8} {
		if limit == 0 {
			continue
		}
		b, c := run(tb, w.compiled, bin, limit), run(tb, w.interpreted, bin, limit)
		if !b.equal(c) || b.gas != c.gas || b.why != c.why {
			tb.Fatalf("with %d gas: %d %q and %d %q; gas %d and %d\n%x", limit, b.result, b.fault, c.result, c.fault, b.gas, c.gas, bin)
		}
		if b.fault == "" && b.gas > limit+10_000 {
			tb.Fatalf("with %d gas it ended well after %d\n%x", limit, b.gas, bin)
		}
	}
}

func TestRandomPrograms(t *testing.T) {
	t.Parallel()
	w := newTrio(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		data := make([]byte, 100+rng.IntN(400))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		w.check(t, data)
	}
}

func FuzzPrograms(f *testing.F) {
	w := newTrio(f)
	for i := range byte(8) {
		f.Add(bytes.Repeat([]byte{i, 3 * i, 7 * i, 31, 8, 9}, 40))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4096 {
			w.check(t, data)
		}
	})
}

// FuzzDecode feeds anything at all: the rewriter must not fail in a way of its own, nor make an invalid module valid.
func FuzzDecode(f *testing.F) {
	rt := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { rt.Close(context.Background()) })
	for i := range byte(8) {
		f.Add(program(bytes.Repeat([]byte{i, 5 * i, 9 * i, 31, 8, 9}, 40)))
	}
	f.Fuzz(func(t *testing.T, bin []byte) {
		if len(bin) > 1<<16 {
			return
		}
		if _, err := sameVerdict(t.Context(), rt, bin); err != nil {
			t.Fatalf("%v\n%x", err, bin)
		}
	})
}
