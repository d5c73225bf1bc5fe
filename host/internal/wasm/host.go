package wasm

import (
	"context"
	"io"
	"time"

	"github.com/arw-project/arw/abi"
)

// Gate is asked before the effect of every host call except io, stream, http and infer. (http asks by itself, since every hop of a
// redirect is a use of its own, and infer, since only the host knows which model a request means.) It answers with the scope of the lease that covers the
// call, or with an *abi.Error that the guest then sees. n is the number of bytes the call moves where that is known
// beforehand, else 0. The target is "read:<path>" or "write:<path>" for fs, the kind for event, the name for state and
// secret, the tool for action, and "" otherwise; archive.unpack also asks for fs, once for each of its paths. One call asks from one goroutine at a time; many calls ask at once.
type Gate interface {
	Use(ctx context.Context, cap abi.Capability, target string, n int) (scope string, err error)
}

// Reader is a Gate that also judges the call of a tool by its arguments, which are the guest's memory: it reads them and keeps
// nothing. It is asked in place of Use.
type Reader interface {
	UseWith(ctx context.Context, tool string, args []byte) (scope string, err error)
}

// Witness is a Gate that also wants to hear what the engine refuses by itself: a function above the tool's declared
// effect, or of a capability that is linked to nothing. The guest sees the same error.
type Witness interface {
	Refused(ctx context.Context, cap abi.Capability, err error)
}

// Host is what the world outside offers one call. A nil field is a capability that was not granted: the guest's call
// gets Denied and the manifest line to add.
//
// Every implementation is called on the goroutine of Program.Call, with a context that ends at the call's deadline, and
// must honour it. Byte slices it receives are its own to keep, never the guest's memory, so that an implementation that
// returns early and finishes later can do no harm; slices it returns must not change afterwards. An *abi.Error it returns
// goes to the guest with its code and message; any other error becomes Internal, and its text stays here.
type Host struct {
	Log     Log
	KV      KV
	Event   Event
	State   State
	FS      FS
	Clock   Clock
	Rand    io.Reader
	Action  Action
	Secret  Secret
	Archive Archive
	Config  Config
	HTTP    HTTP
	Infer   Infer
}

// Log takes one line of a guest, level 0 debug to 3 error.
type Log interface {
	Write(ctx context.Context, level int, msg string) error
}

// KV is the pack's own key space.
type KV interface {
	Get(ctx context.Context, key []byte) ([]byte, error) // NotFound when absent
	Put(ctx context.Context, key, val []byte) error
	Delete(ctx context.Context, key []byte) error
	List(ctx context.Context, prefix, after []byte, limit int) (keys []abi.KVEntry, more bool, err error)
	Batch(ctx context.Context, ops []abi.KVOp) error
}

// Event journals an event of the pack.
type Event interface {
	Emit(ctx context.Context, kind string, body []byte) error
}

// State holds the read models the pack contributes.
type State interface {
	Get(ctx context.Context, name string) ([]byte, error)
	Put(ctx context.Context, name string, doc []byte) error
}

// FS reaches leased folders; scope is what the Gate answered.
type FS interface {
	List(ctx context.Context, scope string, req abi.FSList) ([]abi.FSEntry, bool, error)
	Stat(ctx context.Context, scope, path string) (abi.FSEntry, error)
	Read(ctx context.Context, scope, path string, off int64, buf []byte) (int, error)
	Write(ctx context.Context, scope, path string, data []byte) error
	Remove(ctx context.Context, scope, path string) error
}

// Clock is the time a guest sees.
type Clock interface {
	Now() time.Time
	Monotonic() time.Duration
}

// Secret uses named secrets for the guest; the gate has been asked for the name.
type Secret interface {
	Public(ctx context.Context, name string) ([]byte, error)
	MAC(ctx context.Context, name string, data []byte) ([]byte, error)
	Sign(ctx context.Context, name string, data []byte) ([]byte, error)
}

// Config reads documents of the configuration; the gate has been asked for the name. The bytes are not changed afterwards.
type Config interface {
	Get(ctx context.Context, name string) ([]byte, error)
}

// Archive unpacks; the scopes are what the Gate answered for reading the one path and writing the other.
type Archive interface {
	Unpack(ctx context.Context, readScope, writeScope string, req abi.ArchiveUnpack) (abi.ArchiveUnpacked, error)
}

// Action calls another tool. An error frame of that tool comes back as (abi.FrameError, nil, *abi.Error); an error with
// another kind is the host's refusal to call it.
type Action interface {
	Call(ctx context.Context, tool string, input []byte) (kind abi.FrameKind, body []byte, err error)
}

// HTTP reaches the network. Whether the call may, it asks itself, for every hop.
type HTTP interface {
	// Open begins a request; with stream its body follows by Write, else body is the whole of it.
	Open(ctx context.Context, req abi.HTTPRequest, body []byte, stream bool) (Exchange, error)
	// Connect opens a WebSocket.
	Connect(ctx context.Context, req abi.HTTPRequest) (Socket, error)
}

// Infer asks models. Whether the call may, it asks itself, for the model that is meant.
type Infer interface {
	Generate(ctx context.Context, req abi.InferRequest) (Answer, error)
	Embed(ctx context.Context, req abi.InferEmbed) (abi.InferVectors, error)
	Rerank(ctx context.Context, req abi.InferRerank) (abi.InferScores, error)
	Tokenize(ctx context.Context, req abi.InferTokenize) (abi.InferTokens, error)
}

// Answer is a text that a model is making. Read gives what has come, io.EOF at its end, and is interrupted when ctx ends;
// Finish drops what was not read and waits for the end; Close may be called at any time, once, and frees the model.
type Answer interface {
	Engine() abi.InferEngine
	Read(ctx context.Context, buf []byte) (int, error)
	Finish(ctx context.Context) (abi.InferResult, error)
	Close() error
}

// Exchange is one request and its answer. Response ends the request's body and waits; Read gives the answer's body, io.EOF at
// its end; Close may be called at any time, and is called once.
type Exchange interface {
	Write(ctx context.Context, part []byte) error
	Response(ctx context.Context) (abi.HTTPResponse, error)
	Read(ctx context.Context, buf []byte) (int, error)
	Close() error
}

// Socket is one WebSocket. Receive answers io.EOF when the other side has closed it.
type Socket interface {
	Head() abi.HTTPResponse
	Send(ctx context.Context, kind int, data []byte) error
	Receive(ctx context.Context) (kind int, data []byte, err error)
	Close() error
}
