package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/arw-project/arw/abi"
)

// Step is something that happened in the course of a call, before its end.
type Step struct {
	// Done, of Total when that is known, is the tool's own count; Counted says that it gave one.
	Counted     bool
	Done, Total float64
	// Message is for a person.
	Message string
	// Prompt is the id of the question that a person is asked now, and for which the call waits.
	Prompt string
}

// StepOf reads a step out of an event of a call's action; false where the event is none. A pack reports how far it is with
// an event whose kind ends in ".progress" and whose body has "progress", and may have "total" and "message".
func StepOf(kind string, body json.RawMessage) (Step, bool) {
	switch kind {
	case "actions.running":
		return Step{Message: "running"}, true
	case "policy.prompt":
		var p struct{ ID, Pack, Capability, Target string }
		if json.Unmarshal(body, &p) != nil || p.ID == "" {
			return Step{}, false
		}
		return Step{Prompt: p.ID, Message: "waiting for a person: may " + p.Pack + " use " + p.Capability + "? arw prompts show " + p.ID}, true
	case "policy.allow":
		return Step{Message: "a person said yes"}, true
	}
	if !strings.HasSuffix(kind, ".progress") {
		return Step{}, false
	}
	var p struct {
		Progress *float64 `json:"progress"`
		Total    float64  `json:"total"`
		Message  string   `json:"message"`
	}
	if json.Unmarshal(body, &p) != nil || p.Progress == nil {
		return Step{}, false
	}
	return Step{Counted: true, Done: *p.Progress, Total: p.Total, Message: p.Message}, true
}

// hush is by how much a step without a count moves the progress on, which the protocol wants to grow with each.
const hush = 0.001

// asked ends a call whose client cannot see that a person is asked: it would wait for it until it gives up.
type asked struct{ prompt string }

func (a asked) Error() string { return "a person is asked: prompt " + a.prompt }

// progress tells one call's client of its steps.
type progress struct {
	ctx      context.Context
	session  *sdk.ServerSession
	token    any // nil: the client does not want to know
	patience time.Duration
	end      context.CancelCauseFunc

	mu    sync.Mutex
	last  float64
	begun bool
	timer *time.Timer // runs while a person is asked and the client knows nothing of it
}

// step is what the backend calls.
func (p *progress) step(s Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil { // whatever comes next, the question has been answered
		p.timer.Stop()
		p.timer = nil
	}
	if p.token == nil {
		if s.Prompt != "" {
			p.timer = time.AfterFunc(p.patience, func() { p.end(asked{s.Prompt}) })
		}
		return
	}
	at := p.last + hush
	if s.Counted {
		if p.begun && s.Done <= p.last {
			return // the protocol allows no way back
		}
		at = s.Done
	}
	p.last, p.begun = at, true
	note := &sdk.ProgressNotificationParams{ProgressToken: p.token, Progress: at, Total: s.Total, Message: s.Message}
	if s.Prompt != "" {
		note.Meta = sdk.Meta{MetaPrompt: s.Prompt}
	}
	_ = p.session.NotifyProgress(p.ctx, note) // a client that is gone shows in the call's own context
}

func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// MetaPrompt is the member of _meta that names the question a person is asked.
const MetaPrompt = "arw/prompt"

// unanswered tells a client which question its call waited for.
func unanswered(a asked) *sdk.CallToolResult {
	out := refusal(abi.Errorf(abi.Denied, "a person is asked whether this may be done, and has not answered yet: prompt %q", a.prompt).
		WithHint("arw prompts allow %s --for 15m, which only the person can type; then call again", a.prompt))
	out.Meta[MetaPrompt] = a.prompt
	return out
}

// promptOf finds the question that an error speaks of; "" when it speaks of none.
func promptOf(err error) string {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok || e.Detail == nil {
		return ""
	}
	raw, jsonErr := json.Marshal(e.Detail)
	var d struct {
		ID string `json:"id"`
	}
	if jsonErr != nil || json.Unmarshal(raw, &d) != nil || !strings.HasPrefix(d.ID, "prm_") {
		return ""
	}
	return d.ID
}
