package rewrite

// names in the index spaces of the rewritten module.
type added struct {
	gas, limit, depth, pages, why uint32 // globals
	grow, tick, outDepth          uint32 // functions
}

// emitter writes one body.
type emitter struct {
	out    []byte
	add    *added
	p      *plan
	gas    int // local that holds the counter; -1: the global is used in place
	depth  int // local that holds the depth on entry; -1: nothing is called
	length int // scratch local for bulk operations; -1: none
	fall   int64
	types  []byte // of parameters and declared locals
}

func (m *Module) emitBody(out []byte, i int, p *plan, add *added, wrap blockType) []byte {
	b := m.bodies[i]
	local := len(m.types[m.funcs[m.imports+i]].Params) + b.numLocals
	e := emitter{add: add, p: p, gas: -1, depth: -1, length: -1, fall: 1 + int64(local/localsPerFall), types: m.localTypes(i)}
	var extra []byte
	declare := func(want bool, typ byte) int {
		if !want {
			return -1
		}
		extra = append(extra, 1, typ)
		local++
		return local - 1
	}
	e.gas = declare(p.loop, I64)
	e.depth = declare(p.calls, I32)
	e.length = declare(p.bulk, I32)
	e.out = appendU32(out, uint32(b.runs+len(extra)/2))
	e.out = append(append(e.out, b.locals...), extra...)
	e.entry(wrap)
	pos := 0
	for _, ed := range p.edits {
		e.out = append(e.out, b.code[pos:ed.pos]...)
		e.edit(ed, b.code[ed.pos:ed.end])
		pos = ed.end
	}
	e.out = append(e.out, b.code[pos:]...)
	if e.gas >= 0 { // the body's own end closed the block around it: what it returned is on the stack
		e.get(e.gas)
		e.setGlobal(add.gas)
		e.op(opEnd)
	}
	return e.out
}

func (e *emitter) op(ops ...byte) { e.out = append(e.out, ops...) }

func (e *emitter) get(local int) { e.out = appendU32(append(e.out, opLocalGet), uint32(local)) }
func (e *emitter) set(local int) { e.out = appendU32(append(e.out, opLocalSet), uint32(local)) }
func (e *emitter) tee(local int) { e.out = appendU32(append(e.out, opLocalTee), uint32(local)) }

func (e *emitter) getGlobal(g uint32) { e.out = appendU32(append(e.out, opGlobalGet), g) }
func (e *emitter) setGlobal(g uint32) { e.out = appendU32(append(e.out, opGlobalSet), g) }

func (e *emitter) call(f uint32) { e.out = appendU32(append(e.out, opCall), f) }

func (e *emitter) i64(v int64) { e.out = appendS64(append(e.out, opI64Const), v) }
func (e *emitter) i32(v int64) { e.out = appendS64(append(e.out, opI32Const), v) }

// entry checks the depth, loads the counter where it is kept in a local, and charges the first segment.
func (e *emitter) entry(wrap blockType) {
	if e.depth >= 0 {
		e.getGlobal(e.add.depth)
		e.tee(e.depth)
		e.i32(0)
		e.op(opI32LtS, opIf, 0x40)
		e.call(e.add.outDepth)
		e.op(opUnreachable, opEnd)
	}
	if e.gas >= 0 {
		e.getGlobal(e.add.gas)
		e.set(e.gas)
		e.out = append(append(e.out, opBlock), wrap...)
	}
	e.charge(e.p.segs[0])
}

func (e *emitter) charge(s segment) {
	if s.cost == 0 && !s.check {
		return
	}
	e.loadGas()
	e.i64(s.cost)
	e.op(opI64Add)
	e.storeGas()
	if s.check {
		e.checkGas(s.locals)
	}
}

func (e *emitter) loadGas() {
	if e.gas >= 0 {
		e.get(e.gas)
	} else {
		e.getGlobal(e.add.gas)
	}
}

func (e *emitter) storeGas() {
	if e.gas >= 0 {
		e.set(e.gas)
	} else {
		e.setGlobal(e.add.gas)
	}
}

// checkGas asks the host when the counter is above the allowance, which the host raises bit by bit: a guest that did not
// come back to it now and then would keep the whole process from collecting garbage.
//
// The form is the compiler's doing. That the question goes round a loop of its own instead of following an if, and that the
// locals of the loop it stands in are copied before the call, keeps variables out of memory on the way that is always taken.
func (e *emitter) checkGas(locals []uint32) {
	e.op(opBlock, 0x40, opLoop, 0x40)
	e.loadGas()
	e.getGlobal(e.add.limit)
	e.op(opI64LeS, opBrIf, 1)
	for _, l := range locals {
		e.copyLocal(l)
	}
	e.loadGas()
	e.call(e.add.tick)
	e.storeGas()
	e.op(opBr, 0, opEnd, opEnd)
}

// copyLocal gives a local the value it has, in a way the compiler does not see through.
func (e *emitter) copyLocal(l uint32) {
	switch t := e.types[l]; t {
	case I32:
		e.get(int(l))
		e.i32(0)
		e.op(opI32Or)
	case I64:
		e.get(int(l))
		e.i64(0)
		e.op(opI64Or)
	case 0x7d:
		e.get(int(l))
		e.op(opI32OfF32)
		e.i32(0)
		e.op(opI32Or, opF32OfI32)
	case 0x7c:
		e.get(int(l))
		e.op(opI64OfF64)
		e.i64(0)
		e.op(opI64Or, opF64OfI64)
	default:
		return // vectors and references pay for themselves
	}
	e.set(int(l))
}

func (e *emitter) edit(ed edit, code []byte) {
	switch ed.kind {
	case editCharge:
		e.charge(e.p.segs[ed.arg])
	case editCall:
		e.get(e.depth)
		e.i32(e.fall)
		e.op(opI32Sub)
		e.setGlobal(e.add.depth)
		e.away(code)
	case editHost:
		e.away(code)
	case editGrow:
		e.away(appendU32([]byte{opCall}, e.add.grow))
	case editBulk:
		e.bulk(int64(ed.arg), code)
	case editReturn:
		if e.gas < 0 {
			e.op(opReturn)
		} else {
			e.out = appendU32(append(e.out, opBr), ed.depth)
		}
	}
}

// away writes an instruction that counts on its own: the counter goes to the global before and comes back after.
func (e *emitter) away(code []byte) {
	if e.gas < 0 {
		e.op(code...)
		return
	}
	e.get(e.gas)
	e.setGlobal(e.add.gas)
	e.op(code...)
	e.getGlobal(e.add.gas)
	e.set(e.gas)
}

func (e *emitter) bulk(shift int64, code []byte) {
	e.tee(e.length)
	e.loadGas()
	e.get(e.length)
	e.op(opI64ExtendU)
	if shift > 0 {
		e.i64(shift)
		e.op(opI64ShrU)
	}
	e.op(opI64Add)
	e.storeGas()
	e.checkGas(nil)
	e.op(code...)
}

// growBody is the function that stands for memory.grow: (pages) -> old size or -1. Beyond the bound, or when the engine
// refuses, it notes why a later trap may have come.
func growBody(a *added) []byte {
	e := emitter{out: []byte{1, 1, I32}, add: a, gas: -1}
	refuse := func() {
		e.op(opIf, 0x40)
		e.i32(WhyMemory)
		e.setGlobal(a.why)
		e.i32(-1)
		e.op(opReturn, opEnd)
	}
	e.get(0)
	e.op(opI64ExtendU, opMemorySize, 0, opI64ExtendU, opI64Add)
	e.getGlobal(a.pages)
	e.op(opI64ExtendU, opI64GtU)
	refuse()
	e.get(0)
	e.op(opMemoryGrow, 0)
	e.tee(1)
	e.i32(-1)
	e.op(opI32Eq)
	refuse()
	e.getGlobal(a.gas)
	e.get(0)
	e.op(opI64ExtendU)
	e.i64(13) // GrowPageGas
	e.op(opI64Shl, opI64Add)
	e.setGlobal(a.gas)
	e.checkGas(nil)
	e.get(1)
	e.op(opEnd)
	return e.out
}

// tickBody is the function that asks the host for more allowance: (counter) -> the same counter. WebAssembly has no way to call the host
// without an import, which would move every function's index; but a request for memory goes to the host's allocator. The
// one page that the guest can never have is the sign. When nothing was granted, the code ends.
func tickBody(a *added, spare uint32) []byte {
	e := emitter{out: []byte{0}, add: a, gas: -1}
	e.get(0)
	e.setGlobal(a.gas)
	if spare > 0 {
		e.i32(int64(int32(spare)))
		e.op(opMemorySize, 0, opI32Sub, opMemoryGrow, 0, opDrop)
	}
	e.get(0)
	e.getGlobal(a.limit)
	e.op(opI64GtS, opIf, 0x40)
	e.i32(WhyGas)
	e.setGlobal(a.why)
	e.op(opUnreachable, opEnd)
	e.get(0)
	e.op(opEnd)
	return e.out
}

func outDepthBody(a *added) []byte {
	e := emitter{out: []byte{0}, add: a}
	e.i32(WhyDepth)
	e.setGlobal(a.why)
	e.op(opUnreachable, opEnd)
	return e.out
}
