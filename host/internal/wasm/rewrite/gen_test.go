package rewrite_test

import (
	"encoding/binary"
	"math"
)

// Types of values.
const (
	tI32, tI64, tF32, tF64, tV128 byte = 0x7f, 0x7e, 0x7d, 0x7c, 0x7b
	tFunc, tExtern                byte = 0x70, 0x6f
)

var allTypes = []byte{tI32, tI64, tF32, tF64, tV128, tFunc, tExtern}

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

// rare is true once in n.
func (e *entropy) rare(n int) bool { return e.n(n) == n-1 }

func (e *entropy) u64() (v uint64) {
	for range 8 {
		v = v<<8 | uint64(e.n(256))
	}
	return v
}

// signature is a function type.
type signature struct{ params, results []byte }

// The first functions of every program: three that the host has, then one that the host may call while it is called.
const (
	fnMix   = 0 // (i32, i64) -> i64, fails for some arguments
	fnNote  = 1 // (f64) -> ()
	fnAgain = 2 // (i32) -> i32, calls fnLeaf
	fnLeaf  = 3 // (i32) -> i32
	imports = 3
)

// shape is what a program consists of besides its code.
type shape struct {
	types    []signature // the first five are those of the functions above and of "run"
	funcs    []int       // types of all functions
	cost     []int       // instructions that a call may run, at most
	leaves   int         // functions below this call nothing that is not below themselves, and may stand in tables
	globals  []byte      // mutable ones, then one that is not
	memory   bool
	maxPages byte
	datas    int
	elems    int
}

const tables = 3 // two of functions, the last of external references

// program is a valid module that ends, made of the bytes: its last function is exported as "run". Loops and branches back
// spend a local that only falls, and calls go to earlier functions, so that no program takes longer than budget.
// With exact set, what floating point leaves open is not: a NaN is always the same.
func program(data []byte, exact bool) []byte {
	src := &entropy{data}
	s := newShape(src)
	var code []byte
	for f := imports; f < len(s.funcs); f++ {
		g := &generator{entropy: src, shape: s, self: f, exact: exact}
		body := g.function()
		code = append(binary.AppendUvarint(code, uint64(len(body))), body...)
	}
	return s.encode(src, code)
}

func newShape(src *entropy) *shape {
	s := &shape{
		types: []signature{
			{[]byte{tI32, tI64}, []byte{tI64}}, {[]byte{tF64}, nil}, {[]byte{tI32}, []byte{tI32}},
			{nil, nil}, {[]byte{tI32, tI64, tF32, tF64}, nil},
		},
		funcs: []int{0, 1, 2, 2},
		cost:  []int{5, 5, 5},
	}
	some := func(most int) (list []byte) {
		for range src.n(most + 1) {
			list = append(list, allTypes[src.n(len(allTypes))])
		}
		return list
	}
	s.types[4].results = some(4)
	for range src.n(6) {
		s.types = append(s.types, signature{some(3), some(3)})
	}
	for range src.n(5) {
		s.funcs = append(s.funcs, src.n(len(s.types)))
	}
	s.leaves = min(fnLeaf+1+src.n(2), len(s.funcs))
	s.funcs = append(s.funcs, 4)
	s.globals = append(some(6), tI32, tI64, tF32)
	s.memory = !src.rare(16)
	s.maxPages = byte(1 + src.n(3))
	s.datas, s.elems = src.n(4), 1+src.n(3)
	return s
}

func vec(items ...[]byte) []byte {
	out := binary.AppendUvarint(nil, uint64(len(items)))
	for _, it := range items {
		out = append(out, it...)
	}
	return out
}

func (s *shape) encode(src *entropy, code []byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body []byte) {
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	var types, funcs, globals, exports [][]byte
	for _, t := range s.types {
		types = append(types, append(append([]byte{0x60}, sized(t.params...)...), sized(t.results...)...))
	}
	for _, t := range s.funcs[imports:] {
		funcs = append(funcs, []byte{byte(t)})
	}
	export := func(name string, kind, index byte) {
		exports = append(exports, append(sized([]byte(name)...), kind, index))
	}
	export("leaf", 0, fnLeaf)
	export("run", 0, byte(len(s.funcs)-1))
	for i, t := range append(s.globals, tI32) {
		mutable := byte(1)
		if i == len(s.globals) {
			mutable = 0
		}
		globals = append(globals, append(append([]byte{t, mutable}, zero(t)...), 0x0b))
		if t != tFunc && t != tExtern {
			export("g"+string(rune('a'+i)), 3, byte(i))
		}
	}
	if s.memory {
		export("m", 2, 0)
	}
	section(1, vec(types...))
	section(2, vec([]byte("\x01h\x03mix\x00\x00"), []byte("\x01h\x04note\x00\x01"), []byte("\x01h\x05again\x00\x02")))
	section(3, vec(funcs...))
	section(4, []byte{tables, tFunc, 1, 4, 8, tFunc, 1, 2, 6, tExtern, 1, 2, 5})
	if s.memory {
		section(5, []byte{1, 1, 1, s.maxPages})
	}
	section(6, vec(globals...))
	section(7, vec(exports...))
	if src.rare(3) && s.leaves < len(s.funcs) { // a start function, when one has its type
		for i := imports; i < len(s.funcs); i++ {
			if s.funcs[i] == 3 {
				section(8, []byte{byte(i)})
				break
			}
		}
	}
	section(9, s.elements(src))
	if s.memory {
		section(12, []byte{byte(s.datas)})
	}
	section(10, append([]byte{byte(len(s.funcs) - imports)}, code...))
	if s.memory {
		section(11, s.data(src))
	}
	return out
}

// elements are an active segment for the first table, one that only declares, and those that code may name: s.elems in all and one.
func (s *shape) elements(src *entropy) []byte {
	var leaves []byte
	for i := range s.leaves {
		leaves = append(leaves, byte(i))
	}
	segs := [][]byte{append([]byte{0, 0x41, 0, 0x0b}, sized(leaves[:min(4, len(leaves))]...)...)}
	for range s.elems - 1 {
		if src.n(2) == 0 {
			segs = append(segs, append([]byte{1, 0}, sized(leaves...)...))
		} else {
			segs = append(segs, append([]byte{5, tFunc}, vec([]byte{0xd2, byte(src.n(s.leaves)), 0x0b}, []byte{0xd0, tFunc, 0x0b})...))
		}
	}
	segs = append(segs, append([]byte{3, 0}, sized(leaves...)...))
	return vec(segs...)
}

func (s *shape) data(src *entropy) []byte {
	var segs [][]byte
	for range s.datas {
		bytes := make([]byte, src.n(20))
		for i := range bytes {
			bytes[i] = byte(1 + src.n(255))
		}
		switch src.n(4) {
		case 0:
			segs = append(segs, append([]byte{1}, sized(bytes...)...))
		case 1: // at the end of memory, or a little beyond
			segs = append(segs, append(append([]byte{0, 0x41}, signed(int64(65536-10))...), append([]byte{0x0b}, sized(bytes...)...)...))
		default:
			segs = append(segs, append(append([]byte{0, 0x41}, signed(int64(src.n(256)))...), append([]byte{0x0b}, sized(bytes...)...)...))
		}
	}
	return vec(segs...)
}

// signed is a number in signed LEB128.
func signed(v int64) (out []byte) {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// zero is the constant of a type that needs no choice.
func zero(t byte) []byte {
	switch t {
	case tI32:
		return []byte{0x41, 0}
	case tI64:
		return []byte{0x42, 0}
	case tF32:
		return append([]byte{0x43}, make([]byte, 4)...)
	case tF64:
		return append([]byte{0x44}, make([]byte, 8)...)
	case tV128:
		return append([]byte{0xfd, 12}, make([]byte, 16)...)
	}
	return []byte{0xd0, t}
}

// constant is one with a value; the values are those at which operations change their minds, and others.
func constant(src *entropy, t byte) []byte {
	ints := []uint64{0, 1, 2, 31, 32, 63, 64, 255, 1 << 15, 65535, 65536, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<63 - 1, 1 << 63, math.MaxUint64}
	floats := []float64{0, 1, -1, 0.5, math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1), 1 << 31, -(1 << 31), 1 << 32, 1 << 63, -(1 << 63), 1 << 64, 5e-324, 1e308, 3.4e38, 2147483647.5}
	switch c := src.n(3); t {
	case tI32, tI64:
		v := ints[0]
		switch c {
		case 0:
			v = uint64(src.n(256))
		case 1:
			v = ints[src.n(len(ints))]
		default:
			v = src.u64()
		}
		if t == tI32 {
			return append([]byte{0x41}, signed(int64(int32(v)))...)
		}
		return append([]byte{0x42}, signed(int64(v))...)
	case tF32, tF64:
		v := floats[src.n(len(floats))]
		if c == 2 {
			v = math.Float64frombits(src.u64())
		}
		if t == tF32 {
			return binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(float32(v)))
		}
		return binary.LittleEndian.AppendUint64([]byte{0x44}, math.Float64bits(v))
	case tV128:
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{0xfd, 12}, src.u64()), src.u64())
	}
	return zero(t)
}
