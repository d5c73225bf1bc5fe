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
	starts := f.matches()
	for range maxPasses {
		if !f.pass(starts) {
			return
		}
	}
}

// matches gives for each end, by its position, the loop it closes, or -1.
func (f *flow) matches() map[int]int {
	ends := map[int]int{}
	var open []int
	for i, e := range f.events {
		switch e.op {
		case opBlock, opIf:
			open = append(open, -1)
		case opLoop:
			open = append(open, int(e.arg))
		case opEnd:
			if len(open) > 0 {
				if l := open[len(open)-1]; l >= 0 {
					ends[i] = l
				}
				open = open[:len(open)-1]
			}
		}
	}
	return ends
}

// pass walks once; it reports whether any loop's answer grew.
func (f *flow) pass(loopEnds map[int]int) (changed bool) {
	var live locals
	stack := []region{}
	tables := len(f.labels)
	target := func(label uint32) locals {
		if int(label) < len(stack) {
			return stack[len(stack)-1-int(label)].label
		}
		return locals{}
	}
	for i := len(f.events) - 1; i >= 0; i-- {
		switch e := f.events[i]; e.op {
		case opLocalGet:
			live.add(e.arg)
		case opLocalSet, opLocalTee:
			live.remove(e.arg)
		case opBr:
			live = target(e.arg)
		case opBrIf:
			live.union(target(e.arg))
		case opBrTable:
			tables -= int(e.arg)
			live = locals{}
			for _, l := range f.labels[tables : tables+int(e.arg)] {
				live.union(target(l))
			}
		case opReturn, opUnreachable:
			live = locals{}
		case opEnd:
			r := region{label: live, after: live}
			if l, ok := loopEnds[i]; ok {
				r.label = f.loops[l].live
			}
			stack = append(stack, r)
		case opElse:
			top := &stack[len(stack)-1]
			top.other, top.isElse = live, true
			live = top.after
		case opIf:
			if top := stack[len(stack)-1]; top.isElse {
				live.union(top.other)
			} else {
				live.union(top.after)
			}
			stack = stack[:len(stack)-1]
		case opBlock:
			stack = stack[:len(stack)-1]
		case opLoop:
			if was := f.loops[e.arg].live; was != live {
				live.union(was)
				changed = changed || live != was
				f.loops[e.arg].live = live
			}
			stack = stack[:len(stack)-1]
		}
	}
	return changed
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
