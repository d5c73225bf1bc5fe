package manifests

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a JSON document from outside. Nesting counts arrays and objects; a value is anything but a key.
const (
	maxDepth     = 64
	maxValues    = 1 << 20
	maxNumberLen = 128
	maxExponent  = 400
)

// readJSON reads one RFC 8259 document as I-JSON (RFC 7493) asks for it: UTF-8, no key twice, no half surrogates, nothing
// behind the value. encoding/json lets all four pass. Numbers stay text (json.Number), within bounds that keep exact
// arithmetic on them cheap. The values share no memory with src.
func readJSON(src []byte) (any, error) {
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("it is not UTF-8")
	}
	r := jsonReader{src: src}
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	if r.space(); r.pos < len(src) {
		return nil, r.errorf("more follows the value")
	}
	return v, nil
}

// sizeError is a document that may be well-formed but is too much.
type sizeError string

func (e sizeError) Error() string { return string(e) }

type jsonReader struct {
	src    []byte
	pos    int
	depth  int
	values int
}

func (r *jsonReader) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %s", r.pos, fmt.Sprintf(format, args...))
}

func (r *jsonReader) space() {
	for r.pos < len(r.src) && (r.src[r.pos] == ' ' || r.src[r.pos] == '\n' || r.src[r.pos] == '\t' || r.src[r.pos] == '\r') {
		r.pos++
	}
}

func (r *jsonReader) peek() byte {
	if r.pos < len(r.src) {
		return r.src[r.pos]
	}
	return 0
}

func (r *jsonReader) value() (any, error) {
	if r.values++; r.values > maxValues {
		return nil, sizeError(fmt.Sprintf("it holds more than %d values", maxValues))
	}
	r.space()
	switch c := r.peek(); {
	case c == '{':
		return r.object()
	case c == '[':
		return r.array()
	case c == '"':
		return r.text()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == 't':
		return true, r.word("true")
	case c == 'f':
		return false, r.word("false")
	case c == 'n':
		return nil, r.word("null")
	case r.pos == len(r.src):
		return nil, r.errorf("it ends where a value is expected")
	default:
		return nil, r.errorf("expected a value, found %q", r.rune())
	}
}

func (r *jsonReader) rune() rune {
	c, _ := utf8.DecodeRune(r.src[r.pos:])
	return c
}

func (r *jsonReader) word(word string) error {
	if len(r.src)-r.pos < len(word) || string(r.src[r.pos:r.pos+len(word)]) != word {
		return r.errorf("expected a value, found %q", r.rune())
	}
	r.pos += len(word)
	return nil
}

// open enters an array or object and reports whether it is empty; the closing byte of an empty one is consumed.
func (r *jsonReader) open(end byte) (empty bool, err error) {
	if r.depth++; r.depth > maxDepth {
		return false, r.errorf("nested deeper than %d levels", maxDepth)
	}
	r.pos++
	if r.space(); r.peek() == end {
		r.pos++
		r.depth--
		return true, nil
	}
	return false, nil
}

// next moves behind a comma, or behind the end.
func (r *jsonReader) next(end byte) (done bool, err error) {
	r.space()
	switch r.peek() {
	case ',':
		r.pos++
		return false, nil
	case end:
		r.pos++
		r.depth--
		return true, nil
	}
	if r.pos == len(r.src) {
		return false, r.errorf("it ends where ',' or %q is expected", end)
	}
	return false, r.errorf("expected ',' or %q, found %q", end, r.rune())
}

func (r *jsonReader) array() (any, error) {
	items := []any{}
	done, err := r.open(']')
	for !done && err == nil {
		var item any
		if item, err = r.value(); err != nil {
			break
		}
		items = append(items, item)
		done, err = r.next(']')
	}
	return items, err
}

func (r *jsonReader) object() (any, error) {
	fields := map[string]any{}
	done, err := r.open('}')
	for !done && err == nil {
		if err = r.field(fields); err != nil {
			break
		}
		done, err = r.next('}')
	}
	return fields, err
}

func (r *jsonReader) field(fields map[string]any) error {
	r.space()
	if r.peek() != '"' {
		return r.errorf("expected a key in double quotes")
	}
	start := r.pos
	key, err := r.text()
	if err != nil {
		return err
	}
	if _, twice := fields[key]; twice {
		r.pos = start
		return r.errorf("the key %q stands twice in one object", key)
	}
	if r.space(); r.peek() != ':' {
		return r.errorf("expected ':'")
	}
	r.pos++
	fields[key], err = r.value()
	return err
}

// number checks the grammar of RFC 8259 and keeps the text.
func (r *jsonReader) number() (any, error) {
	start := r.pos
	if r.peek() == '-' {
		r.pos++
	}
	whole := r.digits()
	if whole == 0 || whole > 1 && r.src[r.pos-whole] == '0' {
		return nil, r.errorf("this is not a JSON number")
	}
	if r.peek() == '.' {
		r.pos++
		if r.digits() == 0 {
			return nil, r.errorf("this is not a JSON number")
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.pos++
		if c := r.peek(); c == '+' || c == '-' {
			r.pos++
		}
		n := r.digits()
		exponent, err := strconv.Atoi(string(r.src[r.pos-n : r.pos]))
		if n == 0 || err != nil || exponent > maxExponent {
			return nil, r.errorf("this is not a JSON number with an exponent of at most %d", maxExponent)
		}
	}
	if r.pos-start > maxNumberLen {
		return nil, r.errorf("a number of more than %d characters", maxNumberLen)
	}
	return json.Number(r.src[start:r.pos]), nil
}

func (r *jsonReader) digits() int {
	start := r.pos
	for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
		r.pos++
	}
	return r.pos - start
}

// text reads a string; one without escapes costs a single copy.
func (r *jsonReader) text() (string, error) {
	r.pos++
	start := r.pos
	for r.pos < len(r.src) {
		switch c := r.src[r.pos]; {
		case c == '"':
			r.pos++
			return string(r.src[start : r.pos-1]), nil
		case c == '\\':
			return r.escapedText(start)
		case c < 0x20:
			return "", r.errorf("a control character inside a string")
		}
		r.pos++
	}
	return "", r.errorf("a string that does not end")
}

func (r *jsonReader) escapedText(start int) (string, error) {
	text := append([]byte(nil), r.src[start:r.pos]...)
	for r.pos < len(r.src) {
		c := r.src[r.pos]
		switch {
		case c == '"':
			r.pos++
			return string(text), nil
		case c < 0x20:
			return "", r.errorf("a control character inside a string")
		case c != '\\':
			text = append(text, c)
			r.pos++
			continue
		}
		char, err := r.escape()
		if err != nil {
			return "", err
		}
		text = utf8.AppendRune(text, char)
	}
	return "", r.errorf("a string that does not end")
}

// escape reads one escape, and with a high surrogate also the low one that must follow.
func (r *jsonReader) escape() (rune, error) {
	r.pos++
	c := r.peek()
	r.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		high, err := r.hex4()
		if err != nil || !utf16.IsSurrogate(high) {
			return high, err
		}
		if r.pos+6 <= len(r.src) && r.src[r.pos] == '\\' && r.src[r.pos+1] == 'u' {
			r.pos += 2
			low, err := r.hex4()
			if char := utf16.DecodeRune(high, low); err == nil && char != utf8.RuneError {
				return char, nil
			}
		}
		return 0, r.errorf("half of a surrogate pair")
	}
	r.pos--
	return 0, r.errorf("an unknown escape")
}

func (r *jsonReader) hex4() (rune, error) {
	if r.pos+4 > len(r.src) {
		return 0, r.errorf("an escape that does not end")
	}
	var code rune
	for _, c := range r.src[r.pos : r.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			code = code<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			code = code<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, r.errorf("an escape that is not hexadecimal")
		}
	}
	r.pos += 4
	return code, nil
}
