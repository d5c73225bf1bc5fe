// Package rewrite reads a core WebAssembly module and builds the bounds of a call into it: gas, call depth, memory and
// the way to stop it. Its promise: what comes out means what went in, for as long as no bound is met, and every number
// it counts is the same in every run and on every engine.
//
// It follows the WebAssembly Core Specification 2.0 (without threads, tail calls and exceptions) and uses the standard
// library alone. Nothing here executes anything; a Module and a Result are values that may be shared once made.
package rewrite

import (
	"bytes"
	"errors"
	"slices"
)

// ErrComponent is returned for a WebAssembly component, which is another format in the same envelope.
var ErrComponent = errors.New("it is a WebAssembly component, not a core module")

// ErrNotWasm is returned for bytes that are not WebAssembly at all.
var ErrNotWasm = errors.New("it does not start with the WebAssembly magic number")

// Limits of the reader, so that a few hostile bytes cannot ask the compiler for gigabytes.
const (
	MaxModule     = 64 << 20 // bytes
	MaxLocals     = 10_000   // per function
	MaxTypeValues = 1_000    // parameters or results of one type
	MaxTable      = 1 << 20  // entries a table may start with
	MaxGlobals    = 100_000
)

// Kind says what an import or export is.
type Kind byte

// The kinds, with the numbers of the binary format.
const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

// String is the word of the text format.
func (k Kind) String() string {
	if int(k) < 4 {
		return [...]string{"func", "table", "memory", "global"}[k]
	}
	return "unknown"
}

// FuncType is a signature; its values are the bytes of the binary format (0x7f i32, 0x7e i64, …).
type FuncType struct{ Params, Results []byte }

// Value types that callers compare signatures with.
const (
	I32 = 0x7f
	I64 = 0x7e
)

// Is reports whether the signature is exactly this one.
func (t FuncType) Is(params, results string) bool {
	return string(t.Params) == params && string(t.Results) == results
}

// Import is one import; Type is set for functions.
type Import struct {
	Module, Name string
	Kind         Kind
	Type         FuncType

	what []byte // kind and type, as they stand in the module
}

// Export is one export; Type is set for functions.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32
	Type  FuncType
}

// Memory is what a module says of its linear memory, in pages of 64 KiB.
type Memory struct {
	Min, Max uint32
	HasMax   bool
}

// Module is a decoded module. Imports, Exports and Memory are for reading; the rest serves Rewrite.
type Module struct {
	Imports []Import
	Exports []Export
	Memory  *Memory // nil when it defines none

	types    []FuncType
	funcs    []uint32 // type index of every function, imported ones first
	imports  int      // how many functions are imported
	tables   int
	memories int // imported ones included
	globals  []global
	elems    int
	datas    int // -1 until known
	start    int64
	declared map[uint32]bool // functions that code may take a reference to
	bodies   []body
	data     []dataSegment
	raw      [14]section
	names    []byte // the custom section "name", whole
}

type section struct {
	present bool
	count   int
	items   []byte // what follows the count; for sections without one, the payload
}

type global struct {
	typ     byte
	mutable bool
}

type body struct {
	locals    []byte // the declarations after their count
	runs      int    // how many declarations
	numLocals int    // declared locals, without parameters
	code      []byte // instructions, with the closing end
}

// localTypes are the types of a body's parameters and locals.
func (m *Module) localTypes(i int) []byte {
	types := slices.Clone(m.types[m.funcs[m.imports+i]].Params)
	r := reader{buf: m.bodies[i].locals}
	for range m.bodies[i].runs {
		n := int(r.u32())
		types = append(types, bytes.Repeat([]byte{r.byte()}, n)...)
	}
	return types
}

type dataSegment struct {
	active bool
	known  bool // the offset is a plain constant
	offset uint32
	init   []byte
}

// Decode reads a module and checks its structure and every index in it. It does not check the types of operands: the
// compiler that receives the result does, and nothing here turns a module it would refuse into one it takes.
func Decode(bin []byte) (*Module, error) {
	if len(bin) < 8 || !bytes.Equal(bin[:4], []byte("\x00asm")) {
		return nil, ErrNotWasm
	}
	if bytes.Equal(bin[4:8], []byte{0x0d, 0, 1, 0}) {
		return nil, ErrComponent
	}
	if !bytes.Equal(bin[4:8], []byte{1, 0, 0, 0}) {
		return nil, errors.New("its version is not 1")
	}
	if len(bin) > MaxModule {
		return nil, errors.New("it is larger than 64 MiB")
	}
	m := &Module{start: -1, datas: -1}
	if err := m.sections(&reader{buf: bin, pos: 8}); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}
