package tree

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
)

func parse(t testing.TB, src string) any {
	t.Helper()
	v, err := Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// TestMerge holds Merge to the table of RFC 7396, appendix A.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		doc := parse(t, c[0])
		if got := text(Merge(doc, parse(t, c[1]))); got != c[2] {
			t.Errorf("%s with %s is %s, want %s", c[0], c[1], got, c[2])
		}
		if text(doc) != text(parse(t, c[0])) {
			t.Errorf("%s was modified", c[0])
		}
	}
}

// TestApply holds Apply to the examples of RFC 6902, appendix A, and to what its text asks beyond them.
func TestApply(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, doc, patch, want string
		code                   abi.Code
	}{
		{"add a member", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"baz":"qux","foo":"bar"}`, 0},
		{"add an item", `{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`, 0},
		{"remove a member", `{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`, 0},
		{"remove an item", `{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`, 0},
		{"replace", `{"baz":"qux"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo"}`, 0},
		{"move a member", `{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`, `[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`, `{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`, 0},
		{"move an item", `{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`, 0},
		{"test", `{"baz":"qux","foo":["a",2,"c"]}`, `[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2.0}]`, `{"baz":"qux","foo":["a",2,"c"]}`, 0},
		{"test fails", `{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, ``, abi.Conflict},
		{"add an object", `{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"child":{"grandchild":{}},"foo":"bar"}`, 0},
		{"unknown members", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","xyz":123}]`, `{"baz":"qux","foo":"bar"}`, 0},
		{"no parent", `{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, ``, abi.NotFound},
		{"escapes", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10},{"op":"remove","path":"/~1"}]`, `{"~1":10}`, 0},
		{"strings are no numbers", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":"10"}]`, ``, abi.Conflict},
		{"append", `{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`, 0},
		{"the whole", `{"a":1}`, `[{"op":"replace","path":"","value":[1]}]`, `[1]`, 0},
		{"null is a value", `{"a":1}`, `[{"op":"add","path":"/b","value":null},{"op":"test","path":"/b","value":null}]`, `{"a":1,"b":null}`, 0},
		{"copy", `{"a":{"b":1}}`, `[{"op":"copy","from":"/a","path":"/c"},{"op":"replace","path":"/c/b","value":2}]`, `{"a":{"b":1},"c":{"b":2}}`, 0},
		{"replace what is not there", `{}`, `[{"op":"replace","path":"/a","value":1}]`, ``, abi.NotFound},
		{"remove what is not there", `{}`, `[{"op":"remove","path":"/a"}]`, ``, abi.NotFound},
		{"remove the whole", `{}`, `[{"op":"remove","path":""}]`, ``, abi.Invalid},
		{"beyond the end", `[1]`, `[{"op":"add","path":"/2","value":1}]`, ``, abi.NotFound},
		{"leading zero", `[1,2]`, `[{"op":"remove","path":"/01"}]`, ``, abi.NotFound},
		{"minus as an index", `[1]`, `[{"op":"remove","path":"/-"}]`, ``, abi.NotFound},
		{"into itself", `{"a":{}}`, `[{"op":"move","from":"/a","path":"/a/b"}]`, ``, abi.Invalid},
		{"onto itself", `{"a":{}}`, `[{"op":"move","from":"/a","path":"/a"}]`, `{"a":{}}`, 0},
		{"no pointer", `{}`, `[{"op":"add","path":"a","value":1}]`, ``, abi.Invalid},
		{"bad escape", `{}`, `[{"op":"add","path":"/a~2","value":1}]`, ``, abi.Invalid},
		{"a member of a number", `{"a":1}`, `[{"op":"add","path":"/a/b","value":1}]`, ``, abi.NotFound},
		{"all or nothing", `{"a":1}`, `[{"op":"remove","path":"/a"},{"op":"remove","path":"/b"}]`, ``, abi.NotFound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := parse(t, c.doc)
			ops, err := Ops(parse(t, c.patch))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Apply(doc, ops)
			if abi.CodeOf(err) != c.code || err == nil && text(got) != c.want {
				t.Errorf("got %s, %v; want %s, %v", text(got), err, c.want, c.code)
			}
			if text(doc) != text(parse(t, c.doc)) {
				t.Error("the document was modified")
			}
		})
	}
}

func TestOpsRefuses(t *testing.T) {
	t.Parallel()
	for _, src := range []string{`{}`, `[1]`, `[{}]`, `[{"op":"add","path":"/a"}]`, `[{"op":"spam","path":"/a"}]`, `[{"op":"move","path":"/a"}]`, `[{"op":"remove"}]`, `[{"op":["add"],"path":"/a","value":1}]`} {
		if _, err := Ops(parse(t, src)); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, src := range []string{``, `{`, `{"a":1} 2`, `{"a":1,"a":2}`, `nul`, `[1,]`, `{"a":{"b":1,"b":1}}`} {
		if _, err := Parse([]byte(src)); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestTouchesAndOverlap(t *testing.T) {
	t.Parallel()
	if got := strings.Join(Touches(parse(t, `{"a":{"b":1,"c":null},"d":{},"e/f":[1]}`)), " "); got != "/a/b /a/c /d /e~1f" {
		t.Errorf("it touches %s", got)
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{{"/a", "/a", true}, {"/a", "/a/b", true}, {"/a/b", "/a", true}, {"/a", "/ab", false}, {"", "/a", true}, {"/a/b", "/a/c", false}} {
		if got := Overlap(c.a, c.b); got != c.want {
			t.Errorf("%q and %q overlap: %v", c.a, c.b, got)
		}
	}
}

// random makes a small tree.
func random(r *rand.Rand, depth int) any {
	switch n := r.IntN(8); {
	case n < 3 && depth > 0:
		fields := map[string]any{}
		for range r.IntN(5) {
			fields[fmt.Sprintf("k%d/~", r.IntN(6))] = random(r, depth-1)
		}
		return fields
	case n == 3 && depth > 0:
		items := []any{}
		for range r.IntN(4) {
			items = append(items, random(r, depth-1))
		}
		return items
	case n == 4:
		return nil
	case n == 5:
		return r.IntN(2) == 0
	case n == 6:
		return json.Number(fmt.Sprint(r.IntN(5)))
	}
	return fmt.Sprintf("s%d", r.IntN(5))
}

// TestADifferenceLeadsThere: what Diff tells, applied to the first tree, gives the second.
func TestADifferenceLeadsThere(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	for range 20_000 {
		holdTo(t, random(r, 4), random(r, 4))
	}
}

func holdTo(t *testing.T, a, b any) {
	t.Helper()
	changes := Diff(a, b)
	got, err := Apply(a, Patch(changes))
	if err != nil || text(got) != text(b) {
		t.Fatalf("from %s to %s by %s leads to %s, %v", text(a), text(b), text(Patch(changes)), text(got), err)
	}
	if back := Diff(a, a); len(back) != 0 {
		t.Fatalf("%s differs from itself: %v", text(a), back)
	}
}

func FuzzDiff(f *testing.F) {
	f.Add(`{"a":1}`, `{"a":1.0}`)
	f.Add(`{"a":{"b":null}}`, `{"a":{}}`)
	f.Add(`[1,{"a":2}]`, `{"0":1}`)
	f.Fuzz(func(t *testing.T, x, y string) {
		a, errA := Parse([]byte(x))
		b, errB := Parse([]byte(y))
		if errA == nil && errB == nil {
			holdTo(t, a, b)
		}
	})
}
