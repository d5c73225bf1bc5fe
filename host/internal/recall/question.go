package recall

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/arw-project/arw/manifests"
)

// question is what a call asks: its text, and all else that must be equal.
type question struct {
	text  string
	says  words
	input [sha256.Size]byte // of the canonical input
	rest  [sha256.Size]byte // of the canonical input without the text
}

// read takes a call's input apart; false when it has no canonical form. An input without the text that the rule names is
// compared as a whole.
func read(c *Call) (q question, ok bool) {
	in, err := manifests.CanonicalJSON(c.Input)
	if err != nil || c.Rule == nil {
		return q, false
	}
	q.input = sha256.Sum256(in)
	var doc any
	dec := json.NewDecoder(bytes.NewReader(in))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return q, false
	}
	if text, rest, cut := without(doc, c.Rule.Question); cut {
		q.text, q.says = text, wordsOf(text)
		if in, err = json.Marshal(rest); err != nil {
			return q, false
		}
	}
	q.rest = sha256.Sum256(in)
	return q, true
}

// without takes the text at a pointer out of a document.
func without(doc any, pointer string) (text string, rest any, ok bool) {
	holder, last := doc, ""
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, t := range tokens {
		t = unescape.Replace(t)
		if last = t; i == len(tokens)-1 {
			break
		}
		if holder, ok = child(holder, t); !ok {
			return "", doc, false
		}
	}
	m, isMap := holder.(map[string]any)
	if !isMap {
		return "", doc, false
	}
	if text, ok = m[last].(string); ok {
		delete(m, last)
	}
	return text, doc, ok
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

func child(v any, token string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		c, ok := v[token]
		return c, ok
	case []any:
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

// value is the canonical form of what stands at a pointer of a document; "" is all of it.
func value(body []byte, pointer string) ([]byte, bool) {
	if pointer != "" {
		var doc any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if dec.Decode(&doc) != nil {
			return nil, false
		}
		ok := true
		for _, t := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
			if doc, ok = child(doc, unescape.Replace(t)); !ok {
				return nil, false
			}
		}
		var err error
		if body, err = json.Marshal(doc); err != nil {
			return nil, false
		}
	}
	out, err := manifests.CanonicalJSON(body)
	return out, err == nil
}
