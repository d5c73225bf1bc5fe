// Package codec turns JSON into Go values and back without encoding/json, whose start and reflection cost a WebAssembly
// guest eighty times the rest of a call. Everything that reflection can find out about a type is found out once, by For;
// a guest does that before the host takes its snapshot, so that a call only walks the finished plan.
//
// For the types it takes, the meaning is that of encoding/json (Go 1.26): names from json tags with omitempty and omitzero,
// embedded structs, exact then case-folded field names, unknown fields skipped, null as "nothing", base64 for []byte, nil
// slices and maps written as null, map keys sorted, invalid UTF-8 replaced. Output is that of an Encoder with
// SetEscapeHTML(false). It differs on purpose in three places: values nest at most MaxDepth deep, a decoded string may
// share memory with the input, and types it does not take (functions, channels, interfaces other than any, maps whose keys
// are not strings, the ",string" option, types with MarshalJSON or MarshalText of their own except time.Time and
// json.RawMessage) make For panic instead of failing in the middle of some later call.
//
// A Codec does not change once made and may be used by many goroutines.
package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// MaxDepth is how deep arrays and objects may nest. A guest's stack is bounded by its host.
const MaxDepth = 1000

// Codec reads and writes values of type T.
type Codec[T any] struct{ root *node }

// For makes the plan of T. It panics, naming the field, when T holds a type that has no JSON form here: a programmer's
// mistake that must not wait for the first call.
func For[T any]() *Codec[T] {
	n, err := planOf(reflect.TypeFor[T]())
	if err != nil {
		panic(err.Error())
	}
	return &Codec[T]{root: n}
}

// Decode reads one JSON value into v; v keeps what the JSON does not mention. Strings and Raws in v may share data's
// memory, so data must not change as long as v is used. The error is an *Error; v may then be filled in part.
func (c *Codec[T]) Decode(data []byte, v *T) error {
	d := decoder{data: data}
	return d.document(c.root, unsafe.Pointer(v))
}

// Append writes v as JSON behind dst and returns the longer slice. The error is an *Error (a NaN or an infinity, a Raw
// that is not JSON, nesting beyond MaxDepth, a type inside an any that has no JSON form); dst's own bytes stay as they were.
func (c *Codec[T]) Append(dst []byte, v *T) ([]byte, error) {
	out, err := c.root.append(dst, unsafe.Pointer(v), 0)
	if err != nil {
		return dst, finish(err)
	}
	return out, nil
}

// Schema describes T in JSON Schema 2020-12. Objects refuse unknown fields, and require those that have neither omitempty
// nor omitzero and are no pointers. A struct tag `doc:"…"` becomes a description.
func (c *Codec[T]) Schema() []byte { return schemaOf(c.root) }

// AppendAny writes a value whose type is known at run time only, as Append does. The first use of a type costs its plan.
func AppendAny(dst []byte, v any) ([]byte, error) {
	out, err := appendAny(dst, v, 0)
	if err != nil {
		return dst, finish(err)
	}
	return out, nil
}

// DecodeAny reads one JSON value into the variable that into points to, as Decode does. Besides Decode's errors it fails
// for an into that is no pointer or whose type has no JSON form.
func DecodeAny(data []byte, into any) error {
	p := reflect.ValueOf(into)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return &Error{Offset: -1, Msg: fmt.Sprintf("cannot decode into %T: it is no pointer to a variable", into)}
	}
	n, err := planOf(p.Type().Elem())
	if err != nil {
		return &Error{Offset: -1, Msg: err.Error()}
	}
	d := decoder{data: data}
	return d.document(n, p.UnsafePointer())
}

// Raw is one JSON value kept as it is. Decoding copies nothing; encoding checks it and drops the space between its parts.
// A nil Raw is null.
type Raw []byte

// MarshalJSON makes a Raw mean the same to encoding/json.
func (r Raw) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("null"), nil
	}
	return r, nil
}

// UnmarshalJSON makes a Raw mean the same to encoding/json.
func (r *Raw) UnmarshalJSON(data []byte) error {
	*r = bytes.Clone(data)
	return nil
}

// Valid reports whether data is one JSON value, by the rules of RFC 8259 and of MaxDepth.
func Valid(data []byte) bool {
	d := decoder{data: data}
	d.space()
	return d.skip() == nil && d.end() == nil
}

// Error says where in a document something is wrong.
type Error struct {
	Pointer string // RFC 6901: "" is the whole document, "/items/3/name" a part of it
	Offset  int    // byte in the input; -1 when encoding
	Msg     string
	path    []string // innermost first, while the error travels outwards
}

// Error names the place and what is wrong there.
func (e *Error) Error() string {
	switch {
	case e.Pointer != "" && e.Offset >= 0:
		return fmt.Sprintf("at %q (byte %d): %s", e.Pointer, e.Offset, e.Msg)
	case e.Pointer != "":
		return fmt.Sprintf("at %q: %s", e.Pointer, e.Msg)
	case e.Offset > 0:
		return fmt.Sprintf("at byte %d: %s", e.Offset, e.Msg)
	}
	return e.Msg
}

// within notes on the way out that err happened below the member or element named token.
func within(err error, token string) error {
	if e, ok := err.(*Error); ok {
		e.path = append(e.path, strings.Clone(token))
	}
	return err
}

func withinIndex(err error, i int) error { return within(err, strconv.Itoa(i)) }

// finish turns the collected path into a pointer.
func finish(err error) error {
	e, ok := err.(*Error)
	if !ok || len(e.path) == 0 {
		return err
	}
	var b strings.Builder
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for i := len(e.path) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(escape.Replace(e.path[i]))
	}
	e.Pointer, e.path = b.String(), nil
	return e
}

// plans keeps the finished plans by type: a cache whose content follows from its keys.
var plans sync.Map

func planOf(t reflect.Type) (*node, error) {
	if n, ok := plans.Load(t); ok {
		return n.(*node), nil
	}
	n, err := build(t)
	if err != nil {
		return nil, err
	}
	plans.Store(t, n)
	return n, nil
}
