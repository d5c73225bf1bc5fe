package client

import (
	"context"
	"net/url"

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

// Retry submits a failed or cancelled action again and returns the new one.
func (c *Client) Retry(ctx context.Context, id string) (act api.Action, err error) {
	err = c.do(ctx, call{method: "POST", path: "/actions/" + url.PathEscape(id) + "/retry"}, &act)
	return act, err
}
