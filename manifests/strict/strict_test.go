package strict_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/manifests/strict"
)

type inner struct {
	ID    string            `toml:"id,required"`
	Count uint8             `toml:"count"`
	Tags  []string          `toml:"tags"`
	Attrs map[string]string `toml:"attrs"`
}

type document struct {
	Title   string           `toml:"title"`
	Enabled bool             `toml:"enabled"`
	Ratio   float64          `toml:"ratio"`
	Size    strict.Size      `toml:"size"`
	TTL     strict.Duration  `toml:"ttl"`
	When    time.Time        `toml:"when"`
	Free    any              `toml:"free"`
	One     *inner           `toml:"one"`
	Tools   []inner          `toml:"tools"`
	Named   map[string]inner `toml:"named"`
	Hidden  string           `toml:"-"`
	Plain   int
}

func TestDecodeFillsEveryKindOfField(t *testing.T) {
	t.Parallel()
	src := `
title = "a"
enabled = true
ratio = 2
size = "64MiB"
ttl = "1h30m"
when = 2026-01-31T12:00:00Z
plain = 7
free = { x = [1, "two"] }
one.id = "single"
[[tools]]
id = "first"
count = 255
tags = ["x", "y"]
[tools.attrs]
k = "v"
[[tools]]
id = "second"
[named.n]
id = "named"
`
	var got document
	lines, err := strict.Decode("f.toml", []byte(src), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := document{
		Title: "a", Enabled: true, Ratio: 2, Size: 64 << 20, TTL: strict.Duration(90 * time.Minute),
		When: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Plain: 7,
		Free: map[string]any{"x": []any{int64(1), "two"}}, One: &inner{ID: "single"},
		Tools: []inner{{ID: "first", Count: 255, Tags: []string{"x", "y"}, Attrs: map[string]string{"k": "v"}}, {ID: "second"}},
		Named: map[string]inner{"n": {ID: "named"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := lines.At("tools", 1, "id"), 18; got != want {
		t.Errorf("line of tools[1].id: got %d, want %d", got, want)
	}
}

func TestDecodeCollectsEveryProblem(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, src, want string }{
		{"unknown key with a guess", "[[tools]]\nid = 'x'\n\nidd = 'y'\n", `f.toml:4: tools[0].idd: unknown key; did you mean "id"?`},
		{"unknown key, nothing near", "[[tools]]\nid = 'x'\nwhatever = 1\n", `f.toml:3: tools[0].whatever: unknown key; known keys here: attrs, count, id, tags`},
		{"swapped neighbours", "tilte = 'x'", `f.toml:1: tilte: unknown key; did you mean "title"?`},
		{"wrong case", "Title = 'x'", `f.toml:1: Title: unknown key; did you mean "title"?`},
		{"unknown table", "\n[toolz]\nid = 'x'", `f.toml:2: toolz: unknown key; did you mean "tools"?`},
		{"hidden field is unknown", "hidden = 'x'", `f.toml:1: hidden: unknown key`},
		{"quoted key", `"a b" = 1`, `f.toml:1: "a b": unknown key`},
		{"missing required key", "\n\n[[tools]]\ncount = 1", `f.toml:3: tools[0].id: this key is required`},
		{"string wanted", "title = 3", `f.toml:1: title: expected a string, found the integer 3`},
		{"bool wanted", "enabled = 'yes'", `f.toml:1: enabled: expected true or false, found the string "yes"`},
		{"number wanted", "ratio = true", `f.toml:1: ratio: expected a number, found true`},
		{"integer wanted", "plain = 1.5", `f.toml:1: plain: expected an integer, found the float 1.5`},
		{"infinite float", "plain = inf", `f.toml:1: plain: expected an integer, found the float +inf`},
		{"date wanted", "when = '2026-01-31'", `f.toml:1: when: expected a date and time such as 2026-01-31T12:00:00Z, found the string "2026-01-31"`},
		{"date found", "title = 2026-01-31", `f.toml:1: title: expected a string, found a date or time`},
		{"array wanted", "[[tools]]\nid='x'\ntags = 'x'", `f.toml:3: tools[0].tags: expected an array, found the string "x"`},
		{"element of an array", "[[tools]]\nid='x'\ntags = [\n  'x',\n  2,\n]", `f.toml:5: tools[0].tags[1]: expected a string, found the integer 2`},
		{"array of tables wanted", "[tools]\nid = 'x'", `f.toml:1: tools: expected an array of tables ([[tools]]), found a table`},
		{"table wanted", "[[one]]\nid = 'x'", `f.toml:1: one: expected a table, found an array of tables`},
		{"value of a map", "[named]\nn = 1", `f.toml:2: named.n: expected a table, found the integer 1`},
		{"too large", "[[tools]]\nid = 'x'\ncount = 256", `f.toml:3: tools[0].count: the integer 256 does not fit in 8 bits`},
		{"negative", "[[tools]]\nid = 'x'\ncount = -1", `f.toml:3: tools[0].count: expected an integer of at least 0, found -1`},
		{"size", "size = '64 mib'", `f.toml:1: size: expected a size such as "64MiB", found "64 mib" (whole numbers; units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)`},
		{"size of a wrong type", "size = true", `f.toml:1: size: expected a size such as "64MiB" or a number of bytes, found true`},
		{"duration", "ttl = '1.5h'", `f.toml:1: ttl: expected a duration such as "24h" or "1m30s", found "1.5h" (whole numbers; units d, h, m, s, ms)`},
		{"duration without a unit", "ttl = 90", `f.toml:1: ttl: expected a duration such as "24h", found the integer 90`},
		{"several, by line", "size = 'x'\ntitle = 1\nenabled = 1", "f.toml:1: size: expected a size such as \"64MiB\", found \"x\" (whole numbers; units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)\n" +
			"f.toml:2: title: expected a string, found the integer 1\nf.toml:3: enabled: expected true or false, found the integer 1"},
		{"syntax", "title = 'a'\nenabled =\n", `f.toml:2: expected value but found '\n' instead`},
		{"syntax after a long string", "title = '''\na\nb'''\n= 2\n", `f.toml:4: unexpected '=': key name appears blank`},
		{"duplicate key", "title = 'a'\ntitle = 'b'\n", `f.toml:2: Key 'title' has already been defined.`},
		{"not UTF-8", "title = 'a'\n# \xff\n", `f.toml:2: the file is not UTF-8`},
		{"unterminated string", "title = \"a", `f.toml:1: unexpected EOF; expected '"'`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := strict.Decode("f.toml", []byte(test.src), &document{})
			if err == nil {
				t.Fatal("accepted")
			}
			// Hints that only list the known keys of a wide table are left out of the cases.
			if got := err.Error(); got != test.want && !strings.HasPrefix(got, test.want+"; known keys here:") {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestDecodeBoundsWhatStrangersSend(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, src, want string }{
		{"too long", "# " + strings.Repeat("x", strict.MaxSize), "at most 1048576 are read"},
		{"deep array", "free = " + strings.Repeat("[", 500_000), "f.toml:1: nested deeper than 64 levels"},
		{"deep inline table", "free = " + strings.Repeat("{a=", 300_000), "f.toml:1: nested deeper than 64 levels"},
		{"long dotted key", strings.Repeat("a.", 500_000) + "a = 1", "f.toml:1: nested deeper than 64 levels"},
		{"long header", "\n[" + strings.Repeat("a.", 500_000) + "a]", "f.toml:2: nested deeper than 64 levels"},
		{"deep array behind an error", "free = 1 1\nfree = " + strings.Repeat("[", 500_000), "f.toml:2: nested deeper"},
		{"deep array behind a stop", "free 1\nfree = " + strings.Repeat("[", 500_000), "f.toml:1: expected '.' or '='"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := strict.Decode("f.toml", []byte(test.src), &document{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	ok := "free = " + strings.Repeat("[", strict.MaxDepth-1) + strings.Repeat("]", strict.MaxDepth-1)
	if _, err := strict.Decode("f.toml", []byte(ok), &document{}); err != nil {
		t.Errorf("%d levels: %v", strict.MaxDepth, err)
	}
	ok = "free = " + strings.Repeat("{a=", strict.MaxDepth-1) + "1" + strings.Repeat("}", strict.MaxDepth-1)
	if _, err := strict.Decode("f.toml", []byte(ok), &document{}); err != nil {
		t.Errorf("%d levels: %v", strict.MaxDepth, err)
	}
}

func TestDecodeGoesOnAfterWrongTypes(t *testing.T) {
	t.Parallel()
	var got document
	lines, err := strict.Decode("f.toml", []byte("enabled = 1\ntitle = 'kept'\n"), &got)
	if err == nil || lines == nil || got.Title != "kept" {
		t.Errorf("got %+v, %v, %v; want the title, the lines and a problem", got, lines, err)
	}
	problems, ok := errors.AsType[strict.Problems](err)
	if !ok || len(problems) != 1 || problems[0].Line != 1 || problems[0].Key != "enabled" {
		t.Errorf("got %#v", err)
	}
}

func TestDecodeRefusesATargetThatIsNoStruct(t *testing.T) {
	t.Parallel()
	var text string
	for _, into := range []any{nil, text, &text, (*document)(nil), document{}} {
		if _, err := strict.Decode("f.toml", nil, into); err == nil {
			t.Errorf("%T was accepted", into)
		}
	}
}

func TestEmbeddedStructsShareTheTable(t *testing.T) {
	t.Parallel()
	var got struct {
		inner
		Extra string `toml:"extra"`
	}
	if _, err := strict.Decode("f.toml", []byte("extra = 'e'\n"), &got); err == nil || !strings.Contains(err.Error(), "id: this key is required") {
		t.Errorf("got %v", err)
	}
}

func TestProblemsErr(t *testing.T) {
	t.Parallel()
	if err := (strict.Problems{}).Err(); err != nil {
		t.Errorf("no problems: got %v", err)
	}
	p := strict.Problems{{File: "f", Line: 2, Msg: "b"}, {File: "f", Line: 1, Msg: "z"}, {File: "f", Line: 2, Msg: "b"}}
	if got, want := p.Err().Error(), "f:1: z\nf:2: b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range 200 {
		p = append(p, strict.Problem{File: "g", Line: i + 1, Msg: "x"})
	}
	if got := p.Err().(strict.Problems); len(got) != strict.MaxProblems+1 || got[100].String() != "g:200: 102 more problems up to here" {
		t.Errorf("of 202 problems: got %d, the last %q", len(got), got[len(got)-1])
	}
	if p[0].Line != 2 {
		t.Error("Err sorted the caller's slice")
	}
}

func TestClosest(t *testing.T) {
	t.Parallel()
	known := []string{"action", "clock", "event", "fs", "kv", "log", "rand", "state"}
	for word, want := range map[string]string{
		"kvs": "kv", "Log": "log", "evnet": "event", "events": "event", "actoin": "action", "file": "", "network": "", "k": "kv", "act": "action", "ac": "", "": "",
		strings.Repeat("x", 10_000): "",
	} {
		if got := strict.Closest(word, known); got != want {
			t.Errorf("%.20q: got %q, want %q", word, got, want)
		}
	}
}
