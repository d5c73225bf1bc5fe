// Package mcp offers the tools of installed packs to clients of the Model Context Protocol, and nothing else: what a
// client sees of a tool comes from the signed manifest alone, a tool that changed since the client looked at it is refused,
// and no request of a client can widen what a pack may do. A denial tells which command a person has to type.
//
// It speaks the protocol's revisions up to 2026-07-28 through the official SDK, over streamable HTTP (Serve) and over
// standard input and output (Stdio), and reaches the host through a Backend: in the host's own process the services
// themselves, in the bridge of the command line the HTTP client.
package mcp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/pack"
)

// Tool is one tool of an installed pack, as its manifest has it.
type Tool struct {
	ID, Pack    string
	Digest      string // of the pack's version
	Title       string
	Description string
	Effects     string // a word of abi.EffectNames
	Input       json.RawMessage
	Output      json.RawMessage
	Sessions    bool `json:"-"` // it keeps state for a client's session; the others are told of none
}

// Offered are the tools of installed packs.
func Offered(packs []pack.Info) []Tool {
	tools := []Tool{}
	for _, p := range packs {
		for _, t := range p.Tools {
			tools = append(tools, Tool{
				ID: t.ID, Pack: p.Name, Digest: p.Digest, Title: t.Title, Description: t.Description, Effects: t.Effects, Input: t.Input, Output: t.Output, Sessions: t.Isolation == "session",
			})
		}
	}
	return tools
}

// Call is one call of a tool.
type Call struct {
	Tool    string
	Input   json.RawMessage
	Session string // of the client, for the record and for tools that keep state
	Project string // that the client named, "" when none
	// Trace is where the client's trace stands, as it says in _meta.traceparent.
	Trace string
	// Step hears what happens in the course of the call, from one goroutine at a time and before Call returns.
	Step func(Step)
}

// Result is a completed call: JSON or bytes.
type Result struct {
	Action string // id of the action
	JSON   json.RawMessage
	Bytes  []byte // when JSON is nil
}

// Backend is the host behind the protocol. All methods are called from several goroutines at once.
type Backend interface {
	// Tools lists what is installed now.
	Tools(ctx context.Context) ([]Tool, error)
	// Call runs a tool to its end. When ctx ends the call is cancelled, also where it runs. Errors are *abi.Error.
	Call(ctx context.Context, c Call) (Result, error)
	// Watch calls changed whenever what Tools answers may have changed, until ctx ends or the host is gone.
	Watch(ctx context.Context, changed func()) error
}

// Options of a Server.
type Options struct {
	Version string       // of the host
	Project string       // of a client that names none
	Log     *slog.Logger // nil: nowhere
	// Patience is how long a call waits for the answer to a prompt when its client asked for no news of its progress, and so
	// cannot know; 0 means 20 seconds. Then it is answered that a person is asked, and the call is over.
	Patience time.Duration
}

// Server offers a backend's tools. It is safe for concurrent use.
type Server struct {
	back Backend
	in   string // Options.Project
	log  *slog.Logger
	sdk  *sdk.Server
	pins pins

	patience time.Duration

	mu    sync.Mutex
	tools map[string]string // definition by name, of those that are offered
}

// New makes a server that offers nothing before its first Refresh.
func New(back Backend, o Options) *Server {
	s := &Server{back: back, in: o.Project, log: o.Log, patience: cmp.Or(o.Patience, 20*time.Second), tools: map[string]string{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.sdk = sdk.NewServer(&sdk.Implementation{Name: "arw", Title: "arw: signed packs under leases", Version: o.Version}, &sdk.ServerOptions{
		Instructions: "Tools of signed packs. What a tool may reach is leased to it by a person; when a call is denied, show the person the command in the answer. You cannot grant it yourself.",
		Logger:       s.log,
		Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}},
	})
	s.sdk.AddReceivingMiddleware(s.pin)
	return s
}

// Refresh offers what is installed now; clients are told when that is something else than before.
func (s *Server) Refresh(ctx context.Context) error {
	tools, err := s.back.Tools(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := map[string]string{}
	for _, t := range tools {
		d := definition(t)
		now[t.ID] = d
		if s.tools[t.ID] != d {
			s.sdk.AddTool(describe(t, d), s.handle(t, d))
		}
	}
	var gone []string
	for name := range s.tools {
		if _, stays := now[name]; !stays {
			gone = append(gone, name)
		}
	}
	s.sdk.RemoveTools(gone...)
	s.tools = now
	return nil
}

// follow keeps what is offered equal to what is installed until ctx ends.
func (s *Server) follow(ctx context.Context) error {
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	return s.back.Watch(ctx, func() {
		if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("list tools for MCP clients", "error", err)
		}
	})
}

// MetaDefinition is the member of a tool's _meta that names its definition. A client may send it back in the _meta of a
// call: then the call is refused when the tool is not the one it saw.
const MetaDefinition = "arw/definition"

// definition is the digest of everything a client sees of a tool, and of the version of the pack behind it.
func definition(t Tool) string {
	raw, _ := json.Marshal(t) // plain data always marshals
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// describe is the tool in the protocol's words. The hints are no promises of the pack: the host holds it to its effects.
func describe(t Tool, def string) *sdk.Tool {
	reads := t.Effects == abi.Pure.String() || t.Effects == abi.Reads.String()
	open, writes := t.Effects == abi.OpenWorld.String(), !reads
	return &sdk.Tool{
		Name: t.ID, Title: t.Title, Description: t.Description, InputSchema: objectSchema(t.Input), OutputSchema: outputSchema(t.Output),
		Annotations: &sdk.ToolAnnotations{Title: t.Title, ReadOnlyHint: reads, IdempotentHint: reads, DestructiveHint: &writes, OpenWorldHint: &open},
		Meta:        sdk.Meta{"arw/pack": t.Pack, "arw/digest": t.Digest, MetaDefinition: def, "arw/effects": t.Effects},
	}
}

// objectSchema gives what the protocol asks for, a schema of type object, where the manifest's is wider: the host itself
// holds the input to the manifest's.
func objectSchema(raw json.RawMessage) any {
	if isObjectSchema(raw) {
		return raw
	}
	return json.RawMessage(`{"type":"object"}`)
}

// outputSchema is nil where structured content cannot be promised.
func outputSchema(raw json.RawMessage) any {
	if isObjectSchema(raw) {
		return raw
	}
	return nil
}

func isObjectSchema(raw json.RawMessage) bool {
	var s struct {
		Type any `json:"type"`
	}
	return json.Unmarshal(raw, &s) == nil && s.Type == "object"
}

// Document is what clients see of tools, as the answer of tools/list has it, in the order of their names.
func Document(tools []Tool) ([]byte, error) {
	list := sdk.ListToolsResult{Tools: []*sdk.Tool{}}
	for _, t := range tools {
		list.Tools = append(list.Tools, describe(t, definition(t)))
	}
	slices.SortFunc(list.Tools, func(a, b *sdk.Tool) int { return strings.Compare(a.Name, b.Name) })
	return json.Marshal(list)
}
