package mcp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// handle answers calls of one tool as it was defined when it was offered.
func (s *Server) handle(t Tool, def string) sdk.ToolHandler {
	return func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if seen, ok := req.Params.Meta[MetaDefinition]; ok && seen != def {
			return changed(t.ID), nil
		}
		input := req.Params.Arguments
		if len(input) == 0 {
			input = json.RawMessage(`{}`)
		}
		call := Call{Tool: t.ID, Input: input, Project: s.projectOf(req)}
		call.Trace, _ = req.Params.Meta["traceparent"].(string)
		if t.Sessions {
			call.Session = sessionID(req)
		}
		return s.call(ctx, req, call), nil
	}
}

// projectOf is the project that a client names, with every request of its own or in the address that it was given.
func (s *Server) projectOf(req *sdk.CallToolRequest) string {
	if req.Extra != nil {
		if named := req.Extra.Header.Get(api.HeaderProject); named != "" {
			return named
		}
	}
	return s.in
}

// call runs one call and tells its client how far it is.
func (s *Server) call(ctx context.Context, req *sdk.CallToolRequest, c Call) *sdk.CallToolResult {
	inner, end := context.WithCancelCause(ctx)
	defer end(nil)
	p := &progress{ctx: ctx, session: req.Session, token: req.Params.GetProgressToken(), patience: s.patience, end: end}
	defer p.stop()
	c.Step = p.step
	res, err := s.back.Call(inner, c)
	if a, ok := errors.AsType[asked](context.Cause(inner)); ok && err != nil {
		return unanswered(a)
	}
	if err != nil {
		return refusal(err)
	}
	return answer(res)
}

func sessionID(req sdk.Request) string {
	if session, ok := req.GetSession().(*sdk.ServerSession); ok && session != nil {
		return session.ID()
	}
	return ""
}

// answer is a completed call: structured where the tool gave an object, and as text for clients that read only that.
func answer(r Result) *sdk.CallToolResult {
	out := &sdk.CallToolResult{Meta: sdk.Meta{"arw/action": r.Action}}
	if r.JSON == nil {
		out.Content = []sdk.Content{&sdk.TextContent{Text: base64.StdEncoding.EncodeToString(r.Bytes), Meta: sdk.Meta{"encoding": "base64"}}}
		return out
	}
	out.Content = []sdk.Content{&sdk.TextContent{Text: string(r.JSON)}}
	if len(r.JSON) > 0 && r.JSON[0] == '{' {
		out.StructuredContent = r.JSON
	}
	return out
}

// refusal is a call that failed, for a model to read: what happened and what a person can do. It is a result and not an
// error of the protocol, as the specification asks of a tool's failures.
func refusal(err error) *sdk.CallToolResult {
	code := abi.CodeOf(err)
	text := fmt.Sprintf("%s: %s", code, err)
	if code == abi.Internal { // what went wrong inside is for the log, not for a client
		text = "internal: the host failed to run the tool; its log says more"
	}
	if hint := abi.HintOf(err); hint != "" {
		text += "\nnext: " + hint
	}
	out := &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: text}}, Meta: sdk.Meta{"arw/code": code.String()}}
	if id := promptOf(err); id != "" {
		out.Meta[MetaPrompt] = id
	}
	if code == abi.Denied || code == abi.LeaseExpired || code == abi.LeaseRevoked || code == abi.BudgetExhausted {
		out.Content = append(out.Content, &sdk.TextContent{Text: "Only the person who runs the host can allow this. Show them the line above; no tool can do it."})
	}
	return out
}

func changed(name string) *sdk.CallToolResult {
	return refusal(abi.Errorf(abi.Conflict, "call %q: the tool is not the one that this client has seen: its pack changed", name).
		WithHint("list the tools again and look at what changed"))
}

// pins remember which definition of a tool each session has seen.
type pins struct {
	mu   sync.Mutex
	seen map[string]map[string]string // by session and tool
}

// pin is between the client and the SDK: it notes what a session was shown, and refuses calls of what it was shown
// otherwise. A session that never listed is not held to anything; it may send MetaDefinition.
func (s *Server) pin(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		id := sessionID(req)
		if call, ok := req.(*sdk.CallToolRequest); ok && id != "" {
			if seen := s.pins.get(id, call.Params.Name); seen != "" && seen != s.defined(call.Params.Name) {
				return changed(call.Params.Name), nil
			}
		}
		res, err := next(ctx, method, req)
		if list, ok := res.(*sdk.ListToolsResult); ok && err == nil && id != "" {
			s.pins.note(id, list.Tools, s.sdk)
		}
		return res, err
	}
}

func (s *Server) defined(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tools[name]
}

func (p *pins) get(session, tool string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[session][tool]
}

// note keeps what a session has seen, and forgets sessions that are over.
func (p *pins) note(session string, tools []*sdk.Tool, server *sdk.Server) {
	live := map[string]bool{session: true}
	for other := range server.Sessions() {
		live[other.ID()] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]map[string]string{}
	}
	for id := range p.seen {
		if !live[id] {
			delete(p.seen, id)
		}
	}
	if p.seen[session] == nil {
		p.seen[session] = map[string]string{}
	}
	for _, t := range tools {
		if def, ok := t.Meta[MetaDefinition].(string); ok {
			p.seen[session][t.Name] = def
		}
	}
}
