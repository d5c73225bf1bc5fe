// Package client speaks to a running arw host over HTTP. The command line is its first user; the words on the wire are
// host/api's.
//
// Every error is an *abi.Error: the host's own code, message and next step when the host answered, Unavailable when it
// could not be reached. A Client is safe for concurrent use and holds no goroutine between calls.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// maxAnswer bounds what is read of one answer: a tool's largest output as base64, and its envelope.
const maxAnswer = 64 << 20

// Client speaks to one host.
type Client struct {
	name  string // as New was given it
	base  string
	token string
	http  *http.Client
}

// New makes a client for a base URL such as "http://127.0.0.1:8091". The token is the operator's and may be empty for
// what changes no authority. "unix:" and a path is a host's socket, behind which its own user is the operator. Nothing is
// dialled.
func New(base, token string) *Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	dial := dialer.DialContext
	url := strings.TrimSuffix(base, "/")
	if path, ok := strings.CutPrefix(base, "unix:"); ok {
		url = "http://localhost"
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	}
	return &Client{name: base, base: url, token: token, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         dial,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Base is the URL the client was made with.
func (c *Client) Base() string { return c.name }

// Health asks whether the host is well.
func (c *Client) Health(ctx context.Context) (h api.Health, err error) {
	err = c.do(ctx, call{method: "GET", path: "/healthz"}, &h)
	return h, err
}

// Submit hands an action in. With wait > 0 it holds on until the action is final, however long that takes within ctx;
// the answer is the action as it then stands, failed or not.
func (c *Client) Submit(ctx context.Context, in api.SubmitAction, wait bool) (api.Action, error) {
	var act api.Action
	req := call{method: "POST", path: "/actions", body: in, wait: wait}
	if err := c.do(ctx, req, &act); err != nil {
		return act, err
	}
	if wait && !act.Final() {
		return c.Await(ctx, act.ID)
	}
	return act, nil
}

// Await holds on until an action is final, however long that takes within ctx. After an error the action is what was
// last known of it, its id at least.
func (c *Client) Await(ctx context.Context, id string) (api.Action, error) {
	act := api.Action{ID: id}
	for !act.Final() {
		if err := c.do(ctx, call{method: "GET", path: "/actions/" + url.PathEscape(id), wait: true}, &act); err != nil {
			act.ID = id
			return act, err
		}
	}
	return act, nil
}

// Action reads one action.
func (c *Client) Action(ctx context.Context, id string) (act api.Action, err error) {
	err = c.do(ctx, call{method: "GET", path: "/actions/" + url.PathEscape(id)}, &act)
	return act, err
}

// Wait holds on until an action is final, however long that takes within ctx.
func (c *Client) Wait(ctx context.Context, id string) (act api.Action, err error) {
	for !act.Final() {
		if err := c.do(ctx, call{method: "GET", path: "/actions/" + url.PathEscape(id), wait: true}, &act); err != nil {
			return act, err
		}
	}
	return act, nil
}

// Cancel takes an action back; one that is final is a Conflict.
func (c *Client) Cancel(ctx context.Context, id string) (act api.Action, err error) {
	err = c.do(ctx, call{method: "POST", path: "/actions/" + url.PathEscape(id) + "/cancel"}, &act)
	return act, err
}

// State reads one document of /state, with the query as given, into any value that fits it.
func (c *Client) State(ctx context.Context, id string, query url.Values, into any) error {
	path := "/state/" + url.PathEscape(id)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, call{method: "GET", path: path}, into)
}

// List reads a list that is filtered and paged, "packs", "leases" or "actions", with the query as given.
func (c *Client) List(ctx context.Context, what string, query url.Values, into any) error {
	path := "/" + url.PathEscape(what)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, call{method: "GET", path: path}, into)
}

// Pack reads one installed pack, whole.
func (c *Client) Pack(ctx context.Context, name string) (json.RawMessage, error) {
	return c.raw(ctx, "/packs/"+name)
}

// Verdict reads why a pack is installed, or why its last install was refused.
func (c *Client) Verdict(ctx context.Context, name string) (json.RawMessage, error) {
	return c.raw(ctx, "/packs/"+name+"/verdict")
}

func (c *Client) raw(ctx context.Context, path string) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: "GET", path: path}, &out)
	return out, err
}

// LeaveSafeMode lets packs of a host in safe mode run again.
func (c *Client) LeaveSafeMode(ctx context.Context) (h api.Health, err error) {
	err = c.do(ctx, call{method: "POST", path: "/safe-mode/exit"}, &h)
	return h, err
}

// Install installs a pack and returns its verdict; progress may be nil and is called from this goroutine.
func (c *Client) Install(ctx context.Context, in api.InstallPack, progress func(api.Progress)) (json.RawMessage, error) {
	return c.install(ctx, in.Ref, call{method: "POST", path: "/packs", body: in, accept: "application/x-ndjson"}, progress)
}

// install follows an install to its last line.
func (c *Client) install(ctx context.Context, ref string, req call, progress func(api.Progress)) (json.RawMessage, error) {
	resp, err := c.send(ctx, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	for {
		var step api.InstallStep
		if err := dec.Decode(&step); err != nil {
			return nil, abi.Errorf(abi.Unavailable, "install %q: the host stopped answering: %w", ref, err).
				WithHint("see \"arw list\": the pack is either installed or not, never half")
		}
		switch {
		case step.Problem != nil:
			return nil, step.Problem.Err()
		case step.Verdict != nil:
			return step.Verdict, nil
		case step.Progress != nil && progress != nil:
			progress(*step.Progress)
		}
	}
}

// RefreshIndex has the host ask its signed index for news, and returns what it knows of it then.
func (c *Client) RefreshIndex(ctx context.Context) (out json.RawMessage, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: "/index/refresh"}, &out)
	return out, err
}

// Remove uninstalls a pack; purge also deletes what it stored.
func (c *Client) Remove(ctx context.Context, name string, purge bool) error {
	return c.do(ctx, call{method: "DELETE", path: "/packs/" + name + "?purge=" + strconv.FormatBool(purge)}, nil)
}

// Grant grants a lease.
func (c *Client) Grant(ctx context.Context, in api.GrantLease) (l api.Lease, err error) {
	err = c.do(ctx, call{method: "POST", path: "/leases", body: in}, &l)
	return l, err
}

// PutSecret stores a secret under a name or gives it a new value.
func (c *Client) PutSecret(ctx context.Context, name string, in api.PutSecret) (s api.Secret, err error) {
	err = c.do(ctx, call{method: "PUT", path: "/secrets/" + url.PathEscape(name), body: in}, &s)
	return s, err
}

// Secrets lists what may be known of all secrets.
func (c *Client) Secrets(ctx context.Context) (l api.List[api.Secret], err error) {
	err = c.do(ctx, call{method: "GET", path: "/secrets"}, &l)
	return l, err
}

// Secret tells what may be known of a secret.
func (c *Client) Secret(ctx context.Context, name string) (s api.Secret, err error) {
	err = c.do(ctx, call{method: "GET", path: "/secrets/" + url.PathEscape(name)}, &s)
	return s, err
}

// RemoveSecret takes a secret away.
func (c *Client) RemoveSecret(ctx context.Context, name string) error {
	return c.do(ctx, call{method: "DELETE", path: "/secrets/" + url.PathEscape(name)}, nil)
}

// Revoke takes a lease back; the holder's next host call fails.
func (c *Client) Revoke(ctx context.Context, id, reason string) (l api.Lease, err error) {
	path := "/leases/" + url.PathEscape(id) + "?" + url.Values{"reason": {reason}}.Encode()
	err = c.do(ctx, call{method: "DELETE", path: path}, &l)
	return l, err
}

// call is one request in the making.
type call struct {
	method, path, accept string
	body                 any
	wait                 bool
	lastEvent            int64
}

// do sends a request and decodes its answer into a value; nil wants none.
func (c *Client) do(ctx context.Context, req call, into any) error {
	resp, err := c.send(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return abi.Errorf(abi.Unavailable, "read the host's answer to %s %s: %w", req.method, req.path, err)
	}
	if into == nil {
		return nil
	}
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = body
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return abi.Errorf(abi.Unavailable, "read the host's answer to %s %s: %w", req.method, req.path, err).
			WithHint("is this an arw host, and of this version?")
	}
	return nil
}

// send sends a request and turns every answer that is no success into its error. The caller closes the body.
func (c *Client) send(ctx context.Context, in call) (*http.Response, error) {
	var body io.Reader
	if in.body != nil {
		raw, err := json.Marshal(in.body)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "%s %s: %w", in.method, in.path, err)
		}
		if len(raw) > api.MaxBody { // the host would cut the connection, and with it its own answer
			return nil, abi.Errorf(abi.TooLarge, "%s %s: the request has %d bytes, a host reads at most %d", in.method, in.path, len(raw), api.MaxBody)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, in.method, c.base+in.path, body)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "address the host at %q: %w", c.base, err)
	}
	c.headers(req, in)
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, abi.Errorf(abi.CodeOf(ctx.Err()), "%s %s: %w", in.method, in.path, ctx.Err())
		}
		return nil, unreachable(c.base, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problem(resp)
}

func (c *Client) headers(req *http.Request, in call) {
	if in.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if in.accept != "" {
		req.Header.Set("Accept", in.accept)
	}
	if in.wait {
		req.Header.Set("Prefer", "wait=60")
	}
	if in.lastEvent > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatInt(in.lastEvent, 10))
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
}

func unreachable(base string, err error) error {
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err
	}
	return abi.Errorf(abi.Unavailable, "reach the host at %s: %w", base, cause).WithHint(`start it with "arw serve"`)
}

func problem(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return abi.Errorf(abi.Unavailable, "read the host's answer: %w", err)
	}
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return abi.Errorf(abi.Unavailable, "the host answered %s and no problem document", resp.Status).
			WithHint("is this an arw host?")
	}
	return p.Err()
}
