package redact

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// pointer is where in a JSON value the first exact value stands (RFC 6901), and whose it is. A name that holds one is named
// by what stands above it.
func (r *Redactor) pointer(body []byte) (at, name string, found bool) {
	var doc any
	if json.Unmarshal(body, &doc) != nil {
		return "", "", false
	}
	return r.inside(doc, "")
}

func (r *Redactor) inside(v any, at string) (string, string, bool) {
	says := func(text string) (string, bool) {
		found := r.known([]byte(text))
		if found == nil {
			return "", false
		}
		return strings.TrimPrefix(found[0].Rule, "vault:"), true
	}
	switch v := v.(type) {
	case string:
		name, ok := says(v)
		return at, name, ok
	case []any:
		for i, one := range v {
			if p, name, ok := r.inside(one, at+"/"+strconv.Itoa(i)); ok {
				return p, name, true
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if name, ok := says(key); ok {
				return at, name, true
			}
			if p, name, ok := r.inside(v[key], at+"/"+escape(key)); ok {
				return p, name, true
			}
		}
	}
	return "", "", false
}

func escape(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }
