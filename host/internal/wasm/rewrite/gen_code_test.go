package rewrite_test

import (
	"bytes"
	"encoding/binary"
)

// budget is about how many instructions a program may run.
const budget = 20_000

// label is an open construct: the types that a branch to it takes.
type label struct {
	types []byte
	loop  bool
}

// generator writes one function. Between statements the operand stack is as the innermost construct found it.
type generator struct {
	*entropy
	*shape
	self   int
	exact  bool
	out    []byte
	locals []byte
	fuel   byte // the local that every branch back spends
	times  int  // how often at most an instruction runs in one call
	weight int  // instructions, with those of the functions called
	labels []label
}

func (g *generator) op(b ...byte) {
	g.out = append(g.out, b...)
	g.weight++
}

func (g *generator) index(op byte, v int) {
	g.out = binary.AppendUvarint(append(g.out, op), uint64(v))
	g.weight++
}

// full says that the function is to end: only the simplest is added.
func (g *generator) full() bool { return g.weight*g.times > budget/8 || len(g.out) > 3000 }

// function writes the body with its locals; what it may cost is noted.
func (g *generator) function() []byte {
	t := g.types[g.funcs[g.self]]
	more := append([]byte{}, allTypes...)
	for range g.n(3) {
		more = append(more, allTypes[g.n(len(allTypes))])
	}
	g.locals = append(append([]byte{}, t.params...), more...)
	g.fuel = byte(len(g.locals)) // not among those that statements write
	decl := binary.AppendUvarint(nil, uint64(len(more)+1))
	for _, m := range append(more, tI32) {
		decl = append(decl, 1, m)
	}
	g.times = 1 + g.n(8)
	g.out = append(decl, 0x41, byte(g.times), 0x21, g.fuel)
	g.labels = []label{{types: t.results}}
	g.stmts(3)
	g.body(t.results, 3)
	g.op(0x0b)
	g.cost = append(g.cost, g.weight*g.times)
	return g.out
}

// body is statements and the values; or it leaves in another way, and what follows is never run.
func (g *generator) body(types []byte, depth int) {
	g.stmts(depth - 1)
	if depth > 0 && g.rare(5) {
		g.leave()
		return
	}
	g.exprs(types, depth)
}

func (g *generator) stmts(depth int) {
	for range g.n(5) {
		if g.full() {
			return
		}
		g.stmt(depth)
	}
}

// local is one of a type.
func (g *generator) local(t byte) (int, bool) {
	from := g.n(len(g.locals))
	for i := range g.locals {
		if l := (from + i) % len(g.locals); g.locals[l] == t {
			return l, true
		}
	}
	return 0, false
}

func (g *generator) global(t byte) (int, bool) {
	i := bytes.IndexByte(g.globals, t)
	return i, i >= 0
}

// pop takes values of these types off the stack.
func (g *generator) pop(types []byte) {
	for i := len(types) - 1; i >= 0; i-- {
		if l, ok := g.local(types[i]); ok && g.n(3) > 0 {
			g.index(0x21, l)
		} else {
			g.op(0x1a)
		}
	}
}

// exprs leaves values of these types: each by itself, or all by one call or construct.
func (g *generator) exprs(types []byte, depth int) {
	if len(types) > 1 && depth > 0 && !g.full() && g.n(2) == 0 {
		for i, t := range g.types {
			if bytes.Equal(t.results, types) {
				g.construct(i, depth)
				return
			}
		}
	}
	for _, t := range types {
		g.expr(t, depth)
	}
}

// expr leaves one value.
func (g *generator) expr(t byte, depth int) {
	choice := g.n(16)
	if depth <= 0 || g.full() {
		choice %= 4
	}
	switch choice {
	case 0:
	case 1:
		if l, ok := g.local(t); ok {
			g.index(0x20, l)
			return
		}
	case 2:
		if i, ok := g.global(t); ok {
			g.index(0x23, i)
			return
		}
	case 3:
		if l, ok := g.local(t); ok && depth > 0 {
			g.expr(t, depth-1)
			g.index(0x22, l)
			return
		}
	case 4:
		g.expr(t, depth-1)
		g.expr(t, depth-1)
		g.expr(tI32, depth-1)
		if t == tFunc || t == tExtern || g.n(2) == 0 {
			g.op(0x1c, 1, t)
		} else {
			g.op(0x1b)
		}
		return
	case 5:
		if g.load(t, depth) {
			return
		}
	case 6, 7:
		for i, s := range g.types {
			if bytes.Equal(s.results, []byte{t}) && g.n(3) == 0 {
				g.construct(i, depth)
				return
			}
		}
		g.construct(-int(t), depth)
		return
	case 8:
		g.call(depth)
	default:
		if g.operation(t, depth) {
			return
		}
	}
	g.op(constant(g.entropy, t)...)
}

// operation leaves a value by computing it.
func (g *generator) operation(t byte, depth int) bool {
	switch t {
	case tFunc:
		if g.n(2) == 0 {
			g.index(0xd2, g.n(g.leaves))
		} else {
			g.small(depth)
			g.op(0x25, byte(g.n(2)))
		}
		return true
	case tExtern:
		g.small(depth)
		g.op(0x25, 2)
		return true
	case tI32:
		if g.rare(6) {
			g.sizes(depth)
			return true
		}
	}
	o := operations[t][g.n(256)*len(operations[t])/256]
	if g.exact && o.fuzzy && t == tV128 {
		return false
	}
	for _, p := range o.params {
		g.expr(byte(p), depth-1)
	}
	g.op(o.code...)
	if o.lanes > 0 {
		g.out = append(g.out, byte(g.n(o.lanes)))
	}
	if g.exact && o.fuzzy {
		g.oneNaN(t)
	}
	return true
}

// oneNaN makes any NaN the one that the constant is.
func (g *generator) oneNaN(t byte) {
	l, ok := g.local(t)
	if !ok {
		return
	}
	nan, eq := []byte{0x43, 0, 0, 0xc0, 0x7f}, byte(0x5b)
	if t == tF64 {
		nan, eq = []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, 0x61
	}
	g.index(0x22, l)
	g.op(nan...)
	g.index(0x20, l)
	g.index(0x20, l)
	g.op(eq, 0x1b)
}

// sizes leaves an i32 about memory or tables.
func (g *generator) sizes(depth int) {
	switch c := g.n(5); {
	case c == 0 && g.memory:
		g.op(0x3f, 0)
	case c == 1 && g.memory:
		if g.n(4) > 0 {
			g.op(0x41, byte(g.n(3)))
		} else {
			g.expr(tI32, depth-1)
		}
		g.op(0x40, 0)
	case c == 2:
		g.op(0xfc, 16, byte(g.n(tables)))
	case c == 3:
		table := g.n(tables)
		g.expr([]byte{tFunc, tFunc, tExtern}[table], depth-1)
		g.op(0x41, byte(g.n(4)))
		g.op(0xfc, 15, byte(table))
	default:
		g.expr([]byte{tFunc, tExtern}[g.n(2)], depth-1)
		g.op(0xd1)
	}
}

// small leaves a number that is an index most of the time.
func (g *generator) small(depth int) {
	if g.n(4) > 0 {
		g.op(0x41, byte(g.n(5)))
	} else {
		g.expr(tI32, depth-1)
	}
}

// address leaves one inside the first page, most of the time.
func (g *generator) address(depth int) {
	g.expr(tI32, max(depth-1, 0))
	if !g.rare(12) {
		g.op(append([]byte{0x41}, signed(0x7fff)...)...)
		g.op(0x71)
	}
}

// memarg is the tail of an access.
func (g *generator) memarg(a access) {
	g.out = append(g.out, a.code...)
	offset := uint64(g.n(200))
	if g.rare(20) {
		offset = []uint64{32768, 65535, 1<<32 - 8}[g.n(3)]
	}
	g.out = binary.AppendUvarint(append(g.out, byte(g.n(a.align+1))), offset)
	g.weight++
}

func (g *generator) load(t byte, depth int) bool {
	var fit []access
	for _, a := range loads {
		if a.typ == t {
			fit = append(fit, a)
		}
	}
	if !g.memory || len(fit) == 0 {
		return false
	}
	g.address(depth)
	if t == tV128 && g.rare(4) {
		g.expr(t, depth-1)
		g.memarg(access{code: []byte{0xfd, 84}})
		g.out = append(g.out, byte(g.n(16)))
		return true
	}
	g.memarg(fit[g.n(len(fit))])
	if g.exact && (t == tF32 || t == tF64) {
		g.oneNaN(t)
	}
	return true
}
