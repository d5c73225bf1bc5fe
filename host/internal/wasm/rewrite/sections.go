package rewrite

import (
	"fmt"
)

// Section numbers of the binary format.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
)

// order is the place of each section in a module; data count stands before code although its number is higher.
var order = [...]int{
	secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6, secExport: 7,
	secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12,
}

func (m *Module) sections(r *reader) error {
	last := 0
	for r.more() {
		id := r.byte()
		s := &reader{buf: r.bytes(r.count())}
		switch {
		case r.err != nil:
			return fmt.Errorf("section %d: %w", id, r.err)
		case id == secCustom:
			if m.custom(s); s.err != nil {
				return fmt.Errorf("custom section: %w", s.err)
			}
			continue
		case int(id) >= len(order):
			return fmt.Errorf("section %d belongs to a proposal that is not supported", id)
		case order[id] <= last:
			return fmt.Errorf("section %d is repeated or out of order", id)
		}
		last = order[id]
		m.section(id, s)
		if s.err == nil && s.pos != len(s.buf) {
			s.failf("has %d bytes too many", len(s.buf)-s.pos)
		}
		if s.err != nil {
			return fmt.Errorf("section %d: %w", id, s.err)
		}
	}
	return r.err
}

// custom keeps the names of functions, for the stack trace of a trap, and drops the rest.
func (m *Module) custom(s *reader) {
	whole := s.buf
	if s.name() == "name" && s.err == nil && m.names == nil {
		m.names = whole
	}
}

func (m *Module) section(id byte, s *reader) {
	raw := section{present: true}
	if id != secStart && id != secDataCount {
		raw.count = s.count()
	}
	raw.items = s.buf[s.pos:]
	m.raw[id] = raw
	switch id {
	case secStart:
		m.start = int64(s.u32())
		return
	case secDataCount:
		m.datas = int(s.u32())
		return
	}
	for i := 0; i < raw.count && s.err == nil; i++ {
		m.item(id, s)
	}
}

func (m *Module) item(id byte, s *reader) {
	switch id {
	case secType:
		m.types = append(m.types, funcType(s))
	case secImport:
		m.importItem(s)
	case secFunction:
		m.funcs = append(m.funcs, m.typeIndex(s))
	case secTable:
		refType(s)
		if min, _, _ := limits(s); min > MaxTable {
			s.failf("a table starts with %d entries; the most is %d", min, MaxTable)
		}
		m.tables++
	case secMemory:
		m.memory(s)
	case secGlobal:
		m.global(s)
	case secExport:
		m.Exports = append(m.Exports, Export{Name: s.name(), Kind: Kind(s.byte()), Index: s.u32()})
	case secElement:
		m.element(s)
		m.elems++
	case secCode:
		m.body(s)
	case secData:
		m.dataItem(s)
	}
}

func funcType(s *reader) FuncType {
	if b := s.byte(); b != 0x60 && s.err == nil {
		s.failf("type form 0x%x is not a function", b)
	}
	return FuncType{Params: valTypes(s), Results: valTypes(s)}
}

func valTypes(s *reader) []byte {
	n := s.count()
	if n > MaxTypeValues {
		s.failf("a type has %d values; the most is %d", n, MaxTypeValues)
	}
	types := s.bytes(n)
	for _, t := range types {
		checkValType(s, t)
	}
	return types
}

func checkValType(s *reader, t byte) {
	switch t {
	case 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f:
	default:
		s.failf("value type 0x%x belongs to a proposal that is not supported", t)
	}
}

func refType(s *reader) byte {
	t := s.byte()
	if t != 0x70 && t != 0x6f && s.err == nil {
		s.failf("reference type 0x%x belongs to a proposal that is not supported", t)
	}
	return t
}

func limits(s *reader) (min, max uint32, hasMax bool) {
	switch flag := s.byte(); flag {
	case 0:
		return s.u32(), 0, false
	case 1:
		return s.u32(), s.u32(), true
	default:
		s.failf("limits 0x%x are shared or 64-bit, which is not supported", flag)
		return 0, 0, false
	}
}

func (m *Module) typeIndex(s *reader) uint32 {
	i := s.u32()
	if int(i) >= len(m.types) {
		s.failf("type %d does not exist", i)
		return 0
	}
	return i
}

func (m *Module) importItem(s *reader) {
	im := Import{Module: s.name(), Name: s.name()}
	from := s.pos
	im.Kind = Kind(s.byte())
	switch im.Kind {
	case KindFunc:
		t := m.typeIndex(s)
		if s.err == nil {
			im.Type = m.types[t]
			m.funcs = append(m.funcs, t)
			m.imports++
		}
	case KindTable:
		refType(s)
		limits(s)
		m.tables++
	case KindMemory:
		limits(s)
		m.memories++
	case KindGlobal:
		t := s.byte()
		checkValType(s, t)
		m.globals = append(m.globals, global{typ: t, mutable: s.byte() == 1})
	default:
		s.failf("import %q.%q has kind %d, which is not supported", im.Module, im.Name, im.Kind)
	}
	im.what = s.buf[from:s.pos]
	m.Imports = append(m.Imports, im)
}

func (m *Module) memory(s *reader) {
	if m.Memory != nil {
		s.failf("there is more than one memory")
		return
	}
	min, max, hasMax := limits(s)
	if min > 1<<16 || hasMax && (max > 1<<16 || max < min) {
		s.failf("memory limits %d to %d pages are not valid", min, max)
	}
	m.memories++
	m.Memory = &Memory{Min: min, Max: max, HasMax: hasMax}
}

func (m *Module) global(s *reader) {
	t := s.byte()
	checkValType(s, t)
	mutable := s.byte()
	if mutable > 1 {
		s.failf("a global's mutability is %d", mutable)
	}
	m.constant(s)
	m.globals = append(m.globals, global{typ: t, mutable: mutable == 1})
	if len(m.globals) > MaxGlobals {
		s.failf("there are more than %d globals", MaxGlobals)
	}
}

// constant reads a constant expression; ok when it is one i32 constant and no more.
func (m *Module) constant(s *reader) (value int64, ok bool) {
	for n := 0; s.err == nil; n++ {
		switch op := s.byte(); op {
		case 0x0b:
			return value, ok && n == 1
		case 0x41:
			value, ok = s.signed(32), true
		case 0x42:
			s.signed(64)
		case 0x43:
			s.bytes(4)
		case 0x44:
			s.bytes(8)
		case 0x23:
			if i := s.u32(); int(i) >= len(m.globals) {
				s.failf("a constant names global %d, which does not exist", i)
			}
		case 0xd0:
			refType(s)
		case 0xd2:
			m.declare(m.funcIndex(s))
		case 0xfd:
			if s.u32() != 12 {
				s.failf("a constant expression holds another vector operation than v128.const")
			}
			s.bytes(16)
		default:
			s.failf("opcode 0x%x is not allowed in a constant expression", op)
		}
	}
	return 0, false
}

func (m *Module) funcIndex(s *reader) uint32 {
	i := s.u32()
	if int(i) >= len(m.funcs) {
		s.failf("function %d does not exist", i)
		return 0
	}
	return i
}

// declare notes a function that code may take a reference to.
func (m *Module) declare(f uint32) {
	if m.declared == nil {
		m.declared = map[uint32]bool{}
	}
	m.declared[f] = true
}

func (m *Module) tableIndex(s *reader) {
	if i := s.u32(); int(i) >= m.tables {
		s.failf("table %d does not exist", i)
	}
}

// element reads one element segment; its flags are bits: 1 passive or declared, 2 explicit table, 4 expressions.
func (m *Module) element(s *reader) {
	flags := s.u32()
	if flags > 7 {
		s.failf("element flags %d are not supported", flags)
		return
	}
	if flags&1 == 0 {
		if flags&2 != 0 {
			m.tableIndex(s)
		}
		m.constant(s)
	}
	exprs := flags&4 != 0
	if flags&3 != 0 {
		if exprs {
			refType(s)
		} else if kind := s.byte(); kind != 0 {
			s.failf("element kind %d is not supported", kind)
		}
	}
	for n := s.count(); n > 0 && s.err == nil; n-- {
		if exprs {
			m.constant(s)
		} else {
			m.declare(m.funcIndex(s))
		}
	}
}

func (m *Module) body(s *reader) {
	b := &reader{buf: s.bytes(s.count())}
	if s.err != nil {
		return
	}
	out := body{runs: b.count()}
	from, sum := b.pos, uint64(0)
	for i := 0; i < out.runs && b.err == nil; i++ {
		sum += uint64(b.u32())
		checkValType(b, b.byte())
		if sum > MaxLocals {
			b.failf("a function has more than %d locals", MaxLocals)
		}
	}
	if b.err == nil {
		out.locals, out.numLocals, out.code = b.buf[from:b.pos], int(sum), b.buf[b.pos:]
		if n := len(out.code); n == 0 || out.code[n-1] != opEnd {
			b.failf("a function body does not close with end")
		}
	}
	if b.err != nil {
		s.fail(fmt.Errorf("function %d: %w", m.imports+len(m.bodies), b.err))
		return
	}
	m.bodies = append(m.bodies, out)
}

func (m *Module) dataItem(s *reader) {
	var d dataSegment
	switch flags := s.u32(); flags {
	case 0, 2:
		if flags == 2 && s.u32() != 0 {
			s.failf("a data segment names another memory than 0")
		}
		v, ok := m.constant(s)
		d.active, d.known, d.offset = true, ok, uint32(v)
	case 1:
	default:
		s.failf("data flags %d are not supported", flags)
	}
	d.init = s.bytes(s.count())
	m.data = append(m.data, d)
}

// check compares the sections with one another.
func (m *Module) check() error {
	if n := len(m.funcs) - m.imports; n != len(m.bodies) {
		return fmt.Errorf("%d functions are declared, %d have a body", n, len(m.bodies))
	}
	if m.datas >= 0 && m.datas != len(m.data) {
		return fmt.Errorf("%d data segments are declared, %d follow", m.datas, len(m.data))
	}
	if m.start >= int64(len(m.funcs)) || m.start >= 0 && !m.types[m.funcs[m.start]].Is("", "") {
		return fmt.Errorf("start function %d does not exist, or takes or returns values", m.start)
	}
	seen := make(map[string]bool, len(m.Exports))
	for i := range m.Exports {
		e := &m.Exports[i]
		if seen[e.Name] {
			return fmt.Errorf("export %q is repeated", e.Name)
		}
		seen[e.Name] = true
		count := [...]int{KindFunc: len(m.funcs), KindTable: m.tables, KindMemory: m.memories, KindGlobal: len(m.globals)}
		if int(e.Kind) >= len(count) || uint64(e.Index) >= uint64(count[e.Kind]) {
			return fmt.Errorf("export %q names %s %d, which does not exist", e.Name, e.Kind, e.Index)
		}
		if e.Kind == KindFunc {
			e.Type = m.types[m.funcs[e.Index]]
			m.declare(e.Index)
		}
	}
	return nil
}
