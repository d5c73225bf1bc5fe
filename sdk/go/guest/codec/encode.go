package codec

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

func encodeError(format string, args ...any) error {
	return &Error{Offset: -1, Msg: fmt.Sprintf(format, args...)}
}

// append writes the variable of the node's type that p points to.
func (n *node) append(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	switch n.op {
	case opString:
		return appendString(dst, *(*string)(p)), nil
	case opInt:
		return strconv.AppendInt(dst, n.int(p), 10), nil
	case opUint:
		return strconv.AppendUint(dst, n.uint(p), 10), nil
	case opBool:
		return strconv.AppendBool(dst, *(*bool)(p)), nil
	case opFloat:
		if n.size == 4 {
			return appendFloat(dst, float64(*(*float32)(p)), 32)
		}
		return appendFloat(dst, *(*float64)(p), 64)
	case opBytes:
		b := *(*[]byte)(p)
		if b == nil {
			return append(dst, "null"...), nil
		}
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"'), nil
	case opTime:
		return appendTime(dst, *(*time.Time)(p))
	case opRaw:
		return appendRaw(dst, *(*Raw)(p))
	case opAny:
		return appendAny(dst, *(*any)(p), depth)
	case opPtr:
		if q := *(*unsafe.Pointer)(p); q != nil {
			if depth++; depth > MaxDepth { // a pointer that leads to itself nests nothing
				return dst, tooDeep()
			}
			return n.elem.append(dst, q, depth)
		}
		return append(dst, "null"...), nil
	}
	if depth++; depth > MaxDepth {
		return dst, tooDeep()
	}
	return n.appendMany(dst, p, depth)
}

func tooDeep() error { return encodeError("nested deeper than %d levels", MaxDepth) }

func (n *node) appendMany(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	switch n.op {
	case opStruct:
		return n.appendStruct(dst, p, depth)
	case opSlice:
		h := (*sliceHeader)(p)
		if h.data == nil {
			return append(dst, "null"...), nil
		}
		return n.appendElems(dst, h.data, h.len, depth)
	case opArray:
		return n.appendElems(dst, p, n.length, depth)
	}
	return n.appendMap(dst, p, depth)
}

func (n *node) int(p unsafe.Pointer) int64 {
	switch n.size {
	case 1:
		return int64(*(*int8)(p))
	case 2:
		return int64(*(*int16)(p))
	case 4:
		return int64(*(*int32)(p))
	}
	return *(*int64)(p)
}

func (n *node) uint(p unsafe.Pointer) uint64 {
	switch n.size {
	case 1:
		return uint64(*(*uint8)(p))
	case 2:
		return uint64(*(*uint16)(p))
	case 4:
		return uint64(*(*uint32)(p))
	}
	return *(*uint64)(p)
}

func (n *node) appendStruct(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	dst = append(dst, '{')
	comma := false
	for i := range n.fields {
		f := &n.fields[i]
		q := unsafe.Add(p, f.offset)
		if f.hops != nil {
			q = f.get(p)
		}
		if q == nil || (f.omitEmpty || f.omitZero) && f.omitted(q) {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = append(dst, f.quoted...)
		var err error
		if dst, err = f.node.append(dst, q, depth); err != nil {
			return dst, within(err, f.name)
		}
	}
	return append(dst, '}'), nil
}

func (n *node) appendElems(dst []byte, data unsafe.Pointer, count, depth int) ([]byte, error) {
	dst = append(dst, '[')
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = n.elem.append(dst, unsafe.Add(data, uintptr(i)*n.elem.size), depth); err != nil {
			return dst, withinIndex(err, i)
		}
	}
	return append(dst, ']'), nil
}

func (n *node) appendMap(dst []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	m := reflect.NewAt(n.typ, p).Elem()
	if m.IsNil() {
		return append(dst, "null"...), nil
	}
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	elem := reflect.New(n.elem.typ)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, k.String()), ':')
		elem.Elem().Set(m.MapIndex(k))
		var err error
		if dst, err = n.elem.append(dst, elem.UnsafePointer(), depth); err != nil {
			return dst, within(err, k.String())
		}
	}
	return append(dst, '}'), nil
}

// empty is what omitempty asks.
func (n *node) empty(p unsafe.Pointer) bool {
	switch n.op {
	case opBool:
		return !*(*bool)(p)
	case opInt:
		return n.int(p) == 0
	case opUint:
		return n.uint(p) == 0
	case opFloat:
		return reflect.NewAt(n.typ, p).Elem().IsZero()
	case opString:
		return *(*string)(p) == ""
	case opBytes, opSlice, opRaw:
		return (*sliceHeader)(p).len == 0
	case opMap:
		return reflect.NewAt(n.typ, p).Elem().Len() == 0
	case opArray:
		return n.length == 0
	case opPtr:
		return *(*unsafe.Pointer)(p) == nil
	case opAny:
		return *(*any)(p) == nil
	}
	return false
}

const hexDigits = "0123456789abcdef"

// appendString quotes s: control characters, quotes and backslashes escaped, U+2028 and U+2029 too (RFC 8259 allows them,
// scripts that embed JSON do not), invalid UTF-8 as \ufffd.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := plain(unsafe.Slice(unsafe.StringData(s), len(s)))
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			return append(dst, '"')
		}
		if s[0] < utf8.RuneSelf {
			dst = appendEscape(dst, s[0])
			s = s[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, `\ufffd`...)
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, `\u202`...), hexDigits[r&0xf])
		default:
			dst = append(dst, s[:size]...)
		}
		s = s[size:]
	}
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendFloat writes the shortest text that reads back as f, in the form of ECMAScript.
func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, encodeError("%v has no JSON form", f)
	}
	abs, format := math.Abs(f), byte('f')
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst, nil
}

func appendTime(dst []byte, t time.Time) ([]byte, error) {
	out, err := t.AppendText(append(dst, '"'))
	if err != nil {
		return dst, encodeError("%v", err)
	}
	return append(out, '"'), nil
}

// appendRaw checks r and writes it without the space between its parts.
func appendRaw(dst []byte, r Raw) ([]byte, error) {
	if r == nil {
		return append(dst, "null"...), nil
	}
	if !Valid(r) {
		return dst, encodeError("the raw value is not JSON")
	}
	quoted, start := false, 0
	for i, c := range r {
		switch {
		case c == '"' && !(quoted && escaped(r[:i])):
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\n' || c == '\r' || c == '\t'):
			dst = append(dst, r[start:i]...)
			start = i + 1
		}
	}
	return append(dst, r[start:]...), nil
}

// escaped says whether b ends with an odd number of backslashes.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// appendAny writes whatever v holds.
func appendAny(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return appendString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case float64:
		return appendFloat(dst, v, 64)
	}
	n, err := planOf(reflect.TypeOf(v))
	if err != nil {
		return dst, encodeError("%v", err)
	}
	p := reflect.New(n.typ)
	p.Elem().Set(reflect.ValueOf(v))
	return n.append(dst, p.UnsafePointer(), depth)
}
