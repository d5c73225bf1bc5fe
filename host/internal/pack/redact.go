package pack

import (
	"encoding/json"
	"errors"

	"github.com/arw-project/arw/abi"
)

// redacted takes secrets out of what a tool answered, because a policy obliges the host to. An answer that would not be what it was any
// more is not given out.
func (m *Manager) redacted(t *tool, r Reply, err error) (Reply, error) {
	clean, found := m.Redact.Bytes(r.Body)
	if len(found) > 0 {
		if r.Body = clean; r.Kind == abi.FrameJSON && !json.Valid(clean) {
			return Reply{Usage: r.Usage, Record: r.Record, Cache: r.Cache}, abi.Errorf(abi.ToolFailed, "redact the answer of %q: without its secrets it is no JSON", t.ID)
		}
	}
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return r, err
	}
	out := *e
	out.Msg, out.Hint = m.Redact.Clean(e.Msg), m.Redact.Clean(e.Hint)
	if detail, merr := json.Marshal(e.Detail); e.Detail != nil {
		safe, found := m.Redact.Bytes(detail)
		switch {
		case merr != nil || !json.Valid(safe):
			out.Detail = nil
		case len(found) > 0:
			out.Detail = json.RawMessage(safe)
		}
	}
	return r, &out
}
