package manifests

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arw-project/arw/abi"
)

// maxSchema bounds one schema's canonical text: compiling is quadratic in the number of its parts.
const maxSchema = 64 << 10

// Schema is a compiled JSON Schema (2020-12, in the profile of docs/spec/manifest.md: it refers to nothing outside
// itself). It is immutable and safe for concurrent use: each running validation has a compiled copy of its own, so that
// its work can be counted and stopped; idle copies are kept for the next.
type Schema struct {
	doc       any
	canonical []byte

	mu   sync.Mutex
	idle []*machine // at most maxIdle
}

const maxIdle = 16

// ParseSchema compiles a schema from JSON text. The error is Invalid, with every fault of the schema as a Misfit in its
// Detail. Nothing is ever loaded from a file or the network.
func ParseSchema(src []byte) (*Schema, error) {
	doc, err := readJSON(src)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read JSON schema: %w", err)
	}
	s, faults := newSchema(doc)
	if len(faults) > 0 {
		return nil, misfit("compile JSON schema", faults)
	}
	return s, nil
}

// newSchema compiles a tree of the values that readJSON gives and keeps it.
func newSchema(doc any) (*Schema, []Fault) {
	canonical, err := appendCanonical(nil, doc)
	if err != nil {
		return nil, []Fault{{Msg: err.Error()}}
	}
	if len(canonical) > maxSchema {
		return nil, []Fault{{Msg: fmt.Sprintf("the schema has %d bytes, at most %d are allowed", len(canonical), maxSchema)}}
	}
	faults, compilable := checkProfile(doc)
	if !compilable {
		return nil, faults
	}
	m, more := compile(doc)
	if faults = append(faults, more...); len(faults) > 0 {
		return nil, faults
	}
	return &Schema{doc: doc, canonical: canonical, idle: []*machine{m}}, nil
}

// JSON is the schema in canonical form (RFC 8785). The caller owns the bytes.
func (s *Schema) JSON() []byte { return slices.Clone(s.canonical) }

// MarshalJSON implements json.Marshaler; encoding/json adds its own escapes to the canonical form.
func (s *Schema) MarshalJSON() ([]byte, error) { return s.JSON(), nil }

// Validate reports whether doc is one JSON document that fits the schema. It refuses, as Invalid, text that is not
// UTF-8, keys that stand twice in one object, half surrogate pairs, anything behind the value, nesting deeper than 64
// levels, and numbers of more than 128 characters or with an exponent beyond 400; and documents that do not fit: the
// message names the first five faults by JSON pointer (RFC 6901) and Detail, a Misfit, counts them all. It refuses as
// TooLarge a document of more than 1,048,576 values and one whose validation takes more than 2,097,152 steps (fewer when
// it is deep or the schema is a long chain), which a schema with branching recursion can ask for. "format" is an
// annotation, as 2020-12 has it, and is not checked.
func (s *Schema) Validate(doc []byte) error {
	v, err := readJSON(doc)
	if err != nil {
		if tooLarge, ok := errors.AsType[sizeError](err); ok {
			return abi.Errorf(abi.TooLarge, "read JSON: %w", tooLarge)
		}
		return abi.Errorf(abi.Invalid, "read JSON: %w", err)
	}
	return s.validate(v)
}

func (s *Schema) validate(v any) error {
	m := s.take()
	faults, total, done := m.run(v)
	s.giveBack(m)
	switch {
	case !done:
		return abi.Errorf(abi.TooLarge, "validate JSON: the schema asks for more than %d steps on this document", budget(v)).
			WithHint("send a smaller document, or give the schema's recursion fewer branches")
	case total > 0:
		e := misfit("validate JSON", faults)
		e.Detail = Misfit{Faults: faults, Total: total}
		return e
	}
	return nil
}

func (s *Schema) take() *machine {
	s.mu.Lock()
	if last := len(s.idle) - 1; last >= 0 {
		m := s.idle[last]
		s.idle = s.idle[:last]
		s.mu.Unlock()
		return m
	}
	s.mu.Unlock()
	m, faults := compile(s.doc)
	if len(faults) > 0 {
		panic(fmt.Sprintf("manifests: a schema compiled once and then not again: %v", faults))
	}
	return m
}

func (s *Schema) giveBack(m *machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) < maxIdle {
		s.idle = append(s.idle, m)
	}
}

// schemaURL is the name under which the compiler knows the one document it has. The domain never resolves (RFC 2606).
const schemaURL = "https://schema.invalid/"

// noLoader refuses every reference that leaves the document.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("a schema may refer to itself only; copy what you need into $defs")
}

// compile makes a machine of a schema that has passed checkProfile, or says why it cannot.
func compile(doc any) (m *machine, faults []Fault) {
	defer func() {
		// The compiler panics on some odd identifiers; a manifest must not end the process.
		if r := recover(); r != nil {
			m, faults = nil, []Fault{{Msg: fmt.Sprintf("the schema cannot be compiled (%v)", r)}}
		}
	}()
	if object, ok := doc.(map[string]any); ok && object["$id"] != nil {
		// References are local (see checkProfile), so the identifier changes nothing but the compiler's bookkeeping.
		object = maps.Clone(object)
		delete(object, "$id")
		doc = object
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, []Fault{{Msg: err.Error()}}
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, compileFaults(err)
	}
	return newMachine(compiled)
}

func compileFaults(err error) []Fault {
	if wrong, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if verr, ok := errors.AsType[*jsonschema.ValidationError](wrong.Err); ok {
			faults, _ := listFaults(verr, 20)
			return faults
		}
	}
	return []Fault{{Msg: strings.ReplaceAll(err.Error(), schemaURL, "")}}
}
