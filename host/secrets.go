package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
)

// ownNames are names in the host's own records behind which digests and the like stand, though they sound secret.
var ownNames = []string{"key", "idem_key", "public_key"}

// hush makes the log one that no secret passes: what looks like one from the beginning, what the vault holds once it is
// open.
func (h *Host) hush() (err error) {
	if h.parts.Redact, err = redact.New(redact.Shipped(), true); err != nil {
		return err
	}
	h.cfg.Log = slog.New(redact.Handler(h.parts.Redact, h.cfg.Log.Handler()))
	return nil
}

func (h *Host) openVault(ctx context.Context) (err error) {
	s := &h.parts
	if s.Vault, err = vault.Open(ctx, h.db, s.Journal, filepath.Join(h.cfg.StateDir, "vault.key")); err != nil {
		return err
	}
	s.Vault.Watch(s.Redact.SetValues)
	return nil
}

// cleanEvents is what every event passes before it is durable: the journal is what leaves by streams, exports, documents and
// copies of the database.
func (h *Host) cleanEvents() journal.Option {
	place := h.parts.Redact.At("event")
	return journal.Cleaned(func(_ string, body []byte) []byte { return place.JSON(body, ownNames...) })
}

// cleanDocuments is what every value of a document passes.
func (h *Host) cleanDocuments() view.Option {
	place := h.parts.Redact.At("document")
	return view.Cleaned(func(value []byte) []byte { return place.JSON(value, ownNames...) })
}

// cleanName makes a name that a client chose for an action one that holds no secret: its digest, so that equal names stay
// equal.
func (h *Host) cleanName(name string) string {
	_, found := h.parts.Redact.String(name)
	if found == nil {
		return name
	}
	h.parts.Redact.At("name").Count(found)
	sum := sha256.Sum256([]byte(name))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// hushed is the tool of a runner whose inputs hold nothing of the vault: a guest would see it. What merely looks like a
// secret in an input is its caller's data, and is counted.
func hushed(r *redact.Redactor, t action.Tool) action.Tool {
	place, check := r.At("input"), t.Validate
	t.Validate = func(input []byte) error {
		if err := place.RefuseJSON("call "+t.Kind, input); err != nil { // it counts what merely looks like a secret
			return err
		}
		if check == nil {
			return nil
		}
		return check(input)
	}
	return t
}

// muted is what a tool answered without the values of the vault. What merely looks like a secret is the tool's answer, and is
// counted; of a failure's words it is taken out.
func muted(r *redact.Redactor, res action.Result, err error) (action.Result, error) {
	out := r.At("output")
	switch res.Kind {
	case abi.FrameJSON:
		out.Note(res.Body)
		res.Body = out.ExactJSON(res.Body)
	default:
		res.Body = out.Exact(res.Body)
	}
	return res, mutedError(r.At("error"), err)
}

// quiet is an error whose words were redacted; what it is of stays known.
type quiet struct {
	clean *abi.Error
	was   error
}

func (q quiet) Error() string { return q.clean.Error() }

// Unwrap finds the redacted words first.
func (q quiet) Unwrap() []error { return []error{q.clean, q.was} }

// mutedError is an error whose words are redacted; one that says nothing secret is itself.
func mutedError(place redact.Place, err error) error {
	if err == nil {
		return nil
	}
	if again, ok := errors.AsType[*action.Again](err); ok {
		again.Err = mutedError(place, again.Err)
		return err
	}
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		e = abi.Errorf(abi.CodeOf(err), "%s", err)
	}
	clean := *e
	clean.Msg, clean.Hint = place.Text(e.Msg), place.Text(e.Hint)
	changed := clean.Msg != e.Msg || clean.Hint != e.Hint
	if e.Detail != nil {
		was, failed := json.Marshal(e.Detail)
		if now := place.JSON(was, ownNames...); failed == nil && string(now) != string(was) {
			clean.Detail, changed = json.RawMessage(now), true
		}
	}
	if !changed {
		return err
	}
	return quiet{&clean, err}
}

// tellFound journals what was found where, until ctx ends: one secrets.found for each place and rule of which there is more
// than was told, at most once a beat.
func (h *Host) tellFound(ctx context.Context) error {
	told := map[redact.Count]uint64{}
	beat := h.cfg.ModelsEvery
	if beat <= 0 {
		beat = view.DefaultEvery
	}
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			h.sayFound(context.WithoutCancel(ctx), told)
			return nil
		case <-h.parts.Redact.Found():
		}
		h.sayFound(ctx, told)
		rest.Reset(beat)
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
	}
}

func (h *Host) sayFound(ctx context.Context, told map[redact.Count]uint64) {
	var events []journal.Event
	now := h.parts.Redact.Counts()
	for _, c := range now {
		key := c
		key.Count = 0
		if more := c.Count - told[key]; more > 0 {
			events = append(events, journal.Event{Kind: "secrets.found", Actor: "host", Body: api.SecretsFound{
				Where: c.Where, Rule: c.Rule, Outcome: c.Outcome, Count: more, Total: c.Count,
			}})
			told[key] = c.Count
		}
	}
	if len(events) == 0 {
		return
	}
	if _, err := h.parts.Journal.Append(ctx, events...); err != nil && ctx.Err() == nil {
		h.cfg.Log.Error("journal where secrets were found", "error", err)
	}
}
