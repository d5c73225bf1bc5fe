package strict

import (
	"bytes"
	"strconv"
	"strings"
)

// scanner walks TOML once and notes where each key stands. It decides nothing about values: it only has to know where a
// string, an array or an inline table ends. It is linear in the source and bounded in depth by MaxDepth.
type scanner struct {
	src   []byte
	pos   int
	line  int
	depth int
	table *node // the table that the last header opened
	root  *node
}

// halt is why and where the scanner gave up. It travels by panic inside this file only.
type halt struct {
	offset, line int
	depth        bool
}

// scan gives the places of all keys, and a halt where the source stopped making sense.
func scan(src []byte) (root *node, stop *halt) {
	root = &node{line: 1}
	s := &scanner{src: src, line: 1, root: root, table: root}
	defer func() {
		if r := recover(); r != nil {
			h, ok := r.(halt)
			if !ok {
				panic(r)
			}
			stop = &h
		}
	}()
	if bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) {
		s.pos = 3
	}
	for s.blank(); s.pos < len(src); s.blank() {
		if s.peek() == '[' {
			s.header()
		} else {
			s.pair(s.table)
		}
		s.lineEnd()
	}
	return root, nil
}

func (s *scanner) fail() { panic(halt{offset: s.pos, line: s.line}) }

// enter counts a level; the caller leaves by subtracting what it entered.
func (s *scanner) enter(levels int) {
	if s.depth += levels; s.depth > MaxDepth {
		panic(halt{offset: s.pos, line: s.line, depth: true})
	}
}

// peek is the next byte, or 0 at the end (a real NUL is no TOML and ends the scan wherever it is met).
func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

func (s *scanner) accept(token string) bool {
	if bytes.HasPrefix(s.src[s.pos:], []byte(token)) {
		s.pos += len(token)
		return true
	}
	return false
}

func (s *scanner) expect(token string) {
	if !s.accept(token) {
		s.fail()
	}
}

func (s *scanner) space() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// blank skips whitespace, line ends and comments.
func (s *scanner) blank() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r':
			s.pos++
		case '\n':
			s.pos++
			s.line++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if n := bytes.IndexByte(s.src[s.pos:], '\n'); n >= 0 {
		s.pos += n
	} else {
		s.pos = len(s.src)
	}
}

// lineEnd wants nothing more on the line but a comment.
func (s *scanner) lineEnd() {
	s.space()
	if s.peek() == '#' {
		s.comment()
	}
	s.accept("\r")
	if s.pos < len(s.src) && s.peek() != '\n' {
		s.fail()
	}
}

// header reads [a.b] or [[a.b]] and makes the table it names current.
func (s *scanner) header() {
	line := s.line
	s.expect("[")
	array := s.accept("[")
	parts := s.key()
	s.expect("]")
	if array {
		s.expect("]")
	}
	last := len(parts) - 1
	n := s.descend(s.root, parts[:last], line)
	name := parts[last]
	if array {
		list := n.sub(name, line)
		list.items = append(list.items, &node{line: line})
		s.table = list.items[len(list.items)-1]
	} else {
		s.table = n.sub(name, line)
		s.table.line = line // an explicit header outranks the line of a sub-table that came before it
	}
	s.depth = len(parts)
}

// descend follows the parts of a key; an array of tables stands for its last element.
func (s *scanner) descend(n *node, parts []string, line int) *node {
	for _, part := range parts {
		n = n.sub(part, line)
		if len(n.items) > 0 {
			n = n.items[len(n.items)-1]
		}
	}
	return n
}

func (n *node) sub(name string, line int) *node {
	if n.table == nil {
		n.table = map[string]*node{}
	}
	if n.table[name] == nil {
		n.table[name] = &node{line: line}
	}
	return n.table[name]
}

// pair reads a.b = value into n.
func (s *scanner) pair(n *node) {
	line := s.line
	parts := s.key()
	s.enter(len(parts))
	s.expect("=")
	last := len(parts) - 1
	s.value(s.descend(n, parts[:last], line).sub(parts[last], line))
	s.depth -= len(parts)
}

// key reads a dotted key with the space around it.
func (s *scanner) key() []string {
	var parts []string
	for {
		s.space()
		parts = append(parts, s.keyPart())
		if len(parts) > MaxDepth {
			panic(halt{offset: s.pos, line: s.line, depth: true})
		}
		s.space()
		if !s.accept(".") {
			return parts
		}
	}
}

func (s *scanner) keyPart() string {
	start := s.pos
	switch s.peek() {
	case '"':
		s.quoted('"', `"`)
		return unescape(string(s.src[start+1 : s.pos-1]))
	case '\'':
		s.quoted('\'', `'`)
		return string(s.src[start+1 : s.pos-1])
	}
	for isBareByte(s.peek()) {
		s.pos++
	}
	if s.pos == start {
		s.fail()
	}
	return string(s.src[start:s.pos])
}

func (s *scanner) value(n *node) {
	s.space()
	switch c := s.peek(); c {
	case '"', '\'':
		if mark := strings.Repeat(string(c), 3); bytes.HasPrefix(s.src[s.pos:], []byte(mark)) {
			s.quoted(c, mark)
		} else {
			s.quoted(c, mark[:1])
		}
	case '[':
		s.array(n)
	case '{':
		s.inlineTable(n)
	default:
		start := s.pos
		for s.pos < len(s.src) && !strings.ContainsRune(",]}#\r\n", rune(s.src[s.pos])) {
			s.pos++
		}
		if s.pos == start {
			s.fail()
		}
	}
}

// quoted moves behind a string that starts here with mark, one or three quotes. A long string may end in up to two
// quotes of its own.
func (s *scanner) quoted(quote byte, mark string) {
	s.expect(mark)
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case c == quote && s.accept(mark):
			for range len(mark) - 1 {
				s.accept(mark[:1])
			}
			return
		case c == '\\' && quote == '"':
			s.pos++
			if s.peek() == '\n' {
				s.line++
			}
		case c == '\n':
			if len(mark) == 1 {
				s.fail()
			}
			s.line++
		}
		s.pos++
	}
	s.pos = len(s.src)
	s.fail()
}

func (s *scanner) array(n *node) {
	s.enter(1)
	s.expect("[")
	for s.blank(); !s.accept("]"); s.blank() {
		item := &node{line: s.line}
		n.items = append(n.items, item)
		s.value(item)
		s.blank()
		if !s.accept(",") {
			s.expect("]")
			break
		}
	}
	s.depth--
}

// inlineTable counts no level of its own: whatever nests in it stands behind a key, which counts.
func (s *scanner) inlineTable(n *node) {
	s.expect("{")
	for s.blank(); !s.accept("}"); s.blank() {
		s.pair(n)
		s.blank()
		if !s.accept(",") {
			s.expect("}")
			break
		}
	}
}

// unescape gives a quoted key its meaning. A bad escape stays as it is: the parser refuses the file for it.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if k := strings.IndexByte(`btnfre"\`, s[i]); k >= 0 {
			b.WriteByte("\b\t\n\f\r\x1b\"\\"[k])
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if i+digits >= len(s) || digits == 0 {
			b.WriteString(s[i-1 : i+1])
			continue
		}
		if code, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32); err == nil {
			b.WriteRune(rune(code))
		}
		i += digits
	}
	return b.String()
}
