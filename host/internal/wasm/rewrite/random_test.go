package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// theater runs programs that import the three host functions, and writes down what those are told.
type theater struct {
	rt    wazero.Runtime
	heard []uint64
}

func newTheater(tb testing.TB, cfg wazero.RuntimeConfig) *theater {
	ctx := context.Background()
	h := &theater{rt: wazero.NewRuntimeWithConfig(ctx, cfg.WithMemoryLimitPages(8))}
	tb.Cleanup(func() { h.rt.Close(ctx) })
	hear := func(what ...uint64) {
		if h.heard = append(h.heard, what...); len(h.heard) > 1<<16 {
			tb.Fatal("the program does not end")
		}
	}
	mix := func(_ context.Context, s []uint64) {
		s[0] = uint64(uint32(s[0]))
		hear(s[0], s[1])
		if s[0]%16 == 13 {
			panic(errors.New("the host says no"))
		}
		s[0] = s[0]*0x9e3779b97f4a7c15 ^ s[1]
	}
	again := func(ctx context.Context, m api.Module, s []uint64) {
		s[0] = uint64(uint32(s[0]))
		hear(s[0])
		res, err := m.ExportedFunction("leaf").Call(ctx, s[0])
		if err != nil {
			panic(err)
		}
		s[0] = res[0]
	}
	i, l := api.ValueTypeI32, api.ValueTypeI64
	_, err := h.rt.NewHostModuleBuilder("h").
		NewFunctionBuilder().WithGoFunction(api.GoFunc(mix), []api.ValueType{i, l}, []api.ValueType{l}).Export("mix").
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, s []uint64) { hear(s[0]) }), []api.ValueType{api.ValueTypeF64}, nil).Export("note").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(again), []api.ValueType{i}, []api.ValueType{i}).Export("again").
		Instantiate(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// outcome is all that a run shows.
type outcome struct {
	results, globals, heard []uint64
	faults                  []string
	memory                  []byte
	gas, why                []uint64 // of each call
}

// used is the most gas that one of the calls took.
func (o *outcome) used() uint64 { return slices.Max(append(o.gas, 0)) }

// differs names the first thing in which two runs are not the same.
func (o *outcome) differs(p *outcome) string {
	switch {
	case !slices.Equal(o.faults, p.faults):
		return fmt.Sprintf("faults %q and %q", o.faults, p.faults)
	case !slices.Equal(o.results, p.results):
		return fmt.Sprintf("results %x and %x", o.results, p.results)
	case !slices.Equal(o.heard, p.heard):
		return fmt.Sprintf("the host heard %x and %x", o.heard, p.heard)
	case !slices.Equal(o.globals, p.globals):
		return fmt.Sprintf("globals %x and %x", o.globals, p.globals)
	case !bytes.Equal(o.memory, p.memory):
		return fmt.Sprintf("memories of %d and %d bytes", len(o.memory), len(p.memory))
	}
	return ""
}

// arguments are those of the two calls of "run" that every program gets, the second on what the first left.
var arguments = [][]uint64{
	{3, 5, uint64(math.Float32bits(1.5)), math.Float64bits(-2.5)},
	{0x8000_0000, 1 << 63, uint64(math.Float32bits(float32(math.NaN()))), math.Float64bits(1e300)},
}

// play runs a compiled program. One that was rewritten comes with what the rewriter says of it, and may be given a limit.
func (h *theater) play(tb testing.TB, code wazero.CompiledModule, res *rewrite.Result, limit uint64) *outcome {
	ctx := context.Background()
	h.heard = nil
	o := &outcome{}
	mod, err := h.rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil { // its data, or the plain one's start function
		o.faults = []string{began(err)}
		o.heard = h.heard
		return o
	}
	defer mod.Close(ctx)
	call := func(f func() error) (err error) { // as the host does each
		if res == nil {
			return f()
		}
		set := func(name string, v uint64) { mod.ExportedGlobal(name).(api.MutableGlobal).Set(v) }
		set(rewrite.ExportLimit, limit)
		set(rewrite.ExportDepth, 1000)
		set(rewrite.ExportGas, 0)
		set(rewrite.ExportWhy, rewrite.WhyNone)
		err = f()
		o.gas = append(o.gas, mod.ExportedGlobal(rewrite.ExportGas).Get())
		o.why = append(o.why, mod.ExportedGlobal(rewrite.ExportWhy).Get())
		return err
	}
	if res != nil {
		err = call(func() error { return begin(ctx, mod, res) })
	}
	if err != nil {
		o.faults = []string{began(err)}
	} else {
		for _, args := range arguments {
			var got []uint64
			err := call(func() (err error) { got, err = mod.ExportedFunction("run").Call(ctx, args...); return err })
			o.results, o.faults = append(o.results, visible(mod.ExportedFunction("run").Definition().ResultTypes(), got)...), append(o.faults, fault(err))
		}
		for g := 'a'; g < 'p'; g++ {
			if v := mod.ExportedGlobal("g" + string(g)); v != nil {
				o.globals = append(o.globals, visible([]api.ValueType{v.Type()}, []uint64{v.Get()})...)
			}
		}
		if m := mod.ExportedMemory("m"); m != nil {
			o.memory, _ = m.Read(0, m.Size())
		}
	}
	o.heard = h.heard
	return o
}

// begin does what the engine does by hand for a rewritten module: its data and its start function.
func begin(ctx context.Context, mod api.Module, res *rewrite.Result) error {
	for _, d := range res.Data {
		if !mod.Memory().Write(d.Offset, d.Bytes) {
			return errors.New("data does not fit")
		}
	}
	if res.Start {
		_, err := mod.ExportedFunction(rewrite.ExportStart).Call(ctx)
		return err
	}
	return nil
}

// began is a fault of a beginning: the plain module's comes wrapped by the engine, in words of which only the trap's matter.
func began(err error) string {
	text := fault(err)
	if strings.Contains(text, "data") {
		return "data does not fit"
	}
	_, trap, found := strings.Cut(text, "failed: ")
	if !found {
		return text
	}
	return strings.TrimPrefix(trap, "wasm error: ")
}

// visible are the results that are values: a reference is an address of the engine's, of which only whether it is null counts,
// and the upper half of a narrow one is whatever the compiler left there.
func visible(types []api.ValueType, results []uint64) []uint64 {
	i := 0
	for _, t := range types {
		switch {
		case i >= len(results):
			return results
		case t == tFunc || t == tExtern:
			results[i] = min(results[i], 1)
		case t == tI32 || t == tF32:
			results[i] = uint64(uint32(results[i]))
		case t == tV128:
			i++
		}
		i++
	}
	return results
}

// version is one program made ready: as it is when res is nil.
type version struct {
	code wazero.CompiledModule
	res  *rewrite.Result
}

func (h *theater) ready(tb testing.TB, bin []byte, o *rewrite.Options) (v version) {
	ctx := context.Background()
	if o != nil {
		m, err := rewrite.Decode(bin)
		if err == nil {
			v.res, err = m.Rewrite(*o)
		}
		if err != nil {
			tb.Fatalf("a valid module was refused: %v\n%x", err, bin)
		}
		bin = v.res.Binary
	}
	code, err := h.rt.CompileModule(ctx, bin)
	if err != nil {
		tb.Fatalf("rewritten %t: the engine refuses it: %v\n%x", o != nil, err, bin)
	}
	v.code = code
	return v
}

// check runs a program as it is and rewritten in both ways of counting, and again with less gas than it needs.
func (h *theater) check(tb testing.TB, bin []byte, o rewrite.Options) {
	local, global := o.CountIn(true), o.CountIn(false)
	plain, in, at := h.ready(tb, bin, nil), h.ready(tb, bin, &local), h.ready(tb, bin, &global)
	for _, v := range []version{plain, in, at} {
		defer v.code.Close(context.Background())
	}
	a, b, c := h.play(tb, plain.code, nil, 0), h.play(tb, in.code, in.res, 1<<62), h.play(tb, at.code, at.res, 1<<62)
	if diff := a.differs(b); diff != "" {
		tb.Fatalf("as it is and rewritten: %s\n%x", diff, bin)
	}
	if b2 := h.play(tb, in.code, in.res, 1<<62); !slices.Equal(b.gas, b2.gas) {
		tb.Fatalf("two runs used %d and %d gas\n%x", b.gas, b2.gas, bin)
	}
	h.same(tb, bin, b, c)
	for _, limit := range []uint64{b.used() / 2, b.used() - b.used()/8} {
		d, e := h.play(tb, in.code, in.res, limit), h.play(tb, at.code, at.res, limit)
		h.same(tb, bin, d, e)
		for i, why := range d.why {
			if why != rewrite.WhyGas && d.gas[i] > limit+10_000 {
				tb.Fatalf("with %d gas it ended well after %d\n%x", limit, d.gas[i], bin)
			}
		}
	}
}

// same holds two runs of a rewritten program against each other. What a function that keeps its counter in a local had counted
// is lost with a trap, so where one trapped the two ways of counting need not agree about gas.
func (h *theater) same(tb testing.TB, bin []byte, a, b *outcome) {
	diff := a.differs(b)
	for i := range a.gas {
		trapped := len(a.faults) > 0 && i < len(b.gas) && a.faults[max(0, i-len(a.gas)+len(a.faults))] != ""
		if i >= len(b.gas) || a.gas[i] != b.gas[i] && !trapped {
			diff += " and gas"
		}
	}
	if diff != "" || !slices.Equal(a.why, b.why) {
		tb.Fatalf("two ways of counting: %s; gas %d and %d, why %d and %d\n%x", diff, a.gas, b.gas, a.why, b.why, bin)
	}
}

// options are those that a program chooses for itself, by its length.
func options(data []byte) rewrite.Options {
	return rewrite.Options{Pages: 3, Spare: len(data)&1 == 1, TakeData: len(data)&2 == 2, Mark: len(data)&4 == 4}
}

func randomBytes(rng *rand.Rand) []byte {
	data := make([]byte, 50+rng.IntN(1500))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// TestRandomPrograms: a valid module keeps its meaning on the interpreter, whatever of the instructions it uses.
func TestRandomPrograms(t *testing.T) {
	t.Parallel()
	h := newTheater(t, wazero.NewRuntimeConfigInterpreter())
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		data := randomBytes(rng)
		h.check(t, program(data, false), options(data))
	}
}

// TestRandomCompiled: the same on the compiler, and both count the same gas.
func TestRandomCompiled(t *testing.T) {
	t.Parallel()
	slow, fast := newTheater(t, wazero.NewRuntimeConfigInterpreter()), newTheater(t, wazero.NewRuntimeConfig())
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		data := randomBytes(rng)
		bin, o := program(data, true), options(data)
		fast.check(t, bin, o)
		one, two := slow.ready(t, bin, &o), fast.ready(t, bin, &o)
		slow.same(t, bin, slow.play(t, one.code, one.res, 1<<62), fast.play(t, two.code, two.res, 1<<62))
	}
}

// TestRandomReach: the programs are not all the same little thing. It holds the generator, not the rewriter: most programs
// end well, some trap in each of the ways there are, and together they use nearly every instruction.
func TestRandomReach(t *testing.T) {
	t.Parallel()
	h := newTheater(t, wazero.NewRuntimeConfigInterpreter())
	rng := rand.New(rand.NewPCG(5, 6))
	faults, ran := map[string]int{}, 0
	for range 1500 {
		data := randomBytes(rng)
		v := h.ready(t, program(data, false), nil)
		for _, f := range h.play(t, v.code, nil, 0).faults {
			if faults[f]++; f == "" {
				ran++
			}
		}
		v.code.Close(t.Context())
	}
	for _, want := range []string{
		"unreachable", "out of bounds memory access", "invalid table access", "integer divide by zero", "integer overflow",
		"invalid conversion to integer", "indirect call type mismatch", "the host says no", "data does not fit",
	} {
		if faults[want] == 0 {
			t.Errorf("no program failed with %q: %v", want, faults)
		}
	}
	if ran < 1000 {
		t.Errorf("only %d of 3000 runs ended well: %v", ran, faults)
	}
}

// FuzzPrograms: see TestRandomPrograms. The bytes are what the program is made of.
func FuzzPrograms(f *testing.F) {
	h := newTheater(f, wazero.NewRuntimeConfigInterpreter())
	rng := rand.New(rand.NewPCG(7, 8))
	for range 40 {
		f.Add(randomBytes(rng))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4096 {
			h.check(t, program(data, false), options(data))
		}
	})
}

// FuzzDecode feeds anything at all: the rewriter must not fail in a way of its own, nor make an invalid module valid.
func FuzzDecode(f *testing.F) {
	rt := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { rt.Close(context.Background()) })
	for i := range byte(8) {
		f.Add(program(bytes.Repeat([]byte{i, 5 * i, 9 * i, 31, 8, 9}, 40), false))
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
