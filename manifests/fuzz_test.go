package manifests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// FuzzParsePack: what is accepted can be written down again, is then the same pack with the same digest, and passes the
// editors' schema; what is refused has a problem with a line; and nothing panics.
func FuzzParsePack(f *testing.F) {
	names, _ := filepath.Glob("../testdata/manifests/*.txtar")
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	editors, err := ParseSchema(PackSchema())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := ParsePack("pack.toml", src)
		if err != nil {
			e, ok := err.(*abi.Error)
			if !ok || e.Code != abi.Invalid || e.Msg == "" || p != nil {
				t.Fatalf("%q: got %v, %#v", src, p, err)
			}
			return
		}
		again, err := ParsePack("pack.toml", renderTOML(p))
		if err != nil {
			t.Fatalf("%q: written down as\n%s\nit is refused: %v", src, renderTOML(p), err)
		}
		if !bytes.Equal(p.Canonical(), again.Canonical()) || p.Digest() != again.Digest() {
			t.Fatalf("%q: got\n%s\nthen\n%s", src, p.Canonical(), again.Canonical())
		}
		if err := validateTOML(editors, src); err != nil {
			t.Fatalf("%q: accepted, but the schema for editors says %v", src, err)
		}
		checkCanonical(t, p.Canonical())
	})
}

// FuzzSchema: a schema that compiles is stable in canonical form, and validating anything with it ends, without a panic
// and with one of three answers.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"type":"object","required":["a"],"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"$anchor":"q","enum":[1,"2",null]}}}`), []byte(`{"a":1.0}`))
	f.Add([]byte(`{"anyOf":[{"items":{"$ref":"#"}},{"contains":{"$ref":"#"}}],"unevaluatedItems":false}`), []byte(`[[[[]]]]`))
	f.Add([]byte(`{"patternProperties":{"^a":{"multipleOf":0.1}},"propertyNames":{"maxLength":3},"dependentSchemas":{"a":{"not":{}}}}`), []byte(`{"ab":0.3,"a":1e3}`))
	f.Add([]byte(`{"if":{"const":1},"then":false,"else":{"uniqueItems":true},"x-mine":{}}`), []byte(`[1,1.0]`))
	f.Add([]byte(`{"$id":"urn:x","$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[true,{"minContains":0}]}`), []byte(`"\ud83d\ude00"`))
	f.Fuzz(func(t *testing.T, schema, doc []byte) {
		s, err := ParseSchema(schema)
		if err != nil {
			if abi.CodeOf(err) != abi.Invalid {
				t.Fatalf("%q: %v", schema, err)
			}
			return
		}
		checkCanonical(t, s.JSON())
		if again, err := ParseSchema(s.JSON()); err != nil || !bytes.Equal(again.JSON(), s.JSON()) {
			t.Fatalf("%q: canonical %s, then %v", schema, s.JSON(), err)
		}
		err = s.Validate(doc)
		switch code := abi.CodeOf(err); code {
		case abi.OK, abi.TooLarge, abi.Invalid:
		default:
			t.Fatalf("%q with %q: %v: %v", schema, doc, code, err)
		}
		if !reflect.DeepEqual(err, s.Validate(doc)) {
			t.Fatalf("%q with %q: two answers", schema, doc)
		}
	})
}

// FuzzJSON holds our reader to encoding/json, which accepts more, and our canonical form to the reference implementation
// of RFC 8785.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"b":[1,-0,1e21,1e-7,0.1],"a":"\u20ac\ud83d\ude00\n"}`, `[]`, ` null `, `"\\\"\/\b\u001f"`, `{"":{"":[true,false]}}`, `1.5E+300`,
		`{"\ufb33":1,"\ud83d\ude00":2}`, `[9007199254740991]`, `"\u0000"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		ours, err := readJSON(doc)
		if err != nil {
			return
		}
		var theirs any
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		if err := d.Decode(&theirs); err != nil || d.More() {
			t.Fatalf("%q: we accept, encoding/json says %v", doc, err)
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q: we read %#v, encoding/json %#v", doc, ours, theirs)
		}
		if canonical, err := CanonicalJSON(doc); err == nil {
			checkCanonical(t, canonical)
		}
	})
}

// checkCanonical compares with the reference implementation, which takes arrays and objects only.
func checkCanonical(t *testing.T, canonical []byte) {
	t.Helper()
	again, err := CanonicalJSON(canonical)
	if err != nil || !bytes.Equal(again, canonical) {
		t.Fatalf("%q is not its own canonical form but %q, %v", canonical, again, err)
	}
	reference, err := jsoncanonicalizer.Transform(append(append([]byte("["), canonical...), ']'))
	if err != nil || string(reference) != "["+string(canonical)+"]" {
		t.Fatalf("%q: the reference says %q, %v", canonical, reference, err)
	}
}

// renderTOML writes a pack as a manifest with every key present.
func renderTOML(p *Pack) []byte {
	var b bytes.Buffer
	line := func(key, value string) { fmt.Fprintf(&b, "%s = %s\n", key, value) }
	text := tomlString
	line("schema", "1")
	line("name", text(p.Name))
	line("version", text(p.Version))
	line("description", text(p.Description))
	line("license", text(p.License))
	line("authors", tomlStrings(p.Authors))
	for key, address := range map[string]string{"homepage": p.Homepage, "repository": p.Repository} {
		if address != "" {
			line(key, text(address))
		}
	}
	line("module", fmt.Sprintf("{ file = %s, runtime = %s, abi = %s }", text(p.Module.File), text(p.Module.Runtime), text(p.Module.ABI)))
	for _, c := range p.Capabilities {
		line("capabilities."+string(c.Name), fmt.Sprintf("{ scope = %s, reason = %s, ask = %t, optional = %t, ttl = %s, budget = { calls = %d, bytes = %d, tokens = %d, usd_micros = %d } }",
			tomlStrings(c.Scope), text(c.Reason), c.Ask, c.Optional, text(strict.Duration(c.TTL).String()), c.Budget.Calls, c.Budget.Bytes, c.Budget.Tokens, c.Budget.Money))
	}
	for i := range p.Tools {
		renderTool(&b, &p.Tools[i])
	}
	contribution := func(list, id, title, file string) {
		fmt.Fprintf(&b, "[[%s]]\nid = %s\ntitle = %s\nfile = %s\n", list, text(id), text(title), text(file))
	}
	for _, u := range p.Units {
		contribution("units", u.ID, u.Title, u.File)
	}
	for _, r := range p.Recipes {
		contribution("recipes", r.ID, r.Title, r.File)
	}
	for _, v := range p.Panels {
		contribution("panels", v.ID, v.Title, v.File)
	}
	for _, s := range p.State {
		fmt.Fprintf(&b, "[[state]]\nid = %s\ndescription = %s\nschema = %s\n", text(s.ID), text(s.Description), text(string(s.Schema.JSON())))
	}
	return b.Bytes()
}

func renderTool(b *bytes.Buffer, t *Tool) {
	text := tomlString
	fmt.Fprintf(b, "[[tools]]\nid = %s\ntitle = %s\ndescription = %s\ninput = %s\noutput = %s\neffects = %s\nisolation = %s\n",
		text(t.ID), text(t.Title), text(t.Description), text(string(t.Input.JSON())), text(string(t.Output.JSON())), text(t.Effects.String()), text(t.Isolation))
	if r := t.Recall; r != nil {
		fmt.Fprintf(b, "recall = { question = %s, near = %s, empty = %s, same = %s, ttl = %s }\n",
			tomlString(r.Question), strconv.FormatFloat(r.Near, 'f', -1, 64), tomlString(r.Empty), tomlString(r.Same), tomlString(strict.Duration(r.TTL).String()))
	}
	fmt.Fprintf(b, "streams = [")
	for _, s := range t.Streams {
		fmt.Fprintf(b, "%s, ", text(s))
	}
	fmt.Fprintf(b, "]\nlimits = { stream = %d, memory = %s, gas = %d, time = %s, input = %d, output = %d }\n", t.Limits.Stream,
		text(strict.Size(t.Limits.Memory).String()), t.Limits.Gas, text(strict.Duration(t.Limits.Time).String()), t.Limits.Input, t.Limits.Output)
	for _, e := range t.Examples {
		fmt.Fprintf(b, "[[tools.examples]]\ntitle = %s\ninput = %s\n", text(e.Title), text(string(e.Input)))
		if e.Output != nil {
			fmt.Fprintf(b, "output = %s\n", text(string(e.Output)))
		}
	}
}

func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func tomlStrings(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = tomlString(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
