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

// MoveUnit takes a suggested unit or archives one (verb "take" or "archive").
func (c *Client) MoveUnit(ctx context.Context, verb string, in api.MoveUnit) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/logic/" + verb, body: in}, &out)
	return out, err
}

// ApproveUnit agrees to the promotion of a unit as it is on trial.
func (c *Client) ApproveUnit(ctx context.Context, in api.ApproveUnit) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/logic/approve", body: in}, &out)
	return out, err
}

// Gates reads what stands between a unit on trial and its promotion.
func (c *Client) Gates(ctx context.Context, unit, from string) (json.RawMessage, error) {
	return c.raw(ctx, "/logic/gates?"+url.Values{"unit": {unit}, "from": {from}}.Encode())
}

// RunExperiment runs an experiment, whose definition is JSON, and answers when it is over.
func (c *Client) RunExperiment(ctx context.Context, definition json.RawMessage) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "POST", path: "/experiments", body: definition}, &out)
	return out, err
}

// Experiment reads one run of an experiment; with report "csv" or "json", that report.
func (c *Client) Experiment(ctx context.Context, run, report string) (json.RawMessage, error) {
	path := "/experiments/" + url.PathEscape(run)
	if report != "" {
		path += "/" + report
	}
	return c.raw(ctx, path)
}
