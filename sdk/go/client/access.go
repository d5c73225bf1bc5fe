package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// CreateToken makes a token for the host; the answer is the only place where its secret is told.
func (c *Client) CreateToken(ctx context.Context, in api.CreateToken) (t api.NewToken, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: "/access/tokens", body: in}, &t)
	return t, err
}

// Tokens lists the host's tokens, also those that are over.
func (c *Client) Tokens(ctx context.Context) (l api.List[api.AccessToken], err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "/access/tokens"}, &l)
	return l, err
}

// RevokeToken ends a token, by id or name.
func (c *Client) RevokeToken(ctx context.Context, which string) (t api.AccessToken, err error) {
	err = c.do(ctx, call{method: http.MethodDelete, path: "/access/tokens/" + url.PathEscape(which)}, &t)
	return t, err
}
