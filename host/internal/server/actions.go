package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/queue"
)

// maxWait bounds how long one request may hold on for an action; a client that wants more asks again.
const maxWait = 60 * time.Second

// maxWaiters bounds the requests that hold on at once.
const maxWaiters = 1024

func (s *Server) postAction(c *fiber.Ctx) error {
	var body api.SubmitAction
	if err := decode(c, &body); err != nil {
		return err
	}
	in, err := s.within(c, body.Project)
	if err != nil {
		return err
	}
	if err := s.adoptCarried(c, in); err != nil {
		return err
	}
	req := action.Request{
		Kind: body.Kind, Input: body.Input, IdemKey: body.IdemKey, Actor: s.actor(c),
		Project: in, Corr: corr(c), Session: body.Session,
		Streams: body.Streams, Record: body.Record, Trace: traceOf(c),
	}
	if req.Priority, err = queue.ParsePriority(body.Priority); err != nil {
		return err
	}
	if p, err := s.who(c); body.Record && (err != nil || !p.Role.May(access.ActionRecord)) {
		return abi.Errorf(abi.Unauthenticated, "submit %q: a record holds all that the call sees, so only the operator may ask for one", body.Kind).
			WithHint("send the operator token, or leave \"record\" out")
	}
	if body.DeadlineMS < 0 {
		return abi.Errorf(abi.Invalid, "submit %q: deadline_ms %d is before now", body.Kind, body.DeadlineMS)
	}
	if body.DeadlineMS > 0 {
		req.Deadline = time.Now().Add(time.Duration(body.DeadlineMS) * time.Millisecond)
	}
	act, reused, err := s.svc.Actions.Submit(s.ctx, req)
	if err != nil {
		return err
	}
	if wait := preferredWait(c); wait > 0 && !act.State.Final() {
		if act, err = s.await(act, wait); err != nil {
			return err
		}
	}
	out := wireAction(&act)
	out.Reused = reused
	c.Location("/actions/" + out.ID)
	status := fiber.StatusAccepted
	if act.State.Final() {
		status = fiber.StatusOK
	}
	return c.Status(status).JSON(out)
}

// await holds on until the action is final or the time is over; it then answers with the action as it stands.
func (s *Server) await(act action.Action, wait time.Duration) (action.Action, error) {
	if s.waiting.Add(1) > maxWaiters {
		s.waiting.Add(-1)
		return act, nil
	}
	defer s.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(s.ctx, wait)
	defer cancel()
	done, err := s.svc.Actions.Wait(ctx, act.ID)
	if err == nil {
		return done, nil
	}
	if ctx.Err() != nil {
		return s.svc.Actions.Get(s.ctx, act.ID)
	}
	return act, err
}

// preferredWait reads "Prefer: wait=SECONDS" (RFC 7240); what is malformed is no preference.
func preferredWait(c *fiber.Ctx) time.Duration {
	for part := range strings.SplitSeq(c.Get("Prefer"), ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(part), "wait=")
		if !ok {
			continue
		}
		if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
			return min(time.Duration(seconds)*time.Second, maxWait)
		}
	}
	return 0
}

func (s *Server) getAction(c *fiber.Ctx) error {
	act, err := s.mine(c)
	if err != nil {
		return err
	}
	if wait := preferredWait(c); wait > 0 && !act.State.Final() {
		if act, err = s.await(act, wait); err != nil {
			return err
		}
	}
	return c.JSON(wireAction(&act))
}

func (s *Server) cancelAction(c *fiber.Ctx) error {
	act, err := s.mine(c)
	if err != nil {
		return err
	}
	act, err = s.svc.Actions.Cancel(s.ctx, act.ID, s.actor(c), "cancelled by a request")
	if err != nil {
		return err
	}
	return c.JSON(wireAction(&act))
}

func (s *Server) getActions(c *fiber.Ctx) error {
	f := action.Filter{
		State: action.State(c.Query("state")), Kind: c.Query("kind"), Pack: c.Query("pack"),
		Corr: c.Query("corr_id"), Parent: c.Query("parent"), Before: c.Query("before"),
	}
	var err error
	if f.Project, err = s.about(c); err != nil {
		return err
	}
	if f.Limit, err = queryInt(c, "limit", 100, 1, 1000); err != nil {
		return err
	}
	if since := c.Query("since"); since != "" {
		if f.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
			return abi.Errorf(abi.Invalid, "list actions: since %q is not an RFC 3339 time", since)
		}
	}
	page, err := s.svc.Actions.List(s.ctx, f)
	if err != nil {
		return err
	}
	doc := actionPage{List: api.List[api.Action]{Version: s.svc.Journal.Last(), Items: []api.Action{}}, Next: page.Next}
	for i := range page.Items {
		doc.Items = append(doc.Items, wireAction(&page.Items[i]))
	}
	return stateJSON(c, "actions", doc)
}

type actionPage struct {
	api.List[api.Action]
	Next string `json:"next,omitempty"`
}

// queryInt reads a bounded whole number of the query string.
func queryInt(c *fiber.Ctx, key string, otherwise, low, high int) (int, error) {
	raw := c.Query(key)
	if raw == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < low || n > high {
		return 0, abi.Errorf(abi.Invalid, "read query: %s=%q is not a whole number from %d to %d", key, raw, low, high)
	}
	return n, nil
}

func wireAction(a *action.Action) api.Action {
	out := api.Action{
		ID: a.ID, Kind: a.Kind, State: string(a.State), Pack: a.Pack, Corr: a.Corr, Parent: a.Parent,
		Actor: a.Actor, Project: a.Project, Input: a.Input, Created: a.Created,
		Started: optional(a.Started), Ended: optional(a.Ended), Streams: a.Streams, Attempt: a.Attempt,
	}
	if a.Priority != queue.Normal {
		out.Priority = a.Priority.String()
	}
	if r := a.Record; r != nil {
		out.Record = &api.Recording{Digest: r.Digest, Bytes: r.Bytes, Calls: r.Calls, Code: r.Code, Error: r.Error}
	}
	if a.State == action.Completed {
		if a.OutKind == abi.FrameBytes {
			out.Bytes = a.Output
		} else {
			out.Output = a.Output
		}
	}
	if f := a.Failure; f != nil {
		out.Error = &api.Failure{Code: f.Name, Message: f.Message, Next: f.Hint, Detail: f.Detail}
	}
	if !a.Ended.IsZero() && !a.Started.IsZero() {
		out.Usage = &api.Usage{
			Gas: a.Usage.Gas, HostCalls: a.Usage.HostCalls, MemoryBytes: a.Usage.Memory,
			WallMS: float64(a.Usage.Wall.Microseconds()) / 1000, Cache: a.Usage.Cache,
		}
	}
	return out
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
