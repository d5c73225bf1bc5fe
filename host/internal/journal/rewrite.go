package journal

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// hitFunc says what stands in place of a value, or of a member's name, at path; nil leaves it. Of an object or an array
// it sees the first byte alone; one that is left is looked into.
type hitFunc func(path []string, value []byte, name bool) []byte

// rewrite copies a stored body, which is valid JSON without white space, with what hit replaces, and gives the pointers
// to what was replaced. Everything else stays byte for byte.
func rewrite(body []byte, hit hitFunc) (out []byte, pointers []string) {
	w := &rewriter{in: body, hit: hit}
	w.value()
	return w.out, w.pointers
}

type rewriter struct {
	in, out  []byte
	i        int
	path     []string
	hit      hitFunc
	pointers []string
}

// replace writes what hit wants in place of a value or name, if anything.
func (w *rewriter) replace(text []byte, name bool) bool {
	now := w.hit(w.path, text, name)
	if now == nil {
		return false
	}
	w.out = append(w.out, now...)
	w.pointers = append(w.pointers, pointer(w.path))
	w.i = valueEnd(w.in, w.i)
	return true
}

func (w *rewriter) value() {
	open := w.in[w.i]
	if open != '{' && open != '[' {
		end := valueEnd(w.in, w.i)
		if !w.replace(w.in[w.i:end], false) {
			w.copyTo(end)
		}
		return
	}
	if w.replace(w.in[w.i:w.i+1], false) {
		return
	}
	w.copyTo(w.i + 1)
	for n := 0; w.in[w.i] != '}' && w.in[w.i] != ']'; n++ {
		if w.in[w.i] == ',' {
			w.copyTo(w.i + 1)
		}
		key := strconv.Itoa(n)
		if open == '{' {
			key = w.name()
		}
		w.path = append(w.path, key)
		w.value()
		w.path = w.path[:len(w.path)-1]
	}
	w.copyTo(w.i + 1)
}

// name copies a member's name and the colon behind it. What it gives is the name as it is written now: a pointer must not
// tell what was taken out.
func (w *rewriter) name() string {
	end, from := stringEnd(w.in, w.i), len(w.out)
	if !w.replace(w.in[w.i:end], true) {
		w.copyTo(end)
	}
	key := unescape(w.out[from:])
	w.copyTo(w.i + 1)
	return key
}

func (w *rewriter) copyTo(end int) {
	w.out = append(w.out, w.in[w.i:end]...)
	w.i = end
}

// valueEnd is the index behind the value that begins at b[i].
func valueEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':':
			i++
			continue
		default:
			n := bytes.IndexAny(b[i:], ",]}")
			if n < 0 {
				n = len(b) - i
			}
			i += n
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

// pointer is a path as a JSON Pointer.
func pointer(path []string) string {
	var s strings.Builder
	for _, key := range path {
		s.WriteByte('/')
		s.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	return s.String()
}

// parsePointer reads a JSON Pointer to a part of a body.
func parsePointer(s string) ([]string, error) {
	if s == "" || s[0] != '/' {
		return nil, abi.Errorf(abi.Invalid, "redact: %q is no JSON Pointer to a part of a body", s).WithHint("write it as /member/member")
	}
	path := strings.Split(s[1:], "/")
	for i, key := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
	}
	return path, nil
}
