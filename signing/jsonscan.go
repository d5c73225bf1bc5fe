package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth bounds nesting. Bundles need 8 levels, SBOM predicates some 20.
const maxDepth = 64

var errNotObject = errors.New("it is not an object")

// checkJSON reads data once, before any other parser sees it, and refuses what parsers disagree about: text that is not
// UTF-8, a key that stands twice in one object, more than one value, deep nesting. It does not recurse.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []jsonLevel
	for first := true; first || len(open) > 0; first = false {
		token, err := dec.Token()
		if err != nil {
			return notJSON(err)
		}
		if open, err = step(open, token); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// jsonLevel is one open object or array; keys is nil for an array, and wantKey says that an object's next string is a key.
type jsonLevel struct {
	keys    map[string]bool
	wantKey bool
}

func step(open []jsonLevel, token json.Token) ([]jsonLevel, error) {
	delim, isDelim := token.(json.Delim)
	if isDelim && (delim == '}' || delim == ']') {
		return open[:len(open)-1], nil
	}
	if n := len(open); n > 0 && open[n-1].keys != nil {
		top := &open[n-1]
		if top.wantKey {
			key := token.(string) // the decoder lets nothing else stand here
			if top.keys[key] {
				return nil, fmt.Errorf("key %q stands twice in one object", clean(key))
			}
			top.keys[key], top.wantKey = true, false
			return open, nil
		}
		top.wantKey = true
	}
	if !isDelim {
		return open, nil
	}
	if len(open) == maxDepth {
		return nil, fmt.Errorf("it nests deeper than %d levels", maxDepth)
	}
	if delim == '{' {
		return append(open, jsonLevel{keys: map[string]bool{}, wantKey: true}), nil
	}
	return append(open, jsonLevel{}), nil
}

func notJSON(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("it is not JSON: %s", clean(err.Error()))
}
