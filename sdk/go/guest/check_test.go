package guest_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/sdk/go/guest"
)

type leaf struct {
	Name  string   `json:"name"`
	Score float64  `json:"score,omitempty"`
	Tags  []string `json:"tags"`
	Next  *leaf    `json:"next,omitempty"`
}

func TestCheckHoldsTheManifestAgainstTheCode(t *testing.T) {
	t.Parallel()
	info := guest.ToolInfo{ID: "a.tool", Input: guest.Schema[leaf](), Output: guest.Schema[leaf]()}
	for _, tc := range []struct{ name, input, output, want string }{
		{name: "nothing declared"},
		{name: "the same", input: string(info.Input), output: string(info.Output)},
		{name: "narrower", input: `{"type":"object","required":["name"],"additionalProperties":false,"properties":{
			"name":{"type":"string","maxLength":9},"score":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}},"next":{}}}`},
		{name: "unknown to the code", input: `{"type":"object","properties":{"nmae":{"type":"string"}}}`, want: "input/nmae: the manifest declares it"},
		{name: "closed to a field", output: `{"type":"object","additionalProperties":false,"properties":{"name":{}}}`, want: "output/next: the code has this field"},
		{name: "open output", output: `{"type":"object","properties":{"name":{"type":"string"}}}`},
		{name: "another type", input: `{"properties":{"name":{"type":"integer"}}}`, want: "input/name: the manifest says integer, the code string"},
		{name: "a number that is no integer may come in", input: `{"properties":{"score":{"type":"number"}}}`},
		{name: "a number where an integer is promised", output: `{"properties":{"score":{"type":"integer"}}}`, want: "output/score: the manifest says integer, the code number"},
		{name: "deep inside", input: `{"properties":{"next":{"properties":{"tags":{"items":{"type":"object"}}}}}}`, want: "input/next/tags/*: the manifest says object, the code string"},
		{name: "promised and perhaps missing", output: `{"required":["score"],"properties":{"score":{}}}`, want: "output/score: the manifest requires it"},
		{name: "behind a reference", input: `{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"nome":{}}}}}`, want: "input/nome"},
		{name: "joined parts are left alone", input: `{"anyOf":[{"properties":{"nome":{}}}]}`},
		{name: "no JSON", input: `{`, want: "the declared input schema"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var input, output []byte
			if tc.input != "" {
				input = []byte(tc.input)
			}
			if tc.output != "" {
				output = []byte(tc.output)
			}
			err := info.Check(input, output)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
