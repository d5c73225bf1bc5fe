package client

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// Renew lets a renewable lease live for ttl from now, a Go duration.
func (c *Client) Renew(ctx context.Context, id, ttl string) (l api.Lease, err error) {
	err = c.do(ctx, call{method: "POST", path: "/leases/" + url.PathEscape(id) + "/renew", body: api.RenewLease{TTL: ttl}}, &l)
	return l, err
}

// Prompts lists the questions in a state ("pending"), all of the last day with "".
func (c *Client) Prompts(ctx context.Context, state string) (list api.List[api.Prompt], err error) {
	err = c.do(ctx, call{method: "GET", path: "/policy/prompts?" + url.Values{"state": {state}}.Encode()}, &list)
	return list, err
}

// Prompt reads one question.
func (c *Client) Prompt(ctx context.Context, id string) (p api.Prompt, err error) {
	err = c.do(ctx, call{method: "GET", path: "/policy/prompts/" + url.PathEscape(id)}, &p)
	return p, err
}

// Answer answers a question; it needs the operator's token.
func (c *Client) Answer(ctx context.Context, id string, allow bool, in api.AnswerPrompt) (p api.Prompt, err error) {
	what := "/deny"
	if allow {
		what = "/allow"
	}
	err = c.do(ctx, call{method: "POST", path: "/policy/prompts/" + url.PathEscape(id) + what, body: in}, &p)
	return p, err
}

// Policy sends a request to a route below /policy and returns the answer as it came; a nil body is a GET.
func (c *Client) Policy(ctx context.Context, path string, body any) (out json.RawMessage, err error) {
	method := "POST"
	if body == nil {
		method = "GET"
	}
	err = c.do(ctx, call{method: method, path: "/policy/" + path, body: body}, &out)
	return out, err
}
