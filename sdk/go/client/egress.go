package client

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// EgressLog reads rows of the egress ledger, the newest first, into any value that fits {version, items}; the query is as
// docs/spec/http.md has it.
func (c *Client) EgressLog(ctx context.Context, query url.Values, into any) error {
	return c.do(ctx, call{method: "GET", path: "/egress/log?" + query.Encode()}, into)
}

// EgressPreview tells what would be sent, and what the host would say about it. Nothing is sent, resolved, counted or stored.
func (c *Client) EgressPreview(ctx context.Context, in api.PreviewEgress) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/egress/preview", body: in}, &out)
	return out, err
}

// SetPosture changes the egress posture and returns the settings.
func (c *Client) SetPosture(ctx context.Context, posture string) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "PUT", path: "/egress/posture", body: api.SetPosture{Posture: posture}}, &out)
	return out, err
}

// SetEgressScope adds or replaces an operator's scope and returns it.
func (c *Client) SetEgressScope(ctx context.Context, id string, in api.SetScope) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "PUT", path: "/egress/scopes/" + url.PathEscape(id), body: in}, &out)
	return out, err
}

// RemoveEgressScope takes an operator's scope away.
func (c *Client) RemoveEgressScope(ctx context.Context, id string) error {
	return c.do(ctx, call{method: "DELETE", path: "/egress/scopes/" + url.PathEscape(id)}, nil)
}

// EgressTokens lists the tokens of the loopback proxy into any value that fits {version, items}.
func (c *Client) EgressTokens(ctx context.Context, into any) error {
	return c.do(ctx, call{method: "GET", path: "/egress/tokens"}, into)
}

// IssueEgressToken makes a token of the loopback proxy; the answer holds its secret, which cannot be read again.
func (c *Client) IssueEgressToken(ctx context.Context, in api.IssueToken) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/egress/tokens", body: in}, &out)
	return out, err
}

// RevokeEgressToken ends a token; transfers under it end with their next bytes.
func (c *Client) RevokeEgressToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: "DELETE", path: "/egress/tokens/" + url.PathEscape(id)}, nil)
}
