package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// decoder walks one document.
type decoder struct {
	data  []byte
	pos   int
	depth int
}

func (d *decoder) fail(format string, args ...any) error {
	return &Error{Offset: d.pos, Msg: fmt.Sprintf(format, args...)}
}

// unexpected is the error for a byte that cannot stand here.
func (d *decoder) unexpected(want string) error {
	if d.pos >= len(d.data) {
		return d.fail("expected %s, the document ends", want)
	}
	r, _ := utf8.DecodeRune(d.data[d.pos:])
	return d.fail("expected %s, found %q", want, r)
}

// mismatch is the error for a value of another kind than the type wants.
func (d *decoder) mismatch(want string) error {
	found := ""
	switch c := d.peek(); {
	case c == '"':
		found = "a string"
	case c == '{':
		found = "an object"
	case c == '[':
		found = "an array"
	case c == 't' || c == 'f':
		found = "a boolean"
	case c == 'n':
		found = "null"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	default:
		return d.unexpected(want)
	}
	return d.fail("expected %s, found %s", want, found)
}

// peek is the byte at hand, 0 at the end.
func (d *decoder) peek() byte {
	if d.pos < len(d.data) {
		return d.data[d.pos]
	}
	return 0
}

// space passes white space. It is small so that the usual case, none, is no call.
func (d *decoder) space() {
	if d.pos < len(d.data) && d.data[d.pos] <= ' ' {
		d.spaces()
	}
}

func (d *decoder) spaces() {
	i := d.pos
	for i < len(d.data) && d.data[i] <= ' ' && (d.data[i] == ' ' || d.data[i] == '\n' || d.data[i] == '\t' || d.data[i] == '\r') {
		i++
	}
	d.pos = i
}

// end wants nothing but space until the end.
func (d *decoder) end() error {
	if d.space(); d.pos < len(d.data) {
		return d.unexpected("the end of the document")
	}
	return nil
}

func (d *decoder) literal(word string) error {
	if len(d.data)-d.pos < len(word) || string(d.data[d.pos:d.pos+len(word)]) != word {
		return d.unexpected("a JSON value")
	}
	d.pos += len(word)
	return nil
}

// enter begins an array or object; closed says that it is empty and already over.
func (d *decoder) enter(end byte) (closed bool, err error) {
	if d.depth++; d.depth > MaxDepth {
		return false, d.tooDeep()
	}
	d.pos++
	d.space()
	if d.peek() == end {
		d.pos++
		d.depth--
		return true, nil
	}
	return false, nil
}

func (d *decoder) tooDeep() error { return d.fail("nested deeper than %d levels", MaxDepth) }

// more passes the comma behind a member or element, or the end of the whole.
func (d *decoder) more(end byte) (bool, error) {
	d.space()
	switch c := d.peek(); c {
	case ',':
		d.pos++
		d.space()
		return true, nil
	case end:
		d.pos++
		d.depth--
		return false, nil
	}
	return false, d.noComma(end)
}

func (d *decoder) noComma(end byte) error { return d.unexpected(fmt.Sprintf("',' or %q", end)) }

// key reads a member's name and passes the colon.
func (d *decoder) key() (string, error) {
	if d.peek() != '"' {
		return "", d.unexpected(`'"'`)
	}
	name, err := d.str()
	if err != nil {
		return "", err
	}
	if d.space(); d.peek() != ':' {
		return "", d.unexpected("':'")
	}
	d.pos++
	d.space()
	return name, nil
}

// str reads the string at hand. Without escapes it shares the document's memory.
func (d *decoder) str() (string, error) {
	data, start, beyond := d.data, d.pos+1, false
	for i := start + plain(data[start:]); i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			d.pos = i + 1
			s := view(data[start:i])
			if beyond && !utf8.ValidString(s) {
				return replaceInvalid(s), nil
			}
			return s, nil
		case c == '\\':
			d.pos = i
			return d.unescape(data[start:i])
		case c < ' ':
			d.pos = i
			return "", d.unexpected("no control character inside a string")
		case c >= utf8.RuneSelf:
			beyond = true
		default:
			i += plain(data[i+1:])
		}
	}
	d.pos = len(data)
	return "", d.unexpected(`'"'`)
}

// plain is how many bytes b begins with that mean themselves in a JSON string: ASCII, no control character, no quote, no
// backslash. It looks at eight at a time; a byte that is none of these sets its top bit in m, and a borrow can only
// disturb the bytes behind the first one so marked.
func plain(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		if m := (w | (w - ' '*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones)) & tops; m != 0 {
			return n + bits.TrailingZeros64(m)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return n
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// unescape reads the rest of a string from its first backslash.
func (d *decoder) unescape(head []byte) (string, error) {
	buf := make([]byte, len(head), len(head)+32)
	copy(buf, head)
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; {
		case c == '"':
			d.pos++
			if s := view(buf); !utf8.ValidString(s) {
				return replaceInvalid(s), nil
			}
			return view(buf), nil
		case c == '\\':
			var err error
			if buf, err = d.escape(buf); err != nil {
				return "", err
			}
		case c < ' ':
			return "", d.unexpected("no control character inside a string")
		default:
			buf = append(buf, c)
			d.pos++
		}
	}
	return "", d.unexpected(`'"'`)
}

// escape reads one escape; a lone half of a surrogate pair becomes U+FFFD.
func (d *decoder) escape(buf []byte) ([]byte, error) {
	d.pos++
	c := d.peek()
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := d.hex(d.pos + 1)
		if !ok {
			return nil, d.fail("expected four hexadecimal digits after \\u")
		}
		d.pos += 5
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if d.pos+1 < len(d.data) && d.data[d.pos] == '\\' && d.data[d.pos+1] == 'u' {
				low, ok = d.hex(d.pos + 2)
			}
			if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
				d.pos += 6
			}
		}
		return utf8.AppendRune(buf, r), nil
	default:
		return nil, d.unexpected("an escape")
	}
	d.pos++
	return append(buf, c), nil
}

func (d *decoder) hex(at int) (rune, bool) {
	if at+4 > len(d.data) {
		return 0, false
	}
	r := rune(0)
	for _, c := range d.data[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// replaceInvalid puts U+FFFD for every byte that is not part of UTF-8.
func replaceInvalid(s string) string {
	buf := make([]byte, 0, len(s)+8)
	for _, r := range s {
		buf = utf8.AppendRune(buf, r)
	}
	return view(buf)
}

// number passes the number at hand and returns its text; whole says that it has neither fraction nor exponent.
func (d *decoder) number() (text string, whole bool, err error) {
	start := d.pos
	if d.peek() == '-' {
		d.pos++
	}
	switch c := d.peek(); {
	case c == '0':
		d.pos++
	case '1' <= c && c <= '9':
		d.digits()
	default:
		return "", false, d.unexpected("a digit")
	}
	whole = true
	if d.peek() == '.' {
		whole = false
		d.pos++
		if !d.digits() {
			return "", false, d.unexpected("a digit")
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		whole = false
		d.pos++
		if c := d.peek(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return "", false, d.unexpected("a digit")
		}
	}
	return view(d.data[start:d.pos]), whole, nil
}

// digits passes digits and says whether there were any.
func (d *decoder) digits() bool {
	start := d.pos
	for d.pos < len(d.data) && d.data[d.pos]-'0' <= 9 {
		d.pos++
	}
	return d.pos > start
}
