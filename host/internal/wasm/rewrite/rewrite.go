package rewrite

import (
	"fmt"
	"strings"
)

// Version numbers what Rewrite does with a module. It goes up with every change of its output, because rewritten modules
// are kept and found by it; a test compares it with the output.
const Version = 1

// Reserved begins every export the rewriter adds; a module that exports such a name is refused.
const Reserved = "arw:"

// Exports that the rewriter adds. All but Start are mutable globals.
const (
	ExportGas    = Reserved + "gas"   // i64: used so far; the host sets it to 0 before a call
	ExportLimit  = Reserved + "limit" // i64: the allowance; code that has used more asks the host for more, or ends
	ExportDepth  = Reserved + "depth" // i32: calls that may still nest; the host sets it before a call
	ExportPages  = Reserved + "pages" // i32: the most pages memory may have
	ExportWhy    = Reserved + "why"   // i32: one of the Why numbers
	ExportStart  = Reserved + "start" // the module's own start function, which the host calls under its bounds
	ExportMark   = Reserved + "mark"  // what Options.Mark adds
	ExportGlobal = Reserved + "g"     // followed by the index of a global that the module writes
)

// What ExportWhy holds when code left by a trap that was not its own, or may not have been.
const (
	WhyNone   = 0
	WhyGas    = 1 // the counter passed the allowance
	WhyDepth  = 2 // calls nested too deep
	WhyMemory = 3 // memory.grow was refused; a trap after that is most likely its consequence
)

// Options of a rewrite.
type Options struct {
	// Pages is the most memory the module may ever have.
	Pages uint32
	// Spare declares one page more than that, which the guest cannot reach. A request for exactly that many pages is the
	// guest's code asking for more allowance (the host raises ExportLimit and refuses the memory), and the host uses the page to set a
	// grown memory back. It needs Pages below 65,536.
	Spare bool
	// TakeData moves active data segments out of the module into Result.Data where their offsets are plain constants.
	TakeData bool
	// Rename gives imports other names; nil leaves them as they are.
	Rename func(Import) (module, name string)
	// Mark adds a start function that does nothing, for a host that learns of its instances by listening to it.
	Mark bool

	counter counterPlace // for tests; zero lets each function choose
}

// counterPlace is where a function counts: in a local, which is fast in loops, or in the global, which is fast around calls.
type counterPlace byte

const (
	counterAuto counterPlace = iota
	counterLocal
	counterGlobal
)

// Data is a segment that the host writes to memory before anything runs.
type Data struct {
	Offset uint32
	Bytes  []byte
}

// Result is a rewritten module and what a host must know to run it.
type Result struct {
	Binary  []byte
	Globals []uint32 // those the module writes, exported as ExportGlobal and the index
	Data    []Data
	Start   bool
	// Fixed names what keeps memory and globals from being the whole state: an instruction that changes tables or drops
	// segments, or a global that cannot be read from outside. Empty: they are the whole state.
	Fixed string
}

// Rewrite makes the bounded module. It fails only for what Decode cannot see: an index in a body that points nowhere, or
// an export with a reserved name.
func (m *Module) Rewrite(o Options) (*Result, error) {
	for _, e := range m.Exports {
		if strings.HasPrefix(e.Name, Reserved) {
			return nil, fmt.Errorf("export %q begins with %q, which is reserved for the host", e.Name, Reserved)
		}
	}
	w := &writer{m: m, o: o, raw: m.raw, written: make([]bool, len(m.globals)), wraps: map[string]uint32{}}
	g, f := uint32(len(m.globals)), uint32(len(m.funcs))
	w.add = added{gas: g, limit: g + 1, depth: g + 2, pages: g + 3, why: g + 4, tick: f, outDepth: f + 1, grow: f + 2}
	if err := w.code(); err != nil {
		return nil, err
	}
	w.exports()
	w.takeData()
	w.rename()
	w.assemble()
	return &w.res, nil
}

type blockType []byte

type writer struct {
	m       *Module
	o       Options
	add     added
	res     Result
	raw     [14]section
	written []bool // globals
	data    bool   // code names a data segment
	types   []byte // added ones
	nType   int
	wraps   map[string]uint32
	funcs   []byte // added ones: type indices
	nFunc   int
	body    []byte
	exp     []byte
	nExp    int
	mark    uint32 // the function that Options.Mark adds
}

func (w *writer) newType(params, results []byte) uint32 {
	key := string(params) + ">" + string(results)
	if i, ok := w.wraps[key]; ok {
		return i
	}
	w.types = append(w.types, 0x60)
	w.types = append(appendU32(w.types, uint32(len(params))), params...)
	w.types = append(appendU32(w.types, uint32(len(results))), results...)
	i := uint32(len(w.m.types) + w.nType)
	w.nType++
	w.wraps[key] = i
	return i
}

// wrap is the type of the block around a body whose counter is kept in a local.
func (w *writer) wrap(results []byte) blockType {
	switch len(results) {
	case 0:
		return blockType{0x40}
	case 1:
		return blockType{results[0]}
	}
	return appendS64(nil, int64(w.newType(nil, results)))
}

func (w *writer) code() error {
	m := w.m
	var scratch []byte
	var p planner
	for i := range m.bodies {
		if err := p.body(m, i); err != nil {
			return err
		}
		for _, g := range p.writes {
			w.written[g] = true
		}
		w.data = w.data || p.data
		if p.fixed != "" && w.res.Fixed == "" {
			w.res.Fixed = "it uses " + p.fixed
		}
		if w.o.counter != counterAuto {
			p.loop = w.o.counter == counterLocal
		}
		var wrap blockType
		if p.loop {
			wrap = w.wrap(m.types[m.funcs[m.imports+i]].Results)
		}
		scratch = m.emitBody(scratch[:0], i, &p.plan, &w.add, wrap)
		w.body = append(appendU32(w.body, uint32(len(scratch))), scratch...)
	}
	spare := uint32(0)
	if w.o.Spare && m.Memory != nil {
		spare = w.declared()
	}
	w.helper(tickBody(&w.add, spare), []byte{I64}, []byte{I64})
	w.helper(outDepthBody(&w.add), nil, nil)
	if m.memories > 0 {
		w.helper(growBody(&w.add), []byte{I32}, []byte{I32})
	}
	if w.o.Mark {
		w.mark = uint32(len(m.funcs) + w.nFunc)
		w.helper([]byte{0, opEnd}, nil, nil)
	}
	return nil
}

func (w *writer) helper(body, params, results []byte) {
	w.funcs = appendU32(w.funcs, w.newType(params, results))
	w.nFunc++
	w.body = append(appendU32(w.body, uint32(len(body))), body...)
}

func (w *writer) export(name string, kind Kind, index uint32) {
	w.exp = appendName(w.exp, name)
	w.exp = appendU32(append(w.exp, byte(kind)), index)
	w.nExp++
}

func (w *writer) exports() {
	for i, g := range w.m.globals {
		if !g.mutable || !w.written[i] {
			continue
		}
		switch g.typ {
		case 0x7b, 0x70, 0x6f:
			w.res.Fixed = fmt.Sprintf("it writes global %d, a vector or a reference", i)
			continue
		}
		w.res.Globals = append(w.res.Globals, uint32(i))
		w.export(fmt.Sprintf("%s%d", ExportGlobal, i), KindGlobal, uint32(i))
	}
	w.export(ExportGas, KindGlobal, w.add.gas)
	w.export(ExportLimit, KindGlobal, w.add.limit)
	w.export(ExportDepth, KindGlobal, w.add.depth)
	w.export(ExportPages, KindGlobal, w.add.pages)
	w.export(ExportWhy, KindGlobal, w.add.why)
	if w.m.start >= 0 {
		w.export(ExportStart, KindFunc, uint32(w.m.start))
		w.res.Start = true
	}
	if w.o.Mark {
		w.export(ExportMark, KindFunc, w.mark)
	}
}

// rename replaces the imports' names.
func (w *writer) rename() {
	if w.o.Rename == nil {
		return
	}
	var items []byte
	for _, im := range w.m.Imports {
		module, name := w.o.Rename(im)
		items = append(appendName(appendName(items, module), name), im.what...)
	}
	w.raw[secImport].items = items
}

// takeData takes the segments out when all of them are plain and nothing in the code names one.
func (w *writer) takeData() {
	if !w.o.TakeData || w.m.Memory == nil || w.data {
		return
	}
	for _, d := range w.m.data {
		if !d.active || !d.known {
			return
		}
	}
	for _, d := range w.m.data {
		w.res.Data = append(w.res.Data, Data{Offset: d.offset, Bytes: d.init})
	}
	w.raw[secData], w.raw[secDataCount] = section{}, section{}
}

// addedGlobals are the definitions of the counter, the allowance, the depth, the bound on pages and the reason. Until
// the host sets them nothing may run: the allowance and the depth are spent.
func (w *writer) addedGlobals() []byte {
	out := []byte{I64, 1, opI64Const, 0, opEnd, I64, 1, opI64Const, 0x7f, opEnd, I32, 1, opI32Const, 0x7f, opEnd}
	out = append(out, I32, 1, opI32Const)
	out = appendS64(out, int64(w.m.Cap(w.o.Pages)))
	return append(out, opEnd, I32, 1, opI32Const, 0, opEnd)
}

func (w *writer) assemble() {
	m := w.m
	out := []byte("\x00asm\x01\x00\x00\x00")
	vector := func(id byte, extra int, more []byte) {
		if s := w.raw[id]; s.present || extra > 0 {
			out = appendVector(out, id, s.count, s.items, extra, more)
		}
	}
	vector(secType, w.nType, w.types)
	vector(secImport, 0, nil)
	vector(secFunction, w.nFunc, w.funcs)
	vector(secTable, 0, nil)
	if m.Memory != nil {
		out = appendSection(out, secMemory, w.memory())
	}
	vector(secGlobal, 5, w.addedGlobals())
	vector(secExport, w.nExp, w.exp)
	if w.o.Mark {
		out = appendSection(out, secStart, appendU32(nil, w.mark))
	}
	vector(secElement, 0, nil)
	if s := w.raw[secDataCount]; s.present {
		out = appendSection(out, secDataCount, s.items)
	}
	out = appendVector(out, secCode, len(m.bodies), nil, w.nFunc, w.body)
	vector(secData, 0, nil)
	if m.names != nil {
		out = appendSection(out, secCustom, m.names)
	}
	w.res.Binary = out
}

func (w *writer) memory() []byte {
	return appendU32(appendU32([]byte{1, 1}, w.m.Memory.Min), w.declared())
}

// declared is the most memory the rewritten module says it may have.
func (w *writer) declared() uint32 {
	most := max(w.m.Cap(w.o.Pages), w.m.Memory.Min)
	if w.o.Spare {
		most = min(most+1, 1<<16)
	}
	return most
}

// Cap is the most pages the module's memory may have when the host allows pages.
func (m *Module) Cap(pages uint32) uint32 {
	if m.Memory != nil && m.Memory.HasMax {
		return min(pages, m.Memory.Max)
	}
	return min(pages, 1<<16)
}
