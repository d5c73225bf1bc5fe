package strict

import (
	"strconv"
	"strings"
)

// Lines knows the line of every key of a decoded file. It is immutable.
type Lines struct {
	file string
	root *node
}

// node is one key's place: its own line and the places below it, by name for tables and by index for arrays.
type node struct {
	line  int
	table map[string]*node
	items []*node
}

// At is the line of a key, given as strings for keys and ints for indexes: l.At("tools", 0, "id"). A key that is not in
// the file has the line of the innermost table around it that is, so that "required" points somewhere useful; the file
// itself is line 1.
func (l *Lines) At(keyPath ...any) int {
	n := l.root
	line := n.line
	for _, part := range keyPath {
		if n = n.child(part); n == nil {
			break
		}
		line = n.line
	}
	return line
}

// Has reports whether the file holds the key.
func (l *Lines) Has(keyPath ...any) bool {
	n := l.root
	for _, part := range keyPath {
		if n = n.child(part); n == nil {
			return false
		}
	}
	return true
}

// Problem makes a complaint about a key, for checks made by the caller.
func (l *Lines) Problem(msg, hint string, keyPath ...any) Problem {
	return Problem{File: l.file, Line: l.At(keyPath...), Key: Path(keyPath...), Msg: msg, Hint: hint}
}

func (n *node) child(part any) *node {
	switch part := part.(type) {
	case string:
		return n.table[part]
	case int:
		if part >= 0 && part < len(n.items) {
			return n.items[part]
		}
	}
	return nil
}

// Path writes a key path as problems show it: tools[0].id, capabilities."my cap".scope.
func Path(keyPath ...any) string {
	var b strings.Builder
	for i, part := range keyPath {
		switch part := part.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(part) + "]")
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			if isBare(part) {
				b.WriteString(part)
			} else {
				b.WriteString(strconv.Quote(part))
			}
		}
	}
	return b.String()
}

func isBare(key string) bool {
	for i := range len(key) {
		if !isBareByte(key[i]) {
			return false
		}
	}
	return key != ""
}

func isBareByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
