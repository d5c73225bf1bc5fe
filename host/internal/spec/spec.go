// Package spec keeps one promise: the machine-readable documents of the host (OpenAPI, AsyncAPI, JSON Schemas) are written
// out of the very tables and Go types that serve, so that they cannot say anything else. It does no I/O; the same
// input gives the same bytes.
package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// Op is one operation of the HTTP API. Path has parameters as ":name".
type Op struct {
	Method, Path string
	Need         string // the capability a caller needs; "" is none
	Summary      string
	Query        string // names of parameters, separated by spaces
	In, Out      any    // values of the types of the bodies; nil is no body
	Optional     bool   // the request's body may be left out
	Status, Also int    // of success; 0 is 200, or 204 without a body; Also is another one with the same body
	Media        string // of the answer where it is not JSON
	Takes        string // media type of the request where it is not JSON
	Codes        []abi.Code
	Ranges       bool // a part may be asked for, and the whole with a validator
}

// problems are the codes an operation may answer: its own, and those that follow from its form.
func (o *Op) problems() []abi.Code {
	codes := append([]abi.Code{abi.Internal}, o.Codes...)
	if o.Need != "" {
		codes = append(codes, abi.Unauthenticated, abi.Denied, abi.Busy)
	}
	if o.In != nil {
		codes = append(codes, abi.Invalid, abi.TooLarge)
	}
	if o.Query != "" {
		codes = append(codes, abi.Invalid)
	}
	if strings.Contains(o.Path, ":") {
		codes = append(codes, abi.NotFound)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// Template is the path as OpenAPI writes it.
func (o *Op) Template() string {
	parts := strings.Split(o.Path, "/")
	for i, p := range parts {
		if name, ok := strings.CutPrefix(p, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// OpenAPI writes the document of the operations, version 3.1.
func OpenAPI(version string, ops []Op) ([]byte, error) {
	t := NewTypes("#/components/schemas/")
	t.Of(api.Problem{})
	paths, tags := Schema{}, map[string]bool{}
	for i := range ops {
		o := &ops[i]
		item, _ := paths[o.Template()].(Schema)
		if item == nil {
			item = Schema{}
			paths[o.Template()] = item
		}
		method := strings.ToLower(o.Method)
		if _, twice := item[method]; twice {
			return nil, fmt.Errorf("describe %s %s: it is there twice", o.Method, o.Path)
		}
		item[method] = o.operation(t)
		tags[o.tag()] = true
	}
	list := []Schema{}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, Schema{"name": tag})
	}
	return encode(Schema{
		"openapi": "3.1.0",
		"info": Schema{
			"title": "arw", "version": version,
			"description": "The HTTP API of an arw host. Every answer that is not a success is a problem document (RFC 9457).",
			"contact":     Schema{"name": "the arw project", "url": "https://github.com/arw-project/arw"},
		},
		"servers": []Schema{{"url": "http://127.0.0.1:8091", "description": "a host on this machine"}},
		"tags":    list,
		"paths":   paths,
		"components": Schema{
			"schemas":         t.Defs(),
			"securitySchemes": Schema{"token": Schema{"type": "http", "scheme": "bearer", "description": "made with arw token create, or operator.token of the state directory"}},
		},
	})
}

func (o *Op) tag() string {
	tag, _, _ := strings.Cut(strings.TrimPrefix(o.Path, "/"), "/")
	return tag
}

func (o *Op) operation(t *Types) Schema {
	id := strings.ToLower(o.Method) + strings.NewReplacer("/:", "_by_", "/", "_", ".", "_").Replace(o.Path)
	out := Schema{
		"operationId": id, "summary": o.Summary, "description": o.Summary + ".", "tags": []string{o.tag()}, "responses": o.responses(t),
	}
	if params := o.parameters(); len(params) > 0 {
		out["parameters"] = params
	}
	if o.In != nil {
		out["requestBody"] = Schema{"required": !o.Optional, "content": Schema{"application/json": Schema{"schema": t.Of(o.In)}}}
	}
	if o.Takes != "" {
		out["requestBody"] = Schema{"required": true, "content": Schema{o.Takes: Schema{}}}
	}
	if o.Need != "" {
		out["x-arw-capability"] = o.Need
		out["security"] = []Schema{{"token": []string{}}, {}}
	}
	return out
}

func (o *Op) parameters() []Schema {
	params := []Schema{}
	for part := range strings.SplitSeq(o.Path, "/") {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			params = append(params, Schema{"name": name, "in": "path", "required": true, "schema": Schema{"type": "string"}})
		}
	}
	for name := range strings.FieldsSeq(o.Query) {
		params = append(params, Schema{"name": name, "in": "query", "schema": Schema{"type": "string"}})
	}
	return params
}

func (o *Op) responses(t *Types) Schema {
	out := Schema{}
	ok := Schema{"description": "success"}
	switch {
	case o.Media != "":
		ok["content"] = Schema{o.Media: Schema{}}
	case o.Out != nil:
		ok["content"] = Schema{"application/json": Schema{"schema": t.Of(o.Out)}}
	}
	status := o.Status
	if status == 0 {
		status = 200
		if o.Out == nil && o.Media == "" {
			status = 204
		}
	}
	out[strconv.Itoa(status)] = ok
	if o.Also != 0 {
		out[strconv.Itoa(o.Also)] = ok
	}
	problem := Schema{"application/problem+json": Schema{"schema": t.Of(api.Problem{})}}
	if o.Ranges {
		out["206"] = Schema{"description": "the part that was asked for", "content": ok["content"]}
		out["304"] = Schema{"description": "the caller has it already"}
		out["416"] = Schema{"description": "there is no such part", "content": problem}
	}
	by := map[int][]string{}
	for _, code := range o.problems() {
		row := code.Info()
		by[row.Status] = append(by[row.Status], row.Name)
	}
	for status, names := range by {
		out[strconv.Itoa(status)] = Schema{"description": strings.Join(names, ", "), "content": problem}
	}
	out["default"] = Schema{"description": "any other problem", "content": problem}
	return out
}

// AsyncAPI writes the document of the event stream, version 3.0: one message for each kind.
func AsyncAPI(version string, events []api.EventKind) ([]byte, error) {
	t := NewTypes("#/components/schemas/")
	messages, refs, all := Schema{}, Schema{}, []Schema{}
	for _, e := range events {
		messages[e.Kind] = Schema{
			"name": e.Kind, "title": e.Kind, "summary": e.Means, "contentType": "application/json", "payload": envelope(e.Kind, t.Of(e.Body)),
		}
		refs[e.Kind] = Schema{"$ref": "#/components/messages/" + e.Kind}
		all = append(all, Schema{"$ref": "#/channels/events/messages/" + e.Kind})
	}
	return encode(Schema{
		"asyncapi": "3.0.0",
		"info": Schema{
			"title": "arw events", "version": version,
			"description": "Everything that happens in an arw host, in one order. Packs add kinds under their own namespace.",
			"contact":     Schema{"name": "the arw project", "url": "https://github.com/arw-project/arw"},
			"license":     Schema{"name": "see the repository"},
			"tags":        []Schema{{"name": "events"}},
		},
		"defaultContentType": "application/json",
		"servers":            Schema{"local": Schema{"host": "127.0.0.1:8091", "protocol": "http", "description": "a host on this machine"}},
		"channels": Schema{"events": Schema{
			"address": "/events", "description": "Server-sent events; the event's id is the record's, its name the kind.", "messages": refs,
		}},
		"operations": Schema{"follow": Schema{
			"action": "send", "channel": Schema{"$ref": "#/channels/events"}, "summary": "What the host tells whoever follows.", "description": "Every record in order, from where the follower asks to begin.", "messages": all,
		}},
		"components": Schema{"messages": messages, "schemas": t.Defs()},
	})
}

// envelope is a record of the journal with a body of one kind.
func envelope(kind string, body Schema) Schema {
	text := Schema{"type": "string"}
	return Schema{
		"type": "object", "required": []string{"id", "time", "kind", "body"},
		"properties": Schema{
			"id": Schema{"type": "integer", "minimum": 1}, "time": Schema{"type": "string", "format": "date-time"}, "kind": Schema{"const": kind},
			"corr_id": text, "actor": text, "project": text, "pack": text, "action": text, "hash": text, "body": body,
		},
	}
}

// Document is the schema of one type on its own, with all that it refers to.
func Document(name string, v any) Schema {
	t := NewTypes("#/$defs/")
	doc := Schema{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "allOf": []Schema{t.Of(v)}}
	if len(t.Defs()) > 0 {
		doc["$defs"] = t.Defs()
	}
	return doc
}

// Schemas are the documents of all bodies: of events by their kinds, of requests and answers by their types' names.
func Schemas(ops []Op, events []api.EventKind) map[string]any {
	out := map[string]any{}
	for _, e := range events {
		out[e.Kind] = e.Body
	}
	for _, o := range ops {
		for _, v := range []any{o.In, o.Out} {
			if v == nil {
				continue
			}
			if ref, ok := NewTypes("").Of(v)["$ref"].(string); ok {
				out[ref] = v
			}
		}
	}
	return out
}

func encode(doc Schema) ([]byte, error) {
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(raw, '\n'), nil
}

// Any is the type of a body that has no type of its own.
type Any = json.RawMessage
