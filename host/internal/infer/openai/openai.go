// Package openai keeps one promise: a model behind the HTTP dialect that most runtimes speak answers as infer.Model says,
// whatever the server on the other side does.
//
// The dialect is OpenAI's (/v1/chat/completions and its siblings) with what llama.cpp's llama-server and vLLM add to it. The
// client is our own because of its bounds: a server may die, hang, flood, send ten megabytes in a line or lie, and costs a
// caller an error and a bounded amount of memory. It dials nothing: requests go through the http.RoundTripper it is given,
// a unix socket's for a supervised runtime, egress for a remote one, and redirects are never followed.
//
// What a runtime can do is tried when the client is opened, not read from its name: see Open. A Client is safe for
// concurrent use and holds no connection of its own.
package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// Dialect is what a server speaks beside the common part.
type Dialect string

// The dialects.
const (
	Llama  Dialect = "llama"  // llama.cpp's llama-server
	VLLM   Dialect = "vllm"   // vLLM's server
	ONNX   Dialect = "onnx"   // the worker of package onnx
	Remote Dialect = "openai" // anything else: the common part alone
)

// Bounds of one answer that is no stream, in bytes, and of the quoted text of an error.
const (
	maxBody  = 32 << 20
	maxError = 64 << 10
	maxQuote = 300
)

// Config of a client. Base, Transport, Model and Dialect are required.
type Config struct {
	Base      string            // scheme and host: "http://llama"; no path, no query
	Transport http.RoundTripper // the only way out
	Model     string            // as the server calls it
	Dialect   Dialect
	// Key authenticates; empty sends nothing. It appears in no error.
	Key string
	// Idle is how long the next bytes of an answer may take; zero means 60 s. First is the same for the first ones, during
	// which a long prompt is read; zero means 10 min.
	Idle, First time.Duration
	// Can says what a remote server does, instead of trying it at the cost of money. Only for Remote.
	Can *infer.Can
	// Context tokens of a remote model; zero: unknown.
	Context int
}

// Client is one model on one server.
type Client struct {
	cfg   Config
	info  infer.Info
	print atomic.Pointer[string] // the version the server names in its answers
}

// Open asks the server what it is and tries what it can do. It takes some requests of a few tokens each, none for a Remote
// whose abilities are given. Errors: Invalid for a bad Config, those of a request.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Transport == nil {
		return nil, abi.Errorf(abi.Denied, "reach model %q at %q: no way out is configured", cfg.Model, cfg.Base)
	}
	if !strings.HasPrefix(cfg.Base, "http://") && !strings.HasPrefix(cfg.Base, "https://") {
		return nil, abi.Errorf(abi.Invalid, "reach model %q: %q is no http or https address", cfg.Model, cfg.Base)
	}
	cfg.Base = strings.TrimSuffix(cfg.Base, "/")
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.First == 0 {
		cfg.First = 10 * time.Minute
	}
	c := &Client{cfg: cfg}
	c.info = infer.Info{Engine: infer.Engine{Name: "openai", Kind: infer.Neural, Model: cfg.Model}, Context: cfg.Context}
	var err error
	switch cfg.Dialect {
	case Llama:
		err = c.probeLlama(ctx)
	case VLLM:
		err = c.probeVLLM(ctx)
	case ONNX:
		err = c.probeONNX(ctx)
	case Remote:
		err = c.probeRemote(ctx)
	default:
		err = abi.Errorf(abi.Invalid, "reach model %q: %q is no dialect", cfg.Model, cfg.Dialect)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Info implements infer.Model.
func (c *Client) Info() infer.Info { return c.info }

// send makes a request and gives the answer when its head is good. The caller closes the body. Ending ctx ends it.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var text io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "ask model %q: %w", c.cfg.Model, err)
		}
		text = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.Base+path, text)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "ask model %q: %w", c.cfg.Model, err)
	}
	req.Header.Set("User-Agent", "arw")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	}
	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.refused(resp)
	}
	return resp, nil
}

// call is send for an answer that is one JSON value.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	ctx, watch := c.patience(ctx)
	defer watch.end()
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return c.broken(ctx, err)
	case len(data) > maxBody:
		return c.nonsense("an answer of more than %d bytes", maxBody)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return c.nonsense("%s: %v", path, err)
	}
	return nil
}

func (c *Client) nonsense(format string, args ...any) error {
	return abi.Errorf(abi.Unavailable, "ask model %q: the runtime answers nonsense: %s", c.cfg.Model, fmt.Sprintf(format, args...))
}

// broken explains a request that got no answer, or not all of it.
func (c *Client) broken(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*abi.Error](context.Cause(ctx)); ok {
		return e
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return abi.Errorf(abi.Cancelled, "ask model %q: %w", c.cfg.Model, ctx.Err())
	case ctx.Err() != nil:
		return abi.Errorf(abi.Deadline, "ask model %q: %w", c.cfg.Model, ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return abi.Errorf(abi.Unavailable, "ask model %q: the answer broke off before its end", c.cfg.Model)
	}
	return abi.Errorf(abi.Unavailable, "ask model %q: %w", c.cfg.Model, err)
}

// patience is a context that ends when the runtime keeps silent for too long.
func (c *Client) patience(ctx context.Context) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{idle: c.cfg.Idle, cancel: cancel}
	p.timer = time.AfterFunc(c.cfg.First, func() {
		cancel(abi.Errorf(abi.Unavailable, "ask model %q: the runtime hangs: nothing came for %v", c.cfg.Model, p.waited(c.cfg.First)))
	})
	return ctx, p
}

type patience struct {
	idle   time.Duration
	timer  *time.Timer
	heard  atomic.Bool
	cancel context.CancelCauseFunc
}

func (p *patience) waited(first time.Duration) time.Duration {
	if p.heard.Load() {
		return p.idle
	}
	return first
}

// hear starts the wait for the next bytes.
func (p *patience) hear() {
	p.heard.Store(true)
	p.timer.Reset(p.idle)
}

func (p *patience) end() {
	p.timer.Stop()
	p.cancel(nil)
}
