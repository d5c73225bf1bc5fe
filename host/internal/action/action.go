// Package action gives every piece of work one truthful life: durable before anyone is told its id, moved only along
// legal edges, ended once.
//
//	queued ──▶ running ──▶ completed
//	  │  ▲ ◀──────┤ ├────▶ failed      (error, denial, deadline, cut off: code interrupted)
//	  │  └ again  │ │
//	  ├───────────│─┴────▶ cancelled
//	  └───────────┴──────▶ failed      (its deadline passed while it waited)
//
// One edge leads back. What was cut off, because the host was killed or because it stopped and could not wait any longer, is
// queued again under its id, as its next attempt, if running it twice does no harm (its tool writes nothing, its caller gave an
// IdemKey, or Config.Resume says that nothing had come of it) and it has attempts left. Otherwise it has failed (interrupted)
// and lies among the dead letters, and Requeue is a person's decision. A Runner may also give a job back by an Again error.
//
// What waits stands in a queue.Queue, which gives it out under a lease: package queue has the rules, of fairness among packs
// and of priority. The record here decides what is true of an action; the queue decides who runs it next.
//
// There is one executor for everything; a CLI command, an HTTP request and a pack that calls another pack all become
// actions. Every move is a compare-and-set in the database, made together with its journal event, so the journal and
// the table can never disagree. The package does not know what a tool is: a Runner resolves and runs it.
//
// An Executor is safe for concurrent use. Its goroutines belong to Run.
package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/stream"
)

// State is where an action stands.
type State string

// The states; the last three are final.
const (
	Queued    State = "queued"
	Running   State = "running"
	Completed State = "completed"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Final reports whether nothing follows the state.
func (s State) Final() bool { return s == Completed || s == Failed || s == Cancelled }

// Request asks for one call of one tool.
type Request struct {
	// Kind names the tool as the Runner understands it: "research.search", "arw/research:research.search".
	Kind string
	// Input is one JSON value; empty means {}.
	Input json.RawMessage
	// IdemKey, when set, makes the request repeatable: the same actor, project, tool and key give the same action back, and a
	// different input under the same key is a Conflict.
	IdemKey string
	// Actor says who asks ("operator", "pack:arw/research"); Project and Corr group events. An empty Corr is made up.
	Actor, Project, Corr string
	// Session keeps one guest instance for several calls of a tool that allows it.
	Session string
	// Streams names what the caller attaches: "input", "output" or both. Give and take them by Executor.Streams.
	Streams []string
	// Record asks the runner to record the call.
	Record bool
	// Deadline ends the action wherever it stands; zero means the tool's own limit alone.
	Deadline time.Time
	// Priority orders what waits, over all packs.
	Priority queue.Priority
	// Trace is where the caller's trace stands, as the header traceparent has it. It is kept in memory alone.
	Trace string
}

// Action is one row of the record. Values are copies: nothing changes under a caller's hands.
type Action struct {
	ID       string
	Kind     string // the tool's own id, whatever spelling the request used
	Pack     string
	State    State
	Input    json.RawMessage
	Output   []byte        // of a completed action: JSON, or bytes when OutputKind says so
	OutKind  abi.FrameKind // FrameJSON or FrameBytes
	Failure  *Failure      // of a failed or cancelled action
	IdemKey  string
	Actor    string
	Project  string
	Corr     string
	Session  string
	Parent   string     // the action whose tool called this one
	Attempt  int        // how often it began to run
	Effects  abi.Effect // of its tool when it was submitted
	Depth    int        // 0 for a submitted action, parent's + 1 for a nested one
	Priority queue.Priority
	Deadline time.Time
	Created  time.Time
	Started  time.Time // zero until it ran
	Ended    time.Time // zero until it is final
	Usage    Usage
	Streams  []string   // those the caller attached
	Record   *Recording // nil when none was asked for
	seq      int64
	note     string        // why it goes back to the queue, for the event
	delay    time.Duration // until it may begin again
	Trace    string        // of the Request; empty after a restart
}

// Recording says where the record of a call is, or why there is none.
type Recording struct {
	Digest string `json:"digest,omitempty"` // of the record in the content store
	Module string `json:"module,omitempty"` // digest of the module that ran
	Bytes  int64  `json:"bytes,omitempty"`
	Calls  int    `json:"calls,omitempty"`
	Code   string `json:"code,omitempty"` // why there is none
	Error  string `json:"error,omitempty"`
}

// Failure says why an action did not complete, in the words a caller may see.
type Failure struct {
	Code    abi.Code        `json:"-"`
	Name    string          `json:"code"` // the word of Code
	Message string          `json:"message"`
	Hint    string          `json:"hint,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Err is the failure as the error a nested caller receives.
func (f *Failure) Err() *abi.Error {
	e := &abi.Error{Code: f.Code, Msg: f.Message, Hint: f.Hint}
	if len(f.Detail) > 0 {
		e.Detail = f.Detail
	}
	return e
}

// Usage is what a run cost.
type Usage struct {
	Gas       uint64        `json:"gas"`
	HostCalls int           `json:"host_calls"`
	Memory    int64         `json:"memory_bytes"`
	Wall      time.Duration `json:"wall_ns"`
	Cache     string        `json:"cache,omitempty"` // "hit", "miss" or "bypass": whether a kept answer was given
}

// Tool is what the executor needs to know of a tool before it queues a call.
type Tool struct {
	Kind     string // canonical: the same for every spelling
	Pack     string // unit of fairness
	Version  string // the runner's own: which version Validate speaks for
	Effects  abi.Effect
	Validate func(input []byte) error // nil: any JSON
	Streams  []string                 // those it uses
	MaxInput int64                    // bytes; zero means Config.MaxInput
}

// Job is one run. It is valid until Run returns. Its input has passed Tool.Validate.
type Job struct {
	Action Action
	Tool   Tool
	// Streams are what the caller attached; nil when it attached nothing.
	Streams *stream.Pair
	call    func(ctx context.Context, kind string, input []byte) (Result, error)
	idle    func(wait func() error) error
}

// Call runs another tool on behalf of this job's tool, as an action of its own whose Parent is this one, and waits for
// it. When that tool ran and failed, the result's Kind is FrameError. Refused before anything runs: deeper than Config.MaxDepth (DepthExceeded), effects above this tool's (Denied),
// unknown tool (NotFound), bad input (Invalid).
func (j Job) Call(ctx context.Context, kind string, input []byte) (Result, error) {
	return j.call(ctx, kind, input)
}

// Idle runs wait while the job's worker does other work: a job that waits for a person holds nobody up. When wait is over the
// job goes on at once, even if that is one more than Config.Workers for a moment.
func (j Job) Idle(wait func() error) error { return j.idle(wait) }

// Result is what a tool answered.
type Result struct {
	Kind  abi.FrameKind // FrameJSON or FrameBytes
	Body  []byte        // handed over: the runner keeps no reference
	Usage Usage         // also read when Run fails
	// Record is where the call was recorded, when the job asked for it; also read when Run fails.
	Record *Recording
}

// Runner finds and runs tools. Resolve must be cheap: every Submit asks it.
type Runner interface {
	// Resolve finds a tool by any of its spellings, of which Pack + ":" + Kind is always one; NotFound when there is none.
	Resolve(kind string) (Tool, error)
	// Run calls the tool. It must honour ctx and return an error whose abi code says what happened; a denial is an
	// error, never a result.
	Run(ctx context.Context, job Job) (Result, error)
}

// Config bounds an Executor; the zero value works.
type Config struct {
	Workers   int           // calls running at once; 0 means twice the processors, between 4 and 32
	PerPack   int           // calls of one pack at once; 0 means Workers less a quarter, so that no pack holds them all
	Line      queue.Queue   // where actions wait; required, and closed by whoever made it
	Backend   string        // what Line is, for people
	Lease     time.Duration // how long the queue waits for a sign of life of this process; 0 means 30 seconds
	Queue     int           // actions waiting before Submit answers Busy; 0 means 1,024
	MaxInput  int64         // bytes of input; 0 means 8 MiB
	MaxOutput int64         // bytes of output; 0 means 8 MiB
	MaxDepth  int           // nesting; 0 means 8
	IdemTTL   time.Duration // how long a key is remembered; 0 means 24 hours
	Attempts  int           // how often an action may begin to run, when it is cut off in its course; 0 means 3
	Grace     time.Duration // how long Run lets running calls finish when it is told to stop; 0 means 5 seconds
	// Name makes a name that a client chose freely (key, session, correlation id) one that may be written down; equal names stay
	// equal. nil keeps them.
	Name func(string) string
	// Resume reports whether an action that was running when the host stopped may run again from its beginning under the same
	// id, because nothing had come of it yet; nil says no.
	Resume func(tx *sql.Tx, action string) (bool, error)
}

// Filter narrows List; the zero value asks for the newest hundred of everything.
type Filter struct {
	State   State
	Kind    string // prefix of the tool's id
	Pack    string
	Corr    string
	Actor   string
	Project *string // nil: of all projects; "" is the default one
	Parent  string
	Since   time.Time // moved at or after
	Before  string    // a cursor from Page.Next
	Limit   int       // 0 means 100; at most 1,000
	Payload bool      // also Input and Output, left out otherwise because they may be large
}

// Page is one page of a list, newest first. Next asks for the page after it and is empty on the last.
type Page struct {
	Items []Action
	Next  string
}

// Stats is a snapshot for metrics.
type Stats struct {
	Working                                         bool // Run is on
	Paused                                          bool // nothing new begins: see Pause
	Workers, Running, Waiting, Queue                int
	Submitted, Completed, Failed, Cancelled, Reused uint64
	Backend                                         string // of Line
	Line                                            queue.Stats
}
