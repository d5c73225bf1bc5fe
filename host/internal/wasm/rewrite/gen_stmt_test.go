package rewrite_test

import "bytes"

// stmt leaves the stack as it was.
func (g *generator) stmt(depth int) {
	choice := g.n(18)
	if depth <= 0 {
		choice %= 5
	}
	switch choice {
	case 0:
		t := g.locals[g.n(len(g.locals))]
		g.expr(t, min(depth, 2))
		l, _ := g.local(t)
		g.index(0x21, l)
	case 1:
		if a := stores[g.n(len(stores))]; g.memory {
			g.address(min(depth, 2))
			g.expr(a.typ, min(depth, 2))
			g.memarg(a)
		}
	case 2:
		i := g.n(len(g.globals))
		g.expr(g.globals[i], min(depth, 2))
		g.index(0x24, i)
	case 3:
		g.expr(allTypes[g.n(len(allTypes))], depth)
		g.op(0x1a)
	case 4:
		g.op(0x01)
	case 5, 6, 7:
		g.when(depth)
	case 8, 9, 10:
		i := g.n(len(g.types))
		g.construct(i, depth)
		g.pop(g.types[i].results)
	case 11, 12:
		g.branch(depth)
	case 13:
		g.bulkMemory(depth)
	case 14:
		g.bulkTable(depth)
	case 15, 16:
		g.call(depth)
	case 17: // never run
		g.open(0x02, label{}, 0x40)
		g.leave()
		g.close()
	}
}

// open begins a construct with the given block type.
func (g *generator) open(op byte, l label, typ ...byte) {
	g.op(append([]byte{op}, typ...)...)
	g.labels = append(g.labels, l)
}

func (g *generator) close() {
	g.op(0x0b)
	g.labels = g.labels[:len(g.labels)-1]
}

// when is an if without values.
func (g *generator) when(depth int) {
	g.expr(tI32, depth-1)
	g.open(0x04, label{}, 0x40)
	g.body(nil, depth-1)
	if g.n(2) == 1 {
		g.op(0x05)
		g.body(nil, depth-1)
	}
	g.close()
}

// construct is a block, a loop or an if of the i-th type, or of a single result when i is less than zero: it leaves its results.
func (g *generator) construct(i, depth int) {
	var t signature
	var typ []byte
	if i < 0 {
		t.results, typ = []byte{byte(-i)}, []byte{byte(-i)}
	} else {
		t, typ = g.types[i], signed(int64(i))
	}
	g.exprs(t.params, depth-1)
	switch g.n(3) {
	case 0:
		g.open(0x02, label{types: t.results}, typ...)
		g.pop(t.params)
		g.body(t.results, depth-1)
	case 1:
		g.open(0x03, label{types: t.params, loop: true}, typ...)
		g.pop(t.params)
		g.body(t.results, depth-1)
	default:
		g.expr(tI32, depth-1)
		g.open(0x04, label{types: t.results}, typ...)
		g.pop(t.params)
		g.body(t.results, depth-1)
		if !bytes.Equal(t.params, t.results) || g.n(2) == 0 {
			g.op(0x05)
			g.pop(t.params)
			g.body(t.results, depth-1)
		}
	}
	g.close()
}

// spend leaves 1 while branches back are still allowed.
func (g *generator) spend() {
	g.op(0x20, g.fuel)
	g.op(0x41, 1)
	g.op(0x6b)
	g.op(0x22, g.fuel)
	g.op(0x41, 0)
	g.op(0x4a)
}

// branch may go to any open construct, with what that takes.
func (g *generator) branch(depth int) {
	to := g.n(len(g.labels))
	l := g.labels[len(g.labels)-1-to]
	g.exprs(l.types, depth-1)
	if l.loop {
		g.spend()
	} else {
		g.expr(tI32, depth-1)
	}
	g.index(0x0d, to)
	g.pop(l.types)
}

// leave ends the innermost construct's body in another way than at its end; dead code may follow.
func (g *generator) leave() {
	to := g.n(len(g.labels))
	l := g.labels[len(g.labels)-1-to]
	switch c := g.n(5); {
	case c == 0:
		g.op(0x00)
	case c == 1:
		g.exprs(g.labels[0].types, 1)
		g.op(0x0f)
	case l.loop:
		g.exprs(l.types, 1)
		g.spend()
		g.index(0x0d, to)
		g.op(0x00)
	case c == 2:
		g.exprs(l.types, 1)
		g.index(0x0c, to)
	default:
		g.table(to, l)
	}
	g.dead()
}

// table is a br_table over all constructs that take the same, loops among them; by default it leaves for one that is no loop.
func (g *generator) table(to int, l label) {
	g.exprs(l.types, 1)
	var same []byte
	for i := range g.labels {
		if bytes.Equal(g.labels[len(g.labels)-1-i].types, l.types) {
			same = append(same, byte(i))
		}
	}
	g.small(2)
	g.op(0x41, 0x7f)
	g.spend()
	g.op(0x1b)
	g.op(append(append([]byte{0x0e}, sized(same...)...), byte(to))...)
}

// dead is code where the stack may hold anything.
func (g *generator) dead() {
	for range g.n(4) {
		switch g.n(7) {
		case 0:
			g.op(0x6a)
			g.op(0x1a)
		case 1:
			g.op(0x1b)
			g.op(0x1a)
		case 2:
			if g.memory {
				g.op(0x40, 0)
				g.op(0x1a)
			}
		case 3:
			f := g.n(g.self)
			g.out = append(g.out, 0x10, byte(f)) // costs nothing
			for range g.types[g.funcs[f]].results {
				g.op(0x1a)
			}
		case 4:
			if g.memory {
				g.op(0xfc, 11, 0)
			}
		case 5:
			g.index(0x24, 0)
		case 6:
			g.op(0x0f)
		}
	}
	g.stmts(0)
}

func (g *generator) bulkMemory(depth int) {
	if !g.memory {
		return
	}
	length := func() {
		if g.rare(8) {
			g.expr(tI32, depth-1)
		} else {
			g.op(constant(&entropy{[]byte{0, byte(g.n(100))}}, tI32)...)
		}
	}
	switch g.n(4) {
	case 0:
		g.address(depth)
		g.address(depth)
		length()
		g.op(0xfc, 10, 0, 0)
	case 1:
		g.address(depth)
		g.expr(tI32, depth-1)
		length()
		g.op(0xfc, 11, 0)
	case 2:
		if g.datas > 0 {
			g.address(depth)
			g.small(depth)
			g.small(depth)
			g.op(0xfc, 8, byte(g.n(g.datas)), 0)
		}
	case 3:
		if g.datas > 0 && g.rare(3) {
			g.op(0xfc, 9, byte(g.n(g.datas)))
		}
	}
}

func (g *generator) bulkTable(depth int) {
	table := g.n(tables)
	typ := []byte{tFunc, tFunc, tExtern}[table]
	switch g.n(5) {
	case 0:
		g.small(depth)
		g.expr(typ, depth-1)
		g.op(0x26, byte(table))
	case 1:
		g.small(depth)
		g.expr(typ, depth-1)
		g.small(depth)
		g.op(0xfc, 17, byte(table))
	case 2:
		g.small(depth)
		g.small(depth)
		g.op(0x41, byte(g.n(3)))
		g.op(0xfc, 14, byte(g.n(2)), byte(g.n(2)))
	case 3:
		g.small(depth)
		g.op(0x41, byte(g.n(3)))
		g.op(0x41, byte(g.n(3)))
		g.op(0xfc, 12, byte(g.n(g.elems)), byte(g.n(2)))
	case 4:
		if g.rare(3) {
			g.op(0xfc, 13, byte(g.n(g.elems)))
		}
	}
}

// call calls an earlier function, directly or through a table, and keeps what it can of the results. What a table holds are leaves.
func (g *generator) call(depth int) {
	f := g.n(g.self)
	through := g.self >= g.leaves && g.rare(3)
	if through {
		f = g.n(g.leaves)
	}
	cost := g.cost[f]
	if f == fnAgain || through {
		if g.self < g.leaves {
			return
		}
		for _, c := range g.cost[:g.leaves] {
			cost = max(cost, 10+c)
		}
	}
	if (g.weight+cost)*g.times > budget {
		return
	}
	t := g.types[g.funcs[f]]
	g.exprs(t.params, depth-1)
	if through {
		g.small(depth)
		g.op(0x11, byte(g.funcs[f]), byte(g.n(2)))
	} else {
		g.index(0x10, f)
	}
	g.weight += cost
	g.pop(t.results)
}
