package wasm_test

import "bytes"

// A small assembler, so that the tests need no tool but Go. Types are written as strings: i is i32, l i64, f f32, d f64.

type module struct {
	types, imports, funcs, bodies, exports, globals, data, tables, elems [][]byte
	memory                                                               []byte
	start                                                                []byte
	nImports                                                             int
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func uleb(v uint64) []byte {
	var out []byte
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

func sleb(v int64) []byte {
	var out []byte
	for {
		b := byte(v & 0x7f)
		if v >>= 7; v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func str(s string) []byte { return cat(uleb(uint64(len(s))), []byte(s)) }

func vec(items [][]byte) []byte { return cat(uleb(uint64(len(items))), cat(items...)) }

func valtypes(s string) []byte {
	out := uleb(uint64(len(s)))
	for _, c := range s {
		out = append(out, map[rune]byte{'i': 0x7f, 'l': 0x7e, 'f': 0x7d, 'd': 0x7c, 'v': 0x7b, 'r': 0x70, 'x': 0x6f}[c])
	}
	return out
}

func (m *module) typ(params, results string) uint64 {
	t := cat([]byte{0x60}, valtypes(params), valtypes(results))
	for i, have := range m.types {
		if bytes.Equal(have, t) {
			return uint64(i)
		}
	}
	m.types = append(m.types, t)
	return uint64(len(m.types) - 1)
}

// imp adds a function import; all of them come before the first fn.
func (m *module) imp(mod, name, params, results string) uint64 {
	m.imports = append(m.imports, cat(str(mod), str(name), []byte{0}, uleb(m.typ(params, results))))
	m.nImports++
	return uint64(m.nImports - 1)
}

// fn adds a function, exported when name is not empty; locals are types of locals beyond the parameters.
func (m *module) fn(name, params, results, locals string, code ...[]byte) uint64 {
	m.funcs = append(m.funcs, uleb(m.typ(params, results)))
	var decls [][]byte
	for _, t := range valtypes(locals)[len(uleb(uint64(len(locals)))):] {
		decls = append(decls, []byte{1, t})
	}
	body := cat(vec(decls), cat(code...), []byte{0x0b})
	m.bodies = append(m.bodies, cat(uleb(uint64(len(body))), body))
	i := uint64(m.nImports + len(m.funcs) - 1)
	if name != "" {
		m.export(name, 0, i)
	}
	return i
}

func (m *module) export(name string, kind byte, i uint64) {
	m.exports = append(m.exports, cat(str(name), []byte{kind}, uleb(i)))
}

// mem defines the memory and exports it; most < 0 means no maximum.
func (m *module) mem(least, most int) {
	if most < 0 {
		m.memory = cat([]byte{1, 0}, uleb(uint64(least)))
	} else {
		m.memory = cat([]byte{1, 1}, uleb(uint64(least)), uleb(uint64(most)))
	}
	m.export("memory", 2, 0)
}

// glob adds a mutable global.
func (m *module) glob(t string, init ...[]byte) uint64 {
	m.globals = append(m.globals, cat(valtypes(t)[1:], []byte{1}, cat(init...), []byte{0x0b}))
	return uint64(len(m.globals) - 1)
}

func (m *module) bytes(at int, b string) {
	m.data = append(m.data, cat([]byte{0}, i32c(at), []byte{0x0b}, str(b)))
}

// table adds a table of function references, and fills it from 0.
func (m *module) table(size int, funcs ...uint64) {
	m.tables = append(m.tables, cat([]byte{0x70, 0}, uleb(uint64(size))))
	if len(funcs) > 0 {
		var refs [][]byte
		for _, f := range funcs {
			refs = append(refs, uleb(f))
		}
		m.elems = append(m.elems, cat([]byte{0}, i32c(0), []byte{0x0b}, vec(refs)))
	}
}

func (m *module) build() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body []byte, present bool) {
		if present {
			out = cat(out, []byte{id}, uleb(uint64(len(body))), body)
		}
	}
	section(1, vec(m.types), len(m.types) > 0)
	section(2, vec(m.imports), len(m.imports) > 0)
	section(3, vec(m.funcs), len(m.funcs) > 0)
	section(4, vec(m.tables), len(m.tables) > 0)
	section(5, m.memory, m.memory != nil)
	section(6, vec(m.globals), len(m.globals) > 0)
	section(7, vec(m.exports), len(m.exports) > 0)
	section(8, m.start, m.start != nil)
	section(9, vec(m.elems), len(m.elems) > 0)
	section(10, vec(m.bodies), len(m.bodies) > 0)
	section(11, vec(m.data), len(m.data) > 0)
	return out
}

// Instructions.

func op(b ...byte) []byte { return b }

func i32c(v int) []byte   { return cat(op(0x41), sleb(int64(v))) }
func i64c(v int64) []byte { return cat(op(0x42), sleb(v)) }

func get(i int) []byte     { return cat(op(0x20), uleb(uint64(i))) }
func set(i int) []byte     { return cat(op(0x21), uleb(uint64(i))) }
func tee(i int) []byte     { return cat(op(0x22), uleb(uint64(i))) }
func gget(i uint64) []byte { return cat(op(0x23), uleb(i)) }
func gset(i uint64) []byte { return cat(op(0x24), uleb(i)) }

func callf(f uint64) []byte { return cat(op(0x10), uleb(f)) }

func block(code ...[]byte) []byte { return cat(op(0x02, 0x40), cat(code...), op(0x0b)) }
func loop(code ...[]byte) []byte  { return cat(op(0x03, 0x40), cat(code...), op(0x0b)) }
func iff(code ...[]byte) []byte   { return cat(op(0x04, 0x40), cat(code...), op(0x0b)) }
func br(l int) []byte             { return cat(op(0x0c), uleb(uint64(l))) }
func brif(l int) []byte           { return cat(op(0x0d), uleb(uint64(l))) }

func load8(off int) []byte   { return cat(op(0x2d, 0), uleb(uint64(off))) }
func load32(off int) []byte  { return cat(op(0x28, 2), uleb(uint64(off))) }
func store8(off int) []byte  { return cat(op(0x3a, 0), uleb(uint64(off))) }
func store32(off int) []byte { return cat(op(0x36, 2), uleb(uint64(off))) }
func store64(off int) []byte { return cat(op(0x37, 3), uleb(uint64(off))) }

var (
	unreachable = op(0x00)
	ret         = op(0x0f)
	drop        = op(0x1a)
	add32       = op(0x6a)
	sub32       = op(0x6b)
	eq32        = op(0x46)
	add64       = op(0x7c)
	or64        = op(0x84)
	shl64       = op(0x86)
	extend      = op(0xad) // i64.extend_i32_u
	wrap        = op(0xa7) // i32.wrap_i64
	growMem     = op(0x40, 0)
	sizeMem     = op(0x3f, 0)
	copyMem     = op(0xfc, 10, 0, 0)
	fillMem     = op(0xfc, 11, 0)
)

// packed leaves ptr<<32 | n of two i32 expressions.
func packed(ptr, n []byte) []byte {
	return cat(ptr, extend, i64c(32), shl64, n, extend, or64)
}

// guest begins a module that keeps the ABI: memory, and arw_alloc that gives the room at 4096, growing memory as needed.
func guest(pages, most int) *module {
	m := &module{}
	m.mem(pages, most)
	return m
}

// abiAlloc adds arw_alloc over room: requests live at 4096.
func (m *module) abiAlloc() {
	m.fn("arw_alloc", "i", "i", "",
		// needed = (4096 + n + 65535) >> 16 pages; grow by needed - size when positive
		block(
			get(0), i32c(4096+65535), add32, i32c(16), op(0x76), tee(0),
			sizeMem, op(0x4d), brif(0), // <= u
			get(0), sizeMem, sub32, growMem, i32c(-1), op(0x47), brif(0), // != -1
			i32c(0), ret,
		),
		i32c(4096))
}

// echoGuest answers with its input as bytes, in place: the byte before the input becomes the frame's kind.
func echoGuest() []byte {
	m := guest(2, -1)
	m.abiAlloc()
	m.fn("arw_call", "iiii", "l", "",
		get(2), i32c(1), sub32, i32c(1), store8(0),
		packed(cat(get(2), i32c(1), sub32), cat(get(3), i32c(1), add32)))
	return m.build()
}

// kvGuest answers with the value of the key that is its input.
func kvGuest() []byte {
	m := guest(2, -1)
	kv := m.imp("arw:kv", "get", "iiii", "l")
	m.abiAlloc()
	m.fn("arw_call", "iiii", "l", "l",
		i32c(65536), i32c(1), store8(0),
		get(2), get(3), i32c(65537), i32c(1024), callf(kv), set(4),
		packed(i32c(65536), cat(get(4), wrap, i32c(1), add32)))
	return m.build()
}
