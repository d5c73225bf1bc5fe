package journal

import (
	"bytes"
	"encoding/json"
)

// repeatedName finds a name that stands twice in one object of b, which must be valid JSON without white space. Names
// that differ only in how they escape a character are the same name. It returns the name as it is written.
func repeatedName(b []byte) (name string, twice bool) {
	type frame struct {
		object bool
		names  map[string]struct{}
	}
	var stack []frame
	wantName := false
	for i := 0; i < len(b); {
		switch b[i] {
		case '{', '[':
			stack = append(stack, frame{object: b[i] == '{'})
			wantName = b[i] == '{'
			i++
		case '}', ']':
			stack = stack[:len(stack)-1]
			wantName = false
			i++
		case ',':
			wantName = stack[len(stack)-1].object
			i++
		case '"':
			end := stringEnd(b, i)
			if wantName {
				top := &stack[len(stack)-1]
				key := unescape(b[i:end])
				if _, twice := top.names[key]; twice {
					return string(b[i:end]), true
				}
				if top.names == nil {
					top.names = make(map[string]struct{}, 8)
				}
				top.names[key] = struct{}{}
				wantName = false
			}
			i = end
		default:
			i++
		}
	}
	return "", false
}

// stringEnd is the index behind the string that begins at b[i].
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// unescape is the text of a JSON string literal.
func unescape(lit []byte) string {
	if bytes.IndexByte(lit, '\\') < 0 {
		return string(lit[1 : len(lit)-1])
	}
	var s string
	_ = json.Unmarshal(lit, &s) // it is valid JSON already
	return s
}
