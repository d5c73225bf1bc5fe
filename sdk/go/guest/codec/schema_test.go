package codec_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/arw-project/arw/sdk/go/guest/codec"
)

type tree struct {
	Value    int     `json:"value"`
	Children []*tree `json:"children,omitempty"`
}

func TestSchema(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{"scalars", codec.For[struct {
			S string    `json:"s" doc:"what it is called"`
			I int32     `json:"i"`
			U uint      `json:"u,omitempty"`
			F float64   `json:"f"`
			B *bool     `json:"b"`
			T time.Time `json:"t,omitzero"`
			D []byte    `json:"d"`
		}]().Schema(), `{"type":"object","properties":{"s":{"description":"what it is called","type":"string"},
			"i":{"type":"integer","minimum":-2147483648,"maximum":2147483647},"u":{"type":"integer","minimum":0},"f":{"type":"number"},
			"b":{"anyOf":[{"type":"boolean"},{"type":"null"}]},"t":{"type":"string","format":"date-time"},
			"d":{"type":["string","null"],"contentEncoding":"base64"}},"required":["s","i","f","d"],"additionalProperties":false}`},
		{"containers", codec.For[struct {
			L []string          `json:"l"`
			A [2]uint8          `json:"a"`
			M map[string]uint16 `json:"m"`
			R codec.Raw         `json:"r" doc:"anything"`
			X any               `json:"x"`
		}]().Schema(), `{"type":"object","properties":{"l":{"type":["array","null"],"items":{"type":"string"}},
			"a":{"type":"array","items":{"type":"integer","minimum":0,"maximum":255},"maxItems":2},
			"m":{"type":["object","null"],"additionalProperties":{"type":"integer","minimum":0,"maximum":65535}},
			"r":{"description":"anything"},"x":{}},"required":["l","a","m","r","x"],"additionalProperties":false}`},
		{"a type that holds itself", codec.For[tree]().Schema(), `{"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"value":{"type":"integer"},
			"children":{"type":["array","null"],"items":{"anyOf":[{"$ref":"#/$defs/tree"},{"type":"null"}]}}},"required":["value"],"additionalProperties":false}}}`},
		{"nothing", codec.For[struct{}]().Schema(), `{"type":"object","properties":{},"additionalProperties":false}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if !sameJSON(t, tc.got, []byte(tc.want)) {
				t.Errorf("got %s", tc.got)
			}
		})
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var texts [2]string
	for i, src := range [][]byte{a, b} {
		var v any
		if err := json.Unmarshal(src, &v); err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts[0] == texts[1]
}
