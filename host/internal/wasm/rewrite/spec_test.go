package rewrite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// The specification's own test suite, which the engine's module carries, is run three times in lockstep: as it is on the
// compiler, rewritten on the compiler, rewritten on the interpreter. Results, traps, memory and globals of the first two must be equal,
// and the gas of the last two.

// engineDir is where the engine's module lies.
func engineDir(tb testing.TB) string {
	tb.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		tb.Fatalf("find the engine's test suite: %v", err)
	}
	return strings.TrimSpace(string(out))
}

type script struct {
	Commands []command `json:"commands"`
}

type command struct {
	Type     string `json:"type"`
	Line     int    `json:"line"`
	Name     string `json:"name"`
	Filename string `json:"filename"`
	As       string `json:"as"`
	Action   struct {
		Type   string  `json:"type"`
		Field  string  `json:"field"`
		Module string  `json:"module"`
		Args   []value `json:"args"`
	} `json:"action"`
}

type value struct {
	Type  string          `json:"type"`
	Lane  string          `json:"lane_type"`
	Value json.RawMessage `json:"value"`
}

// world is one of the three runs.
type world struct {
	rt      wazero.Runtime
	rewrite bool
	mods    map[string]*instance
	last    *instance
}

type instance struct {
	api.Module
	gas, why api.MutableGlobal
}

func newWorld(t *testing.T, cfg wazero.RuntimeConfig, rewritten bool, spectest []byte) *world {
	w := &world{rt: wazero.NewRuntimeWithConfig(t.Context(), cfg.WithCoreFeatures(api.CoreFeaturesV2)), rewrite: rewritten, mods: map[string]*instance{}}
	if _, err := w.rt.Instantiate(t.Context(), spectest); err != nil {
		t.Fatal(err)
	}
	return w
}

// instantiate makes an instance; in a rewritten world as the engine does: data and start function by hand.
func (w *world) instantiate(ctx context.Context, bin []byte, name string) (*instance, error) {
	cfg := wazero.NewModuleConfig().WithName(name).WithStartFunctions()
	if !w.rewrite {
		mod, err := w.rt.InstantiateWithConfig(ctx, bin, cfg)
		return &instance{Module: mod}, err
	}
	res, err := rewritten(bin)
	if err != nil {
		return nil, err
	}
	mod, err := w.rt.InstantiateWithConfig(ctx, res.Binary, cfg)
	if err != nil {
		return nil, err
	}
	in := &instance{Module: mod}
	in.gas = mod.ExportedGlobal(rewrite.ExportGas).(api.MutableGlobal)
	in.why = mod.ExportedGlobal(rewrite.ExportWhy).(api.MutableGlobal)
	mod.ExportedGlobal(rewrite.ExportLimit).(api.MutableGlobal).Set(1 << 62)
	in.depth()
	for _, d := range res.Data {
		if !mod.Memory().Write(d.Offset, d.Bytes) {
			return in, fmt.Errorf("out of bounds memory access")
		}
	}
	if res.Start {
		_, err = mod.ExportedFunction(rewrite.ExportStart).Call(ctx)
	}
	return in, err
}

// depth gives the instance its calls back: fewer than the interpreter's own limit of 2,000, which is the lowest.
func (in *instance) depth() {
	if in.gas != nil {
		in.ExportedGlobal(rewrite.ExportDepth).(api.MutableGlobal).Set(1_500)
		in.why.Set(rewrite.WhyNone)
	}
}

// TestEngineCorpus takes every other module that the engine's own tests carry, real programs among them.
func TestEngineCorpus(t *testing.T) {
	t.Parallel()
	rt := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(context.Background())
	var taken int
	err := filepath.WalkDir(engineDir(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".wasm" || strings.Contains(path, "spectest") {
			return err
		}
		bin, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		took, err := sameVerdict(t.Context(), rt, bin)
		if took {
			taken++
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || taken < 50 {
		t.Errorf("%d modules, %v", taken, err)
	}
}

// sameVerdict says whether the engine takes the module; an error when it would not do the same with the rewritten one.
func sameVerdict(ctx context.Context, rt wazero.Runtime, bin []byte) (took bool, err error) {
	compile := func(bin []byte) error {
		code, err := rt.CompileModule(ctx, bin)
		if err == nil {
			err = code.Close(ctx)
		}
		return err
	}
	res, rerr := rewritten(bin)
	var after error
	if rerr == nil {
		after = compile(res.Binary)
	} else if strings.Contains(rerr.Error(), "the most is") || strings.Contains(rerr.Error(), "more than") {
		return false, nil // our own limit; what the engine would do with it is better not tried
	}
	switch before := compile(bin); {
	case before == nil && rerr != nil:
		return true, fmt.Errorf("a valid module is refused: %w", rerr)
	case before == nil && after != nil:
		return true, fmt.Errorf("a valid module became invalid: %w", after)
	case before != nil && rerr == nil && after == nil:
		return false, fmt.Errorf("an invalid module became valid; it was: %w", before)
	default:
		return before == nil, nil
	}
}

func rewritten(bin []byte) (*rewrite.Result, error) {
	m, err := rewrite.Decode(bin)
	if err != nil {
		return nil, err
	}
	return m.Rewrite(rewrite.Options{Pages: 1 << 16, TakeData: true})
}

func (w *world) find(name string) *instance {
	if name == "" {
		return w.last
	}
	return w.mods[name]
}

func TestSpecification(t *testing.T) {
	t.Parallel()
	base := filepath.Join(engineDir(t), "internal", "integration_test", "spectest")
	spectest, err := os.ReadFile(filepath.Join(base, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(filepath.Join(base, "v[12]", "testdata", "*.json"))
	if err != nil || len(scripts) < 100 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	var calls int
	for _, file := range scripts {
		name := filepath.Base(filepath.Dir(filepath.Dir(file))) + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) { calls += runScript(t, file, spectest) })
	}
	if calls < 10_000 {
		t.Errorf("only %d calls were compared", calls)
	}
}

func runScript(t *testing.T, file string, spectest []byte) (calls int) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s script
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	worlds := []*world{
		newWorld(t, wazero.NewRuntimeConfig(), false, spectest),
		newWorld(t, wazero.NewRuntimeConfig(), true, spectest),
		newWorld(t, wazero.NewRuntimeConfigInterpreter(), true, spectest),
	}
	for _, w := range worlds {
		defer w.rt.Close(context.Background())
	}
	for i := range s.Commands {
		c := &s.Commands[i]
		where := fmt.Sprintf("line %d", c.Line)
		switch c.Type {
		case "module", "assert_uninstantiable", "assert_unlinkable", "assert_invalid", "assert_malformed":
			if strings.HasSuffix(c.Filename, ".wasm") {
				as := ""
				if i+1 < len(s.Commands) && s.Commands[i+1].Type == "register" {
					as = s.Commands[i+1].As
				}
				load(t, worlds, c, filepath.Join(filepath.Dir(file), c.Filename), as, where)
			}
		case "assert_return", "action", "assert_trap", "assert_exhaustion":
			calls++
			act(t, worlds, c, where)
		}
	}
	return calls
}

func load(t *testing.T, worlds []*world, c *command, file, as, where string) {
	bin, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var faults [3]error
	for i, w := range worlds {
		var in *instance
		if in, faults[i] = w.instantiate(t.Context(), bin, as); faults[i] == nil && c.Type == "module" {
			w.last = in
			if c.Name != "" {
				w.mods[c.Name] = in
			}
		}
	}
	if (faults[0] == nil) != (faults[1] == nil) || (faults[1] == nil) != (faults[2] == nil) {
		t.Errorf("%s: %s of %s: as it is: %v; rewritten: %v; interpreted: %v", where, c.Type, filepath.Base(file), faults[0], faults[1], faults[2])
	}
}

func act(t *testing.T, worlds []*world, c *command, where string) {
	if c.Action.Type == "get" {
		var got []uint64
		for _, w := range worlds {
			got = append(got, w.find(c.Action.Module).ExportedGlobal(c.Action.Field).Get())
		}
		if got[0] != got[1] || got[0] != got[2] {
			t.Errorf("%s: global %q = %d", where, c.Action.Field, got)
		}
		return
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.words(t)...)
	}
	var results [3][]uint64
	var faults [3]error
	var gas [3]uint64
	for i, w := range worlds {
		in := w.find(c.Action.Module)
		in.depth()
		results[i], faults[i] = in.ExportedFunction(c.Action.Field).Call(t.Context(), args...)
		if w.rewrite {
			gas[i] = in.gas.Get()
			if faults[i] != nil && in.why.Get() == rewrite.WhyDepth {
				faults[i] = fmt.Errorf("stack overflow")
			}
		}
	}
	if !slices.Equal(results[0], results[1]) && !references(worlds[0].find(c.Action.Module), c.Action.Field) {
		t.Errorf("%s: %s%v = %v, rewritten %v", where, c.Action.Field, args, results[0], results[1])
	}
	if fault(faults[0]) != fault(faults[1]) || fault(faults[1]) != fault(faults[2]) {
		t.Errorf("%s: %s%v: as it is: %v; rewritten: %v; interpreted: %v", where, c.Action.Field, args, fault(faults[0]), fault(faults[1]), fault(faults[2]))
	}
	if gas[1] != gas[2] {
		t.Errorf("%s: %s%v: gas %d compiled, %d interpreted", where, c.Action.Field, args, gas[1], gas[2])
	}
	sameState(t, worlds[0].find(c.Action.Module), worlds[1].find(c.Action.Module), where)
}

// references says whether a function returns references, which are addresses and differ.
func references(in *instance, field string) bool {
	return slices.ContainsFunc(in.ExportedFunction(field).Definition().ResultTypes(), func(t api.ValueType) bool {
		return t == api.ValueTypeExternref || t == 0x70
	})
}

func sameState(t *testing.T, a, b *instance, where string) {
	if am, bm := a.Memory(), b.Memory(); !reflect.ValueOf(am).IsNil() {
		if am.Size() != bm.Size() {
			t.Errorf("%s: memory of %d bytes, rewritten %d", where, am.Size(), bm.Size())
			return
		}
		av, _ := am.Read(0, am.Size())
		bv, _ := bm.Read(0, bm.Size())
		if !slices.Equal(av, bv) {
			t.Errorf("%s: memory differs", where)
		}
	}
}

// fault is the kind of a failure: the first line of its text.
func fault(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(strings.TrimSuffix(line, " (recovered by wazero)"), "wasm error: ")
}

// words are the argument as the engine takes it.
func (v value) words(t *testing.T) []uint64 {
	if v.Type != "v128" {
		var s string
		if err := json.Unmarshal(v.Value, &s); err != nil {
			t.Fatal(err)
		}
		return []uint64{number(t, s)}
	}
	var lanes []string
	if err := json.Unmarshal(v.Value, &lanes); err != nil {
		t.Fatal(err)
	}
	bits := 128 / len(lanes)
	var out [2]uint64
	for i, l := range lanes {
		at := i * bits
		n := number(t, l)
		if bits < 64 {
			n &= 1<<bits - 1
		}
		out[at/64] |= n << (at % 64)
	}
	return out[:]
}

func number(t *testing.T, s string) uint64 {
	if s == "null" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatalf("number %q: %v", s, err)
		}
		n = uint64(i)
	}
	return n
}
