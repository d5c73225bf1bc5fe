package rewrite

// Opcodes that the rewriter reads or writes by name.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opI32Eq        = 0x46
	opI32LtS       = 0x48
	opI64GtS       = 0x55
	opI64LeS       = 0x57
	opI64GtU       = 0x56
	opI32Sub       = 0x6b
	opI32Or        = 0x72
	opI64Add       = 0x7c
	opI64Or        = 0x84
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opI32OfF32     = 0xbc // reinterpret
	opI64OfF64     = 0xbd
	opF32OfI32     = 0xbe
	opF64OfI64     = 0xbf
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd
)

// Opcodes behind opMisc.
const (
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

// instr is one decoded instruction: where it stands and what of its immediates matters to the rewriter.
type instr struct {
	pos, end int
	op       byte
	sub      uint32 // behind a prefix
	arg      uint32 // label depth, function or global index
	labels   []uint32
}

// decoder steps through one function body and refuses indices that point outside the original module, so that nothing
// in it can reach what the rewriter adds.
type decoder struct {
	reader
	m      *Module
	locals int // parameters included
	depth  int // open constructs, for label checks; kept by the caller
	labels []uint32
}

func (d *decoder) next() instr {
	in := instr{pos: d.pos}
	in.op = d.byte()
	switch op := in.op; {
	case op == opCall:
		in.arg = d.m.funcIndex(&d.reader)
	case op == opRefFunc:
		if in.arg = d.m.funcIndex(&d.reader); !d.m.declared[in.arg] {
			d.failf("function %d is referred to and nowhere declared", in.arg)
		}
	case op >= opBlock && op <= opIf:
		d.blockType()
	case op == opBr, op == opBrIf:
		in.arg = d.label()
	case op == opBrTable:
		in.labels = d.table()
	case op == opCallIndirect:
		d.m.typeIndex(&d.reader)
		d.m.tableIndex(&d.reader)
	case op == 0x1c: // select with types
		for n := d.count(); n > 0; n-- {
			checkValType(&d.reader, d.byte())
		}
	case op >= opLocalGet && op <= opLocalTee:
		if in.arg = d.u32(); int(in.arg) >= d.locals {
			d.failf("local %d does not exist", in.arg)
		}
	case op == opGlobalGet, op == opGlobalSet:
		if in.arg = d.u32(); int(in.arg) >= len(d.m.globals) {
			d.failf("global %d does not exist", in.arg)
			in.arg = 0
		}
	case op == 0x25, op == opTableSet:
		d.m.tableIndex(&d.reader)
	case op >= 0x28 && op <= 0x3e:
		d.memarg()
	case op == opMemorySize, op == opMemoryGrow:
		d.zero()
	case op == opI32Const:
		d.signed(32)
	case op == opI64Const:
		d.signed(64)
	case op == 0x43:
		d.bytes(4)
	case op == 0x44:
		d.bytes(8)
	case op == 0xd0:
		refType(&d.reader)
	case op == opMisc:
		in.sub = d.u32()
		d.misc(in.sub)
	case op == opVector:
		in.sub = d.u32()
		d.vector(in.sub)
	case plain(op):
	default:
		d.failf("opcode 0x%x belongs to a proposal that is not supported", op)
	}
	in.end = d.pos
	return in
}

// plain says whether the opcode has no immediates.
func plain(op byte) bool {
	switch op {
	case opUnreachable, 0x01, opElse, opEnd, opReturn, 0x1a, 0x1b, 0xd1:
		return true
	}
	return op >= 0x45 && op <= 0xc4
}

func (d *decoder) blockType() {
	t := d.signed(33)
	if t >= 0 {
		if t >= int64(len(d.m.types)) {
			d.failf("block type %d does not exist", t)
		}
		return
	}
	if t != -64 { // 0x40: no result
		checkValType(&d.reader, byte(t)&0x7f)
	}
}

func (d *decoder) label() uint32 {
	l := d.u32()
	if int(l) >= d.depth {
		d.failf("label %d does not exist", l)
		return 0
	}
	return l
}

func (d *decoder) table() []uint32 {
	d.labels = d.labels[:0]
	for n := d.count(); n >= 0 && d.err == nil; n-- {
		d.labels = append(d.labels, d.label())
	}
	return d.labels
}

func (d *decoder) memarg() {
	d.u32()
	d.u32()
	d.needMemory()
}

func (d *decoder) needMemory() {
	if d.m.memories == 0 {
		d.failf("it uses memory, and there is none")
	}
}

func (d *decoder) zero() {
	if d.byte() != 0 {
		d.failf("a memory index is not 0")
	}
	d.needMemory()
}

func (d *decoder) index(n int, what string) {
	if i := d.u32(); int(i) >= n {
		d.failf("%s segment %d does not exist", what, i)
	}
}

func (d *decoder) misc(sub uint32) {
	switch sub {
	case 0, 1, 2, 3, 4, 5, 6, 7:
	case miscMemoryInit:
		d.index(d.m.datas, "data")
		d.zero()
	case miscDataDrop:
		d.index(d.m.datas, "data")
	case miscMemoryCopy:
		d.zero()
		d.zero()
	case miscMemoryFill:
		d.zero()
	case miscTableInit:
		d.index(d.m.elems, "element")
		d.m.tableIndex(&d.reader)
	case miscElemDrop:
		d.index(d.m.elems, "element")
	case miscTableCopy:
		d.m.tableIndex(&d.reader)
		d.m.tableIndex(&d.reader)
	case miscTableGrow, miscTableSize, miscTableFill:
		d.m.tableIndex(&d.reader)
	default:
		d.failf("opcode 0xfc %d belongs to a proposal that is not supported", sub)
	}
}

func (d *decoder) vector(sub uint32) {
	switch {
	case sub <= 11, sub == 92, sub == 93:
		d.memarg()
	case sub == 12, sub == 13:
		d.bytes(16)
	case sub >= 21 && sub <= 34:
		d.byte()
	case sub >= 84 && sub <= 91:
		d.memarg()
		d.byte()
	case sub <= 255:
	default:
		d.failf("opcode 0xfd %d belongs to a proposal that is not supported", sub)
	}
}
