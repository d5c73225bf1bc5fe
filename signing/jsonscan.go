package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds nesting. Bundles need 8 levels, SBOM predicates some 20.
const maxDepth = 64

var errNotObject = errors.New("it is not an object")

// checkJSON reads data once, before any other parser sees it, and refuses what parsers disagree about: text that is not
// UTF-8, a key that stands twice in one object, more than one value, deep nesting. It does not recurse, and costs some
// 10 ms for a megabyte.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	if !json.Valid(data) {
		return errors.New("it is not one JSON value")
	}
	var open []jsonLevel
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '{', '[':
			if len(open) == maxDepth {
				return fmt.Errorf("it nests deeper than %d levels", maxDepth)
			}
			open = append(open, jsonLevel{object: c == '{', wantKey: c == '{'})
		case '}', ']':
			open = open[:len(open)-1]
		case ',':
			top := &open[len(open)-1]
			top.wantKey = top.object
		case '"':
			end := endOfString(data, i)
			if n := len(open); n > 0 && open[n-1].wantKey {
				if err := open[n-1].add(data[i:end]); err != nil {
					return err
				}
			}
			i = end - 1
		}
	}
	return nil
}

// jsonLevel is one open object or array; wantKey says that the next string is a key.
type jsonLevel struct {
	object, wantKey bool
	keys            map[string]bool
}

// add notes a key, given with its quotes; keys are equal when they are equal decoded.
func (l *jsonLevel) add(quoted []byte) error {
	key := string(quoted[1 : len(quoted)-1])
	if bytes.IndexByte(quoted, '\\') >= 0 {
		if err := json.Unmarshal(quoted, &key); err != nil {
			return fmt.Errorf("key %s: %w", clean(string(quoted)), err)
		}
	}
	if l.keys[key] {
		return fmt.Errorf("key %q stands twice in one object", clean(key))
	}
	if l.keys == nil {
		l.keys = map[string]bool{}
	}
	l.keys[key], l.wantKey = true, false
	return nil
}

// endOfString is the offset behind the closing quote of the string that opens at i, in valid JSON.
func endOfString(data []byte, i int) int {
	for i++; data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i + 1
}
