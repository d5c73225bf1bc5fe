// Package conform runs the conformance suite of package abitest on the real engine, against one module.
package conform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/abi/abitest"
	"github.com/arw-project/arw/host/internal/wasm"
)

// Report says how a module did.
type Report struct {
	Runtime  string        `json:"runtime"`
	ABI      string        `json:"abi"`
	Bytes    int           `json:"bytes"`
	Passed   int           `json:"passed"`
	Skipped  int           `json:"skipped,omitempty"` // the cases on what a guest does not import at all (of an older ABI, say)
	Without  []string      `json:"without,omitempty"` // their topics
	Failures []Failure     `json:"failures,omitempty"`
	Call     time.Duration `json:"call_ns"` // one warm call in fresh state, the quickest of several rounds' means
}

// Failure is a case that did not hold.
type Failure struct {
	Topic string `json:"topic"`
	Case  string `json:"case"`
	Error string `json:"error"`
}

// Run plays the whole suite. The error is of loading the module or the suite; what the module does wrong is in the report.
func Run(ctx context.Context, module []byte, runtime string) (*Report, error) {
	suite, err := abitest.Suite()
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "read the conformance suite: %w", err)
	}
	engine, err := wasm.Open(wasm.Options{})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	sum := sha256.Sum256(module)
	p, err := engine.Load(ctx, wasm.Spec{
		Name: "conformance", Digest: "sha256:" + hex.EncodeToString(sum[:]), Module: module, Runtime: runtime, SessionIdle: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	defer p.Close(context.WithoutCancel(ctx))
	r := &Report{Runtime: runtime, ABI: abi.Version, Bytes: len(module)}
	shape, err := wasm.Inspect(module)
	if err != nil {
		return nil, err
	}
	imports := shape.Imports
	for i := range suite {
		c := &suite[i]
		if needed, optional := needs[c.Topic]; optional && !uses(imports, needed) {
			r.Skipped++
			if !slices.Contains(r.Without, c.Topic) {
				r.Without = append(r.Without, c.Topic)
			}
			continue
		}
		if err := c.Run(ctx, program{p}); err != nil {
			r.Failures = append(r.Failures, Failure{c.Topic, c.Name, err.Error()})
			continue
		}
		r.Passed++
	}
	r.Call, err = clock(ctx, p)
	return r, err
}

// needs are the topics that a guest may leave out, and a function that it imports when it does not.
var needs = map[string]abi.Func{
	"streams": {Capability: abi.Stream, Name: "read"}, "http": {Capability: abi.HTTP, Name: "fetch"}, "infer": {Capability: abi.Infer, Name: "generate"}, "handles": {Capability: abi.FS, Name: "open"},
	"secret": {Capability: abi.Secret, Name: "mac"}, "archive": {Capability: abi.Archive, Name: "unpack"}, "config": {Capability: abi.Config, Name: "get"},
}

// uses says whether a module imports a function.
func uses(imports []wasm.Import, f abi.Func) bool {
	return slices.ContainsFunc(imports, func(i wasm.Import) bool {
		return i.Module == abi.ModulePrefix+string(f.Capability) && i.Name == f.Name || i.Name == "arw_"+string(f.Capability)+"_"+f.Name
	})
}

// program lets the suite call an engine's program.
type program struct{ p *wasm.Program }

func (p program) Call(ctx context.Context, c abitest.Call) (abitest.Reply, error) {
	l := c.Limits
	call := wasm.Call{
		Tool: c.Tool, Input: c.Input, Session: c.Session, Effects: c.Effects, Gate: c.World, Host: host(c.World),
		Limits: wasm.Limits{
			Gas: l.Gas, MemoryBytes: l.Memory, Time: time.Duration(l.TimeMS) * time.Millisecond,
			Input: l.Input, Output: l.Output, Depth: l.Depth, Streamed: l.Stream,
		},
	}
	if c.In != nil { // a nil pointer in an interface would not be nil
		call.In = c.In
	}
	if c.Out != nil {
		call.Out = c.Out
	}
	reply, err := p.p.Call(ctx, call)
	if quarantined(err) {
		err = fmt.Errorf("%w (the suite makes guests fail on purpose; this is a fault of the suite)", err)
	}
	return abitest.Reply{Kind: reply.Kind, Body: reply.Body}, err
}

func quarantined(err error) bool { return err != nil && abi.CodeOf(err) == abi.Quarantined }

func host(w *abitest.World) (h wasm.Host) {
	if w.Granted(abi.Log) {
		h.Log = w.Log()
	}
	if w.Granted(abi.KV) {
		h.KV = w.KV()
	}
	if w.Granted(abi.Event) {
		h.Event = w.Event()
	}
	if w.Granted(abi.State) {
		h.State = w.State()
	}
	if w.Granted(abi.FS) {
		h.FS = folders{w.FS()}
	}
	if w.Granted(abi.Clock) {
		h.Clock = w.Clock()
	}
	if w.Granted(abi.Rand) {
		h.Rand = w.Rand()
	}
	if w.Granted(abi.Action) {
		h.Action = w.Action()
	}
	if w.Granted(abi.Secret) {
		h.Secret = w.Secret()
	}
	if w.Granted(abi.Archive) {
		h.Archive = w.Archive()
	}
	if w.Granted(abi.Config) {
		h.Config = w.Config()
	}
	if w.Granted(abi.HTTP) {
		h.HTTP = network{w.HTTP()}
	}
	if w.Granted(abi.Infer) {
		h.Infer = models{w.Infer()}
	}
	return h
}

// models gives the world's model the engine's types.
type models struct{ abitest.Infer }

func (m models) Generate(ctx context.Context, req abi.InferRequest) (wasm.Answer, error) {
	a, err := m.Infer.Generate(ctx, req)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// network gives the world's network the engine's types.
type network struct{ abitest.HTTP }

func (n network) Open(ctx context.Context, req abi.HTTPRequest, body []byte, stream bool) (wasm.Exchange, error) {
	x, err := n.HTTP.Open(ctx, req, body, stream)
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (n network) Connect(ctx context.Context, req abi.HTTPRequest) (wasm.Socket, error) {
	s, err := n.HTTP.Connect(ctx, req)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// folders gives the world's files the engine's types.
type folders struct{ abitest.FS }

func (f folders) OpenFile(ctx context.Context, scope, path string) (wasm.File, error) {
	file, err := f.FS.OpenFile(ctx, scope, path)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f folders) CreateFile(ctx context.Context, scope, path string) (wasm.Draft, error) {
	return f.FS.CreateFile(ctx, scope, path)
}

// clock times a small typed call, whole path: copy in, fresh state, decode, encode, copy out.
func clock(ctx context.Context, p *wasm.Program) (time.Duration, error) {
	const rounds, calls = 9, 300
	c := wasm.Call{Tool: "conform.typed", Input: []byte(`{"name":"ada","count":2,"ratio":0.5,"on":true,"tags":["a"]}`)}
	var means []time.Duration
	for range rounds {
		start := time.Now()
		for range calls {
			if _, err := p.Call(ctx, c); err != nil {
				return 0, err
			}
		}
		means = append(means, time.Since(start)/calls)
	}
	return slices.Min(means), nil
}
