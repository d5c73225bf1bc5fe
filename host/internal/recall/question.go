package recall

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"

	"github.com/arw-project/arw/host/internal/logic/tree"
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
	doc, err := decode(in)
	if err != nil {
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

// without takes the text at a pointer out of a document: a member of an object, since what stands behind an item would take its place.
func without(doc any, pointer string) (text string, rest any, ok bool) {
	last := strings.LastIndexByte(pointer, '/')
	if last < 0 {
		return "", doc, false
	}
	holder, _ := tree.Get(doc, pointer[:last])
	if _, ok = holder.(map[string]any); !ok {
		return "", doc, false
	}
	v, _ := tree.Get(doc, pointer)
	if text, ok = v.(string); !ok {
		return "", doc, false
	}
	rest, err := tree.Apply(doc, []tree.Op{{Op: "remove", Path: pointer}})
	return text, rest, err == nil
}

// decode reads a value as package tree has them. Of two members of one name the last counts, as it does for who reads the answer.
func decode(body []byte) (doc any, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	err = dec.Decode(&doc)
	return doc, err
}

// value is the canonical form of what stands at a pointer of a document; "" is all of it.
func value(body []byte, pointer string) ([]byte, bool) {
	if pointer != "" {
		doc, err := decode(body)
		if err != nil {
			return nil, false
		}
		at, ok := tree.Get(doc, pointer)
		if !ok {
			return nil, false
		}
		if body, err = json.Marshal(at); err != nil {
			return nil, false
		}
	}
	out, err := manifests.CanonicalJSON(body)
	return out, err == nil
}
