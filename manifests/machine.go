package manifests

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxSteps bounds the work of one validation of a flat document, and with it the memory that its faults can take. A step
// is one visit of one part of the schema at one place of the document; it is charged before it happens. A fault carries
// its place, so deep documents have fewer steps: see budget.
const maxSteps = 1 << 21

func budget(v any) int { return maxSteps * 4 / (4 + depth(v)) }

// depth is how many arrays and objects lie around the innermost value.
func depth(v any) int {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n = max(n, depth(item))
		}
	case map[string]any:
		for _, item := range v {
			n = max(n, depth(item))
		}
	default:
		return 0
	}
	return n + 1
}

// machine is a compiled schema with a step counter in every part of it. One validation uses it at a time.
//
// The library has no budget of its own, and a schema such as {"anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}
// doubles its work with each level of the document. The one hook that runs on every visit, before any recursion, is
// "format": we do not assert formats, so the slot is free.
type machine struct {
	schema *jsonschema.Schema
	steps  int
	price  int // of a step: more than 1 where chains of parts are long, since every visit walks its chain
}

// maxInPlace bounds how many parts may look at one value on behalf of each other; the library walks that chain at every
// visit.
const maxInPlace = 64

// exhausted travels by panic from a counter to run.
type exhausted struct{}

// newMachine puts a counter into every part that can be reached, and refuses a part that refers to itself without going
// deeper into the document.
func newMachine(root *jsonschema.Schema) (*machine, []Fault) {
	m := &machine{schema: root, price: 1}
	const open, closed = 1, 2
	state, height := map[*jsonschema.Schema]int{}, map[*jsonschema.Schema]int{}
	queue := []*jsonschema.Schema{root}
	var faults []Fault
	var visit func(s *jsonschema.Schema)
	visit = func(s *jsonschema.Schema) {
		state[s] = open
		p := partsOf(s)
		for _, part := range p.inPlace {
			switch state[part] {
			case 0:
				visit(part)
			case open:
				faults = append(faults, Fault{Pointer: pointerOf(part), Msg: "the schema refers to itself without going deeper into the document"})
			}
			height[s] = max(height[s], height[part]+1)
			m.price = max(m.price, 1+height[s]/8)
		}
		if height[s] == maxInPlace {
			faults = append(faults, Fault{Pointer: pointerOf(s), Msg: fmt.Sprintf("more than %d parts look at one value on behalf of each other", maxInPlace)})
		}
		m.count(s, p)
		state[s] = closed
		queue = append(append(queue, p.named...), p.every...) // later: only in-place parts may close a circle
	}
	for len(queue) > 0 {
		s := queue[0]
		if queue = queue[1:]; state[s] == 0 {
			visit(s)
		}
	}
	return m, faults
}

// count installs the counter. A visit pays for what it starts: its in-place parts, for each member of an object or array
// the parts that will look at it, for a string the length of its pattern's program. The visit itself has been paid for
// by whoever started it, because a part that fails at once (by type, const or enum) never reaches its counter.
func (m *machine) count(s *jsonschema.Schema, p parts) {
	if s.Bool != nil {
		return // ends the recursion and is paid for by the part above
	}
	self := sum(p.inPlace)
	perMember := dearest(p.named) + sum(p.every)
	program := 0
	if pattern, ok := s.Pattern.(expression); ok {
		program = pattern.size
	}
	for re := range s.PatternProperties {
		perMember += re.(expression).size / 16
	}
	s.Format = &jsonschema.Format{Name: "steps", Validate: func(v any) error {
		n := self
		switch v := v.(type) {
		case map[string]any:
			n += len(v) * perMember
		case []any:
			n += len(v) * perMember
		case string:
			n += len(v) / 64 * (1 + program)
		}
		if m.steps -= n * m.price; m.steps < 0 {
			panic(exhausted{})
		}
		return nil
	}}
}

// run validates v. It gives the first faults by place, how many there are, and false when the steps ran out.
func (m *machine) run(v any) (faults []Fault, total int, done bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exhausted); !ok {
				panic(r)
			}
			faults, total, done = nil, 0, false
		}
	}()
	m.steps = budget(v)
	err := m.schema.Validate(v)
	if err == nil {
		return nil, 0, true
	}
	faults, total = listFaults(err.(*jsonschema.ValidationError), maxFaults)
	return faults, total, true
}

// parts are the schemas below a schema, by what they look at: the same value, or members of it.
type parts struct {
	inPlace []*jsonschema.Schema
	named   []*jsonschema.Schema // at most one of them looks at any one member
	every   []*jsonschema.Schema // each looks at every member
}

func partsOf(s *jsonschema.Schema) parts {
	var p parts
	add := func(to *[]*jsonschema.Schema, schemas ...*jsonschema.Schema) {
		for _, s := range schemas {
			if s != nil {
				*to = append(*to, s)
			}
		}
	}
	add(&p.inPlace, s.Ref, s.Not, s.If, s.Then, s.Else)
	add(&p.inPlace, s.AllOf...)
	add(&p.inPlace, s.AnyOf...)
	add(&p.inPlace, s.OneOf...)
	for _, dependent := range s.DependentSchemas {
		add(&p.inPlace, dependent)
	}
	for _, property := range s.Properties {
		add(&p.named, property)
	}
	if additional, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		add(&p.named, additional)
	}
	add(&p.named, s.PrefixItems...)
	add(&p.named, s.Items2020)
	for _, property := range s.PatternProperties {
		add(&p.every, property)
	}
	add(&p.every, s.PropertyNames, s.Contains, s.UnevaluatedProperties, s.UnevaluatedItems)
	return p
}

// weight is what it costs to enter a part: one, and the size of the list it compares with.
func weight(s *jsonschema.Schema) int {
	n := 1
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			n += size(v)
		}
	}
	if s.Const != nil {
		n += size(*s.Const)
	}
	return n
}

func size(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += size(item)
		}
	case map[string]any:
		for _, item := range v {
			n += size(item)
		}
	}
	return n
}

func sum(schemas []*jsonschema.Schema) int {
	n := 0
	for _, s := range schemas {
		n += weight(s)
	}
	return n
}

func dearest(schemas []*jsonschema.Schema) int {
	n := 0
	for _, s := range schemas {
		n = max(n, weight(s))
	}
	return n
}

// expression is a regular expression in Go's syntax (RE2): matching takes time linear in the text, whatever the pattern.
type expression struct {
	*regexp.Regexp
	size int // instructions of its program
}

func compilePattern(text string) (jsonschema.Regexp, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	return expression{re, len(program.Inst)}, nil
}
