package journal_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/arw-project/arw/host/internal/journal"
)

// FuzzRepeatedName holds the scanner of bodies against encoding/json's tokens.
func FuzzRepeatedName(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":{"a":1}}`, `{"\u0061":1,"a":2}`, `[{"x":"}"},{"x":"\""}]`, `{"a":[],"b":{},"a":null}`, `"a"`, `{"":1,"":2}`, `{"a":"\\","a":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var text bytes.Buffer
		if json.Compact(&text, b) != nil {
			return
		}
		want := repeated(t, json.NewDecoder(bytes.NewReader(text.Bytes())))
		if got := journal.RepeatedName(text.Bytes()); got != want {
			t.Errorf("%q: %v, want %v", text.Bytes(), got, want)
		}
	})
}

// repeated reads one value and reports whether an object in it has a name twice. A name that is not UTF-8 is read as
// replacement characters here and as it is by the scanner, so such bodies are left to the rule that refuses them.
func repeated(t *testing.T, dec *json.Decoder) bool {
	t.Helper()
	dec.UseNumber()
	next := func() json.Token {
		tok, err := dec.Token()
		if err != nil {
			t.Skip(err)
		}
		return tok
	}
	var value func(json.Token) bool
	value = func(tok json.Token) (twice bool) {
		delim, ok := tok.(json.Delim)
		if !ok {
			return false
		}
		seen := map[string]bool{}
		for dec.More() {
			tok := next()
			if delim == '{' {
				name := tok.(string)
				if bytes.ContainsRune([]byte(name), '\uFFFD') {
					t.Skip("not UTF-8")
				}
				twice = twice || seen[name]
				seen[name] = true
				tok = next()
			}
			twice = value(tok) || twice
		}
		next()
		return twice
	}
	return value(next())
}
