package jspack

import (
	"bytes"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// A few words of WebAssembly's binary format, enough for the adapter. Each returns code; code joins it.

func code(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func uleb(op byte, v uint32) []byte {
	out := []byte{op}
	for ; v >= 0x80; v >>= 7 {
		out = append(out, byte(v)|0x80)
	}
	return append(out, byte(v))
}

func sleb(op byte, v int64) []byte {
	out := []byte{op}
	for {
		b := byte(v & 0x7f)
		if v >>= 7; v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func num(v uint32) []byte   { return sleb(0x41, int64(int32(v))) }
func num64(v int64) []byte  { return sleb(0x42, v) }
func get(local int) []byte  { return uleb(0x20, uint32(local)) }
func set(local int) []byte  { return uleb(0x21, uint32(local)) }
func br(label int) []byte   { return uleb(0x0c, uint32(label)) }
func brIf(label int) []byte { return uleb(0x0d, uint32(label)) }

func load32(off uint32) []byte  { return append([]byte{0x28, 2}, uleb(0, off)[1:]...) }
func load16(off uint32) []byte  { return append([]byte{0x2f, 0}, uleb(0, off)[1:]...) }
func store32(off uint32) []byte { return append([]byte{0x36, 2}, uleb(0, off)[1:]...) }

func block(parts ...[]byte) []byte { return code([]byte{0x02, 0x40}, code(parts...), []byte{0x0b}) }
func loop(parts ...[]byte) []byte  { return code([]byte{0x03, 0x40}, code(parts...), []byte{0x0b}) }
func when(parts ...[]byte) []byte  { return code([]byte{0x04, 0x40}, code(parts...), []byte{0x0b}) }
func ifElse(yes, no []byte) []byte {
	return code([]byte{0x04, 0x40}, yes, []byte{0x05}, no, []byte{0x0b})
}

var (
	unreachable = []byte{0x00}
	ret         = []byte{0x0f}
	drop        = []byte{0x1a}
	eqz         = []byte{0x45}
	eq          = []byte{0x46}
	ne          = []byte{0x47}
	geU         = []byte{0x4f}
	add         = []byte{0x6a}
	shl         = []byte{0x74}
	or64        = []byte{0x84}
	shl64       = []byte{0x86}
	extend      = []byte{0xad}       // i64.extend_i32_u
	toFloat     = []byte{0xba}       // f64.convert_i64_u
	truncate    = []byte{0xfc, 0x03} // i32.trunc_sat_f64_u
	minusOne    = []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf}
)

// at finds functions and globals of the joined module.
type at struct{ rewrite.Grafted }

// call calls a function of the engine, or one that it imports.
func (x at) call(name string) []byte { return uleb(0x10, x.Old(name)) }

// own calls a function of the adapter.
func (x at) own(i int) []byte { return uleb(0x10, x.Func(i)) }

// imported calls a host function.
func (x at) imported(i int) []byte { return uleb(0x10, x.Import(i)) }

func getG(x at, i int) []byte { return uleb(0x23, x.Global(i)) }
func setG(x at, i int) []byte { return uleb(0x24, x.Global(i)) }

// in makes a body that finds its way in the joined module.
func in(f func(at) []byte) func(rewrite.Grafted) []byte {
	return func(x rewrite.Grafted) []byte { return f(at{x}) }
}
