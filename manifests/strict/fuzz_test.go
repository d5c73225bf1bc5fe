package strict

import (
	"reflect"
	"testing"
)

// FuzzDecode holds the scanner to the parser: whatever the parser accepts, the scanner must place, key for key, no more
// and no less. A source on which they disagree is refused by Decode, and here it is a failure.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"a = 1", "[a.b]\nc = 'x'", "[[a]]\nb = [1, {c = 2}]\n[[a.d]]\n[a.d.e]", "\"q\\\"\\u0041\" = \"\"\"\n\\\n\"\" \"\"\"\"\"",
		"a = { b = 1,\n c = [ # x ]\n 2 ], }", "a = '''x''''' # c", "a.b.c = 1979-05-27 07:32:00", "\xef\xbb\xbfa=nan", "a = \"\\\\\"\r\nb=2",
		"'' = 1\n\"\".x = 2", "a=[[],[]]\nb={}", "a = \"\"\"\\ \n x\"\"\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		lines, tree, problem := parse("f", src)
		if problem != nil {
			if problem.Line < 1 || problem.Msg == "" || lines != nil {
				t.Fatalf("%q: %+v", src, problem)
			}
			if problem.Msg == "this is not valid TOML" {
				t.Fatalf("%q: the parser accepts what the scanner cannot follow", src)
			}
			return
		}
		agree(t, src, nil, tree, lines.root)
		var into struct {
			A []struct {
				B Size
				C Duration
			}
			D map[string]int8
			E *any
		}
		if _, err := Decode("f", src, &into); err != nil && len(err.Error()) == 0 {
			t.Fatal("an error without words")
		}
	})
}

func agree(t *testing.T, src []byte, path []any, value any, n *node) {
	t.Helper()
	if n.line < 1 {
		t.Fatalf("%q: %s has no line", src, Path(path...))
	}
	switch value := value.(type) {
	case map[string]any:
		if len(value) != len(n.table) || len(n.items) != 0 {
			t.Fatalf("%q: %s has %d keys, the scanner found %d and %d items", src, Path(path...), len(value), len(n.table), len(n.items))
		}
		for key, sub := range value {
			if n.table[key] == nil {
				t.Fatalf("%q: %s is not placed", src, Path(below(path, key)...))
			}
			agree(t, src, below(path, key), sub, n.table[key])
		}
	case []map[string]any, []any:
		items := reflect.ValueOf(value)
		if items.Len() != len(n.items) {
			t.Fatalf("%q: %s has %d items, the scanner found %d", src, Path(path...), items.Len(), len(n.items))
		}
		for i := range items.Len() {
			agree(t, src, below(path, i), items.Index(i).Interface(), n.items[i])
		}
	default:
		if n.table != nil || n.items != nil {
			t.Fatalf("%q: %s is a value, the scanner found more", src, Path(path...))
		}
	}
}
