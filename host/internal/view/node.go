package view

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// node is one JSON value and never changes once made: a change copies the objects on the way to the changed member and
// shares all others. So a reader may hold a document while a writer goes on, and undoing is going back to the old root.
type node struct {
	object  bool
	members []member // of an object, sorted by key
	raw     []byte   // of anything else: its text without white space
	size    int      // bytes of the value as text
}

type member struct {
	key string
	val *node
}

// maxDepth bounds how deep values nest, so that no document can exhaust a stack.
const maxDepth = 100

// parse reads one JSON value. It refuses what is not UTF-8, a name that an object has twice and values nested deeper
// than maxDepth. The result shares no memory with src.
func parse(src []byte) (*node, error) {
	if !json.Valid(src) {
		return nil, abi.Errorf(abi.Invalid, "it is not JSON")
	}
	if !utf8.Valid(src) {
		return nil, abi.Errorf(abi.Invalid, "it is not UTF-8")
	}
	// Compact, and escape what encoding/json escapes: the journal does the same to the patch, so sizes agree.
	text, err := json.Marshal(json.RawMessage(src))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "it is not JSON: %w", err)
	}
	p := parser{text: text}
	return p.value(0)
}

// parser walks over text that is known to be one valid JSON value without white space.
type parser struct {
	text []byte
	at   int
}

func (p *parser) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, abi.Errorf(abi.Invalid, "its values nest deeper than %d", maxDepth)
	}
	start := p.at
	switch p.text[p.at] {
	case '{':
		return p.object(depth)
	case '[': // kept as text, but what is in it must keep the rules too
		for p.at++; p.text[p.at] != ']'; {
			if p.text[p.at] == ',' {
				p.at++
			}
			if _, err := p.value(depth + 1); err != nil {
				return nil, err
			}
		}
		p.at++
	case '"':
		p.skipString()
	default:
		for p.at < len(p.text) && !strings.ContainsRune(",]}", rune(p.text[p.at])) {
			p.at++
		}
	}
	return leaf(p.text[start:p.at]), nil
}

func leaf(text []byte) *node { return &node{raw: text, size: len(text)} }

func (p *parser) object(depth int) (*node, error) {
	var members []member
	for p.at++; p.text[p.at] != '}'; {
		if p.text[p.at] == ',' {
			p.at++
		}
		start := p.at
		p.skipString()
		key := unquote(p.text[start:p.at])
		p.at++ // the colon
		val, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{key, val})
	}
	p.at++
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(members); i++ {
		if members[i].key == members[i-1].key {
			return nil, abi.Errorf(abi.Invalid, "it has the name %q twice in one object", members[i].key)
		}
	}
	return object(members), nil
}

func (p *parser) skipString() {
	for p.at++; p.text[p.at] != '"'; p.at++ {
		if p.text[p.at] == '\\' {
			p.at++
		}
	}
	p.at++
}

func unquote(lit []byte) string {
	if bytes.IndexByte(lit, '\\') < 0 {
		return string(lit[1 : len(lit)-1])
	}
	var s string
	_ = json.Unmarshal(lit, &s) // it is a valid string
	return s
}

// object makes an object of members, which must be sorted and without repetition; it keeps the slice.
func object(members []member) *node {
	n := &node{object: true, members: members, size: 2 + max(0, len(members)-1)}
	for _, m := range members {
		n.size += quotedSize(m.key) + 1 + m.val.size
	}
	return n
}

// get finds a member; nil when there is none or n is no object.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	if i, ok := n.find(key); ok {
		return n.members[i].val
	}
	return nil
}

func (n *node) find(key string) (int, bool) {
	return slices.BinarySearchFunc(n.members, key, func(m member, key string) int { return strings.Compare(m.key, key) })
}

// with is n with one member set; without, with one removed (n itself when it is not there). Both cost a copy of the
// member list, not of the members.
func (n *node) with(key string, val *node) *node {
	i, ok := n.find(key)
	next := &node{object: true, members: make([]member, 0, len(n.members)+1), size: n.size + val.size}
	next.members = append(append(next.members, n.members[:i]...), member{key, val})
	if ok {
		next.size -= n.members[i].val.size
		i++
	} else {
		next.size += quotedSize(key) + 1 + min(1, len(n.members))
	}
	next.members = append(next.members, n.members[i:]...)
	return next
}

func (n *node) without(key string) *node {
	i, ok := n.find(key)
	if !ok {
		return n
	}
	next := &node{object: true, members: slices.Concat(n.members[:i], n.members[i+1:])}
	next.size = n.size - n.members[i].val.size - quotedSize(key) - 1 - min(1, len(next.members))
	return next
}

// equal compares values; numbers and strings by how they are written.
func (n *node) equal(o *node) bool {
	if n == o {
		return true
	}
	if n.size != o.size || n.object != o.object {
		return false
	}
	if !n.object {
		return bytes.Equal(n.raw, o.raw)
	}
	return slices.EqualFunc(n.members, o.members, func(a, b member) bool { return a.key == b.key && a.val.equal(b.val) })
}

// appendTo writes the value as text, the members of objects in order of their keys.
func (n *node) appendTo(dst []byte) []byte {
	if !n.object {
		return append(dst, n.raw...)
	}
	dst = append(dst, '{')
	for i, m := range n.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, m.key), ':')
		dst = m.val.appendTo(dst)
	}
	return append(dst, '}')
}

// appendQuoted writes a JSON string as encoding/json does, but for control characters, which have one form here.
func appendQuoted(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case escaped(c):
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case separator(s[i:]):
			dst = append(dst, '\\', 'u', '2', '0', '2', digits[s[i+2]&15])
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func escaped(c byte) bool { return c < 0x20 || c == '<' || c == '>' || c == '&' }

// separator reports whether s begins with U+2028 or U+2029.
func separator(s string) bool {
	return len(s) >= 3 && s[0] == 0xe2 && s[1] == 0x80 && s[2]&^1 == 0xa8
}

// quotedSize is the length of what appendQuoted writes.
func quotedSize(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			n++
		case escaped(c):
			n += 5
		case separator(s[i:]):
			n += 3
		}
	}
	return n
}

// encode makes a node of a Go value.
func encode(value any, clean func([]byte) []byte) (*node, error) {
	if raw, ok := value.(json.RawMessage); ok {
		return parseClean(raw, clean)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "it does not marshal: %w", err)
	}
	if clean != nil {
		raw = clean(raw)
	}
	return parse(raw)
}

// parseClean reads a value that came as text, and cleans it; nil cleans nothing. What is no JSON is parse's to refuse.
func parseClean(text []byte, clean func([]byte) []byte) (*node, error) {
	if clean != nil && json.Valid(text) {
		text = clean(text)
	}
	return parse(text)
}
