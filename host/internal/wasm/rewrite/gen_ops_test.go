package rewrite_test

import "encoding/binary"

// operation is an instruction that takes values and gives one, and needs nothing else.
type operation struct {
	code   []byte
	params string // as types
	result byte
	lanes  int  // behind the code: the number of a lane below this
	fuzzy  bool // its result may be a NaN of any kind
}

// operations are all of them by the type they give.
var operations = numericOps()

func numericOps() map[byte][]operation {
	ops := map[byte][]operation{}
	add := func(from, to int, params string, result byte) {
		for op := from; op <= to; op++ {
			ops[result] = append(ops[result], operation{code: []byte{byte(op)}, params: params, result: result, fuzzy: result == tF32 || result == tF64})
		}
	}
	const i, l, f, d = string(rune(tI32)), string(rune(tI64)), string(rune(tF32)), string(rune(tF64))
	add(0x45, 0x45, i, tI32)
	add(0x46, 0x4f, i+i, tI32)
	add(0x50, 0x50, l, tI32)
	add(0x51, 0x5a, l+l, tI32)
	add(0x5b, 0x60, f+f, tI32)
	add(0x61, 0x66, d+d, tI32)
	add(0x67, 0x69, i, tI32)
	add(0x6a, 0x78, i+i, tI32)
	add(0x79, 0x7b, l, tI64)
	add(0x7c, 0x8a, l+l, tI64)
	add(0x8b, 0x91, f, tF32)
	add(0x92, 0x98, f+f, tF32)
	add(0x99, 0x9f, d, tF64)
	add(0xa0, 0xa6, d+d, tF64)
	add(0xa7, 0xa7, l, tI32)
	add(0xa8, 0xa9, f, tI32) // these trap
	add(0xaa, 0xab, d, tI32)
	add(0xac, 0xad, i, tI64)
	add(0xae, 0xaf, f, tI64)
	add(0xb0, 0xb1, d, tI64)
	add(0xb2, 0xb3, i, tF32)
	add(0xb4, 0xb5, l, tF32)
	add(0xb6, 0xb6, d, tF32)
	add(0xb7, 0xb8, i, tF64)
	add(0xb9, 0xba, l, tF64)
	add(0xbb, 0xbb, f, tF64)
	add(0xbc, 0xbc, f, tI32)
	add(0xbd, 0xbd, d, tI64)
	add(0xbe, 0xbe, i, tF32)
	add(0xbf, 0xbf, l, tF64)
	add(0xc0, 0xc1, i, tI32)
	add(0xc2, 0xc4, l, tI64)
	for sub, from := range []byte{tF32, tF32, tF64, tF64, tF32, tF32, tF64, tF64} { // those that saturate
		to := []byte{tI32, tI64}[sub/4]
		ops[to] = append(ops[to], operation{code: []byte{0xfc, byte(sub)}, params: string(rune(from)), result: to})
	}
	vectorOps(ops)
	return ops
}

// vectorOps are some of each kind: the rewriter does not look into them, but must find their ends.
func vectorOps(ops map[byte][]operation) {
	const i, l, f, d, v = string(rune(tI32)), string(rune(tI64)), string(rune(tF32)), string(rune(tF64)), string(rune(tV128))
	add := func(params string, result byte, lanes int, fuzzy bool, subs ...uint64) {
		for _, sub := range subs {
			ops[result] = append(ops[result], operation{binary.AppendUvarint([]byte{0xfd}, sub), params, result, lanes, fuzzy})
		}
	}
	add(i, tV128, 0, false, 15, 16, 17)
	add(l, tV128, 0, false, 18)
	add(f, tV128, 0, true, 19)
	add(d, tV128, 0, true, 20)
	add(v, tI32, 4, false, 27)
	add(v, tI64, 2, false, 29)
	add(v, tF32, 4, true, 31)
	add(v, tF64, 2, true, 33)
	add(v+i, tV128, 4, false, 28)
	add(v+l, tV128, 2, false, 30)
	add(v+v, tV128, 0, false, 14, 35, 40, 78, 79, 80, 81, 101, 110, 111, 112, 113, 118, 142, 149, 174, 181, 186, 206, 213)
	add(v, tV128, 0, false, 77, 96, 97, 98, 135, 160, 167)
	add(v+v+v, tV128, 0, false, 82)
	add(v, tI32, 0, false, 83, 99, 100, 131, 163, 195)
	add(v+i, tV128, 0, false, 107, 108, 139, 171, 203)
	add(v+v, tV128, 0, true, 228, 230, 231, 240, 242)
	add(v, tV128, 0, false, 248, 249)
}

// access is a load or a store.
type access struct {
	code  []byte
	typ   byte
	align int // the most it may say
}

var loads = []access{
	{[]byte{0x28}, tI32, 2}, {[]byte{0x29}, tI64, 3}, {[]byte{0x2a}, tF32, 2}, {[]byte{0x2b}, tF64, 3},
	{[]byte{0x2c}, tI32, 0}, {[]byte{0x2d}, tI32, 0}, {[]byte{0x2e}, tI32, 1}, {[]byte{0x2f}, tI32, 1},
	{[]byte{0x30}, tI64, 0}, {[]byte{0x31}, tI64, 0}, {[]byte{0x32}, tI64, 1}, {[]byte{0x33}, tI64, 1}, {[]byte{0x34}, tI64, 2}, {[]byte{0x35}, tI64, 2},
	{[]byte{0xfd, 0}, tV128, 4}, {[]byte{0xfd, 1}, tV128, 3}, {[]byte{0xfd, 7}, tV128, 0}, {[]byte{0xfd, 10}, tV128, 3}, {[]byte{0xfd, 92}, tV128, 2},
}

var stores = []access{
	{[]byte{0x36}, tI32, 2}, {[]byte{0x37}, tI64, 3}, {[]byte{0x38}, tF32, 2}, {[]byte{0x39}, tF64, 3},
	{[]byte{0x3a}, tI32, 0}, {[]byte{0x3b}, tI32, 1}, {[]byte{0x3c}, tI64, 0}, {[]byte{0x3d}, tI64, 1}, {[]byte{0x3e}, tI64, 2},
	{[]byte{0xfd, 11}, tV128, 4},
}
