package rewrite

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// hosted is a module that wants two functions of a host: double(i32) i32, which it calls directly and through its table, and
// other.keep(i32) i32, which stays. run(x) = table[0](double(x)) + keep(x).
func hosted() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	one := []byte{I32}
	typ := append(append(append([]byte{0x60}, appendU32(nil, 1)...), one...), append(appendU32(nil, 1), one...)...)
	out = appendVector(out, secType, 1, typ, 0, nil)
	var imports []byte
	for _, im := range [][2]string{{"env", "double"}, {"other", "keep"}} {
		imports = append(appendName(appendName(imports, im[0]), im[1]), 0, 0)
	}
	out = appendVector(out, secImport, 2, imports, 0, nil)
	out = appendVector(out, secFunction, 1, []byte{0}, 0, nil)
	out = appendVector(out, secTable, 1, []byte{0x70, 0, 1}, 0, nil)
	out = appendSection(out, secMemory, []byte{1, 0, 1})
	out = appendVector(out, secExport, 3, slices.Concat(
		append(appendName(nil, "run"), 0, 2), append(appendName(nil, "memory"), 2, 0), append(appendName(nil, "spare"), 0, 2)), 0, nil)
	out = appendVector(out, secElement, 1, []byte{0, opI32Const, 0, opEnd, 1, 0}, 0, nil)
	code := []byte{0,
		opLocalGet, 0, opCall, 0, opI32Const, 0, opCallIndirect, 0, 0,
		opLocalGet, 0, opCall, 1, 0x6a, opEnd}
	return appendVector(out, secCode, 1, append(appendU32(nil, uint32(len(code))), code...), 0, nil)
}

func graftOf(hosted []byte) ([]byte, error) {
	m, err := Decode(hosted)
	if err != nil {
		return nil, err
	}
	unary := FuncType{Params: []byte{I32}, Results: []byte{I32}}
	return m.Graft(Graft{
		Replace: map[string]int{"env.double": 0},
		Imports: []Import{{Module: "new", Name: "more", Type: unary}},
		Globals: 1,
		Data:    []byte{5},
		Keep:    []string{"run", "memory"},
		Funcs: []GraftFunc{
			{Type: unary, Body: func(x Grafted) []byte { // x + x, and the global counts
				return slices.Concat(appendU32([]byte{opGlobalGet}, x.Global(0)), []byte{opI32Const, 1, 0x6a}, appendU32([]byte{opGlobalSet}, x.Global(0)),
					[]byte{opLocalGet, 0, opLocalGet, 0, 0x6a})
			}},
			{Export: "added", Type: unary, Locals: []byte{I32}, Body: func(x Grafted) []byte { // run(x) + more(x) + data[0] + 100 * count
				return slices.Concat([]byte{opLocalGet, 0}, appendU32([]byte{opCall}, x.Old("run")), []byte{opLocalGet, 0}, appendU32([]byte{opCall}, x.Import(0)),
					[]byte{0x6a, opI32Const}, appendS64(nil, int64(x.DataAt)), []byte{0x2d, 0, 0, 0x6a}, appendU32([]byte{opGlobalGet}, x.Global(0)),
					[]byte{opI32Const, 0xe4, 0, 0x6c, 0x6a})
			}},
		},
	})
}

func TestGraft(t *testing.T) {
	bin, err := graftOf(hosted())
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(bin)
	if err != nil {
		t.Fatalf("what was made is no module: %v", err)
	}
	var names []string
	for _, im := range m.Imports {
		names = append(names, im.Module+"."+im.Name)
	}
	for _, e := range m.Exports {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "other.keep new.more added run memory" {
		t.Errorf("it imports and exports %s", got)
	}
	ctx := t.Context()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	for module, by := range map[string]uint64{"other.keep": 10, "new.more": 1000} {
		mod, name, _ := strings.Cut(module, ".")
		fn := api.GoFunc(func(_ context.Context, stack []uint64) { stack[0] *= by })
		if _, err := rt.NewHostModuleBuilder(mod).NewFunctionBuilder().
			WithGoFunction(fn, []byte{I32}, []byte{I32}).Export(name).Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	mod, err := rt.Instantiate(ctx, bin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mod.ExportedFunction("added").Call(ctx, 3)
	// double twice (12), keep (30), more (3000), the data (5), two calls of double (200)
	if err != nil || got[0] != 12+30+3000+5+200 {
		t.Errorf("it computes %v, %v", got, err)
	}
	if mod.Memory().Size() != 2*65536 {
		t.Errorf("its memory has %d bytes", mod.Memory().Size())
	}
	again, err := graftOf(hosted())
	if err != nil || string(again) != string(bin) {
		t.Error("the same input gives other bytes")
	}
}

func TestGraftRefuses(t *testing.T) {
	m, err := Decode(hosted())
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Graft(Graft{Replace: map[string]int{"env.double": 0}, Funcs: []GraftFunc{{Body: func(Grafted) []byte { return nil }}}})
	if err == nil || !strings.Contains(err.Error(), "another signature") {
		t.Errorf("a replacement of another type: %v", err)
	}
	bare, err := Decode([]byte("\x00asm\x01\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bare.Graft(Graft{}); err == nil {
		t.Error("a module without memory was taken")
	}
}
