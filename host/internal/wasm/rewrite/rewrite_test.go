package rewrite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// sections joins sections to a module; each begins with its number.
func sections(s ...[]byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, b := range s {
		out = append(binary.AppendUvarint(append(out, b[0]), uint64(len(b)-1)), b[1:]...)
	}
	return out
}

func sized(b ...byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

// priced is a module whose function "f" is (i32) -> () with the given locals and code. Function 0 is imported and does
// nothing, function 1 is a leaf of two instructions, f is 2. There is a table of 4 and a memory of 1 to 8 pages.
func priced(locals byte, code ...byte) []byte {
	f := append([]byte{1, locals, 0x7f}, append(code, 0x0b)...)
	return sections(
		[]byte{1, 2, 0x60, 0, 0, 0x60, 1, 0x7f, 0},
		[]byte{2, 1, 1, 'h', 1, 'h', 0, 0},
		[]byte{3, 2, 0, 1},
		[]byte{4, 1, 0x70, 1, 4, 4},
		[]byte{5, 1, 1, 1, 8},
		[]byte{7, 1, 1, 'f', 0, 2},
		append([]byte{10, 2}, append(sized(0, 0x41, 1, 0x1a, 0x0b), sized(f...)...)...),
	)
}

type host struct {
	rt wazero.Runtime
}

func newHost(t *testing.T) *host {
	ctx := t.Context()
	rt := wazero.NewRuntime(ctx)
	t.Cleanup(func() { rt.Close(context.Background()) })
	none := api.GoFunc(func(context.Context, []uint64) {})
	if _, err := rt.NewHostModuleBuilder("h").NewFunctionBuilder().WithGoFunction(none, nil, nil).Export("h").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	return &host{rt}
}

func (h *host) gas(t *testing.T, bin []byte, o rewrite.Options, arg uint64) (gas, why uint64, err error) {
	t.Helper()
	m, err := rewrite.Decode(bin)
	if err != nil {
		t.Fatal(err)
	}
	o.Pages = 4
	res, err := m.Rewrite(o)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := h.rt.InstantiateWithConfig(t.Context(), res.Binary, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close(t.Context())
	mod.ExportedGlobal(rewrite.ExportLimit).(api.MutableGlobal).Set(1 << 20)
	mod.ExportedGlobal(rewrite.ExportDepth).(api.MutableGlobal).Set(100)
	_, err = mod.ExportedFunction("f").Call(t.Context(), arg)
	return mod.ExportedGlobal(rewrite.ExportGas).Get(), mod.ExportedGlobal(rewrite.ExportWhy).Get(), err
}

// TestPrices holds the counting to the table of the ABI, by numbers counted by hand; it counts in both ways.
func TestPrices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		locals byte
		code   []byte
		arg    uint64
		want   uint64
	}{
		{"nothing", 0, nil, 0, 0},
		{"structure is free", 0, []byte{0x02, 0x40, 0x01, 0x0b}, 0, 0},
		{"instructions", 0, []byte{0x41, 1, 0x41, 2, 0x6a, 0x1a}, 0, 4},
		{"locals", 17, []byte{0x41, 1, 0x1a}, 0, 2 + 2},
		{"if taken", 0, []byte{0x20, 0, 0x04, 0x40, 0x41, 1, 0x1a, 0x0b, 0x41, 1, 0x1a}, 1, 2 + 2 + 2},
		{"if not taken", 0, []byte{0x20, 0, 0x04, 0x40, 0x41, 1, 0x1a, 0x0b, 0x41, 1, 0x1a}, 0, 2 + 2},
		{"else", 0, []byte{0x20, 0, 0x04, 0x40, 0x41, 1, 0x1a, 0x05, 0x41, 1, 0x41, 1, 0x6a, 0x1a, 0x0b}, 0, 2 + 4},
		{"br_if taken", 0, []byte{0x02, 0x40, 0x20, 0, 0x0d, 0, 0x41, 1, 0x1a, 0x0b, 0x41, 1, 0x1a}, 1, 2 + 2},
		{"br_if not taken", 0, []byte{0x02, 0x40, 0x20, 0, 0x0d, 0, 0x41, 1, 0x1a, 0x0b, 0x41, 1, 0x1a}, 0, 2 + 2 + 2},
		{"early return", 0, []byte{0x20, 0, 0x04, 0x40, 0x0f, 0x0b, 0x41, 1, 0x1a}, 1, 2 + 1},
		{"late return", 0, []byte{0x20, 0, 0x04, 0x40, 0x0f, 0x0b, 0x41, 1, 0x1a}, 0, 2 + 2},
		{"loop", 0, []byte{0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b}, 10, 10 * (1 + 5)},
		{"br_table", 0, []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x41, 1, 0x1a, 0x0b, 0x41, 1, 0x1a}, 0, 2 + 2 + 2},
		{"br_table default", 0, []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x41, 1, 0x1a, 0x0b, 0x41, 1, 0x1a}, 1, 2 + 2},
		{"call", 0, []byte{0x10, 1}, 0, 1 + 2},
		{"host call", 0, []byte{0x10, 0}, 0, 1 + rewrite.HostCallGas},
		{"fill", 0, []byte{0x41, 0, 0x41, 7, 0x41, 47, 0xfc, 11, 0}, 0, 4 + 5},
		{"copy", 0, []byte{0x41, 0, 0x41, 7, 0x41, 8, 0xfc, 10, 0, 0}, 0, 4 + 1},
		{"grow", 0, []byte{0x41, 2, 0x40, 0, 0x1a}, 0, 3 + 2*rewrite.GrowPageGas},
		{"grow refused", 0, []byte{0x41, 4, 0x40, 0, 0x1a}, 0, 3},
		{"table fill", 0, []byte{0x41, 0, 0xd0, 0x70, 0x41, 3, 0xfc, 17, 0}, 0, 4 + 3},
	}
	h := newHost(t)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			bin := priced(tc.locals, tc.code...)
			for way, o := range map[string]rewrite.Options{"auto": {}, "local": rewrite.Options{}.CountIn(true), "global": rewrite.Options{}.CountIn(false)} {
				got, _, err := h.gas(t, bin, o, tc.arg)
				if err != nil || got != tc.want {
					t.Errorf("%s: %d gas, %v, want %d", way, got, err, tc.want)
				}
			}
		})
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	tests := []struct {
		name string
		code []byte
		why  uint64
		says string
	}{
		{"own trap", []byte{0x00}, rewrite.WhyNone, "unreachable"},
		{"recursion", []byte{0x20, 0, 0x10, 2}, rewrite.WhyDepth, "unreachable"},
		{"refused memory", []byte{0x41, 4, 0x40, 0, 0x1a, 0x00}, rewrite.WhyMemory, "unreachable"},
		{"gas", []byte{0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x04, 0xfc, 11, 0, 0x0c, 0, 0x0b}, rewrite.WhyGas, "unreachable"},
	}
	for _, tc := range tests {
		_, why, err := h.gas(t, priced(0, tc.code...), rewrite.Options{}, 0)
		if err == nil || why != tc.why || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: why %d, %v", tc.name, why, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	header := "\x00asm\x01\x00\x00\x00"
	tests := []struct {
		name string
		bin  []byte
		want string
	}{
		{"empty", nil, rewrite.ErrNotWasm.Error()},
		{"text", []byte("(module)"), rewrite.ErrNotWasm.Error()},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), rewrite.ErrComponent.Error()},
		{"other version", []byte("\x00asm\x02\x00\x00\x00"), "version"},
		{"cut off", []byte(header + "\x01\x05"), "in 0 bytes"},
		{"number cut off", []byte(header + "\x01\x80"), "mid-item"},
		{"out of order", sections([]byte{3, 0}, []byte{1, 0}), "out of order"},
		{"repeated", sections([]byte{1, 0}, []byte{1, 0}), "repeated"},
		{"tag section", sections([]byte{13, 0}), "proposal"},
		{"trailing bytes", sections([]byte{1, 0, 9}), "too many"},
		{"a list that lies", sections([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}), "items"},
		{"type form", sections([]byte{1, 1, 0x5f}), "form"},
		{"value type", sections([]byte{1, 1, 0x60, 1, 0x63, 0}), "0x63"},
		{"shared memory", sections([]byte{5, 1, 3, 1, 2}), "shared"},
		{"two memories", sections([]byte{5, 2, 0, 1, 0, 1}), "more than one"},
		{"huge table", sections([]byte{4, 1, 0x70, 0, 0x81, 0x80, 0x40}), "the most is"},
		{"function without body", sections([]byte{1, 1, 0x60, 0, 0}, []byte{3, 1, 0}), "have a body"},
		{"missing type", sections([]byte{3, 1, 0}), "type 0"},
		{"export of nothing", sections([]byte{7, 1, 1, 'f', 0, 0}), "does not exist"},
		{"export twice", sections([]byte{5, 1, 0, 1}, []byte{7, 2, 1, 'f', 2, 0, 1, 'f', 2, 0}), "repeated"},
		{"start of nothing", sections([]byte{8, 0}), "start function"},
		{"locals", sections([]byte{1, 1, 0x60, 0, 0}, []byte{3, 1, 0}, append([]byte{10, 1}, sized(1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b)...)), "locals"},
		{"body without end", sections([]byte{1, 1, 0x60, 0, 0}, []byte{3, 1, 0}, append([]byte{10, 1}, sized(0, 0x01)...)), "close with end"},
		{"name not UTF-8", sections([]byte{0, 1, 0xff}), "UTF-8"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := rewrite.Decode(tc.bin)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestNothingReachesWhatIsAdded: indices that would be valid only after the rewriting are refused.
func TestNothingReachesWhatIsAdded(t *testing.T) {
	t.Parallel()
	for name, code := range map[string][]byte{
		"the counter":     {0x42, 0, 0x24, 0},
		"a helper":        {0x10, 3},
		"an added local":  {0x20, 1, 0x1a},
		"an added type":   {0x41, 0, 0x11, 2, 0},
		"a label too far": {0x0c, 1},
	} {
		m, err := rewrite.Decode(priced(0, code...))
		if err == nil {
			_, err = m.Rewrite(rewrite.Options{Pages: 4})
		}
		if err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: %v", name, err)
		}
	}
	bin := sections([]byte{5, 1, 0, 1}, []byte{7, 1, 5, 'a', 'r', 'w', ':', 'x', 2, 0})
	m, err := rewrite.Decode(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rewrite(rewrite.Options{}); err == nil || !strings.Contains(err.Error(), `"arw:x"`) {
		t.Errorf("a reserved export: %v", err)
	}
}

// TestFixed: what keeps memory and globals from being the whole state is named.
func TestFixed(t *testing.T) {
	t.Parallel()
	for want, code := range map[string][]byte{
		"":           {0x41, 1, 0x1a},
		"table.set":  {0x41, 0, 0xd0, 0x70, 0x26, 0},
		"table.fill": {0x41, 0, 0xd0, 0x70, 0x41, 3, 0xfc, 17, 0},
		"table.grow": {0xd0, 0x70, 0x41, 0, 0xfc, 15, 0, 0x1a},
		"table.copy": {0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 14, 0, 0},
	} {
		m, err := rewrite.Decode(priced(0, code...))
		if err != nil {
			t.Fatal(err)
		}
		res, err := m.Rewrite(rewrite.Options{Pages: 4})
		if err != nil || !strings.Contains(res.Fixed, want) || (want == "") != (res.Fixed == "") {
			t.Errorf("%q: %q, %v", want, res.Fixed, err)
		}
	}
}

// TestStable: the same module gives the same bytes, so that compiled code can be found again.
func TestStable(t *testing.T) {
	t.Parallel()
	bin := program(bytes.Repeat([]byte{3, 9, 31, 8, 7}, 60), false)
	a, errA := rewritten(bin)
	b, errB := rewritten(bin)
	if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a.Binary, b.Binary) {
		t.Errorf("two rewritings differ, %v", err)
	}
	if again, err := rewrite.Decode(a.Binary); err != nil {
		t.Errorf("the result does not decode: %v", err)
	} else if _, err := again.Rewrite(rewrite.Options{}); err == nil {
		t.Error("a rewritten module can be rewritten")
	}
}
