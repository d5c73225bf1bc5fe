package codec

import (
	"fmt"
	"reflect"
	"time"
)

// op says how a value of one type is read and written.
type op uint8

const (
	opBool op = iota
	opInt
	opUint
	opFloat
	opString
	opBytes
	opTime
	opRaw
	opAny
	opStruct
	opPtr
	opSlice
	opArray
	opMap
)

// node is the plan of one type.
type node struct {
	op     op
	typ    reflect.Type
	size   uintptr
	elem   *node   // of a pointer, slice, array or map
	fields []field // of a struct, in the order they are written
	exact  map[string]int
	length int // of an array
}

type (
	jsonMarshaler   interface{ MarshalJSON() ([]byte, error) }
	jsonUnmarshaler interface{ UnmarshalJSON([]byte) error }
	textMarshaler   interface{ MarshalText() ([]byte, error) }
	textUnmarshaler interface{ UnmarshalText([]byte) error }
)

// builder keeps the nodes of one plan, so that a type that refers to itself has one node.
type builder struct{ seen map[reflect.Type]*node }

func build(t reflect.Type) (*node, error) {
	b := builder{seen: map[reflect.Type]*node{}}
	return b.node(t, t.String())
}

// node plans t; at names the place for the message.
func (b *builder) node(t reflect.Type, at string) (*node, error) {
	if n := b.seen[t]; n != nil {
		return n, nil
	}
	n := &node{typ: t, size: t.Size()}
	b.seen[t] = n
	switch t {
	case reflect.TypeFor[time.Time]():
		n.op = opTime
		return n, nil
	case reflect.TypeFor[Raw]():
		n.op = opRaw
		return n, nil
	}
	if t.PkgPath() == "encoding/json" && t.Name() == "RawMessage" { // known by name, so that guests need not carry that package
		n.op = opRaw
		return n, nil
	}
	if err := customised(t, at); err != nil {
		return nil, err
	}
	return n, b.kind(n, at)
}

// customised refuses types that have a JSON form of their own, which this package would not call.
func customised(t reflect.Type, at string) error {
	if t.PkgPath() == "encoding/json" && t.Name() == "Number" {
		return fmt.Errorf("codec: %s: json.Number is not supported; use codec.Raw, a float64 or an integer", at)
	}
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return nil // what it leads to is asked itself
	}
	for _, iface := range []reflect.Type{
		reflect.TypeFor[jsonMarshaler](), reflect.TypeFor[jsonUnmarshaler](),
		reflect.TypeFor[textMarshaler](), reflect.TypeFor[textUnmarshaler](),
	} {
		if t.Implements(iface) || reflect.PointerTo(t).Implements(iface) {
			return fmt.Errorf("codec: %s: %s has a JSON form of its own, which is not supported; use codec.Raw or a plain type", at, t)
		}
	}
	return nil
}

func (b *builder) kind(n *node, at string) error {
	var err error
	switch t := n.typ; t.Kind() {
	case reflect.Bool:
		n.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n.op = opUint
	case reflect.Float32, reflect.Float64:
		n.op = opFloat
	case reflect.String:
		n.op = opString
	case reflect.Struct:
		n.op = opStruct
		return b.structFields(n, at)
	case reflect.Pointer:
		n.op = opPtr
		n.elem, err = b.node(t.Elem(), at)
	case reflect.Slice:
		n.op = opSlice
		if t.Elem().Kind() == reflect.Uint8 && customised(t.Elem(), at) == nil {
			n.op = opBytes
		}
		n.elem, err = b.node(t.Elem(), at+"[]")
	case reflect.Array:
		n.op, n.length = opArray, t.Len()
		n.elem, err = b.node(t.Elem(), at+"[]")
	case reflect.Map:
		n.op = opMap
		if t.Key().Kind() != reflect.String || customised(t.Key(), at) != nil {
			return fmt.Errorf("codec: %s: %s is not supported; the keys of a map must be plain strings", at, t)
		}
		n.elem, err = b.node(t.Elem(), at+"[]")
	case reflect.Interface:
		n.op = opAny
		if t.NumMethod() > 0 {
			return fmt.Errorf("codec: %s: the interface %s is not supported; only any is", at, t)
		}
	default:
		return fmt.Errorf("codec: %s: %s has no JSON form", at, t)
	}
	return err
}
