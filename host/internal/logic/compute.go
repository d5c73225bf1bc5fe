package logic

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/manifests"
)

// Bounds of what a transform answers.
const (
	maxComputed      = 256     // patches
	maxComputedBytes = 1 << 20 // of its answer
)

// Computed says what made the patches of a transform.
type Computed struct {
	Pack    string `json:"pack"`
	Version string `json:"version"` // of the pack, and its digest
	Tool    string `json:"tool"`
	Input   string `json:"input"`  // digest of what it was shown
	Output  string `json:"output"` // digest of what it answered
}

// view gives a document as a transform is shown it.
type viewOf func(target string) (json.RawMessage, error)

// seen are documents as a scope has them without one unit's own layer there: a transform must not feed on itself.
func (s *Store) seen(layers []*layer, unit string, scope Scope) viewOf {
	rest := slices.DeleteFunc(slices.Clone(layers), func(l *layer) bool { return l.unit == unit && l.scope == scope })
	return func(target string) (json.RawMessage, error) {
		t, err := s.target(target)
		if err != nil {
			return nil, err
		}
		d, err := fold(t, rest, chain(scope))
		return d.Body, err
	}
}

// patchesOf are a unit's patches with its parameters put in: those written in it, or those its transform computes from the
// parameters and documents. A transform runs twice and must answer the same.
func (s *Store) patchesOf(ctx context.Context, man *manifests.LogicUnit, params map[string]json.RawMessage, see viewOf) ([]patch, *Computed, error) {
	patches, err := resolve(man, params)
	if err != nil || man.Transform == nil {
		return patches, nil, err
	}
	t := man.Transform
	if s.parts.Tools == nil {
		return nil, nil, abi.Errorf(abi.Unavailable, "compute unit %q: this host runs no tools", man.ID)
	}
	input, err := transformInput(man, params, see)
	if err != nil {
		return nil, nil, err
	}
	var answers [2][]byte
	var version string
	for i := range answers {
		if answers[i], version, err = s.parts.Tools.Pure(ctx, t.Pack, t.Tool, input, t.Gas); err != nil {
			return nil, nil, abi.Errorf(abi.CodeOf(err), "compute unit %q by %q of pack %q: %w", man.ID, t.Tool, t.Pack, err).WithHint("%s", abi.HintOf(err))
		}
	}
	if !bytes.Equal(answers[0], answers[1]) {
		return nil, nil, abi.Errorf(abi.ToolFailed, "compute unit %q by %q of pack %q: it answered twice, and differently", man.ID, t.Tool, t.Pack).
			WithHint("report it to the author: a transform depends on nothing but its input")
	}
	patches, err = readComputed(man, answers[0])
	return patches, &Computed{t.Pack, version, t.Tool, digest(input), digest(answers[0])}, err
}

// transformInput is what the tool of a transform is given: {parameters, documents}, canonical.
func transformInput(man *manifests.LogicUnit, params map[string]json.RawMessage, see viewOf) ([]byte, error) {
	values, err := man.Values(params)
	if err != nil {
		return nil, err
	}
	documents := map[string]json.RawMessage{}
	for _, name := range man.Transform.Documents {
		if documents[name], err = see(name); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(map[string]any{"parameters": values, "documents": documents})
	if err != nil {
		return nil, err
	}
	return manifests.CanonicalJSON(raw)
}

// readComputed holds the answer of a transform to what unit.toml is held to: {patches: [{target, op, value}]}, of its
// documents alone.
func readComputed(man *manifests.LogicUnit, answer []byte) ([]patch, error) {
	wrong := func(format string, args ...any) error {
		return abi.Errorf(abi.Invalid, "compute unit %q: the answer of %q "+format, append([]any{man.ID, man.Transform.Tool}, args...)...).
			WithHint(`a transform answers {"patches":[{"target":"recipes/retrieval","op":"merge","value":{}}]}`)
	}
	if len(answer) > maxComputedBytes {
		return nil, wrong("has %d bytes, at most %d are allowed", len(answer), maxComputedBytes)
	}
	root, err := tree.Parse(answer)
	if err != nil {
		return nil, wrong("is no JSON: %v", err)
	}
	fields, _ := root.(map[string]any)
	list, ok := fields["patches"].([]any)
	if !ok || len(fields) != 1 || len(list) > maxComputed {
		return nil, wrong("is not a list of at most %d patches", maxComputed)
	}
	patches := make([]patch, len(list))
	for i, item := range list {
		f, _ := item.(map[string]any)
		p := patch{Op: "merge"}
		p.Target, _ = f["target"].(string)
		if op, said := f["op"]; said {
			p.Op, _ = op.(string)
		}
		value, said := f["value"]
		for name := range f {
			said = said && (name == "target" || name == "op" || name == "value")
		}
		switch _, isTable := value.(map[string]any); {
		case !said:
			return nil, wrong("has no patch as item %d", i+1)
		case !slices.Contains(man.Transform.Documents, p.Target):
			return nil, wrong("changes %q, which the unit does not name among its documents", p.Target)
		case p.Op == "merge" && !isTable:
			return nil, wrong("would replace the whole of %q", p.Target)
		case p.Op == "jsonpatch":
			if _, err := tree.Ops(value); err != nil {
				return nil, wrong("item %d: %v", i+1, err)
			}
		case p.Op != "merge":
			return nil, wrong("has operation %q; there are merge and jsonpatch", p.Op)
		}
		raw, err := canonical(value)
		if err != nil {
			return nil, wrong("item %d: %v", i+1, err)
		}
		p.Value, _ = tree.Parse(raw) // canonical writes what Parse reads
		patches[i] = p
	}
	return patches, nil
}

// needs names what a unit needs of this host and does not find.
func (s *Store) needs(ctx context.Context, man *manifests.LogicUnit) (found []Conflict) {
	models := man.Models
	if len(models) == 0 && man.MinContext > 0 {
		models = []string{"*"}
	}
	for _, m := range models {
		err := error(abi.Errorf(abi.Unavailable, "this host asks no models"))
		if s.parts.Model != nil {
			err = s.parts.Model(m, man.MinContext)
		}
		if err != nil {
			found = append(found, Conflict{Kind: "model", Unit: man.ID, With: m, Text: man.ID + " needs a model: " + err.Error()})
		}
	}
	if p := man.Plugin; p != nil {
		err := error(abi.Errorf(abi.Unavailable, "this host runs no tools"))
		if s.parts.Tools != nil {
			err = s.parts.Tools.Contract(ctx, p.Pack, p.Version, p.Tools)
		}
		if err != nil {
			found = append(found, Conflict{Kind: "pack", Unit: man.ID, With: p.Pack, Text: man.ID + " brings tools of " + p.Pack + " that do not hold: " + err.Error()})
		}
	}
	return found
}
