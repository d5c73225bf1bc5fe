package codec

import (
	"reflect"
	"slices"
	"strconv"
)

// schemaOf writes the JSON Schema of a plan. A type that refers to itself goes to $defs.
func schemaOf(n *node) []byte {
	s := schemaWriter{state: map[*node]int{}, names: map[*node]string{}}
	s.find(n)
	body := s.node(nil, n, "", false)
	if len(s.defs) == 0 {
		return body
	}
	body = append(body[:len(body)-1], `,"$defs":{`...)
	for i := 0; i < len(s.defs); i++ {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(appendString(body, s.names[s.defs[i]]), ':')
		body = s.node(body, s.defs[i], "", true)
	}
	return append(body, '}', '}')
}

type schemaWriter struct {
	state map[*node]int // 1 while being searched, 2 when done
	names map[*node]string
	defs  []*node
}

// find collects the nodes that contain themselves.
func (s *schemaWriter) find(n *node) {
	switch s.state[n] {
	case 1:
		if s.names[n] == "" {
			name := n.typ.Name()
			for i := 2; name == "" || slices.ContainsFunc(s.defs, func(d *node) bool { return s.names[d] == name }); i++ {
				name = n.typ.Name() + strconv.Itoa(i)
			}
			s.names[n] = name
			s.defs = append(s.defs, n)
		}
		return
	case 2:
		return
	}
	s.state[n] = 1
	if n.elem != nil {
		s.find(n.elem)
	}
	for i := range n.fields {
		s.find(n.fields[i].node)
	}
	s.state[n] = 2
}

// node writes the schema of n; top says that it is the definition itself, not a mention of it.
func (s *schemaWriter) node(dst []byte, n *node, doc string, top bool) []byte {
	dst = append(dst, '{')
	if doc != "" {
		dst = append(appendString(append(dst, `"description":`...), doc), ',')
	}
	if name := s.names[n]; name != "" && !top {
		return append(appendString(append(dst, `"$ref":`...), "#/$defs/"+name), '}')
	}
	switch n.op {
	case opBool:
		dst = append(dst, `"type":"boolean"`...)
	case opInt, opUint:
		dst = append(dst, `"type":"integer"`...)
		dst = appendRange(dst, n)
	case opFloat:
		dst = append(dst, `"type":"number"`...)
	case opString:
		dst = append(dst, `"type":"string"`...)
	case opTime:
		dst = append(dst, `"type":"string","format":"date-time"`...)
	case opBytes:
		dst = append(dst, `"type":["string","null"],"contentEncoding":"base64"`...)
	case opSlice, opArray:
		dst = s.array(dst, n)
	case opMap:
		dst = append(dst, `"type":["object","null"],"additionalProperties":`...)
		dst = s.node(dst, n.elem, "", false)
	case opStruct:
		dst = s.object(dst, n)
	case opPtr:
		dst = append(dst, `"anyOf":[`...)
		dst = append(s.node(dst, n.elem, "", false), `,{"type":"null"}]`...)
	default: // Raw and any are whatever they are
		if dst[len(dst)-1] == ',' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, '}')
}

// appendRange bounds the integers that JSON readers hold exactly.
func appendRange(dst []byte, n *node) []byte {
	bits := n.typ.Bits()
	if n.op == opUint {
		dst = append(dst, `,"minimum":0`...)
		if bits <= 32 {
			dst = strconv.AppendUint(append(dst, `,"maximum":`...), 1<<bits-1, 10)
		}
	} else if bits <= 32 && n.typ.Kind() != reflect.Int { // an int is as long as the machine wants it
		dst = strconv.AppendInt(append(dst, `,"minimum":`...), -1<<(bits-1), 10)
		dst = strconv.AppendInt(append(dst, `,"maximum":`...), 1<<(bits-1)-1, 10)
	}
	return dst
}

func (s *schemaWriter) array(dst []byte, n *node) []byte {
	if n.op == opSlice {
		dst = append(dst, `"type":["array","null"],"items":`...)
		return s.node(dst, n.elem, "", false)
	}
	dst = append(dst, `"type":"array","items":`...)
	dst = s.node(dst, n.elem, "", false)
	dst = strconv.AppendInt(append(dst, `,"maxItems":`...), int64(n.length), 10)
	return dst
}

func (s *schemaWriter) object(dst []byte, n *node) []byte {
	dst = append(dst, `"type":"object","properties":{`...)
	var required []byte
	for i := range n.fields {
		f := &n.fields[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = s.node(append(dst, f.quoted...), f.node, f.doc, false)
		if !f.omitEmpty && !f.omitZero && f.node.op != opPtr {
			if required != nil {
				required = append(required, ',')
			}
			required = appendString(required, f.name)
		}
	}
	dst = append(dst, '}')
	if required != nil {
		dst = append(append(append(dst, `,"required":[`...), required...), ']')
	}
	return append(dst, `,"additionalProperties":false`...)
}
