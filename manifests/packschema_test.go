package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/arw-project/arw/manifests/strict"
)

// TestPackSchemaHasTheKeysOfTheParser walks the schema and the Go types that pack.toml is decoded into side by side: the
// same keys, the same required ones, the same types, nothing else allowed.
func TestPackSchemaHasTheKeysOfTheParser(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(PackSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	w := schemaWalk{t, schema}
	w.table("pack.toml", schema, reflect.TypeFor[rawPack]())

	capabilities := schema["properties"].(map[string]any)["capabilities"].(map[string]any)["properties"].(map[string]any)
	if got := slices.Sorted(maps.Keys(capabilities)); !slices.Equal(got, askable) {
		t.Errorf("capabilities: got %v, want %v", got, askable)
	}
	for _, name := range askable {
		w.table("capabilities."+name, w.follow(capabilities[name]), reflect.TypeFor[rawCapability]())
	}
}

type schemaWalk struct {
	t    *testing.T
	root map[string]any
}

// follow resolves a reference and lays what stands beside it over it.
func (w schemaWalk) follow(v any) map[string]any {
	s := v.(map[string]any)
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	target, ok := w.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")]
	if !ok {
		w.t.Fatalf("%s leads nowhere", ref)
	}
	merged := maps.Clone(w.follow(target))
	maps.Copy(merged, s)
	return merged
}

func (w schemaWalk) table(path string, s map[string]any, typ reflect.Type) {
	properties, _ := s["properties"].(map[string]any)
	var keys, required []string
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("toml"), ",")
		keys = append(keys, name)
		if options == "required" {
			required = append(required, name)
		}
		if p, ok := properties[name]; ok {
			w.value(path+"."+name, w.follow(p), f.Type)
		}
	}
	slices.Sort(keys)
	if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, keys) {
		w.t.Errorf("%s: the schema has the keys %v, the parser %v", path, got, keys)
	}
	if s["additionalProperties"] != false {
		w.t.Errorf("%s: the schema lets unknown keys pass", path)
	}
	var got []string
	for _, name := range list(s["required"]) {
		got = append(got, name.(string))
	}
	for _, name := range required {
		if !slices.Contains(got, name) {
			w.t.Errorf("%s: the parser wants %q, the schema does not", path, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(required, name) && name != "scope" {
			w.t.Errorf("%s: the schema wants %q, the parser does not", path, name)
		}
	}
	if w.t.Failed() {
		return
	}
	for name, p := range properties {
		if w.follow(p)["description"] == nil {
			w.t.Errorf("%s.%s: no description for editors to show", path, name)
		}
	}
}

func list(v any) []any { items, _ := v.([]any); return items }

func (w schemaWalk) value(path string, s map[string]any, typ reflect.Type) {
	want := ""
	switch {
	case typ == reflect.TypeFor[strict.Size]():
		want = "" // a number or a string, in anyOf
	case typ == reflect.TypeFor[strict.Duration](), typ.Kind() == reflect.String:
		want = "string"
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.Struct:
		want = "object"
		w.table(path, s, typ)
	case typ.Kind() == reflect.Map:
		want = "object"
	case typ.Kind() == reflect.Slice:
		want = "array"
		if typ.Elem().Kind() == reflect.Struct {
			w.table(path+"[]", w.follow(s["items"]), typ.Elem())
		}
	case typ.Kind() == reflect.Uint64 || typ.Kind() == reflect.Int64:
		want = "integer"
	}
	if got, ok := s["type"].(string); want != "" && ok && got != want {
		w.t.Errorf("%s: the schema wants %s, the parser %s", path, got, want)
	} else if !ok && want != "" && s["enum"] == nil && s["const"] == nil {
		w.t.Errorf("%s: the schema takes any type, the parser wants %s", path, want)
	}
}

// beyondSchema are the cases that are wrong in a way that no schema can see: relations between keys, the meaning of a
// text, the inside of a string.
var beyondSchema = []string{
	"bad-examples", "bad-schemas", "duplicate-tools", "effects", "effects-all-pure", "host-prefix-with-namespace", "host-prefixes",
}

// notTOML are the cases in which there is nothing to hold against a schema.
var notTOML = []string{"syntax", "duplicate-key"}

func TestPackSchemaAgreesWithTheParser(t *testing.T) {
	t.Parallel()
	schema, err := ParseSchema(PackSchema())
	if err != nil {
		t.Fatalf("the schema does not keep to our own profile: %v", err)
	}
	names, err := filepath.Glob("../testdata/manifests/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			caseName := strings.TrimSuffix(filepath.Base(name), ".txtar")
			if slices.Contains(notTOML, caseName) {
				return
			}
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			src := archive.Files[0].Data
			_, parseErr := ParsePack("pack.toml", src)
			schemaErr := validateTOML(schema, src)
			switch {
			case parseErr == nil && schemaErr != nil:
				t.Errorf("the parser accepts it, the schema says %v", schemaErr)
			case parseErr != nil && schemaErr == nil && !slices.Contains(beyondSchema, caseName):
				t.Errorf("the schema accepts it, the parser says %v", parseErr)
			case schemaErr != nil && slices.Contains(beyondSchema, caseName):
				t.Errorf("the schema can see this after all: %v", schemaErr)
			}
		})
	}
}

// asJSON hides what JSON does not have. An editor shows that as wrong too, but not by our schema.
func asJSON(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return "no number"
		}
	case time.Time:
		return v.String()
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	case []map[string]any:
		for i := range v {
			asJSON(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = asJSON(v[key])
		}
	}
	return v
}

// validateTOML holds TOML to a schema as an editor does.
func validateTOML(schema *Schema, src []byte) error {
	var tree map[string]any
	if err := toml.Unmarshal(src, &tree); err != nil {
		return err
	}
	doc, faults := fromTOML(nil, asJSON(tree))
	if len(faults) > 0 {
		return fmt.Errorf("%s: %s", strict.Path(faults[0].where...), faults[0].msg)
	}
	return schema.validate(doc)
}
