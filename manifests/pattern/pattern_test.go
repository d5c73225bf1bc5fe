package pattern_test

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/arw-project/arw/manifests/pattern"
)

func TestBelow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path, folder string // folder: "-" when it is not covered
	}{
		{"/srv/docs", "/srv/docs", "/srv/docs"},
		{"/srv/docs", "/srv/docs/a/b", "/srv/docs"},
		{"/srv/docs", "/srv/docs2", "-"},
		{"/srv/*/docs", "/srv/ann/docs/a.md", "/srv/ann/docs"},
		{"/srv/*/docs", "/srv/ann/docs", "/srv/ann/docs"},
		{"/srv/*/docs", "/srv/ann/bob/docs", "-"},
		{"/srv/*/docs", "/srv/docs", "-"},
		{"/srv/*/docs", "/srv//docs", "-"},
		{"/srv/*", "/srv", "-"},
		{"/srv/*", "/srv/.hidden", "/srv/.hidden"},
		{"/srv/*.md", "/srv/a.md", "/srv/a.md"},
		{"/srv/*.md", "/srv/a.md.exe", "-"},
		{"/srv/a*b*c/x", "/srv/aXbYc/x/y/z", "/srv/aXbYc/x"},
		{"/*", "/", "-"},
		{"/*", "/etc/passwd", "/etc"},
		{"/", "/etc/passwd", "/"},
	} {
		folder, ok := pattern.Concrete(c.pattern, c.path)
		if ok != (c.folder != "-") || ok && folder != c.folder || ok != pattern.Below(c.pattern, c.path) {
			t.Errorf("%q on %q: %q, %v; want %q", c.pattern, c.path, folder, ok, c.folder)
		}
	}
	for in, want := range map[string][2]string{"/srv": {"/srv", ""}, "/srv/*/x": {"/srv", "*/x"}, "/srv/a*/x": {"/srv", "a*/x"}, "/*/x": {"/", "*/x"}} {
		if folder, rest := pattern.Fixed(in); folder != want[0] || rest != want[1] {
			t.Errorf("%q: %q and %q", in, folder, rest)
		}
	}
}

func TestMeet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"/srv", "/srv", true}, {"/srv", "/srv/x", true}, {"/srv", "/srv2", false}, {"/", "/srv", true}, {"/srv/a", "/srv/b", false},
		{"/home/*/docs", "/home/ann/*", true}, {"/home/*/docs", "/home/ann/private", false}, {"/home/*/docs", "/home/ann", true},
		{"/home/a*/x", "/home/*b/x", true}, {"/home/a*/x", "/home/b*/x", false}, {"/home/a*c", "/home/ab*bc", true}, {"/home/a*c", "/home/*d", false},
		{"/*", "/x/y", true}, {"/a*b*c", "/*d*", true}, {"/ab", "/a*b", true},
	} {
		if pattern.Meet(c.a, c.b) != c.want || pattern.Meet(c.b, c.a) != c.want {
			t.Errorf("%q and %q: want %v", c.a, c.b, c.want)
		}
	}
}

func where(t testing.TB, text string) pattern.Where {
	t.Helper()
	w, err := pattern.ParseWhere(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return w
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		where, args string
		want        bool
	}{
		{`/to is "ann"`, `{"to":"ann"}`, true},
		{`/to is "ann"`, `{"to":"bob"}`, false},
		{`/to is "ann"`, `{"cc":"ann"}`, false},
		{`/to is "ann"`, `{"to":["ann"]}`, false},
		{`/to is "ann"`, `{"to":{"to":"ann"}}`, false},
		{`/to is "ann"`, `"ann"`, false},
		{`/to is "ann"`, ``, false},
		{`/to is "ann"`, `{"to":"ann"} {}`, false},
		{`/to is "ann"`, `{"to":"ann"`, false},
		{`/to is "ann"`, `{"to":"\u0061nn"}`, true},
		{`/to is "ann"`, `{"to":"ann","to":"bob"}`, false}, // who reads the last one reads another
		{`/to is "ann"`, `{"to":"bob","to":"ann"}`, false},
		{`/to is "ann"`, `{"x":{"a":1,"a":2},"to":"ann"}`, false},
		{`/to is "ann"`, `{"to":"ann","To":"bob"}`, false}, // so does who does not look at case
		{`/m/to is "ann"`, `{"m":{"to":"ann"},"M":{"to":"bob"}}`, false},
		{`/to is "ann"`, `{"to":"ann","x":{"y":1,"Y":2}}`, true},
		{`/to is "ann"`, "{\"to\":\"ann\",\"x\":\"\xff\"}", false},
		{`/n is 3`, `{"n":3}`, true},
		{`/n is 3`, `{"n":3.0}`, true},
		{`/n is 3`, `{"n":"3"}`, false},
		{`/n is 3`, `{"n":30e-1}`, true},
		{`/on is true`, `{"on":true}`, true},
		{`/on is true`, `{"on":"true"}`, false},
		{`/x is null`, `{"x":null}`, true},
		{`/x is null`, `{}`, false},
		{`/mode in ["a","b",3]`, `{"mode":"b"}`, true},
		{`/mode in ["a","b",3]`, `{"mode":3}`, true},
		{`/mode in ["a","b",3]`, `{"mode":"c"}`, false},
		{`/n in 1..10`, `{"n":1}`, true},
		{`/n in 1..10`, `{"n":10}`, true},
		{`/n in 1..10`, `{"n":10.5}`, false},
		{`/n in 1..10`, `{"n":0}`, false},
		{`/n in 1..10`, `{"n":"5"}`, false},
		{`/n in -2.5..`, `{"n":1e300}`, false}, // no double holds it exactly
		{`/n in ..10`, `{"n":-5}`, true},
		{`/n in 0..`, `{"n":9007199254740993}`, false},
		{`/n in 0..`, `{"n":1e999}`, false},
		{`/to like "*@example.com"`, `{"to":"ann@example.com"}`, true},
		{`/to like "*@example.com"`, `{"to":"ann@example.com.evil.net"}`, false},
		{`/to like "*@example.com"`, `{"to":"ANN@EXAMPLE.COM"}`, false},
		{`/to like "*"`, `{"to":"\ud800"}`, false},
		{`/to like "*"`, `{"to":3}`, false},
		{`/to like "a and b"`, `{"to":"a and b"}`, true},
		{`/a/0/b is 1`, `{"a":[{"b":1}]}`, true},
		{`/a/01/b is 1`, `{"a":[{"b":0},{"b":1}]}`, false},
		{`/a/- is 1`, `{"a":[1]}`, false},
		{`/a/1 is 1`, `{"a":[1]}`, false},
		{`/a~1b/c~0d is 1`, `{"a/b":{"c~d":1}}`, true},
		{`"/a b" is 1`, `{"a b":1}`, true},
		{`/ is 1`, `{"":1}`, true},
		{`/a is 1 and /b in 2.. and /c like "x*"`, `{"a":1,"b":2,"c":"xy"}`, true},
		{`/a is 1 and /b in 2.. and /c like "x*"`, `{"a":1,"b":1,"c":"xy"}`, false},
	} {
		w, args := where(t, c.where), pattern.NewArguments([]byte(c.args))
		if got := w.Covers(&args); got != c.want {
			t.Errorf("%s on %s: %v", c.where, c.args, got)
		}
	}
	deep := pattern.NewArguments([]byte(`{"a":1,"b":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`))
	if w := where(t, "/a is 1"); w.Covers(&deep) {
		t.Error("arguments that nest 500 deep are covered")
	}
}

func TestConditionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "/a", "/a is", "/a is ", "a is 1", " /a is 1", "/a is 1 ", "/a is 1 or /b is 2", "/a is 1 and ", "/a  is 1", "/a equals 1", "/a is [1]", `/a is {"b":1}`,
		`/a is "x`, "/a is ann", "/a is 1e400", "/a is 9007199254740992", "/a like 1", "/a like", "/a in []", "/a in [1", `/a in [1, 2]`, "/a in [1,[2]]", "/a in ..",
		"/a in 5..1", `/a in "a".."b"`, "/a in 1..x", "/a in 1", "/a~ is 1", "/a~2 is 1", `"a" is 1`, `/a is "\ud800"`,
		"/a is 1" + strings.Repeat(" and /a is 1", pattern.MaxConditions), "/a in [1" + strings.Repeat(",1", pattern.MaxValues) + "]",
	} {
		if w, err := pattern.ParseWhere(text); err == nil {
			t.Errorf("%q is read as %+v", text, w)
		}
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{`/a is 1`, `/a is 1`, true},
		{`/a is 1`, `/a is 1 and /b is 2`, true},
		{`/a is 1 and /b is 2`, `/a is 1`, false},
		{`/a is 1`, `/b is 1`, false},
		{`/a in [1,2]`, `/a is 2`, true},
		{`/a is 2`, `/a in [1,2]`, false},
		{`/a in 1..10`, `/a in 2..3`, true},
		{`/a in 1..10`, `/a in 2..`, false},
		{`/a in 1..`, `/a in [1,5]`, true},
		{`/a in 1..`, `/a in [1,"5"]`, false},
		{`/a in 1..10`, `/a like "*"`, false},
		{`/a like "*@x.com"`, `/a like "ann@*x.com"`, false},
		{`/a like "*@x.com"`, `/a like "a*@x.com"`, true},
		{`/a like "*@x.com"`, `/a in ["b@x.com","c@x.com"]`, true},
		{`/a like "*@x.com"`, `/a in ["b@x.com",3]`, false},
		{`/a is "b"`, `/a like "b"`, true},
		{`/a is "b"`, `/a like "b*"`, false},
		{`/a like "b"`, `/a in 1..2`, false},
	} {
		w, n := where(t, c.wide), where(t, c.narrow)
		if got := w.Within(&n); got != c.want {
			t.Errorf("%s within %s: %v", c.narrow, c.wide, got)
		}
	}
}

// FuzzWhere: conditions within others cover nothing that those do not, and what is covered has, by Go's own reading, a value at
// the pointer.
func FuzzWhere(f *testing.F) {
	f.Add(`/to like "*@x"`, `/to is "a@x"`, `{"to":"a@x"}`)
	f.Add(`/n in 1..10`, `/n in [2,3]`, `{"n":2}`)
	f.Add(`"/a b" is null`, `"/a b" is null and /b in ..3`, `{"a b":null,"b":-1}`)
	f.Add(`/a/0 is true`, `/a~1b/~0 is 1`, `{"a":[true],"A":1}`)
	f.Fuzz(func(t *testing.T, wide, narrow, args string) {
		w, errW := pattern.ParseWhere(wide)
		n, errN := pattern.ParseWhere(narrow)
		if errW != nil || errN != nil {
			return
		}
		a := pattern.NewArguments([]byte(args))
		covers := n.Covers(&a)
		if covers && !json.Valid([]byte(args)) {
			t.Fatalf("%q is covered and no JSON", args)
		}
		if w.Within(&n) && covers && !w.Covers(&a) {
			t.Fatalf("%s lies within %s, but %s is covered by it alone", narrow, wide, args)
		}
		if !w.Within(&w) {
			t.Fatalf("%s does not lie within itself", wide)
		}
	})
}

// FuzzBelow holds the matcher to a regular expression, and Concrete to what it says.
func FuzzBelow(f *testing.F) {
	f.Add("/srv/*/docs", "/srv/a/docs/b")
	f.Add("/*a*", "/bab/x")
	f.Add("/", "/x")
	f.Fuzz(func(t *testing.T, pat, name string) {
		if !utf8.ValidString(pat+name) || !path.IsAbs(pat) || path.Clean(pat) != pat || !path.IsAbs(name) || path.Clean(name) != name {
			return
		}
		if pattern.Below(pat, name) && !pattern.Meet(pat, name) {
			t.Fatalf("%q covers %q and does not meet it", pat, name)
		}
		plain := strings.TrimSuffix(pat, "/")
		re := regexp.MustCompile(fmt.Sprintf(`\A(?s:%s)(?s:/.*)?\z`, strings.ReplaceAll(regexp.QuoteMeta(plain), `\*`, `[^/]*`)))
		got := pattern.Below(pat, name)
		if want := re.MatchString(name) && !(name == "/" && plain != ""); got != want {
			t.Fatalf("%q on %q: %v, want %v", pat, name, got, want)
		}
		if folder, ok := pattern.Concrete(pat, name); ok != got || ok && folder != "/" && name != folder && !strings.HasPrefix(name, folder+"/") {
			t.Fatalf("%q on %q: %q, %v", pat, name, folder, ok)
		}
	})
}
