package rewrite

import (
	"fmt"
	"slices"
)

// Graft makes one module of a module and what it lacks: imports are replaced by functions, other imports, functions and
// data are added, and of the exports only those named remain. Indices move; everything that names a function follows.
type Graft struct {
	// Replace says which function of Funcs stands in for an import, by "module.name".
	Replace map[string]int
	// Imports are added behind those that stay.
	Imports []Import
	// Funcs are added behind the module's own.
	Funcs []GraftFunc
	// Globals is how many mutable i32 globals, zero at first, are added.
	Globals int
	// Data is put at the end of the memory, which grows by whole pages for it.
	Data []byte
	// Keep are the exports that remain.
	Keep []string
}

// GraftFunc is a function to add. Body makes its code, without locals and the closing end, once indices are known.
type GraftFunc struct {
	Export string // empty: none
	Type   FuncType
	Locals []byte // one type each
	Body   func(Grafted) []byte
}

// Grafted finds the indices of the new module.
type Grafted struct {
	m       *Module
	g       *Graft
	staying []int // for each import of the old module, its new index, or -1
	imports uint32
	// DataAt is where Graft.Data lies.
	DataAt uint32
}

// Import is the index of an import that was added.
func (x Grafted) Import(i int) uint32 { return x.imports - uint32(len(x.g.Imports)-i) }

// Func is the index of a function that was added.
func (x Grafted) Func(i int) uint32 { return x.imports + uint32(len(x.m.bodies)+i) }

// Global is the index of a global that was added.
func (x Grafted) Global(i int) uint32 { return uint32(len(x.m.globals) + i) }

// Moved is where a function of the old module is now.
func (x Grafted) Moved(f uint32) uint32 {
	if int(f) >= x.m.imports {
		return f - uint32(x.m.imports) + x.imports
	}
	if at := x.staying[f]; at >= 0 {
		return uint32(at)
	}
	im := x.m.Imports[f]
	return x.Func(x.g.Replace[im.Module+"."+im.Name])
}

// Old finds a function that the old module imports ("module.name") or exports ("name"); it panics when there is none,
// since whoever grafts knows the module.
func (x Grafted) Old(name string) uint32 {
	for i, im := range x.m.Imports {
		if im.Module+"."+im.Name == name {
			return x.Moved(uint32(i))
		}
	}
	for _, e := range x.m.Exports {
		if e.Kind == KindFunc && e.Name == name {
			return x.Moved(e.Index)
		}
	}
	panic(fmt.Sprintf("graft: the module has no function %q", name))
}

// Graft makes the module. It fails for a module that imports anything but functions, has no memory, or whose elements are
// not lists of functions, and for a replacement with another signature.
func (m *Module) Graft(g Graft) ([]byte, error) {
	x, err := m.layout(&g)
	if err != nil {
		return nil, err
	}
	b := grafter{m: m, g: &g, x: x, types: slices.Clone(m.raw[secType].items), count: m.raw[secType].count}
	if err := b.code(); err != nil {
		return nil, err
	}
	if err := b.elements(); err != nil {
		return nil, err
	}
	return b.assemble(), nil
}

func (m *Module) layout(g *Graft) (Grafted, error) {
	x := Grafted{m: m, g: g}
	if m.Memory == nil || m.imports != len(m.Imports) {
		return x, fmt.Errorf("it has no memory of its own, or imports what is no function")
	}
	for _, im := range m.Imports {
		at := -1
		if i, replaced := g.Replace[im.Module+"."+im.Name]; !replaced {
			at = int(x.imports)
			x.imports++
		} else if t := g.Funcs[i].Type; !im.Type.Is(string(t.Params), string(t.Results)) {
			return x, fmt.Errorf("what stands in for %s.%s has another signature", im.Module, im.Name)
		}
		x.staying = append(x.staying, at)
	}
	x.imports += uint32(len(g.Imports))
	x.DataAt = m.Memory.Min * 65536
	return x, nil
}

type grafter struct {
	m      *Module
	g      *Graft
	x      Grafted
	types  []byte // entries of the type section
	count  int
	bodies []byte
	elems  []byte
}

// typeOf adds a signature, also when the module has the same one.
func (b *grafter) typeOf(t FuncType) uint32 {
	b.types = append(b.types, 0x60)
	b.types = append(appendU32(b.types, uint32(len(t.Params))), t.Params...)
	b.types = append(appendU32(b.types, uint32(len(t.Results))), t.Results...)
	b.count++
	return uint32(b.count - 1)
}

func (b *grafter) code() error {
	for i := range b.m.bodies {
		body := &b.m.bodies[i]
		d := &decoder{reader: reader{buf: body.code}, m: b.m, locals: 1 << 30, depth: 1 << 30}
		out := append(appendU32(nil, uint32(body.runs)), body.locals...)
		for d.more() {
			in := d.next()
			if in.op == opCall || in.op == opRefFunc {
				out = appendU32(append(out, in.op), b.x.Moved(in.arg))
			} else {
				out = append(out, body.code[in.pos:in.end]...)
			}
		}
		if d.err != nil {
			return fmt.Errorf("function %d: %w", i, d.err)
		}
		b.bodies = append(appendU32(b.bodies, uint32(len(out))), out...)
	}
	for _, f := range b.g.Funcs {
		out := appendU32(nil, uint32(len(f.Locals)))
		for _, t := range f.Locals {
			out = append(out, 1, t)
		}
		out = append(append(out, f.Body(b.x)...), opEnd)
		b.bodies = append(appendU32(b.bodies, uint32(len(out))), out...)
	}
	return nil
}

// elements moves the functions that tables hold: active segments of the first table with plain indices, which is what
// compilers make.
func (b *grafter) elements() error {
	s := &reader{buf: b.m.raw[secElement].items}
	for range b.m.elems {
		if flags := s.u32(); flags != 0 {
			return fmt.Errorf("element flags %d are not supported here", flags)
		}
		from := s.pos
		b.m.constant(s)
		b.elems = append(append(b.elems, 0), s.buf[from:s.pos]...)
		n := s.count()
		b.elems = appendU32(b.elems, uint32(n))
		for range n {
			b.elems = appendU32(b.elems, b.x.Moved(s.u32()))
		}
	}
	return s.err
}

func (b *grafter) assemble() []byte {
	m, x := b.m, b.x
	var imports, funcs, exports, globals, data []byte
	addImport := func(im Import, what []byte) {
		imports = append(appendName(appendName(imports, im.Module), im.Name), what...)
	}
	for i, im := range m.Imports {
		if x.staying[i] >= 0 {
			addImport(im, im.what)
		}
	}
	for _, im := range b.g.Imports {
		addImport(im, appendU32([]byte{byte(KindFunc)}, b.typeOf(im.Type)))
	}
	for _, t := range m.funcs[m.imports:] {
		funcs = appendU32(funcs, t)
	}
	n := 0
	for i, f := range b.g.Funcs {
		funcs = appendU32(funcs, b.typeOf(f.Type))
		if f.Export != "" {
			exports = appendU32(append(appendName(exports, f.Export), byte(KindFunc)), x.Func(i))
			n++
		}
	}
	for _, e := range m.Exports {
		if !slices.Contains(b.g.Keep, e.Name) {
			continue
		}
		at := e.Index
		if e.Kind == KindFunc {
			at = x.Moved(at)
		}
		exports = appendU32(append(appendName(exports, e.Name), byte(e.Kind)), at)
		n++
	}
	for range b.g.Globals {
		globals = append(globals, I32, 1, opI32Const, 0, opEnd)
	}
	data = appendS64(append(data, 0, opI32Const), int64(int32(x.DataAt)))
	data = append(appendU32(append(data, opEnd), uint32(len(b.g.Data))), b.g.Data...)

	out := []byte("\x00asm\x01\x00\x00\x00")
	out = appendVector(out, secType, b.count, b.types, 0, nil)
	out = appendVector(out, secImport, int(x.imports), imports, 0, nil)
	out = appendVector(out, secFunction, len(m.bodies)+len(b.g.Funcs), funcs, 0, nil)
	if s := m.raw[secTable]; s.present {
		out = appendVector(out, secTable, s.count, s.items, 0, nil)
	}
	out = appendSection(out, secMemory, b.memory())
	out = appendVector(out, secGlobal, len(m.globals), m.raw[secGlobal].items, b.g.Globals, globals)
	out = appendVector(out, secExport, n, exports, 0, nil)
	if m.start >= 0 {
		out = appendSection(out, secStart, appendU32(nil, x.Moved(uint32(m.start))))
	}
	if m.elems > 0 {
		out = appendVector(out, secElement, m.elems, b.elems, 0, nil)
	}
	if m.raw[secDataCount].present {
		out = appendSection(out, secDataCount, appendU32(nil, uint32(len(m.data)+1)))
	}
	out = appendVector(out, secCode, len(m.bodies)+len(b.g.Funcs), b.bodies, 0, nil)
	return appendVector(out, secData, len(m.data), m.raw[secData].items, 1, data)
}

func (b *grafter) memory() []byte {
	mem := *b.m.Memory
	mem.Min += uint32((len(b.g.Data) + 65535) / 65536)
	if mem.HasMax {
		return appendU32(appendU32([]byte{1, 1}, mem.Min), max(mem.Max, mem.Min))
	}
	return appendU32([]byte{1, 0}, mem.Min)
}
