// Package api holds the words of arw's HTTP surface: what a request and a response look like on the wire, so that the
// server, the Go client and any other client share one definition. It decides nothing and does no I/O.
//
// The prose form is docs/spec/http.md. Times are RFC 3339 in UTC with milliseconds; digests are "sha256:" and 64 hex
// digits; every identifier is opaque. Values are plain data and safe to copy.
package api

import (
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
)

// Header names beyond the registered ones.
const (
	HeaderCorr = "X-Arw-Corr" // correlation id: taken from the request when it is well formed, else made; on every response
)

// Revision is the version of this surface; it counts with the words here, not with the host.
const Revision = "1.0.0"

// MaxBody is the largest request body a host reads, in bytes: a tool's largest input and its envelope.
const MaxBody = 9 << 20

// Action is one piece of work and what became of it.
type Action struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"` // a tool: "research.search" or "arw/research:research.search"
	State   string          `json:"state"`
	Pack    string          `json:"pack,omitempty"` // name@version that ran it
	Corr    string          `json:"corr_id"`
	Parent  string          `json:"parent,omitempty"` // the action whose call this is, for a call from pack to pack
	Actor   string          `json:"actor,omitempty"`
	Project string          `json:"project,omitempty"`
	Input   json.RawMessage `json:"input,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`  // when the tool answers JSON
	Bytes   []byte          `json:"bytes,omitempty"`   // when the tool answers bytes, base64 on the wire
	Error   *Failure        `json:"error,omitempty"`   // exactly when State is failed or cancelled
	Usage   *Usage          `json:"usage,omitempty"`   // what the call cost, once it has run
	Created time.Time       `json:"created"`           // accepted, durable
	Started *time.Time      `json:"started,omitempty"` // first instruction
	Ended   *time.Time      `json:"ended,omitempty"`
	Attempt int             `json:"attempt,omitempty"` // how often it began to run; above 1 after the host was killed in its course
	// Priority orders what waits: "high" or "low"; absent is normal.
	Priority string     `json:"priority,omitempty"`
	Streams  []string   `json:"streams,omitempty"` // those the caller attached
	Record   *Recording `json:"record,omitempty"`  // when one was asked for
	Reused   bool       `json:"reused,omitempty"`  // answered by an earlier action with the same idempotency key
}

// The states of an action. Queued and running are passing, the others final.
const (
	StateQueued    = "queued"
	StateRunning   = "running"
	StateCompleted = "completed"
	StateFailed    = "failed"
	StateCancelled = "cancelled"
)

// Final reports whether nothing more will happen to the action.
func (a *Action) Final() bool {
	return a.State == StateCompleted || a.State == StateFailed || a.State == StateCancelled
}

// Failure is why an action did not complete.
type Failure struct {
	Code    string `json:"code"` // a name of the error table
	Message string `json:"message"`
	Next    string `json:"next,omitempty"` // what a person does about it
	Detail  any    `json:"detail,omitempty"`
}

// Err is the failure as the error that the tool's caller receives. A code that is not in the table is Internal.
func (f *Failure) Err() *abi.Error {
	code, ok := abi.CodeByName(f.Code)
	if !ok {
		code = abi.Internal
	}
	return &abi.Error{Code: code, Msg: f.Message, Hint: f.Next, Detail: f.Detail}
}

// Usage is what a call cost.
type Usage struct {
	Gas         uint64  `json:"gas"`
	HostCalls   int     `json:"host_calls"`
	WallMS      float64 `json:"wall_ms"`
	MemoryBytes int64   `json:"memory_bytes"`
	Cache       string  `json:"cache,omitempty"` // "hit": a kept answer was given; "near": one to a question that means the same; "miss": this call made it; "bypass": none is kept
}

// SubmitAction is the body of POST /actions. With the header "Prefer: wait=SECONDS" the answer comes when the action
// is final or that time is over, whichever is first.
type SubmitAction struct {
	Kind       string          `json:"kind"`
	Input      json.RawMessage `json:"input,omitempty"`
	IdemKey    string          `json:"idem_key,omitempty"`
	Project    string          `json:"project,omitempty"`
	Session    string          `json:"session,omitempty"` // keeps state between calls of tools whose isolation is "session"
	DeadlineMS int64           `json:"deadline_ms,omitempty"`
	Priority   string          `json:"priority,omitempty"` // of what waits: "high", "normal" (the default) or "low"
	Streams    []string        `json:"streams,omitempty"`  // "input", "output": see /actions/ID/stream
	Record     bool            `json:"record,omitempty"`   // keep the call for a replay; for the operator alone
}

// InstallPack is the body of POST /packs. The answer is newline-delimited JSON of InstallStep when the client accepts
// application/x-ndjson, else the verdict alone.
type InstallPack struct {
	Ref string `json:"ref"`
	// AllowUnsigned names the one manifest digest that may be installed though nothing trusted signed it.
	AllowUnsigned string `json:"allow_unsigned,omitempty"`
}

// InstallStep is one line of an install in progress: progress while it runs, and as the last line either the verdict
// or the problem.
type InstallStep struct {
	Progress *Progress       `json:"progress,omitempty"`
	Verdict  json.RawMessage `json:"verdict,omitempty"`
	Problem  *Problem        `json:"problem,omitempty"`
}

// Progress counts bytes or steps of one named thing; Total is 0 when it is not known.
type Progress struct {
	What  string `json:"what"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// GrantLease is the body of POST /leases.
type GrantLease struct {
	Pack       string   `json:"pack"` // namespace/name; the lease is for the installed digest of it
	Capability string   `json:"capability"`
	Scope      []string `json:"scope,omitempty"`
	TTL        string   `json:"ttl,omitempty"` // a Go duration, "8h"; empty is the policy's
	Calls      int64    `json:"budget_calls,omitempty"`
	Bytes      int64    `json:"budget_bytes,omitempty"`
	Tokens     int64    `json:"budget_tokens,omitempty"`
	Gas        int64    `json:"budget_gas,omitempty"`
	Money      int64    `json:"budget_usd_micros,omitempty"` // millionths of a US dollar
	Project    string   `json:"project,omitempty"`           // the lease holds in this project alone
	Reason     string   `json:"reason,omitempty"`
}

// Lease is who may do what until when, and how much of it is left.
type Lease struct {
	ID         string    `json:"id"`
	Pack       string    `json:"pack"`
	Digest     string    `json:"digest"`
	Capability string    `json:"capability"`
	Scope      []string  `json:"scope"`
	State      string    `json:"state"` // live, expired, revoked, exhausted
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	Budget     Budget    `json:"budget"`
	Used       Budget    `json:"used"`
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
	Policies   []string  `json:"policies"` // Cedar policies that decided it
	Renewable  bool      `json:"renewable"`
	Project    string    `json:"project,omitempty"` // it holds in this project alone, this session, this action
	Session    string    `json:"session,omitempty"`
	Action     string    `json:"action,omitempty"`
}

// Budget bounds what a lease may use, 0 being unlimited, or says what it has used.
type Budget struct {
	Calls  int64 `json:"calls"`
	Bytes  int64 `json:"bytes"`
	Tokens int64 `json:"tokens,omitempty"`
	Gas    int64 `json:"gas,omitempty"`
	Money  int64 `json:"usd_micros,omitempty"` // millionths of a US dollar
}

// Event is one record of the journal.
type Event struct {
	ID      int64           `json:"id"`
	Time    time.Time       `json:"time"`
	Kind    string          `json:"kind"`
	Corr    string          `json:"corr_id,omitempty"`
	Actor   string          `json:"actor,omitempty"`
	Project string          `json:"project,omitempty"`
	Pack    string          `json:"pack,omitempty"`
	Action  string          `json:"action,omitempty"`
	Body    json.RawMessage `json:"body"`
	Hash    string          `json:"hash"`
}

// List is every collection answer: the items, and the version that the ETag is made of.
type List[T any] struct {
	Version int64 `json:"version"`
	Items   []T   `json:"items"`
}

// Health is the answer of GET /healthz.
type Health struct {
	Status  string `json:"status"`           // "ok"; "degraded" when a pack is broken or suspended; "safe" when nothing runs
	Reason  string `json:"reason,omitempty"` // of "safe"
	Version string `json:"version"`
	ABI     string `json:"abi"`
	Events  int64  `json:"events"` // id of the last event
	Packs   int    `json:"packs"`
}

// Problem is an RFC 9457 problem document, the body of every answer that is not a success.
type Problem struct {
	Type   string `json:"type"` // "urn:arw:error:" and the code
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Next   string `json:"next,omitempty"`
	Corr   string `json:"corr_id,omitempty"`
	Data   any    `json:"data,omitempty"` // machine-readable reasons
}

// ProblemOf turns an error into its problem document. The text of an error without a code of the table is kept for the
// log: a client sees only that the host failed, and the correlation id to look for.
func ProblemOf(err error, corr string) *Problem {
	code := abi.CodeOf(err)
	row := code.Info()
	p := &Problem{
		Type: "urn:arw:error:" + row.Name, Title: row.Doc, Status: row.Status,
		Detail: err.Error(), Code: row.Name, Next: abi.HintOf(err), Corr: corr, Data: DetailOf(err),
	}
	if code == abi.Internal {
		p.Detail = "the host failed; its log has the reason under this correlation id"
	}
	return p
}

// Err turns a problem document back into the error it was made from, as far as it travelled.
func (p *Problem) Err() error {
	code, _ := abi.CodeByName(p.Code)
	return &abi.Error{Code: code, Msg: p.Detail, Hint: p.Next, Detail: p.Data}
}
