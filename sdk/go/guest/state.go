package guest

import (
	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// State is the pack's read models, which others see at /state/{id}. Needs [capabilities.state] and a [[state]] entry.
type State struct{ c *Call }

// State gives the read models.
func (c *Call) State() State { return State{c} }

// Get reads a read model into a variable; one never written is not_found.
func (s State) Get(id string, into any) error {
	raw, err := s.c.fetch(hostStateGet(s.c, id, s.c.scratch[:]))
	if err != nil {
		return err
	}
	if err := codec.DecodeAny(raw, into); err != nil {
		return abi.Errorf(abi.Invalid, "read state %q: %w", id, err)
	}
	return nil
}

// Put replaces a read model. See Prepare.
func (s State) Put(id string, doc any) error {
	raw, err := codec.AppendAny(nil, doc)
	if err != nil {
		return abi.Errorf(abi.Invalid, "write state %q: %w", id, err)
	}
	return s.c.stored(hostStatePut(s.c, id, raw))
}

// Emit journals an event; its kind starts with a prefix of [capabilities.event], its body is an object. The event is
// durable when Emit returns. See Prepare.
func (c *Call) Emit(kind string, body any) error {
	raw, err := codec.AppendAny(nil, body)
	if err != nil {
		return abi.Errorf(abi.Invalid, "emit event %q: %w", kind, err)
	}
	return c.check(hostEmit(c, kind, raw))
}

// Action calls tools of this and other packs, as actions of their own. Needs [capabilities.action] and a lease for the
// tool.
type Action struct{ c *Call }

// Action gives the caller.
func (c *Call) Action() Action { return Action{c} }

// CallRaw calls a tool (namespace/name:id) with bytes and gives its answer's bytes; a tool that failed is its error, with
// its code and detail.
func (a Action) CallRaw(tool string, in []byte) ([]byte, error) {
	frame, err := a.c.fetch(hostAction(a.c, tool, in, a.c.scratch[:]))
	if err != nil {
		return nil, err
	}
	_, body, err := abi.ParseFrame(frame)
	return body, err
}

// Call calls a tool with a value as JSON and reads its answer into the variable out points to; nil drops the answer. See
// Prepare.
func (a Action) Call(tool string, in, out any) error {
	raw, err := codec.AppendAny(nil, in)
	if err != nil {
		return abi.Errorf(abi.Invalid, "call %q: %w", tool, err)
	}
	if raw, err = a.CallRaw(tool, raw); err != nil || out == nil {
		return err
	}
	if err := codec.DecodeAny(raw, out); err != nil {
		return abi.Errorf(abi.ToolFailed, "call %q: read its answer: %w", tool, err)
	}
	return nil
}
