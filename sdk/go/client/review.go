package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// The paths of what waits for a person, by kind.
const (
	quarantinePath = "/admin/memory/quarantine"
	diffsPath      = "/admin/world_diffs"
)

// Quarantine lists writes of memory that wait, or did.
func (c *Client) Quarantine(ctx context.Context, q url.Values) (l api.List[api.Held], err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: quarantinePath + "?" + q.Encode()}, &l)
	return l, err
}

// Quarantined is one of them.
func (c *Client) Quarantined(ctx context.Context, id string) (h api.Held, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: quarantinePath + "/" + url.PathEscape(id)}, &h)
	return h, err
}

// DecideMemory admits a write of memory, or rejects it.
func (c *Client) DecideMemory(ctx context.Context, in api.DecideHeld) (h api.Held, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: quarantinePath + "/admit", body: in}, &h)
	return h, err
}

// Diffs lists proposed diffs that wait, or did.
func (c *Client) Diffs(ctx context.Context, q url.Values) (l api.List[api.Held], err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: diffsPath + "?" + q.Encode()}, &l)
	return l, err
}

// Diff is one of them.
func (c *Client) Diff(ctx context.Context, id string) (h api.Held, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: diffsPath + "/" + url.PathEscape(id)}, &h)
	return h, err
}

// ProposeDiff lets a diff wait for a person.
func (c *Client) ProposeDiff(ctx context.Context, in api.QueueDiff) (h api.Held, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: diffsPath + "/queue", body: in}, &h)
	return h, err
}

// DecideDiff applies a diff, rejects it or puts it off.
func (c *Client) DecideDiff(ctx context.Context, in api.DecideHeld) (h api.Held, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: diffsPath + "/decision", body: in}, &h)
	return h, err
}
