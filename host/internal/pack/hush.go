package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/arw-project/arw/host/internal/redact"
)

// kindRedacted tells that a pack said secrets where everybody reads: how many, by which rules and where, and never which.
const kindRedacted = "secrets.redacted"

// hush takes secrets out of a text that a pack says; what was found is told once, at the end of the call.
func (w *world) hush(where, text string) string {
	clean, found := w.m.Redact.String(text)
	w.hushed(where, found)
	return clean
}

func (w *world) hushed(where string, found []redact.Finding) {
	for _, f := range found {
		if w.secrets == nil {
			w.secrets = map[[2]string]int{}
		}
		w.secrets[[2]string{where, f.Rule}]++
	}
}

// hushJSON is hush for a JSON value, which stays one: its strings are cleaned one by one.
func (w *world) hushJSON(where string, body []byte) []byte {
	if _, found := w.m.Redact.Bytes(body); len(found) == 0 {
		return body
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var doc any
	if dec.Decode(&doc) != nil {
		return []byte(`{}`) // it was JSON before; rather nothing than a secret
	}
	out, err := json.Marshal(w.hushValue(where, "", doc))
	if err != nil {
		return []byte(`{}`)
	}
	return out
}

// hushValue cleans a value that stands behind a name, which says something about it.
func (w *world) hushValue(where, name string, v any) any {
	switch v := v.(type) {
	case string:
		clean := w.hush(where, v)
		if clean == v && name != "" {
			if _, found := w.m.Redact.String(name + "=" + v); len(found) > 0 {
				w.hushed(where, found)
				return redact.Mask
			}
		}
		return clean
	case []any:
		for i := range v {
			v[i] = w.hushValue(where, name, v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out[w.hush(where, key)] = w.hushValue(where, key, v[key])
		}
		return out
	}
	return v
}

// tellHushed journals what was taken out in the course of the call.
func (w *world) tellHushed(ctx context.Context) {
	if len(w.secrets) == 0 {
		return
	}
	total, rules, places := 0, map[string]int{}, map[string]int{}
	for at, n := range w.secrets {
		total += n
		places[at[0]] += n
		rules[at[1]] += n
	}
	w.m.note(ctx, kindRedacted, w.c, map[string]any{"tool": w.t.ID, "count": total, "rules": rules, "where": places})
}
