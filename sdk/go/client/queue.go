package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/arw-project/arw/host/api"
)

// Queue says how the host's work stands.
func (c *Client) Queue(ctx context.Context) (q api.Queue, err error) {
	err = c.do(ctx, call{method: "GET", path: "/queue"}, &q)
	return q, err
}

// PauseQueue lets nothing new begin; what runs goes on.
func (c *Client) PauseQueue(ctx context.Context, in api.PauseQueue) (q api.Queue, err error) {
	err = c.do(ctx, call{method: "POST", path: "/queue/pause", body: in}, &q)
	return q, err
}

// ResumeQueue lets waiting actions begin again.
func (c *Client) ResumeQueue(ctx context.Context) (q api.Queue, err error) {
	err = c.do(ctx, call{method: "POST", path: "/queue/resume"}, &q)
	return q, err
}

// DrainQueue lets nothing new begin and waits until nothing runs; Deadline when something still does.
func (c *Client) DrainQueue(ctx context.Context, in api.DrainQueue) (q api.Queue, err error) {
	err = c.do(ctx, call{method: "POST", path: "/queue/drain", body: in}, &q)
	return q, err
}

// Jobs are actions as the queue has them, in the order they came: those of a state, "ready", "leased" or "dead", behind the id
// after; at most limit.
func (c *Client) Jobs(ctx context.Context, state, after string, limit int) (list api.List[api.QueueJob], err error) {
	query := url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}
	if after != "" {
		query.Set("after", after)
	}
	err = c.do(ctx, call{method: "GET", path: "/queue/jobs?" + query.Encode()}, &list)
	return list, err
}

// Requeue submits a dead letter again and returns the new action.
func (c *Client) Requeue(ctx context.Context, id string) (act api.Action, err error) {
	err = c.do(ctx, call{method: "POST", path: "/queue/dead/" + url.PathEscape(id) + "/requeue"}, &act)
	return act, err
}

// DropDead forgets a dead letter; the action stays in the record.
func (c *Client) DropDead(ctx context.Context, id string) error {
	return c.do(ctx, call{method: "DELETE", path: "/queue/dead/" + url.PathEscape(id)}, nil)
}

// Retry submits a failed or cancelled action again and returns the new one.
func (c *Client) Retry(ctx context.Context, id string) (act api.Action, err error) {
	err = c.do(ctx, call{method: "POST", path: "/actions/" + url.PathEscape(id) + "/retry"}, &act)
	return act, err
}

// Schedules are the tools that the host calls at given times.
func (c *Client) Schedules(ctx context.Context) (list api.List[api.Schedule], err error) {
	err = c.do(ctx, call{method: "GET", path: "/schedules"}, &list)
	return list, err
}
