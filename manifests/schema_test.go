package manifests_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

func mustSchema(tb testing.TB, src string) *manifests.Schema {
	tb.Helper()
	s, err := manifests.ParseSchema([]byte(src))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

const searchSchema = `{"type":"object","required":["query"],"additionalProperties":false,"properties":{
	"query":{"type":"string","minLength":1,"maxLength":1000},"k":{"type":"integer","minimum":1,"maximum":100},
	"tags":{"type":"array","items":{"type":"string"},"uniqueItems":true},"mode":{"enum":["bm25","mmr"]}}}`

func TestValidateNamesTheFirstFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, schema, doc, want string }{
		{"fits", searchSchema, `{"query":"x","k":3,"tags":["a","b"],"mode":"mmr"}`, ""},
		{"integer written as float", searchSchema, `{"query":"x","k":3.0}`, ""},
		{"missing key", searchSchema, `{"k":3}`, `validate JSON: (root): the key "query" is missing`},
		{"wrong type", searchSchema, `[]`, `validate JSON: (root): expected object, found array`},
		{"key that is not allowed", searchSchema, `{"query":"x","a/b~c":1}`, `validate JSON: /a~1b~0c: this key is not allowed here`},
		{"several, by pointer", searchSchema, `{"query":"","k":101,"tags":["a","a"],"mode":"x","z":1,"y":1}`,
			`validate JSON: /k: expected at most 100, found 101; /mode: value must be one of 'bm25', 'mmr'; /query: expected at least 1 characters, found 0; /tags: items 0 and 1 are equal; /y: this key is not allowed here`},
		{"no alternative", `{"anyOf":[{"type":"string"},{"properties":{"a":{"type":"number"}},"type":"object"}]}`, `{"a":"x"}`,
			`validate JSON: (root): fits no alternative of anyOf (expected string, found object; /a: expected number, found string)`},
		{"two alternatives", `{"oneOf":[{"type":"string"},{"maxLength":3}]}`, `"abc"`, `validate JSON: (root): fits alternatives 0 and 1 of oneOf, and may fit only one`},
		{"through references", `{"$defs":{"n":{"type":"integer"}},"items":{"$ref":"#/$defs/n"}}`, `[1,"2"]`, `validate JSON: /1: expected integer, found string`},
		{"through an encoded reference", `{"$defs":{"a b/c":{"type":"integer"}},"items":{"$ref":"#/$defs/a%20b~1c"}}`, `["2"]`, `validate JSON: /0: expected integer, found string`},
		{"by anchor", `{"$defs":{"n":{"$anchor":"num","type":"integer"}},"items":{"$ref":"#num"}}`, `["2"]`, `validate JSON: /0: expected integer, found string`},
		{"with an identifier", `{"$id":"https://example.com/s","$ref":"#/$defs/n","$defs":{"n":{"type":"null"}}}`, `1`, `validate JSON: (root): expected null, found number`},
		{"false schema", `{"properties":{"a":false}}`, `{"a":1}`, `validate JSON: /a: nothing is allowed here`},
		{"large integers are exact", `{"maximum":9007199254740991}`, `9007199254740992`, `validate JSON: (root): expected at most 9007199254740991, found 9007199254740992`},
		{"format is an annotation", `{"format":"date-time"}`, `"yesterday"`, ""},
		{"unevaluated", `{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"a":1,"b":2}`, `validate JSON: /b: nothing is allowed here`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := mustSchema(t, test.schema).Validate([]byte(test.doc))
			if got := fmt.Sprint(err); got != test.want && !(err == nil && test.want == "") {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if err != nil && abi.CodeOf(err) != abi.Invalid {
				t.Errorf("code: got %v, want invalid", abi.CodeOf(err))
			}
		})
	}
}

func TestValidateCountsAllFaults(t *testing.T) {
	t.Parallel()
	err := mustSchema(t, `{"items":{"type":"string"}}`).Validate([]byte(`[1,2,3,4,5,6,7]`))
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	detail, ok := e.Detail.(manifests.Misfit)
	if !ok || detail.Total != 7 || len(detail.Faults) != 5 || detail.Faults[4].Pointer != "/4" {
		t.Errorf("got %+v", e.Detail)
	}
	if text, err := json.Marshal(e.Detail); err != nil || !strings.HasPrefix(string(text), `{"faults":[{"pointer":"/0","msg":"expected string, found number"}`) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestValidateRefusesWhatIsNotOneDocument(t *testing.T) {
	t.Parallel()
	any := mustSchema(t, `true`)
	tests := []struct {
		name, doc, want string
		code            abi.Code
	}{
		{"nothing", ``, "read JSON: at byte 0: it ends where a value is expected", abi.Invalid},
		{"not UTF-8", "\"\xff\"", "read JSON: it is not UTF-8", abi.Invalid},
		{"UTF-16 surrogate in UTF-8", "\"\xed\xa0\x80\"", "read JSON: it is not UTF-8", abi.Invalid},
		{"half a pair", `"\ud800"`, "read JSON: at byte 7: half of a surrogate pair", abi.Invalid},
		{"low half", `"\udc00x"`, "read JSON: at byte 7: half of a surrogate pair", abi.Invalid},
		{"key twice", `{"a":1,"b":{"c":1,"c":2}}`, `read JSON: at byte 18: the key "c" stands twice in one object`, abi.Invalid},
		{"key twice by escape", `{"a":1,"\u0061":2}`, `read JSON: at byte 7: the key "a" stands twice in one object`, abi.Invalid},
		{"trailing data", `{} {}`, "read JSON: at byte 3: more follows the value", abi.Invalid},
		{"trailing comma", `[1,]`, "read JSON: at byte 3: expected a value, found ']'", abi.Invalid},
		{"comment", `[1] // x`, "read JSON: at byte 4: more follows the value", abi.Invalid},
		{"bare word", `nope`, "read JSON: at byte 0: expected a value, found 'n'", abi.Invalid},
		{"NaN", `NaN`, "read JSON: at byte 0: expected a value, found 'N'", abi.Invalid},
		{"leading zero", `01`, "read JSON: at byte 2: this is not a JSON number", abi.Invalid},
		{"bare point", `1.`, "read JSON: at byte 2: this is not a JSON number", abi.Invalid},
		{"control character", "\"a\nb\"", "read JSON: at byte 2: a control character inside a string", abi.Invalid},
		{"unterminated", `["abc`, "read JSON: at byte 5: a string that does not end", abi.Invalid},
		{"huge exponent", `1e999999999`, "read JSON: at byte 11: this is not a JSON number with an exponent of at most 400", abi.Invalid},
		{"huge number", strings.Repeat("9", 129), "read JSON: at byte 129: a number of more than 128 characters", abi.Invalid},
		{"65 levels", strings.Repeat("[", 65) + strings.Repeat("]", 65), "read JSON: at byte 64: nested deeper than 64 levels", abi.Invalid},
		{"a million levels", strings.Repeat(`{"a":`, 1_000_000), "read JSON: at byte 320: nested deeper than 64 levels", abi.Invalid},
		{"too many values", "[" + strings.Repeat("0,", 1<<20) + "0]", "read JSON: it holds more than 1048576 values", abi.TooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := any.Validate([]byte(test.doc))
			if got := fmt.Sprint(err); got != test.want || abi.CodeOf(err) != test.code {
				t.Errorf("got  %s (%v)\nwant %s (%v)", got, abi.CodeOf(err), test.want, test.code)
			}
		})
	}
	for _, doc := range []string{strings.Repeat("[", 64) + strings.Repeat("]", 64), ` "\ud83d\ude00\b\f\n\r\t\/\"\\" `, `-0.5e-400`, `[true,false,null]`, `{"":{}}`} {
		if err := any.Validate([]byte(doc)); err != nil {
			t.Errorf("%.40s: %v", doc, err)
		}
	}
}

func TestParseSchemaRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, src, want string }{
		{"wrong type word", `{"properties":{"a":{"type":"strng"}}}`, `compile JSON schema: /properties/a/type: fits no alternative of anyOf (value must be one of 'array', 'boolean', 'integer', 'null', 'number', 'object', 'string'; expected array, found string)`},
		{"misspelt keyword", `{"requierd":["a"]}`, `compile JSON schema: /requierd: this is no keyword of JSON Schema 2020-12; did you mean "required"?`},
		{"misspelt deep inside", `{"$defs":{"x":{"anyOf":[{"items":{"maxmum":1}}]}}}`, `compile JSON schema: /$defs/x/anyOf/0/items/maxmum: this is no keyword of JSON Schema 2020-12; did you mean "maximum"?`},
		{"old word", `{"definitions":{}}`, `compile JSON schema: /definitions: this is no keyword of JSON Schema 2020-12; did you mean "$defs"?`},
		{"foreign word", `{"discriminator":{}}`, `compile JSON schema: /discriminator: this is no keyword of JSON Schema 2020-12; keywords of your own start with "x-"`},
		{"older dialect", `{"$schema":"http://json-schema.org/draft-07/schema#"}`, `compile JSON schema: /$schema: this host reads https://json-schema.org/draft/2020-12/schema only`},
		{"reference to the network", `{"$ref":"https://example.com/s.json"}`, `compile JSON schema: /$ref: "https://example.com/s.json" leaves the document: a schema may refer to itself only (#/$defs/…); copy what you need into $defs`},
		{"reference to a file", `{"items":{"$ref":"file:///etc/passwd"}}`, `compile JSON schema: /items/$ref: "file:///etc/passwd" leaves the document: a schema may refer to itself only (#/$defs/…); copy what you need into $defs`},
		{"reference to a neighbour", `{"$ref":"other.json#/x"}`, `compile JSON schema: /$ref: "other.json#/x" leaves the document: a schema may refer to itself only (#/$defs/…); copy what you need into $defs`},
		{"reference to nothing", `{"$ref":"#/$defs/none"}`, `compile JSON schema: /$ref: "#/$defs/none" leads to no schema of this document`},
		{"reference to no anchor", `{"$ref":"#none"}`, `compile JSON schema: /$ref: "#none" leads to no schema of this document`},
		{"reference into data", `{"x-data":{"a":{"$dynamicRef":"#"}},"$ref":"#/x-data/a"}`, `compile JSON schema: /$ref: "#/x-data/a" leads to no schema of this document`},
		{"reference to a list of schemas", `{"$ref":"#/properties","properties":{"a":true}}`, `compile JSON schema: /$ref: "#/properties" leads to no schema of this document`},
		{"two anchors of one name", `{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}`, `compile JSON schema: /$defs/b/$anchor: the anchor "x" stands twice`},
		{"dynamic reference", `{"$dynamicRef":"#x"}`, `compile JSON schema: /$dynamicRef: $dynamicRef is not supported in a pack's schema; use $ref`},
		{"inner identifier", `{"items":{"$id":"https://example.com/"}}`, `compile JSON schema: /items/$id: $id is allowed at the root of a schema only`},
		{"pattern with lookahead", `{"pattern":"(?=x)"}`, "compile JSON schema: /pattern: '(?=x)' is not valid regex: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
		{"circle", `{"$ref":"#"}`, `compile JSON schema: (root): the schema refers to itself without going deeper into the document`},
		{"longer circle", `{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}},"items":{"$ref":"#/$defs/a"}}`, `compile JSON schema: /$defs/a: the schema refers to itself without going deeper into the document`},
		{"long chain", doubling(40), `compile JSON schema: /$defs/d8: more than 64 parts look at one value on behalf of each other`},
		{"number that is not exact", `{"maximum":9007199254740993}`, `compile JSON schema: (root): the integer 9007199254740993 cannot be held exactly by a JSON number; write it as a string`},
		{"not a schema", `3`, `compile JSON schema: (root): expected boolean or object, found number`},
		{"too large", `{"description":"` + strings.Repeat("x", 65536) + `"}`, `compile JSON schema: (root): the schema has 65554 bytes, at most 65536 are allowed`},
		{"not JSON", `{"a":1,"a":2}`, `read JSON schema: at byte 7: the key "a" stands twice in one object`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := manifests.ParseSchema([]byte(test.src))
			if got := fmt.Sprint(err); got != test.want || abi.CodeOf(err) != abi.Invalid {
				t.Errorf("got  %s (%v)\nwant %s", got, abi.CodeOf(err), test.want)
			}
		})
	}
}

func TestSchemasMayRecurseIntoTheDocument(t *testing.T) {
	t.Parallel()
	tree := mustSchema(t, `{"$defs":{"node":{"type":"object","properties":{"left":{"$ref":"#/$defs/node"},"right":{"$ref":"#/$defs/node"}},"additionalProperties":false}},"$ref":"#/$defs/node"}`)
	doc := strings.Repeat(`{"left":{},"right":`, 60) + `{}` + strings.Repeat(`}`, 60)
	if err := tree.Validate([]byte(doc)); err != nil {
		t.Error(err)
	}
	if err := tree.Validate([]byte(strings.Replace(doc, `{}}`, `{"x":1}}`, 1))); err == nil {
		t.Error("a fault at the bottom was not found")
	}
}

// Each schema doubles its work at each level of the document, in a way of its own.
func TestValidateStopsWhatWouldRunForever(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 60) + "1" + strings.Repeat("]", 60)
	object := strings.Repeat(`{"ab":`, 60) + "1" + strings.Repeat("}", 60)
	tests := []struct{ name, schema, doc string }{
		{"all of", `{"allOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}`, deep},
		{"any of", `{"type":"array","anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}`, deep},
		{"items and contains", `{"type":"array","items":{"$ref":"#"},"contains":{"$ref":"#"}}`, deep},
		{"not, items and contains", `{"not":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":"array","items":{"$ref":"#/$defs/x"},"contains":{"$ref":"#/$defs/x"}}}}`, deep},
		{"pattern properties", `{"type":"object","patternProperties":{"a":{"$ref":"#"},"b":{"$ref":"#"}}}`, object},
		{"not, pattern properties", `{"not":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":"object","patternProperties":{"a":{"$ref":"#/$defs/x"},"b":{"$ref":"#/$defs/x"}}}}}`, object},
		{"in place", doubling(30), `1`},
		{"long enum", `{"items":{"enum":[` + strings.Repeat("0.1,", 10_000) + `1]}}`, "[" + strings.Repeat("0,", 100_000) + "0]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := mustSchema(t, test.schema)
			if err := s.Validate([]byte(test.doc)); abi.CodeOf(err) != abi.TooLarge {
				t.Errorf("got %v, want too_large", err)
			}
			if err := s.Validate([]byte(`{`)); abi.CodeOf(err) != abi.Invalid {
				t.Errorf("the next document: got %v, want invalid", err)
			}
		})
	}
}

// doubling is a chain of definitions, each of which asks twice for the next.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{"type":"integer"}}}`, n)
	return b.String()
}

func TestValidateTakesLargeHonestDocuments(t *testing.T) {
	t.Parallel()
	numbers := mustSchema(t, `{"items":{"items":{"type":"number","minimum":0}}}`)
	row := "[" + strings.Repeat("0.25,", 1535) + "0.5]"
	doc := "[" + strings.Repeat(row+",", 99) + row + "]"
	if err := numbers.Validate([]byte(doc)); err != nil {
		t.Error(err)
	}
	million := "[" + strings.Repeat("0,", 1_000_000-1) + "0]"
	if err := mustSchema(t, `{"items":{"type":"number"}}`).Validate([]byte(million)); err != nil {
		t.Error(err)
	}
}

func TestValidateFromManyGoroutines(t *testing.T) {
	t.Parallel()
	s := mustSchema(t, searchSchema)
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 50 {
				err := s.Validate(fmt.Appendf(nil, `{"query":"q","k":%d}`, i))
				if fits := i >= 1; fits != (err == nil) {
					t.Errorf("goroutine %d, k=%d: got %v", g, i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSchemaJSONIsCanonicalAndOwnedByTheCaller(t *testing.T) {
	t.Parallel()
	s := mustSchema(t, `{ "type" : "object", "minProperties": 1.0 }`)
	text := s.JSON()
	if got, want := string(text), `{"minProperties":1,"type":"object"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	text[0] = 'X'
	if got, err := json.Marshal(s); err != nil || got[0] != '{' {
		t.Errorf("got %s, %v", got, err)
	}
}

func BenchmarkValidate(b *testing.B) {
	s := mustSchema(b, searchSchema)
	for _, doc := range []struct{ name, text string }{
		{"small", `{"query":"how are leases revoked","k":8}`},
		{"list", `{"query":"x","tags":["` + strings.Join(strings.Fields(strings.Repeat("a", 1)+tagWords(500)), `","`) + `"]}`},
		{"bad", `{"query":"","k":0}`},
	} {
		b.Run(doc.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(doc.text)))
			for b.Loop() {
				_ = s.Validate([]byte(doc.text))
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = s.Validate([]byte(`{"query":"how are leases revoked","k":8}`))
			}
		})
	})
}

func tagWords(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " tag%d", i)
	}
	return b.String()
}

func BenchmarkParseSchema(b *testing.B) {
	for b.Loop() {
		if _, err := manifests.ParseSchema([]byte(searchSchema)); err != nil {
			b.Fatal(err)
		}
	}
}
