package view_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/arw-project/arw/host/internal/view"
)

// FuzzDocuments holds parsing, writing, comparing and patching of arbitrary text against encoding/json.
func FuzzDocuments(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":1}`, `{"a":2,"b":{}}`}, {`{"a":{"~":[1,{"b":null}]},"/":"x"}`, `{"a":{},"":"é\u0001\""}`}, {`[]`, `{}`}, {`null`, `1e9`},
		{`{"a":1,"a":2}`, `{"a":1}`}, {`{"\u0061":1}`, `{"a":1}`}, {"\"\xff\"", `""`}, {`{"a":[{"b":1,"b":1}]}`, `{}`}, {` { } `, `{"x":[]}`}, {`{"":{"":{}}}`, `{"":{}}`},
		{"{\"<a>&\u2028\":\"<a>&\u2029\"}", `{"<":{"&":1}}`}, {"{\"\u2027\":1,\"\u202a\":2}", `{}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		from, to := view.Parse(a), view.Parse(b)
		for i, n := range []*view.Node{from, to} {
			src := [][]byte{a, b}[i]
			if n == nil {
				continue
			}
			text := n.Text()
			if len(text) != n.Size() {
				t.Errorf("%q: size %d, but %d bytes", src, n.Size(), len(text))
			}
			var want, got any
			if json.Unmarshal(src, &want) != nil || json.Unmarshal(text, &got) != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q became %q", src, text)
			}
			if wire, err := json.Marshal(json.RawMessage(text)); err != nil || !bytes.Equal(wire, text) {
				t.Errorf("%q becomes %q on its way to a client, %v", text, wire, err)
			}
			if again := view.Parse(text); again == nil || !bytes.Equal(again.Text(), text) {
				t.Errorf("%q is not stable", text)
			}
		}
		if from == nil || to == nil {
			return
		}
		patch := view.Diff(from, to)
		back, err := view.Apply(from, patch)
		if err != nil || !bytes.Equal(back.Text(), to.Text()) || back.Size() != to.Size() {
			t.Errorf("%q to %q by %q gives %v, %v", a, b, patch, back, err)
		}
	})
}
