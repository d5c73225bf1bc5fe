package pack

import "testing"

func TestCompareSchemas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, a, b string
		want       Class
	}{
		{"equal", `{"type":"object"}`, `{"type":"object"}`, Same},
		{"in other order", `{"type":"string","minLength":1}`, `{"minLength":1,"type":"string"}`, Same},
		{"other words", `{"type":"string","description":"a"}`, `{"type":"string","title":"b"}`, Same},
		{"one type more", `{"type":"string"}`, `{"type":["string","null"]}`, Wider},
		{"one type less", `{"type":["string","null"]}`, `{"type":"string"}`, Narrower},
		{"an integer is a number", `{"type":"number"}`, `{"type":"integer"}`, Narrower},
		{"a member required", `{"type":"object"}`, `{"type":"object","required":["a"]}`, Narrower},
		{"none required any more", `{"required":["a"]}`, `{}`, Wider},
		{"a smaller list", `{"enum":[1,2]}`, `{"enum":[1]}`, Narrower},
		{"another list", `{"enum":[1,2]}`, `{"enum":[2,3]}`, Wider},
		{"one of the list", `{"enum":[1,2]}`, `{"const":1}`, Narrower},
		{"tighter bounds", `{"minimum":1,"maximum":9}`, `{"minimum":2,"maximum":8}`, Narrower},
		{"one bound looser", `{"minimum":1,"maximum":9}`, `{"minimum":2,"maximum":10}`, Wider},
		{"open, then closed", `{"properties":{"a":{}}}`, `{"properties":{"a":{}},"additionalProperties":false}`, Narrower},
		{"closed, then open", `{"properties":{"a":{}},"additionalProperties":false}`, `{"properties":{"a":{}}}`, Wider},
		{"a property more in a closed one", `{"properties":{"a":{}},"additionalProperties":false}`, `{"properties":{"a":{},"b":{}},"additionalProperties":false}`, Wider},
		{"a property less in a closed one", `{"properties":{"a":{},"b":{}},"additionalProperties":false}`, `{"properties":{"a":{}},"additionalProperties":false}`, Narrower},
		{"a property described in an open one", `{}`, `{"properties":{"a":{"type":"string"}}}`, Narrower},
		{"a property inside", `{"properties":{"a":{"maxLength":5}}}`, `{"properties":{"a":{"maxLength":4}}}`, Narrower},
		{"items inside", `{"items":{"type":"number"}}`, `{"items":{"type":["number","string"]}}`, Wider},
		{"a pattern that lets names through", `{"additionalProperties":false}`, `{"additionalProperties":false,"patternProperties":{"^x":{}}}`, Wider},
		{"another pattern", `{"pattern":"^a"}`, `{"pattern":"^ab"}`, Wider},
		{"a branch", `{"anyOf":[{"type":"string"}]}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, Wider},
		{"anything, then nothing", `true`, `false`, Narrower},
		{"nothing, then anything", `false`, `true`, Wider},
		{"not JSON", `{`, `{}`, Wider},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := compareSchemas([]byte(c.a), []byte(c.b)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
