// Package guest is the kit for writing an arw pack in Go: the author writes typed functions and a main that names them.
//
//	func main() { guest.Tool("hello.greet", greet) }
//
//	func greet(c *guest.Call, in Greeting) (Reply, error) {
//		return Reply{Text: "Hello, " + in.Name + "!"}, nil
//	}
//
// Build with "arw pack build", or with the plain Go toolchain:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o module.wasm .
//
// Input and output are JSON by the rules of encoding/json, read and written by package codec. Every call starts from the
// state main left behind: what a call writes into variables is gone afterwards unless the tool's isolation is "session";
// what should stay goes through Call.KV. So main is also the place for whatever is costly and the same each time.
//
// An error's code reaches the caller when it is an *abi.Error (see Errorf); any other error is tool_failed with its text.
// A capability that has no live lease answers with code denied, lease_expired, lease_revoked or budget_exhausted, also in
// the middle of a call; return that error as it is, so that the caller sees the next step.
//
// Compiled for this machine instead of wasip1 the same code runs on a Memory host, so "go test" needs no engine. A guest
// runs one call at a time; nothing here is for concurrent use beyond that. A tool may start goroutines, but they run only
// while a call is inside.
package guest

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Tool registers a tool that takes and answers JSON. Call it from main, so that its plan is part of the state every call
// starts from. Strings of the input stay valid after the call. It panics, because these are mistakes of the program, when
// the id is malformed or taken and when a type has no JSON form.
func Tool[In, Out any](id string, run func(*Call, In) (Out, error)) {
	input, output := codec.For[In](), codec.For[Out]()
	type values struct {
		in  In
		out Out
	}
	variables := reused[values]()
	register(&tool{
		id: id, input: input.Schema, output: output.Schema,
		run: func(c *Call, raw, dst []byte) (_ []byte, err error) {
			v := variables()
			if len(raw) > 0 {
				// The host writes its next request where raw is, and strings share the memory they were read from.
				if err := input.Decode(keep(raw), &v.in); err != nil {
					return nil, abi.Errorf(abi.Invalid, "read the input of %q: %w", id, err)
				}
			}
			if v.out, err = run(c, v.in); err != nil {
				return nil, err
			}
			dst, err = output.Append(append(dst, byte(abi.FrameJSON)), &v.out)
			if err != nil {
				return nil, abi.Errorf(abi.ToolFailed, "write the output of %q: %w", id, err)
			}
			return dst, nil
		},
	})
}

// Bytes registers a tool that takes and answers bytes as they are. The input is valid until run returns.
func Bytes(id string, run func(c *Call, in []byte) ([]byte, error)) {
	register(&tool{id: id, run: func(c *Call, raw, dst []byte) ([]byte, error) {
		out, err := run(c, raw)
		if err != nil {
			return nil, err
		}
		return append(append(dst, byte(abi.FrameBytes)), out...), nil
	}})
}

// Prepare makes the JSON plan of T part of the state every call starts from. Tools need none for their input and output;
// for a type that goes through Emit, State or Action it saves every call the time to look at it. Call it from main.
func Prepare[T any]() { codec.For[T]() }

// Errorf makes an error with a code of the table, for the caller to act on; %w keeps a cause.
func Errorf(code abi.Code, format string, args ...any) *abi.Error {
	return abi.Errorf(code, format, args...)
}

// tool is one registered function. run appends a value frame to dst.
type tool struct {
	id            string
	input, output func() []byte // schemas; nil for bytes
	run           func(c *Call, raw, dst []byte) ([]byte, error)
}

// tools is the module's one table: a module has one arw_call, which has to find them. Only main writes it. A pack has few
// tools, and looking at each costs a guest less than hashing a name.
var tools []*tool

func find(id string) *tool {
	for _, t := range tools {
		if t.id == id {
			return t
		}
	}
	return nil
}

func register(t *tool) {
	if !validID(t.id) {
		panic(fmt.Sprintf("guest: the tool id %q is not of the form [a-z][a-z0-9_.-]*", t.id))
	}
	if find(t.id) != nil {
		panic(fmt.Sprintf("guest: the tool %q is registered twice", t.id))
	}
	tools = append(tools, t)
}

func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '_' || c == '.' || c == '-')) {
			return false
		}
	}
	return id != ""
}

// serve answers a call by appending its frame to dst. A panic of the tool becomes an error frame, so that the caller
// learns what it said.
func serve(c *Call, id string, raw, dst []byte) (frame []byte) {
	t := find(id)
	if t == nil {
		return serveUnknown(id, dst)
	}
	defer func() {
		if p := recover(); p != nil {
			frame = abi.AppendErrorFrame(dst, abi.Trap, fmt.Sprintf("tool %q panicked: %v%s", t.id, p, panicPlace()), nil)
		}
	}()
	c.tool = t.id
	frame, err := t.run(c, raw, dst)
	if err != nil {
		return appendError(dst, err)
	}
	return frame
}

func serveUnknown(id string, dst []byte) []byte {
	if id == describeTool {
		return appendDescription(dst)
	}
	return appendError(dst, abi.Errorf(abi.NotFound, "call %q: the pack has no such tool; it has %s", id, strings.Join(toolIDs(), ", ")))
}

func toolIDs() []string {
	ids := make([]string, 0, len(tools))
	for _, t := range tools {
		ids = append(ids, t.id)
	}
	slices.Sort(ids)
	return ids
}

// panicPlace is where the panic that is being recovered began, as " (file.go:12)"; empty when that cannot be told.
func panicPlace() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if f.File != "" && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf(" (%s:%d)", filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}
