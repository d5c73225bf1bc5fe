package signing

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		`{}`: true, `[]`: true, `1`: true, `"a"`: true, ` { "a" : [ { "a" : "a" } , { "a" : "," } ] , "b" : "}" } `: true,
		`{"a":{"b":1},"b":{"a":1}}`: true, `[{"a":1},{"a":1}]`: true, `{"a":"a","b":"a"}`: true, `{"\"":1,"\\":2}`: true,
		`{"a":1,"a":2}`: false, `{"a":1,"b":{"c":1,"c":2}}`: false, `[[{"a":0,"a":0}]]`: false, `{"a":1,"\u0061":2}`: false,
		`{"a":[1,2],"a":3}`: false, `{"a":{},"a":{}}`: false, `{"\\":1,"\u005c":2}`: false,
		``: false, `{`: false, `{} {}`: false, `[1,]`: false, "\"\xff\"": false, `{"a":1}x`: false, `nul`: false,
	} {
		if err := checkJSON([]byte(text)); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	deep := func(n int) []byte { return []byte(strings.Repeat(`{"a":[`, n) + strings.Repeat(`]}`, n)) }
	if err := checkJSON(deep(maxDepth / 2)); err != nil {
		t.Error(err)
	}
	if checkJSON(deep(maxDepth/2+1)) == nil {
		t.Error("too deep and not refused")
	}
}

// FuzzCheckJSON compares the scan with a slow one that shares nothing with it.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1,"\u0062":[{"c":"\\"}]}`, `{"a":1,"a":2}`, `["]",{"}":0}]`, `{"a":{"a":1}}`, `{"a":1,"\u0061":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		want := utf8.Valid(data) && json.Valid(data) && plain(dec, 0)
		if err := checkJSON(data); (err == nil) != want {
			t.Fatalf("%q: %v", data, err)
		}
	})
}

// plain reads one value and reports whether its keys are unique and its nesting bounded.
func plain(dec *json.Decoder, depth int) bool {
	token, _ := dec.Token()
	open, nested := token.(json.Delim)
	if !nested {
		return true
	}
	if depth == maxDepth {
		return false
	}
	keys := map[any]bool{}
	for dec.More() {
		if open == '{' {
			key, _ := dec.Token()
			if keys[key] {
				return false
			}
			keys[key] = true
		}
		if !plain(dec, depth+1) {
			return false
		}
	}
	dec.Token()
	return true
}
