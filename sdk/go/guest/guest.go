// Package guest is the kit for writing an arw pack in Go: the author writes typed functions and a main that names them.
//
//	func main() { guest.Tool("hello.greet", greet) }
//
//	func greet(c *guest.Call, in Greeting) (Reply, error) { … }
//
// Build with "arw pack build" (the plain Go toolchain, GOOS=wasip1, a reactor). Input and output are JSON by the rules of
// encoding/json. Every call starts from the state main left behind: what a call writes into variables is gone afterwards
// unless the tool's isolation is "session"; what should stay goes through Call.KV.
//
// An error's code reaches the caller when it is an *abi.Error (see Errorf); any other error is tool_failed with its text.
// A capability that has no live lease answers with code denied, lease_expired, lease_revoked or budget_exhausted; return
// that error as it is, so that the caller sees the next step.
//
// Compiled for this machine instead of wasip1 the same code runs on a Memory host, so "go test" needs no engine. A guest
// runs one call at a time; nothing here is for concurrent use beyond that.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/arw-project/arw/abi"
)

// Call is one call of a tool: the way to everything outside the guest. It is valid until the tool returns.
type Call struct {
	tool string
	sys  system
}

// Name is the id of the tool that was called.
func (c *Call) Name() string { return c.tool }

// handler answers one call with a reply frame.
type handler func(c *Call, in []byte) []byte

// tools are what main registered, in no order. It is written before the first call only.
var tools = map[string]handler{}

// Tool registers a tool that takes and answers JSON. Call it from main; registering an id twice panics, because it is a
// mistake of the program.
func Tool[In, Out any](id string, run func(*Call, In) (Out, error)) {
	register(id, func(c *Call, raw []byte) []byte {
		var in In
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &in); err != nil {
				return failed(abi.Errorf(abi.Invalid, "read the input of %q: %w", id, err))
			}
		}
		out, err := run(c, in)
		if err != nil {
			return failed(err)
		}
		body, err := json.Marshal(out)
		if err != nil {
			return failed(abi.Errorf(abi.Internal, "write the output of %q: %w", id, err))
		}
		return abi.AppendFrame(make([]byte, 0, 1+len(body)), abi.FrameJSON, body)
	})
}

// Bytes registers a tool that takes and answers bytes as they are. The input is valid until run returns.
func Bytes(id string, run func(c *Call, in []byte) ([]byte, error)) {
	register(id, func(c *Call, in []byte) []byte {
		out, err := run(c, in)
		if err != nil {
			return failed(err)
		}
		return abi.AppendFrame(make([]byte, 0, 1+len(out)), abi.FrameBytes, out)
	})
}

func register(id string, h handler) {
	if _, twice := tools[id]; twice {
		panic("guest: tool " + id + " is registered twice")
	}
	tools[id] = h
}

// Errorf makes an error with a code of the table, for the caller to act on; %w keeps a cause.
func Errorf(code abi.Code, format string, args ...any) error {
	return abi.Errorf(code, format, args...)
}

// dispatch answers a call; a panic of the tool becomes an error frame, so that the caller learns what it said.
func dispatch(c *Call, in []byte) (frame []byte) {
	h, known := tools[c.tool]
	if !known {
		return failed(abi.Errorf(abi.NotFound, "call %q: the pack has no such tool", c.tool))
	}
	defer func() {
		if p := recover(); p != nil {
			frame = failed(abi.Errorf(abi.Trap, "tool %q panicked: %v", c.tool, p))
		}
	}()
	return h(c, in)
}

// failed turns an error into its frame.
func failed(err error) []byte {
	code, detail := abi.ToolFailed, json.RawMessage(nil)
	if e, ok := errors.AsType[*abi.Error](err); ok {
		code = e.Code
		switch d := e.Detail.(type) {
		case nil:
		case json.RawMessage:
			detail = d
		default:
			if raw, mErr := json.Marshal(d); mErr == nil {
				detail = raw
			}
		}
	}
	return abi.AppendErrorFrame(nil, code, err.Error(), detail)
}

// system is the host as the kit sees it: imports under wasip1, a Memory elsewhere.
type system interface {
	log(level int, msg string) error
	kvGet(key []byte) ([]byte, error)
	kvPut(key, val []byte) error
	kvDelete(key []byte) error
	kvList(req []byte) ([]byte, error)
	kvBatch(ops []byte) error
	emit(kind string, body []byte) error
	stateGet(name string) ([]byte, error)
	statePut(name string, doc []byte) error
	fsList(req []byte) ([]byte, error)
	fsStat(path string) ([]byte, error)
	fsRead(path string, offset int64, out []byte) (int, error)
	fsWrite(path string, data []byte) error
	fsRemove(path string) error
	now(out []byte) error
	monotonic(out []byte) error
	random(out []byte) error
	call(tool string, in []byte) ([]byte, error)
}

// decode reads a host's JSON answer; one that does not read is the host's fault.
func decode(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the host's answer: %w", err)
	}
	return nil
}
