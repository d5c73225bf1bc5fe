package client

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/arw-project/arw/host/api"
)

// PlanUpgrade asks what an upgrade would change; nothing is.
func (c *Client) PlanUpgrade(ctx context.Context, name string, in api.UpgradePack) (out json.RawMessage, err error) {
	in.DryRun = true
	err = c.do(ctx, call{method: "POST", path: "/packs/" + name + "/upgrade", body: in}, &out)
	return out, err
}

// Upgrade puts another version of an installed pack in its place and returns its verdict; progress is as for Install.
func (c *Client) Upgrade(ctx context.Context, name string, in api.UpgradePack, progress func(api.Progress)) (json.RawMessage, error) {
	in.DryRun = false
	return c.install(ctx, name, call{method: "POST", path: "/packs/" + name + "/upgrade", body: in, accept: "application/x-ndjson"}, progress)
}

// Rollback puts a version back that was replaced, and returns the change.
func (c *Client) Rollback(ctx context.Context, name string, in api.RollbackPack) (json.RawMessage, error) {
	return c.post(ctx, name, "rollback", in)
}

// Suspend keeps a pack from running, and returns it.
func (c *Client) Suspend(ctx context.Context, name, reason string) (json.RawMessage, error) {
	return c.post(ctx, name, "suspend", api.SuspendPack{Reason: reason})
}

// Resume lets a suspended pack run again, and returns it.
func (c *Client) Resume(ctx context.Context, name, reason string) (json.RawMessage, error) {
	return c.post(ctx, name, "resume", api.SuspendPack{Reason: reason})
}

// Accept gives a pack what its last upgrade widened; no items means all. It returns what was accepted.
func (c *Client) Accept(ctx context.Context, name string, items ...string) (json.RawMessage, error) {
	return c.post(ctx, name, "accept", api.AcceptHeld{Items: items})
}

func (c *Client) post(ctx context.Context, name, what string, body any) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/packs/" + name + "/" + what, body: body}, &out)
	return out, err
}

// History reads what happened to a pack, newest first; limit 0 reads all that is kept.
func (c *Client) History(ctx context.Context, name string, limit int) (json.RawMessage, error) {
	return c.raw(ctx, "/packs/"+name+"/history?limit="+strconv.Itoa(limit))
}

// Lock reads the text of a lock file for what is installed.
func (c *Client) Lock(ctx context.Context) ([]byte, error) { return c.raw(ctx, "/lock") }

// Sync makes the host equal to a lock file, and returns what became of each pack. A refusal is the error, with the same
// list as its detail.
func (c *Client) Sync(ctx context.Context, in api.SyncPacks) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/sync", body: in}, &out)
	return out, err
}
