package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// Recall is what the host could give again, for each tool, project and person.
func (c *Client) Recall(ctx context.Context) (out api.Recall, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "/recall"}, &out)
	return out, err
}

// ForgetRecall has the host forget answers that it could give again: those that fit every name of f that is not empty.
func (c *Client) ForgetRecall(ctx context.Context, f api.RecallForgotten) (out api.RecallForgotten, err error) {
	q := url.Values{}
	for name, v := range map[string]string{"pack": f.Pack, "project": f.Project, "person": f.Person} {
		if v != "" {
			q.Set(name, v)
		}
	}
	err = c.do(ctx, call{method: http.MethodDelete, path: "/recall?" + q.Encode()}, &out)
	return out, err
}
