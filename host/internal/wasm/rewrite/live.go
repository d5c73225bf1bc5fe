package rewrite

// What a loop's check costs depends on which variables the compiler believes to be needed after it. This file finds out
// which locals carry a value from one pass of a loop to the next. The answer is for speed alone: any answer keeps the meaning.

// maxTracked bounds the locals that are looked at.
const maxTracked = 256

// locals is a set of the first maxTracked locals.
type locals [maxTracked / 64]uint64

func (s *locals) add(l uint32) {
	if l < maxTracked {
		s[l/64] |= 1 << (l % 64)
	}
}

func (s *locals) remove(l uint32) {
	if l < maxTracked {
		s[l/64] &^= 1 << (l % 64)
	}
}

func (s *locals) union(t locals) {
	for i := range s {
		s[i] |= t[i]
	}
}

func (s *locals) has(l uint32) bool { return s[l/64]>>(l%64)&1 == 1 }

// event is an instruction that matters here: control, or an access to a local.
type event struct {
	op  byte
	arg uint32 // local, label, or how many labels of a table follow in flow.labels
}

// flow is a body as events, written in order and read backwards.
type flow struct {
	events []event
	labels []uint32
	loops  []loopFacts // in the order of their beginnings
	open   []uint32    // scratch
	stack  []region    // scratch
}

type loopFacts struct {
	live    locals // at the beginning of a pass
	written locals
}

// maxFlow bounds the events of a body that is looked at.
const maxFlow = 1 << 20

func (f *flow) note(in instr) {
	if len(f.events) >= maxFlow {
		return
	}
	switch in.op {
	case opLocalGet, opLocalSet, opLocalTee, opBr, opBrIf:
		f.events = append(f.events, event{in.op, in.arg})
	case opBrTable:
		f.labels = append(f.labels, in.labels...)
		f.events = append(f.events, event{in.op, uint32(len(in.labels))})
	case opLoop:
		f.events = append(f.events, event{in.op, uint32(len(f.loops))})
		f.loops = append(f.loops, loopFacts{})
	case opBlock, opIf, opElse, opEnd, opReturn, opUnreachable:
		f.events = append(f.events, event{op: in.op})
	}
}

// region is an open construct while the events are read backwards.
type region struct {
	label  locals // live where a branch to it goes
	after  locals // live behind it
	other  locals // live at the beginning of the else branch
	isElse bool
}

// maxPasses bounds the iteration; nests of loops deeper than that get an answer that is merely good.
const maxPasses = 4

// solve finds what is live at the beginning of every loop.
func (f *flow) solve() {
	if len(f.loops) == 0 || len(f.events) >= maxFlow {
		return
	}
	f.match()
	for range maxPasses {
		if !f.pass() {
			return
		}
	}
}

// match tells each end which loop it closes, if it does: that loop's number and 1.
func (f *flow) match() {
	f.open = f.open[:0]
	for i := range f.events {
		switch e := &f.events[i]; e.op {
		case opBlock, opIf:
			f.open = append(f.open, 0)
		case opLoop:
			f.open = append(f.open, e.arg+1)
		case opEnd:
			if n := len(f.open); n > 0 {
				e.arg = f.open[n-1]
				f.open = f.open[:n-1]
			}
		}
	}
}

// pass walks once; it reports whether any loop's answer grew.
func (f *flow) pass() (changed bool) {
	var live locals
	f.stack = f.stack[:0]
	tables := len(f.labels)
	for i := len(f.events) - 1; i >= 0; i-- {
		switch e := f.events[i]; e.op {
		case opLocalGet:
			live.add(e.arg)
		case opLocalSet, opLocalTee:
			live.remove(e.arg)
		case opBr:
			live = f.target(e.arg)
		case opBrIf:
			live.union(f.target(e.arg))
		case opBrTable:
			tables -= int(e.arg)
			live = locals{}
			for _, l := range f.labels[tables : tables+int(e.arg)] {
				live.union(f.target(l))
			}
		case opReturn, opUnreachable:
			live = locals{}
		case opEnd:
			r := region{label: live, after: live}
			if e.arg > 0 {
				r.label = f.loops[e.arg-1].live
			}
			f.stack = append(f.stack, r)
		default:
			if f.begin(e, &live) {
				changed = true
			}
		}
	}
	return changed
}

// target is what is live where a branch goes; a label of the body itself needs nothing.
func (f *flow) target(label uint32) locals {
	if int(label) < len(f.stack) {
		return f.stack[len(f.stack)-1-int(label)].label
	}
	return locals{}
}

// begin passes the beginning of a construct, or of its second half; it reports whether a loop's answer grew.
func (f *flow) begin(e event, live *locals) (grew bool) {
	top := &f.stack[len(f.stack)-1]
	switch e.op {
	case opElse:
		top.other, top.isElse = *live, true
		*live = top.after
		return false
	case opIf:
		if top.isElse {
			live.union(top.other)
		} else {
			live.union(top.after)
		}
	case opLoop:
		was := f.loops[e.arg].live
		live.union(was)
		grew = *live != was
		f.loops[e.arg].live = *live
	}
	f.stack = f.stack[:len(f.stack)-1]
	return grew
}

// carried are the locals that the n-th loop hands from pass to pass.
func (f *flow) carried(n int) []uint32 {
	var out []uint32
	facts := &f.loops[n]
	for l := range uint32(maxTracked) {
		if facts.live.has(l) && facts.written.has(l) {
			out = append(out, l)
		}
	}
	return out
}
