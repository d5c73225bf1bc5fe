package pack

import (
	"encoding/json"

	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/pattern"
)

// namesOf are the arguments that a tool's input schema names at its top.
func namesOf(input *manifests.Schema) map[string]bool {
	var top struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	names := map[string]bool{}
	if json.Unmarshal(input.JSON(), &top) == nil { // a schema may also be true or false, which names nothing
		for name := range top.Properties {
			names[name] = true
		}
	}
	return names
}

// unsound stands for a value that no declared type takes, so that a policy which wants it denies.
type unsound struct{}

// facts are those arguments of a call that policies speak of and the tool's input schema names.
func (t *tool) facts(input []byte, names []string) map[string]any {
	args, facts := pattern.NewArguments(input), map[string]any{}
	for _, name := range names {
		switch v, there, sound := args.Named(name); {
		case !sound || there && !t.named[name]:
			facts[name] = unsound{}
		case there:
			facts[name] = v
		}
	}
	return facts
}
