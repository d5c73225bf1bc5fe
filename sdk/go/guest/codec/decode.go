package codec

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

func (d *decoder) document(n *node, p unsafe.Pointer) error {
	d.space()
	err := d.value(n, p)
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return finish(err)
	}
	return nil
}

// value reads the value at hand into p, which points to a variable of the node's type.
func (d *decoder) value(n *node, p unsafe.Pointer) error {
	if d.peek() == 'n' {
		return d.null(n, p)
	}
	switch n.op {
	case opString:
		if d.peek() != '"' {
			return d.mismatch("a string")
		}
		s, err := d.str()
		if err == nil {
			*(*string)(p) = s
		}
		return err
	case opInt:
		return d.int(n, p)
	case opUint:
		return d.uint(n, p)
	case opStruct:
		return d.object(n, p)
	case opBool:
		return d.bool(p)
	case opFloat:
		return d.float(n, p)
	case opSlice:
		return d.slice(n, p)
	case opPtr:
		at := (*unsafe.Pointer)(p)
		if *at == nil {
			*at = reflect.New(n.elem.typ).UnsafePointer()
		}
		return d.value(n.elem, *at)
	}
	return d.rare(n, p)
}

func (d *decoder) rare(n *node, p unsafe.Pointer) error {
	switch n.op {
	case opBytes:
		return d.bytes(n, p)
	case opTime:
		return d.time((*time.Time)(p))
	case opRaw:
		return d.raw((*Raw)(p))
	case opAny:
		v, err := d.any()
		if err == nil {
			*(*any)(p) = v
		}
		return err
	case opArray:
		return d.array(n, p)
	}
	return d.mapping(n, p)
}

// null empties what can be empty and leaves the rest as it is.
func (d *decoder) null(n *node, p unsafe.Pointer) error {
	start := d.pos
	if err := d.literal("null"); err != nil {
		return err
	}
	switch n.op {
	case opPtr, opMap, opSlice, opBytes:
		reflect.NewAt(n.typ, p).Elem().SetZero()
	case opAny:
		*(*any)(p) = nil
	case opRaw:
		*(*Raw)(p) = d.data[start:d.pos:d.pos]
	}
	return nil
}

func (d *decoder) bool(p unsafe.Pointer) error {
	word := "true"
	switch d.peek() {
	case 't':
	case 'f':
		word = "false"
	default:
		return d.mismatch("a boolean")
	}
	if err := d.literal(word); err != nil {
		return err
	}
	*(*bool)(p) = word == "true"
	return nil
}

// whole reads the text of a number that must be an integer of the node's type.
func (d *decoder) whole(n *node) (string, error) {
	if c := d.peek(); c != '-' && c-'0' > 9 {
		return "", d.mismatch("an integer")
	}
	start := d.pos
	text, whole, err := d.number()
	if err == nil && !whole {
		d.pos = start
		return "", d.fail("expected an integer, found %s", text)
	}
	return text, err
}

// short reads a plain integer of at most 18 digits, as nearly all are; otherwise not ok, and the position is anywhere.
func (d *decoder) short() (v int64, ok bool) {
	data, i := d.data, d.pos
	negative := d.peek() == '-'
	if negative {
		i++
	}
	first := i
	for ; i < len(data) && data[i]-'0' <= 9; i++ {
		v = v*10 + int64(data[i]-'0')
	}
	digits := i - first
	if digits == 0 || digits > 18 || data[first] == '0' && digits > 1 {
		return 0, false
	}
	if i < len(data) && (data[i] == '.' || data[i]|0x20 == 'e') {
		return 0, false
	}
	if d.pos = i; negative {
		v = -v
	}
	return v, true
}

func (d *decoder) int(n *node, p unsafe.Pointer) error {
	start := d.pos
	if v, ok := d.short(); ok && n.size == 8 {
		*(*int64)(p) = v
		return nil
	}
	d.pos = start
	text, err := d.whole(n)
	if err != nil {
		return err
	}
	v, err := strconv.ParseInt(text, 10, int(n.size)*8)
	if err != nil {
		d.pos = start
		return d.fail("%s is outside the range of %s", text, n.typ.Kind())
	}
	switch n.size {
	case 1:
		*(*int8)(p) = int8(v)
	case 2:
		*(*int16)(p) = int16(v)
	case 4:
		*(*int32)(p) = int32(v)
	default:
		*(*int64)(p) = v
	}
	return nil
}

func (d *decoder) uint(n *node, p unsafe.Pointer) error {
	start := d.pos
	text, err := d.whole(n)
	if err != nil {
		return err
	}
	v, err := strconv.ParseUint(text, 10, int(n.size)*8)
	if err != nil {
		d.pos = start
		return d.fail("%s is outside the range of %s", text, n.typ.Kind())
	}
	switch n.size {
	case 1:
		*(*uint8)(p) = uint8(v)
	case 2:
		*(*uint16)(p) = uint16(v)
	case 4:
		*(*uint32)(p) = uint32(v)
	default:
		*(*uint64)(p) = v
	}
	return nil
}

func (d *decoder) float(n *node, p unsafe.Pointer) error {
	if c := d.peek(); c != '-' && c-'0' > 9 {
		return d.mismatch("a number")
	}
	start := d.pos
	text, _, err := d.number()
	if err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, int(n.size)*8)
	if err != nil {
		d.pos = start
		return d.fail("%s is outside the range of %s", text, n.typ.Kind())
	}
	if n.size == 4 {
		*(*float32)(p) = float32(v)
	} else {
		*(*float64)(p) = v
	}
	return nil
}

// bytes reads base64, or as encoding/json does an array of numbers.
func (d *decoder) bytes(n *node, p unsafe.Pointer) error {
	switch d.peek() {
	case '[':
		return d.slice(n, p)
	case '"':
	default:
		return d.mismatch("base64 text")
	}
	start := d.pos
	s, err := d.str()
	if err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		d.pos = start
		return d.fail("expected base64 text: %v", err)
	}
	*(*[]byte)(p) = b
	return nil
}

func (d *decoder) time(t *time.Time) error {
	if d.peek() != '"' {
		return d.mismatch("a time")
	}
	start := d.pos
	if err := d.skipString(); err != nil {
		return err
	}
	if err := t.UnmarshalJSON(d.data[start:d.pos]); err != nil {
		text := d.data[start:d.pos]
		d.pos = start
		return d.fail("expected a time as in RFC 3339, found %s", text)
	}
	return nil
}

func (d *decoder) raw(r *Raw) error {
	start := d.pos
	if err := d.skip(); err != nil {
		return err
	}
	*r = d.data[start:d.pos:d.pos]
	return nil
}

// any reads a value as float64, string, bool, nil, []any or map[string]any.
func (d *decoder) any() (any, error) {
	switch c := d.peek(); {
	case c == '"':
		return d.str()
	case c == '{':
		return d.anyObject()
	case c == '[':
		return d.anyArray()
	case c == 't':
		return true, d.literal("true")
	case c == 'f':
		return false, d.literal("false")
	case c == 'n':
		return nil, d.literal("null")
	}
	start := d.pos
	text, _, err := d.number()
	if err != nil {
		d.pos = start
		return nil, d.unexpected("a JSON value")
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		d.pos = start
		return nil, d.fail("%s is outside the range of float64", text)
	}
	return v, nil
}

func (d *decoder) anyObject() (any, error) {
	m := map[string]any{}
	closed, err := d.enter('}')
	for more := !closed; err == nil && more; {
		name, err := d.key()
		if err != nil {
			return nil, err
		}
		if m[name], err = d.any(); err != nil {
			return nil, within(err, name)
		}
		if more, err = d.more('}'); err != nil {
			return nil, err
		}
	}
	return m, err
}

func (d *decoder) anyArray() (any, error) {
	a := []any{}
	closed, err := d.enter(']')
	for more := !closed; err == nil && more; {
		v, err := d.any()
		if err != nil {
			return nil, withinIndex(err, len(a))
		}
		a = append(a, v)
		if more, err = d.more(']'); err != nil {
			return nil, err
		}
	}
	return a, err
}
