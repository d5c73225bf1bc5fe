package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// CreateProject makes a project.
func (c *Client) CreateProject(ctx context.Context, in api.CreateProject) (p api.Project, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: "/projects", body: in}, &p)
	return p, err
}

// ArchiveProject closes a project, or opens it again.
func (c *Client) ArchiveProject(ctx context.Context, id string, closed bool) (p api.Project, err error) {
	what := "/restore"
	if closed {
		what = "/archive"
	}
	err = c.do(ctx, call{method: http.MethodPost, path: "/projects/" + url.PathEscape(id) + what}, &p)
	return p, err
}

// Project is one project with its exports in force.
func (c *Client) Project(ctx context.Context, id string) (p api.ShowProject, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "/projects/" + url.PathEscape(id)}, &p)
	return p, err
}

// CreateExport lets a pack read in one project what it wrote in another.
func (c *Client) CreateExport(ctx context.Context, in api.CreateExport) (e api.ProjectExport, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: "/projects/exports", body: in}, &e)
	return e, err
}

// Exports lists the exports in a state, "" for all that are not forgotten.
func (c *Client) Exports(ctx context.Context, state string) (l api.List[api.ProjectExport], err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "/projects/exports?" + url.Values{"state": {state}}.Encode()}, &l)
	return l, err
}

// RevokeExport ends an export: the next read under it is refused.
func (c *Client) RevokeExport(ctx context.Context, id, reason string) (e api.ProjectExport, err error) {
	path := "/projects/exports/" + url.PathEscape(id) + "?" + url.Values{"reason": {reason}}.Encode()
	err = c.do(ctx, call{method: http.MethodDelete, path: path}, &e)
	return e, err
}
