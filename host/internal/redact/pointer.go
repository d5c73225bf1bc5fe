package redact

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// pointer is where in a JSON value the first exact value stands (RFC 6901); "" is the whole. A name that holds one is named by
// what stands above it.
func (r *Redactor) pointer(body []byte) string {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var doc any
	if dec.Decode(&doc) != nil {
		return ""
	}
	at, _ := r.inside(doc, "")
	return at
}

func (r *Redactor) inside(v any, at string) (string, bool) {
	holds := func(text string) bool { return r.known([]byte(text)) != nil }
	switch v := v.(type) {
	case string:
		return at, holds(v)
	case json.Number:
		return at, holds(v.String())
	case []any:
		for i, one := range v {
			if p, ok := r.inside(one, at+"/"+strconv.Itoa(i)); ok {
				return p, true
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if holds(key) {
				return at, true
			}
			if p, ok := r.inside(v[key], at+"/"+escape(key)); ok {
				return p, true
			}
		}
	}
	return "", false
}

func escape(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }
