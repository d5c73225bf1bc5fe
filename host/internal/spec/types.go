package spec

import (
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema is a JSON Schema of the draft 2020-12, as plain data.
type Schema = map[string]any

// Types turns Go types into schemas as encoding/json writes them. A struct with a name is defined once and referred to.
// Structs are closed: a member that its type does not have is not valid. It is not safe for concurrent use.
type Types struct {
	at    string // where definitions stand, such as "#/components/schemas/"
	defs  Schema
	names map[reflect.Type]string
}

// NewTypes makes a set whose references begin with at.
func NewTypes(at string) *Types {
	return &Types{at: at, defs: Schema{}, names: map[reflect.Type]string{}}
}

// Defs are the definitions so far, by name.
func (t *Types) Defs() Schema { return t.defs }

// Of is the schema of a value's type; of nil, one that everything satisfies.
func (t *Types) Of(v any) Schema {
	if v == nil {
		return Schema{}
	}
	return t.of(reflect.TypeOf(v))
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	textType   = reflect.TypeFor[encoding.TextMarshaler]()
	marshaller = reflect.TypeFor[json.Marshaler]()
)

func (t *Types) of(r reflect.Type) Schema {
	switch {
	case r == timeType:
		return Schema{"type": "string", "format": "date-time"}
	case r == rawType:
		return Schema{}
	case r.Kind() == reflect.Pointer:
		return nullable(t.of(r.Elem()))
	case r.Implements(marshaller) || reflect.PointerTo(r).Implements(marshaller):
		return Schema{} // it writes itself; only its own code knows how
	case r.Implements(textType):
		return Schema{"type": "string"}
	}
	switch r.Kind() {
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.String:
		return Schema{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Schema{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Schema{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return Schema{"type": "number"}
	case reflect.Slice:
		if r.Elem().Kind() == reflect.Uint8 {
			return Schema{"type": []string{"string", "null"}, "contentEncoding": "base64"}
		}
		return Schema{"type": []string{"array", "null"}, "items": t.of(r.Elem())}
	case reflect.Array:
		return Schema{"type": "array", "items": t.of(r.Elem()), "minItems": r.Len(), "maxItems": r.Len()}
	case reflect.Map:
		return Schema{"type": []string{"object", "null"}, "additionalProperties": t.of(r.Elem())}
	case reflect.Struct:
		return t.object(r)
	}
	return Schema{}
}

func nullable(s Schema) Schema {
	switch is := s["type"].(type) {
	case string:
		s["type"] = []string{is, "null"}
	case nil:
		if _, ref := s["$ref"]; ref {
			return Schema{"anyOf": []Schema{s, {"type": "null"}}}
		}
	}
	return s
}

// object defines a struct under its name, or writes it out when it has none.
func (t *Types) object(r reflect.Type) Schema {
	if r.Name() == "" {
		return t.members(r)
	}
	name, known := t.names[r]
	if !known {
		name = t.name(r)
		t.names[r] = name
		t.defs[name] = Schema{} // taken, also for a type that holds itself
		t.defs[name] = t.members(r)
	}
	return Schema{"$ref": t.at + name}
}

// name is the type's own, before it its package's where two have the same.
func (t *Types) name(r reflect.Type) string {
	name, of, generic := strings.Cut(r.Name(), "[")
	if generic {
		of = strings.TrimSuffix(of, "]")
		name += upper(of[strings.LastIndexAny(of, "./")+1:])
	}
	name = upper(name)
	if _, taken := t.defs[name]; taken {
		name = upper(path.Base(r.PkgPath())) + name
	}
	return name
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (t *Types) members(r reflect.Type) Schema {
	props, required := Schema{}, []string{}
	t.fields(r, props, &required)
	out := Schema{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		slices.Sort(required)
		out["required"] = required
	}
	return out
}

// fields adds the members of a struct; those of embedded ones only where an outer one has not the name already, as
// encoding/json does it.
func (t *Types) fields(r reflect.Type, props Schema, required *[]string) {
	var inner []reflect.Type
	for f := range r.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			e := f.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			inner = append(inner, e)
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		if _, taken := props[tag]; taken {
			continue
		}
		optional := slices.ContainsFunc(strings.Split(options, ","), func(o string) bool { return o == "omitempty" || o == "omitzero" })
		props[tag] = t.of(f.Type)
		if !optional {
			*required = append(*required, tag)
		}
	}
	for _, e := range inner {
		if e.Kind() == reflect.Struct {
			t.fields(e, props, required)
		}
	}
}
