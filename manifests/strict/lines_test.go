package strict_test

import (
	"testing"

	"github.com/arw-project/arw/manifests/strict"
)

func decodeLines(t *testing.T, src string) *strict.Lines {
	t.Helper()
	var tree struct {
		A, B, C, D, Text any
		Spaced           any `toml:"a key"`
	}
	lines, err := strict.Decode("f.toml", []byte(src), &tree)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestLinesAt(t *testing.T) {
	t.Parallel()
	lines := decodeLines(t, `# comment
a = 1                                   # 2
"a key" = 1                             # 3
text = """
[b]
b = 1
""" # 7
b.x.y = 2                               # 8
c = [
  # a comment ] with a bracket
  1, [2,
  3], { k = "]", l = [ 4,               # 12
  5 ] },
]
[[d]]                                   # 15
x = '''
two quotes at the end'''''
[d.sub]                                 # 18
"q\"\u0041" = 1                         # 19
[[d]]                                   # 20
[[d.list]]                              # 21
z = 1979-05-27 07:32:00                 # 22
[[d.list]]                              # 23
y = { m = 1, # 24
  n = { o = 2 }, # 25
}
`)
	tests := []struct {
		path []any
		want int
	}{
		{[]any{"a"}, 2},
		{[]any{"a key"}, 3},
		{[]any{"text"}, 4},
		{[]any{"b"}, 8},
		{[]any{"b", "x", "y"}, 8},
		{[]any{"c"}, 9},
		{[]any{"c", 0}, 11},
		{[]any{"c", 1, 1}, 12},
		{[]any{"c", 2, "k"}, 12},
		{[]any{"c", 2, "l", 1}, 13},
		{[]any{"d"}, 15},
		{[]any{"d", 0, "x"}, 16},
		{[]any{"d", 0, "sub"}, 18},
		{[]any{"d", 0, "sub", `q"A`}, 19},
		{[]any{"d", 1}, 20},
		{[]any{"d", 1, "list", 0, "z"}, 22},
		{[]any{"d", 1, "list", 1}, 23},
		{[]any{"d", 1, "list", 1, "y", "n", "o"}, 25},
		{[]any{"d", 1, "list", 1, "y", "missing"}, 24},
		{[]any{"d", 7, "x"}, 15},
		{[]any{"nothing"}, 1},
		{nil, 1},
	}
	for _, test := range tests {
		if got := lines.At(test.path...); got != test.want {
			t.Errorf("%s: got line %d, want %d", strict.Path(test.path...), got, test.want)
		}
	}
	if !lines.Has("d", 1, "list") || lines.Has("d", 2) || lines.Has("d", 1, "x") || lines.Has(3.5) {
		t.Error("Has does not agree with the file")
	}
}

func TestLinesOfExplicitHeadersBeatImplicitOnes(t *testing.T) {
	t.Parallel()
	lines := decodeLines(t, "\xef\xbb\xbf[a.b]\r\nx = 1\r\n[a]\r\ny = 2\r\n")
	for path, want := range map[string]int{"a": 3, "b": 1} {
		got := lines.At("a")
		if path == "b" {
			got = lines.At("a", "b")
		}
		if got != want {
			t.Errorf("%s: got line %d, want %d", path, got, want)
		}
	}
}

func TestLinesProblem(t *testing.T) {
	t.Parallel()
	lines := decodeLines(t, "\n[[d]]\nx = 1\n")
	got := lines.Problem("is bad", "mend it", "d", 0, "a b").String()
	if want := `f.toml:2: d[0]."a b": is bad; mend it`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
