package manifests

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

func (c *checker) tool(where at, raw *rawTool) Tool {
	t := Tool{ID: raw.ID, Title: raw.Title, Isolation: raw.Isolation}
	// A checkout with Windows line ends is the same manifest.
	t.Description = strings.ReplaceAll(raw.Description, "\r\n", "\n")
	c.id(where.key("id"), raw.ID)
	if t.Title == "" {
		t.Title = t.ID
	}
	c.text(where.key("title"), t.Title, 0, maxTitle, false)
	c.text(where.key("description"), t.Description, 1, maxDescription, true)
	t.Effects = c.effects(where.key("effects"), raw.Effects)
	if t.Isolation == "" && !c.lines.Has(where.key("isolation")...) {
		t.Isolation = "fresh"
	}
	c.oneOf(where.key("isolation"), t.Isolation, "fresh", "session")
	t.Capabilities = c.uses(where.key("capabilities"), raw.Uses)
	t.Streams = c.streams(where.key("streams"), raw.Streams)
	if raw.Limits.Stream > 0 && !slices.Contains(t.Streams, "output") {
		c.bad(where.key("limits").key("stream"), `add streams = ["output"] to the tool, or remove the limit`, "the tool streams nothing out")
	}
	t.Input = c.schema(where.key("input"), raw.Input)
	t.Output = c.schema(where.key("output"), raw.Output)
	t.Limits = c.limits(where.key("limits"), raw.Limits)
	t.Recall = c.recall(where.key("recall"), &t, raw.Recall)
	if len(raw.Examples) > maxExamples {
		c.bad(where.key("examples"), "", "at most %d examples, found %d", maxExamples, len(raw.Examples))
	}
	for i, example := range raw.Examples {
		t.Examples = append(t.Examples, c.example(where.key("examples", i), &t, example))
	}
	return t
}

// uses reads the capabilities a tool confines itself to; nil when it does not.
func (c *checker) uses(where at, names []string) []abi.Capability {
	if len(names) == 0 && !c.lines.Has(where...) {
		return nil
	}
	list := []abi.Capability{}
	for i, name := range names {
		switch {
		case abi.Capability(name).Ambient():
			c.bad(where.key(i), "remove it", "%s carries no authority and is always there", name)
		case !slices.Contains(askable, name):
			c.bad(where.key(i), "the capabilities are "+strings.Join(askable, ", "), "there is no capability %q", clip(name))
		case slices.Contains(names[:i], name):
			c.bad(where.key(i), "", "%q stands twice", name)
		default:
			list = append(list, abi.Capability(name))
		}
	}
	slices.Sort(list)
	return list
}

// streams puts the words in the order of the canonical form.
func (c *checker) streams(where at, words []string) (streams []string) {
	for i, word := range words {
		c.oneOf(where.key(i), word, "input", "output")
		if slices.Contains(words[:i], word) {
			c.bad(where.key(i), "", "%q stands twice", word)
		}
	}
	for _, word := range []string{"input", "output"} {
		if slices.Contains(words, word) {
			streams = append(streams, word)
		}
	}
	return streams
}

func (c *checker) effects(where at, word string) abi.Effect {
	if word == "" && !c.lines.Has(where...) {
		return abi.Pure
	}
	c.oneOf(where, word, abi.EffectNames[:]...)
	for effect, name := range abi.EffectNames {
		if name == word {
			return abi.Effect(effect)
		}
	}
	return abi.Pure
}

func (c *checker) limits(where at, raw rawLimits) Limits {
	top := Ceilings()
	bound := func(key string, got, most int64, show func(int64) string) {
		if got > most {
			c.bad(where.key(key), "", "at most %s, found %s", show(most), show(got))
		}
	}
	bytes := func(n int64) string { return strict.Size(n).String() }
	bound("memory", int64(raw.Memory), top.Memory, bytes)
	bound("input", int64(raw.Input), top.Input, bytes)
	bound("output", int64(raw.Output), top.Output, bytes)
	bound("stream", int64(raw.Stream), top.Stream, bytes)
	bound("time", int64(raw.Time), int64(top.Time), func(n int64) string { return strict.Duration(n).String() })
	bound("gas", int64(min(raw.Gas, math.MaxInt64)), int64(top.Gas), func(n int64) string { return strconv.FormatInt(n, 10) })
	if raw.Memory > 0 && raw.Memory < wasmPage {
		c.bad(where.key("memory"), "", "WebAssembly memory comes in pages: at least 64KiB, found %s", raw.Memory)
	}
	if raw.Memory > 0 && raw.Input > raw.Memory {
		c.bad(where.key("input"), "", "an input of %s does not fit into the %s of memory", raw.Input, raw.Memory)
	}
	if raw.Memory > 0 && raw.Output > raw.Memory {
		c.bad(where.key("output"), "", "an output of %s does not fit into the %s of memory", raw.Output, raw.Memory)
	}
	return Limits{Memory: int64(raw.Memory), Gas: raw.Gas, Time: time.Duration(raw.Time), Input: int64(raw.Input), Output: int64(raw.Output), Stream: int64(raw.Stream)}
}

const wasmPage = 64 << 10

// document takes a JSON value that is written as a TOML value, or as a string that holds JSON (for null, and for those
// who have their schema as text already).
func (c *checker) document(where at, raw any) (any, bool) {
	if text, ok := raw.(string); ok {
		doc, err := readJSON([]byte(text))
		if err == nil {
			_, err = appendCanonical(nil, doc)
		}
		if err != nil {
			c.bad(where, `a string here holds JSON text: write '"word"' for the string "word"`, "%s", err)
			return nil, false
		}
		return doc, true
	}
	doc, faults := fromTOML(where, raw)
	for _, fault := range faults {
		c.bad(fault.where, "", "%s", fault.msg)
	}
	return doc, len(faults) == 0
}

// schema compiles a schema, or gives the one that accepts everything when none is written or it is broken.
func (c *checker) schema(where at, raw any) *Schema {
	if raw != nil {
		if doc, ok := c.document(where, raw); ok {
			s, faults := newSchema(doc)
			if len(faults) == 0 {
				return s
			}
			if _, isText := raw.(string); isText {
				for i := range faults {
					faults[i] = Fault{Msg: faults[i].String()}
				}
			}
			c.badInside(where, doc, faults, "")
		}
	}
	everything, _ := newSchema(true)
	return everything
}

// example checks a stated call against the tool's own schemas.
func (c *checker) example(where at, t *Tool, raw rawExample) Example {
	e := Example{Title: raw.Title}
	c.text(where.key("title"), raw.Title, 0, maxTitle, false)
	fit := func(key string, raw any, s *Schema) json.RawMessage {
		if raw == nil {
			return nil
		}
		doc, ok := c.document(where.key(key), raw)
		if !ok {
			return nil
		}
		if d := depth(doc); d > maxDepth {
			c.bad(where.key(key), "", "nested deeper than %d levels", maxDepth)
			return nil
		}
		if err := s.validate(doc); err != nil {
			c.misfit(where.key(key), doc, raw, key, err)
		}
		canonical, err := appendCanonical(nil, doc)
		if err != nil {
			c.bad(where.key(key), "", "%s", err)
		}
		return canonical
	}
	e.Input = fit("input", raw.Input, t.Input)
	e.Output = fit("output", raw.Output, t.Output)
	return e
}

// misfit turns the faults of an example into problems at their own lines.
func (c *checker) misfit(where at, doc, raw any, key string, err error) {
	e, _ := errors.AsType[*abi.Error](err)
	detail, ok := e.Detail.(Misfit)
	if _, isText := raw.(string); isText || !ok {
		c.bad(where, "", "does not fit the tool's %s schema: %s", key, strings.TrimPrefix(err.Error(), "validate JSON: "))
		return
	}
	c.badInside(where, doc, detail.Faults, "does not fit the tool's "+key+" schema: ")
}

// places turns a JSON pointer into document doc to key and index parts.
func places(doc any, pointer string) []any {
	var parts []any
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		switch d := doc.(type) {
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(d) {
				return parts
			}
			parts, doc = append(parts, i), d[i]
		case map[string]any:
			key := unescape.Replace(token)
			parts, doc = append(parts, key), d[key]
		default:
			return parts
		}
	}
	return parts
}

// tomlError is a TOML value that JSON does not have.
type tomlError struct {
	where at
	msg   string
}

// fromTOML makes the tree that readJSON would give of a TOML value, and names every value in it that JSON does not have,
// in no stated order.
func fromTOML(where at, v any) (doc any, faults []tomlError) {
	bad := func(msg string) (any, []tomlError) { return nil, []tomlError{{where, msg}} }
	switch v := v.(type) {
	case string, bool:
		return v, nil
	case int64:
		n := json.Number(strconv.FormatInt(v, 10))
		if _, err := appendNumber(nil, n); err != nil {
			return bad(err.Error())
		}
		return n, nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return bad("JSON has no infinity and no NaN")
		}
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64)), nil
	case []any:
		items := make([]any, len(v))
		for i := range v {
			item, wrong := fromTOML(where.key(i), v[i])
			items[i], faults = item, append(faults, wrong...)
		}
		return items, faults
	case []map[string]any:
		items := make([]any, len(v))
		for i := range v {
			items[i] = v[i]
		}
		return fromTOML(where, items)
	case map[string]any:
		fields := make(map[string]any, len(v))
		for key, value := range v {
			field, wrong := fromTOML(where.key(key), value)
			fields[key], faults = field, append(faults, wrong...)
		}
		return fields, faults
	}
	return bad("JSON has no dates; write it as a string")
}
