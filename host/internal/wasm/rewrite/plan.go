package rewrite

import "fmt"

// Prices, in units of gas. An instruction costs 1 unless it is structure only (block, else, end, nop: 0); docs/spec/abi.md
// is the normative table.
const (
	HostCallGas   = 64   // on top of the call instruction
	BytesPerGas   = 8    // memory.fill, memory.copy, memory.init, and bytes that a host function moves
	GrowPageGas   = 8192 // a page of 64 KiB that memory.grow has added
	localsPerGas  = 8    // declared locals, which a call must zero
	localsPerFall = 16   // locals that count as one more nested call
)

type editKind byte

const (
	editCharge editKind = iota // a segment of straight code begins
	editCall                   // call or call_indirect of code in the module
	editHost                   // call of an imported function
	editGrow                   // memory.grow
	editBulk                   // an operation that costs by the length on top of the stack
	editReturn
)

// edit is one place in a body where code is added or replaced; edits are in the order of their positions.
type edit struct {
	kind     editKind
	pos, end int
	arg      uint32 // editCharge: segment; editBulk: shift
	depth    uint32 // constructs open at pos, the body not counted: the label of the body
}

// segment is code that is entered at one point and left at the end or by a trap; its cost is charged when it is entered.
type segment struct {
	cost   int64
	check  bool
	locals []uint32 // beginning of a loop: the locals it carries
}

// plan is what one body needs.
type plan struct {
	edits  []edit
	segs   []segment
	calls  bool // calls code of the module, so that it can recurse
	bulk   bool
	loop   bool // has a loop: then the counter is kept in a local
	data   bool // names a data segment
	writes []uint32
	fixed  string
}

// frame is an open construct.
type frame struct {
	op      byte
	seg     uint32 // the segment execution is in
	escaped bool   // a branch inside leaves it for a construct further out
	loop    int    // its number when it is one
	written locals
}

type planner struct {
	plan
	d      decoder
	frames []frame
	flow   flow
	heads  []uint32 // the segment at the beginning of each loop
}

// body plans the i-th body. The segments follow control: code behind a construct that cannot be left early belongs to the
// segment before it. What the planner found lasts until the next body.
func (p *planner) body(m *Module, i int) error {
	b := m.bodies[i]
	t := m.types[m.funcs[m.imports+i]]
	p.reset()
	p.d = decoder{reader: reader{buf: b.code}, m: m, locals: len(t.Params) + b.numLocals, labels: p.d.labels}
	p.frames = append(p.frames, frame{op: opBlock})
	p.segs = append(p.segs, segment{cost: int64(b.numLocals / localsPerGas)})
	for len(p.frames) > 0 && p.d.err == nil {
		p.d.depth = len(p.frames)
		p.step(p.d.next())
	}
	if p.d.err == nil && p.d.pos != len(b.code) {
		p.d.failf("code follows the closing end")
	}
	if p.d.err != nil {
		return fmt.Errorf("function %d: %w", m.imports+i, p.d.err)
	}
	p.segs[0].check = p.calls
	p.flow.solve()
	for n := range p.flow.loops {
		p.segs[p.heads[n]].locals = p.flow.carried(n)
	}
	return nil
}

// reset forgets the last body and keeps the room it took.
func (p *planner) reset() {
	p.plan = plan{edits: p.edits[:0], segs: p.segs[:0], writes: p.writes[:0]}
	p.frames, p.heads = p.frames[:0], p.heads[:0]
	p.flow.events, p.flow.labels, p.flow.loops = p.flow.events[:0], p.flow.labels[:0], p.flow.loops[:0]
}

func (p *planner) top() *frame { return &p.frames[len(p.frames)-1] }

func (p *planner) add(kind editKind, in instr, arg uint32) {
	p.edits = append(p.edits, edit{kind: kind, pos: in.pos, end: in.end, arg: arg, depth: uint32(len(p.frames) - 1)})
}

// begin starts a segment at the given position of the innermost construct.
func (p *planner) begin(pos int, cost int64, check bool) {
	p.segs = append(p.segs, segment{cost: cost, check: check})
	seg := uint32(len(p.segs) - 1)
	p.top().seg = seg
	p.edits = append(p.edits, edit{kind: editCharge, pos: pos, end: pos, arg: seg, depth: uint32(len(p.frames) - 1)})
}

func (p *planner) step(in instr) {
	p.flow.note(in)
	switch in.op {
	case opBlock, 0x01:
	default:
		if in.op != opEnd && in.op != opElse && in.op != opLoop {
			p.segs[p.top().seg].cost++
		}
	}
	switch in.op {
	case opBlock, opLoop, opIf:
		p.frames = append(p.frames, frame{op: in.op, seg: p.top().seg})
		if in.op == opLoop {
			p.loop = true
			p.top().loop = len(p.heads)
			p.begin(in.end, 1, true)
			p.heads = append(p.heads, p.top().seg)
		} else if in.op == opIf {
			p.begin(in.end, 0, false)
		}
	case opElse:
		if p.top().op != opIf {
			p.d.failf("else without if")
			return
		}
		p.top().op = opElse
		p.begin(in.end, 0, false)
	case opEnd:
		p.close(in)
	case opBr, opBrIf, opBrTable, opReturn, opUnreachable:
		p.leave(in)
	default:
		p.operation(in)
	}
}

func (p *planner) close(in instr) {
	f := *p.top()
	p.frames = p.frames[:len(p.frames)-1]
	if len(p.frames) == 0 {
		return
	}
	p.top().written.union(f.written)
	if f.op == opLoop && f.loop < len(p.flow.loops) {
		p.flow.loops[f.loop].written = f.written
	}
	if f.escaped {
		p.begin(in.end, 0, false)
	}
}

// leave handles what may go on elsewhere; the code behind it is another segment.
func (p *planner) leave(in instr) {
	switch in.op {
	case opBr, opBrIf:
		p.escape(int(in.arg))
	case opBrTable:
		for _, l := range in.labels {
			p.escape(int(l))
		}
	case opReturn:
		p.escape(len(p.frames) - 1)
		p.add(editReturn, in, 0)
	}
	p.begin(in.end, 0, false)
}

func (p *planner) escape(label int) {
	for i := len(p.frames) - label; i < len(p.frames); i++ {
		p.frames[i].escaped = true
	}
}

func (p *planner) operation(in instr) {
	switch in.op {
	case opLocalSet, opLocalTee:
		p.top().written.add(in.arg)
	case opCall:
		if int(in.arg) < p.d.m.imports {
			p.segs[p.top().seg].cost += HostCallGas
			p.add(editHost, in, 0)
		} else {
			p.calls = true
			p.add(editCall, in, 0)
		}
	case opCallIndirect:
		p.calls = true
		p.add(editCall, in, 0)
	case opGlobalSet:
		p.writes = append(p.writes, in.arg)
	case opTableSet:
		p.fixed = "table.set"
	case opMemoryGrow:
		p.add(editGrow, in, 0)
	case opMisc:
		p.misc(in)
	}
}

func (p *planner) misc(in instr) {
	p.data = p.data || in.sub == miscMemoryInit || in.sub == miscDataDrop
	switch in.sub {
	case miscMemoryCopy, miscMemoryFill, miscMemoryInit:
		p.bulk = true
		p.add(editBulk, in, 3)
	case miscTableInit, miscTableCopy, miscTableFill, miscTableGrow:
		p.bulk = true
		p.add(editBulk, in, 0)
		p.fixed = [...]string{miscTableInit: "table.init", miscTableCopy: "table.copy", miscTableFill: "table.fill", miscTableGrow: "table.grow"}[in.sub]
	case miscDataDrop:
		p.fixed = "data.drop"
	case miscElemDrop:
		p.fixed = "elem.drop"
	}
}
