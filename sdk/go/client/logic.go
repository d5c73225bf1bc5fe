package client

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/arw-project/arw/host/api"
)

// Unit reads what is known of one logic unit.
func (c *Client) Unit(ctx context.Context, id string) (json.RawMessage, error) {
	return c.raw(ctx, "/logic/units/"+url.PathEscape(id))
}

// Matrix reads which installed units do not go together, and why.
func (c *Client) Matrix(ctx context.Context) (json.RawMessage, error) {
	return c.raw(ctx, "/logic/matrix")
}

// InstallUnit makes a unit known; it changes no configuration.
func (c *Client) InstallUnit(ctx context.Context, in api.InstallUnit) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/logic/units", body: in}, &out)
	return out, err
}

// TestUnit runs a unit's own tests on the host's documents and changes nothing.
func (c *Client) TestUnit(ctx context.Context, in api.TestUnit) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/logic/units/test", body: in}, &out)
	return out, err
}

// ChangeLogic applies, reverts or promotes (verb) units and gives the plan of what happened or would.
func (c *Client) ChangeLogic(ctx context.Context, verb string, in api.ChangeLogic) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/logic/" + verb, body: in}, &out)
	return out, err
}

// ChangeConfig changes a configuration document by hand.
func (c *Client) ChangeConfig(ctx context.Context, in api.ChangeConfig) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/patch/apply", body: in}, &out)
	return out, err
}

// RevertConfig takes changes by hand back, or the whole configuration to a version.
func (c *Client) RevertConfig(ctx context.Context, in api.RevertConfig) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/patch/revert", body: in}, &out)
	return out, err
}

// Snapshots reads the newest versions of the configuration.
func (c *Client) Snapshots(ctx context.Context) (json.RawMessage, error) {
	return c.raw(ctx, "/state/config/snapshots")
}
