package action

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/stream"
)

// streamsFit refuses streams that the tool would never touch, and those that a key would have to repeat.
func streamsFit(tool Tool, r Request) error {
	for i, name := range r.Streams {
		if slices.Contains(r.Streams[:i], name) {
			return abi.Errorf(abi.Invalid, "submit %q: the stream %q is named twice", tool.Kind, name)
		}
		if !slices.Contains(tool.Streams, name) {
			return abi.Errorf(abi.Invalid, "submit %q: the tool has no %q stream", tool.Kind, name).
				WithHint("call it without one; its manifest would say streams = [%q]", name)
		}
	}
	if len(r.Streams) > 0 && r.IdemKey != "" {
		return abi.Errorf(abi.Invalid, "submit %q: a call with streams cannot be repeated by its key %q", tool.Kind, r.IdemKey).WithHint("leave the key out")
	}
	return nil
}

// Streams finds the streams of an action that was submitted with some, for whoever gives and takes them. NotFound when
// there is no such action, Conflict when it was submitted without streams, Cancelled when they have ended.
func (e *Executor) Streams(ctx context.Context, id string) (*stream.Pair, error) {
	if p := e.streams.Get(id); p != nil {
		return p, nil
	}
	a, err := e.Get(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case len(a.Streams) == 0:
		return nil, abi.Errorf(abi.Conflict, "stream action %q: it was submitted without streams", id).
			WithHint(`submit it with "streams": ["input", "output"]`)
	}
	return nil, abi.Errorf(abi.Cancelled, "stream action %q: it is %s and its streams have ended", id, a.State).WithHint("see how the action ended")
}

// Keeps reports whether an action refers to a blob: a record, or the module that it is of. When in doubt it does.
func (e *Executor) Keeps(digest string) bool {
	var n int
	err := e.db.Read().QueryRow(`SELECT EXISTS (SELECT 1 FROM action WHERE record_digest = ? AND record_digest <> '')
		OR EXISTS (SELECT 1 FROM action WHERE record_module = ? AND record_module <> '')`, digest, digest).Scan(&n)
	return err != nil || n != 0
}

func recordingText(r *Recording) string {
	if r == nil {
		return ""
	}
	text, _ := json.Marshal(r) // strings and numbers only
	return string(text)
}
