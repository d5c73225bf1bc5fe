package pattern

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The fast way through arguments. Most are small and plain: no escapes in their strings, few names in an object, shallow. Such a
// text is checked in one pass without an allocation, and a condition walks it again to the value it looks at. What is not plain
// is left to parse, so that this way decides only what it understands whole; FuzzPlain holds the two together.

// Bounds of what is plain.
const (
	plainBytes = 4096
	plainNames = 16 // in one object
	plainDepth = 16
)

// class is what a first look at arguments found.
type class uint8

const (
	unseen   class = iota
	plain          // one JSON value that means one thing
	involved       // parse decides
	broken         // no JSON, or a name twice in one object
)

// classify reads a text once.
func classify(text []byte) class {
	if len(text) > plainBytes {
		return involved
	}
	for i := 0; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			if !utf8.Valid(text) || bytes.ContainsRune(text, utf8.RuneError) {
				return involved
			}
			break
		}
	}
	s := scanner{text: text}
	c := s.value(0)
	if s.blank(); c == plain && s.at != len(text) {
		return broken
	}
	return c
}

// scanner walks a text from its beginning.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) blank() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\t' || s.text[s.at] == '\r') {
		s.at++
	}
}

// next skips blanks and takes one byte; 0 at the end, which is no JSON either.
func (s *scanner) next() byte {
	s.blank()
	if s.at >= len(s.text) {
		return 0
	}
	s.at++
	return s.text[s.at-1]
}

func (s *scanner) value(depth int) class {
	if depth > plainDepth {
		return involved
	}
	switch c := s.next(); {
	case c == '"':
		return s.str()
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '-' || c >= '0' && c <= '9':
		s.at--
		return s.number()
	case c == 't':
		return s.word("rue")
	case c == 'f':
		return s.word("alse")
	case c == 'n':
		return s.word("ull")
	}
	return broken
}

func (s *scanner) word(rest string) class {
	if len(s.text)-s.at < len(rest) || string(s.text[s.at:s.at+len(rest)]) != rest {
		return broken
	}
	s.at += len(rest)
	return plain
}

// str goes behind the quotation mark that ends a string.
func (s *scanner) str() class {
	for i := s.at; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.at = i + 1
			return plain
		case c == '\\':
			return involved
		case c < ' ':
			return broken
		}
	}
	return broken
}

func (s *scanner) digits() bool {
	from := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > from
}

func (s *scanner) is(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) number() class {
	s.is('-')
	if !s.is('0') && !s.digits() {
		return broken
	}
	if s.is('.') && !s.digits() {
		return broken
	}
	if s.is('e') || s.is('E') {
		if !s.is('+') {
			s.is('-')
		}
		if !s.digits() {
			return broken
		}
	}
	return plain
}

func (s *scanner) array(depth int) class {
	if s.blank(); s.is(']') {
		return plain
	}
	for {
		if c := s.value(depth + 1); c != plain {
			return c
		}
		switch s.next() {
		case ',':
		case ']':
			return plain
		default:
			return broken
		}
	}
}

func (s *scanner) object(depth int) class {
	if s.blank(); s.is('}') {
		return plain
	}
	var names [plainNames][2]int32
	for n := 0; ; n++ {
		if s.next() != '"' {
			return broken
		}
		from := s.at
		if c := s.str(); c != plain {
			return c
		}
		name := s.text[from : s.at-1]
		if n == plainNames {
			return involved
		}
		for _, other := range names[:n] {
			if string(s.text[other[0]:other[1]]) == string(name) {
				return broken
			}
		}
		names[n] = [2]int32{int32(from), int32(s.at - 1)}
		if s.next() != ':' {
			return broken
		}
		if c := s.value(depth + 1); c != plain {
			return c
		}
		switch s.next() {
		case ',':
		case '}':
			return plain
		default:
			return broken
		}
	}
}

// skip goes behind one value of a plain text and returns it.
func (s *scanner) skip() []byte {
	s.blank()
	from, depth := s.at, 0
	for {
		switch c := s.text[s.at]; c {
		case '"':
			s.at += bytes.IndexByte(s.text[s.at+1:], '"') + 2
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			depth--
			s.at++
		case ' ', '\n', '\t', '\r', ',', ':':
			s.at++
			continue
		default: // a number or a word
			for s.at < len(s.text) && strings.IndexByte(" \n\t\r,:]}", s.text[s.at]) < 0 {
				s.at++
			}
		}
		if depth == 0 {
			return s.text[from:s.at]
		}
	}
}

// lookup follows a pointer into a plain text, as find does into a tree.
func lookup(text []byte, path []string) ([]byte, bool) {
	value := bytes.TrimSpace(text)
	for _, token := range path {
		s := scanner{text: value, at: 1}
		found, ok := value, false
		switch value[0] {
		case '{':
			found, ok = s.member(token)
		case '[':
			found, ok = s.element(token)
		}
		if !ok {
			return nil, false
		}
		value = found
	}
	return value, true
}

func (s *scanner) member(token string) (found []byte, ok bool) {
	for {
		switch s.next() {
		case '}':
			return found, ok
		case ',':
			continue
		}
		s.at--
		quoted := s.skip()
		name := quoted[1 : len(quoted)-1]
		s.next() // the colon
		value := s.skip()
		switch {
		case string(name) == token:
			found, ok = value, true
		case strings.EqualFold(string(name), token):
			return nil, false
		}
	}
}

func (s *scanner) element(token string) ([]byte, bool) {
	want, err := strconv.Atoi(token)
	if err != nil || want < 0 || strconv.Itoa(want) != token {
		return nil, false
	}
	for i := 0; ; i++ {
		if s.blank(); s.is(']') {
			return nil, false
		}
		value := s.skip()
		if i == want {
			return value, true
		}
		if s.next() == ']' {
			return nil, false
		}
	}
}

// holdsPlain is holds for a value of a plain text.
func (c *condition) holdsPlain(v []byte) bool {
	switch {
	case c.like != nil:
		return v[0] == '"' && c.like.Matches(string(v[1:len(v)-1]))
	case c.values == nil:
		n, ok := number(v)
		return ok && c.low <= n && n <= c.hi
	}
	switch v[0] {
	case '"':
		for _, want := range c.values {
			if s, ok := want.(string); ok && s == string(v[1:len(v)-1]) {
				return true
			}
		}
		return false
	case 't', 'f', 'n':
		for _, want := range c.values {
			if b, ok := want.(bool); ok && b == (v[0] == 't') && v[0] != 'n' || want == nil && v[0] == 'n' {
				return true
			}
		}
		return false
	}
	n, isNumber := number(v)
	for _, want := range c.values {
		if f, ok := want.(float64); ok && isNumber && f == n {
			return true
		}
	}
	return false
}

// number is a number that a double holds, as parse has it.
func number(v []byte) (float64, bool) {
	if v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return 0, false
	}
	if len(v) <= 15 { // most are whole and small
		n, whole := 0, true
		for _, c := range v {
			whole = whole && c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		if whole {
			return float64(n), true
		}
	}
	n, err := strconv.ParseFloat(string(v), 64)
	return n, err == nil && math.Abs(n) < 1<<53
}
