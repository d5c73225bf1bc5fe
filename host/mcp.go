package host

import (
	"context"
	"net"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/mcp"
)

// mcpActor is who acts when an MCP client calls: an agent, never the operator.
const mcpActor = "agent:mcp"

// ServeMCP offers the tools of installed packs to MCP clients on a listener, which it closes, until ctx ends. Call it
// beside Run or Serve.
func (h *Host) ServeMCP(ctx context.Context, ln net.Listener) error {
	return mcp.New(agents{h.parts}, mcp.Options{Version: h.parts.Version, Log: h.parts.Log}).Serve(ctx, ln)
}

// agents are the services as MCP clients reach them.
type agents struct{ parts Services }

// Tools implements mcp.Backend.
func (a agents) Tools(context.Context) ([]mcp.Tool, error) {
	return mcp.Offered(a.parts.Packs.List()), nil
}

// Call implements mcp.Backend.
func (a agents) Call(ctx context.Context, c mcp.Call) (mcp.Result, error) {
	from := a.parts.Journal.Last()
	act, _, err := a.parts.Actions.Submit(ctx, action.Request{Kind: c.Tool, Input: c.Input, Actor: mcpActor, Session: c.Session, Project: c.Project, Trace: c.Trace})
	if err != nil {
		return mcp.Result{}, err
	}
	told := a.tell(ctx, act.ID, from, c.Step)
	done, err := a.parts.Actions.Wait(ctx, act.ID)
	told()
	if err != nil { // nobody waits for it any more
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		if _, cerr := a.parts.Actions.Cancel(grace, act.ID, mcpActor, "the client went away"); cerr != nil && abi.CodeOf(cerr) != abi.Conflict {
			a.parts.Log.Warn("cancel an MCP client's call", "action", act.ID, "corr_id", act.Corr, "error", cerr)
		}
		return mcp.Result{}, err
	}
	if done.Failure != nil {
		return mcp.Result{}, done.Failure.Err()
	}
	res := mcp.Result{Action: done.ID}
	if done.OutKind == abi.FrameBytes {
		res.Bytes = done.Output
	} else {
		res.JSON = done.Output
	}
	return res, nil
}

// tell passes the events of an action on as steps, those behind from. The function it returns ends that, after everything
// that stands in the journal by then has been told.
func (a agents) tell(ctx context.Context, id string, from int64, step func(mcp.Step)) (end func()) {
	follow, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	seen := from
	pass := func(r journal.Record) {
		seen = r.ID
		if s, ok := mcp.StepOf(r.Kind, r.Body); ok {
			step(s)
		}
	}
	filter := journal.Filter{Action: id}
	go func() {
		defer close(done)
		for r, err := range a.parts.Journal.Follow(follow, from, filter) {
			if err != nil {
				return // what is told is a courtesy: the call goes on
			}
			pass(r)
		}
	}()
	return func() {
		stop()
		<-done
		rest, err := a.parts.Journal.Read(ctx, seen, 1000, filter)
		if err != nil {
			return
		}
		for _, r := range rest {
			pass(r)
		}
	}
}

// Watch implements mcp.Backend: what packs are there changes with their events.
func (a agents) Watch(ctx context.Context, changed func()) error {
	for _, err := range a.parts.Journal.Follow(ctx, a.parts.Journal.Last(), journal.Filter{Prefixes: []string{"pack."}}) {
		if err != nil {
			return err
		}
		changed()
	}
	return nil
}

// describeTools writes what MCP clients see now.
func (h *Host) describeTools(context.Context) ([]byte, error) {
	return mcp.Document(mcp.Offered(h.parts.Packs.List()))
}
