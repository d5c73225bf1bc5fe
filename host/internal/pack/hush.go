package pack

import (
	"context"

	"github.com/arw-project/arw/abi"
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
	w.m.Redact.At(where).Count(found)
	for _, f := range found {
		if w.secrets == nil {
			w.secrets = map[[2]string]int{}
		}
		w.secrets[[2]string{where, f.Rule}]++
	}
}

// hushJSON is hush for a JSON value, which stays one.
func (w *world) hushJSON(where string, body []byte) []byte {
	clean, found := w.m.Redact.JSON(body)
	w.hushed(where, found)
	return clean
}

// ownSecret refuses to keep a value of the vault in a store of the pack: the one place for it is the vault.
func (w *world) ownSecret(ctx context.Context, c abi.Capability, where, doing string, val []byte) error {
	err := w.m.Redact.At(where).Refuse(doing, val)
	if err != nil {
		w.deny(ctx, c, "", err)
	}
	return err
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
