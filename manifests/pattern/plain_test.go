package pattern

import (
	"strings"
	"testing"
)

// slowly decides as if nothing were plain.
func (w *Where) slowly(text string) bool {
	a := NewArguments([]byte(text))
	a.seen = involved
	return w.Covers(&a)
}

func TestPlainArgumentsAreReadWithoutAnAllocation(t *testing.T) {
	w, err := ParseWhere(`/query like "what*" and /limit in 1..10 and /on in [true,null,"x"] and /in/1/deep is 7`)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(` {"query":"what is a lease", "limit":5,"on":true, "in":[{"a":[1,"]}",{}]},{"deep":7.0}] } `)
	if got := classify(text); got != plain {
		t.Fatalf("class %d", got)
	}
	if n := testing.AllocsPerRun(100, func() {
		if a := NewArguments(text); !w.Covers(&a) {
			t.Error("not covered")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	many := "{" + strings.Repeat(`"a":1,`, plainNames) + `"b":2}`
	for text, want := range map[string]class{
		`{"a":1}`: plain, `[]`: plain, ` "é" `: plain, `-0.5e-3`: plain, `null`: plain,
		`{"a":"\u0061"}`: involved, "\"\xef\xbf\xbd\"": involved, "\"\xff\"": involved,
		strings.Repeat("[", 40) + strings.Repeat("]", 40): involved, `"` + strings.Repeat("x", plainBytes) + `"`: involved,
		``: broken, `{"a":1,"a":1}`: broken, `{"a":1}{}`: broken, `01`: broken, `{"a":1,}`: broken, "\"\n\"": broken, `{a:1}`: broken, `[1 2]`: broken, `tru`: broken, `1.`: broken, `-`: broken, `1e`: broken,
		many: broken, // a name twice comes before there are too many
		strings.NewReplacer("B", "b").Replace(`{"B":{"B":{"B":[{"B":1},{"B":2}]}}}`): plain,
	} {
		if got := classify([]byte(text)); got != want {
			t.Errorf("%.60q: %d, want %d", text, got, want)
		}
	}
}

// FuzzPlain: the fast way and the slow way decide alike.
func FuzzPlain(f *testing.F) {
	for _, where := range []string{`/to like "*@x*y"`, `/n in 1..10`, `/a/0/b is null`, `/ in [true,"é",-3.5]`, `/K is 1`, `/a~1b/~0 is 1`} {
		for _, text := range []string{`{"to":"a@xzy","n":2}`, `{"a":[{"b":null},2]}`, `{"":true,"k":1,"K":1}`, `{"n":1e1,"é":"é"}`, `{"a/b":{"~":1.0}} `, `{"a":1,"a":2}`, `[1,[2,{"x":"}"}]]`, "{\"n\":\t3 , \"to\" : \"@xy\"}"} {
			f.Add(where, text)
		}
	}
	f.Fuzz(func(t *testing.T, where, text string) {
		w, err := ParseWhere(where)
		if err != nil {
			return
		}
		fast := NewArguments([]byte(text))
		if got, want := w.Covers(&fast), w.slowly(text); got != want {
			t.Fatalf("%s on %q: %v the fast way, %v the slow way", where, text, got, want)
		}
	})
}

// FuzzCompiled: a compiled glob and a split reference match as Glob does.
func FuzzCompiled(f *testing.F) {
	f.Add("a*b*c", "aXbYc")
	f.Add("*/re*:*.search", "arw/research:research.search")
	f.Add("a/b", "a/b:c")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, glob, s string) {
		c := Compile(glob)
		if got, want := c.Matches(s), Glob(glob, s, ""); got != want {
			t.Fatalf("%q on %q: %v, Glob says %v", glob, s, got, want)
		}
		tool, okT := NewTool(glob)
		r, okR := SplitTool(s)
		if okT && okR && tool.Matches(&r) != Glob(glob, s, "/:") {
			t.Fatalf("the reference %q on %q: %v", glob, s, tool.Matches(&r))
		}
	})
}

func BenchmarkWhere(b *testing.B) {
	w, err := ParseWhere(`/limit in 1..10`)
	if err != nil {
		b.Fatal(err)
	}
	text := []byte(`{"query":"what is a lease","limit":5}`)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if a := NewArguments(text); !w.Covers(&a) {
				b.Fatal("not covered")
			}
		}
	})
	b.Run("involved", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !w.slowly(string(text)) {
				b.Fatal("not covered")
			}
		}
	})
}
