package openai

import (
	"context"
	"net/http"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// A text that no model says by itself: whoever answers it holds to the grammar.
const (
	proof        = "zqxjkv"
	proofGrammar = `root ::= "` + proof + `"`
)

// fixed is a schema with one value, for the same purpose.
var fixed = []byte(`{"const":"` + proof + `"}`)

// props is what llama-server and the worker say of themselves.
type props struct {
	Engine   string `json:"engine"` // the worker's alone
	Settings struct {
		Context int `json:"n_ctx"`
	} `json:"default_generation_settings"`
	Slots int    `json:"total_slots"`
	Build string `json:"build_info"`
}

// probeProps asks for them. Context is per slot already.
func (c *Client) probeProps(ctx context.Context, engine, name, what string) error {
	var got props
	if err := c.call(ctx, http.MethodGet, "/props", nil, &got); err != nil {
		return err
	}
	if got.Settings.Context <= 0 || got.Build == "" || got.Engine != engine {
		return c.nonsense("/props without context or build, or of another engine: this is no %s", what)
	}
	c.info.Name, c.info.Version = name, quote(got.Build)
	c.info.Context, c.info.Slots = got.Settings.Context, got.Slots
	return c.try(ctx)
}

func (c *Client) probeLlama(ctx context.Context) error {
	return c.probeProps(ctx, "", "llama.cpp", "llama-server")
}

func (c *Client) probeONNX(ctx context.Context) error {
	return c.probeProps(ctx, "onnx", "onnx", "ONNX worker")
}

func (c *Client) probeVLLM(ctx context.Context) error {
	var version struct {
		Version string `json:"version"`
	}
	if err := c.call(ctx, http.MethodGet, "/version", nil, &version); err != nil {
		return err
	}
	c.info.Name, c.info.Version = "vllm", quote(version.Version)
	models, err := c.models(ctx)
	if err != nil {
		return err
	}
	for _, m := range models {
		if m.ID == c.cfg.Model {
			c.info.Context = m.Context
		}
	}
	if err := c.try(ctx); err != nil {
		return err
	}
	c.info.Can.Salt, err = c.trySalt(ctx)
	return err
}

func (c *Client) probeRemote(ctx context.Context) error {
	c.info.Name = "openai"
	if c.cfg.Can != nil {
		c.info.Can = *c.cfg.Can
		return nil
	}
	models, err := c.models(ctx)
	if err != nil {
		return err
	}
	for _, m := range models {
		if m.ID == c.cfg.Model && m.Context > 0 {
			c.info.Context = m.Context
		}
	}
	return c.try(ctx)
}

type listed struct {
	ID      string `json:"id"`
	Context int    `json:"max_model_len"`
}

// models lists what the server serves; a server without Config.Model is refused.
func (c *Client) models(ctx context.Context) ([]listed, error) {
	var got struct {
		Data []listed `json:"data"`
	}
	if err := c.call(ctx, http.MethodGet, "/v1/models", nil, &got); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(got.Data))
	for _, m := range got.Data {
		if m.ID == c.cfg.Model {
			return got.Data, nil
		}
		names = append(names, quote(m.ID))
	}
	return nil, abi.Errorf(abi.NotFound, "reach model %q: the server has no model of that name, it has %q", c.cfg.Model, names)
}

// try finds out what the runtime does, each by its effect.
func (c *Client) try(ctx context.Context) error {
	can := &c.info.Can
	for _, t := range []struct {
		can *bool
		try func(context.Context) (bool, error)
	}{
		{&can.Generate, func(ctx context.Context) (bool, error) {
			return c.says(ctx, &infer.Request{Prompt: infer.Prompt{Text: "a"}, MaxTokens: 1}, nil)
		}},
		{&can.Chat, func(ctx context.Context) (bool, error) {
			return c.says(ctx, &infer.Request{Prompt: infer.Prompt{Messages: []infer.Message{{Role: "user", Text: "a"}}}, MaxTokens: 1}, nil)
		}},
		{&can.Grammar, func(ctx context.Context) (bool, error) {
			if c.cfg.Dialect == Remote {
				return false, nil
			}
			return c.says(ctx, &infer.Request{Prompt: infer.Prompt{Text: "a"}, MaxTokens: 32, Form: infer.Form{Grammar: proofGrammar}}, func(s string) bool { return s == proof })
		}},
		{&can.Schema, func(ctx context.Context) (bool, error) {
			return c.says(ctx, &infer.Request{Prompt: infer.Prompt{Text: "a"}, MaxTokens: 32, Form: infer.Form{Schema: fixed}},
				func(s string) bool { return strings.TrimSpace(s) == `"`+proof+`"` })
		}},
		{&can.Embed, func(ctx context.Context) (bool, error) {
			v, err := c.Embed(ctx, []string{"a"})
			if err == nil {
				c.info.Width = len(v.Values[0])
			}
			return err == nil && c.info.Width > 0, err
		}},
		{&can.Rerank, func(ctx context.Context) (bool, error) {
			_, err := c.Rerank(ctx, "a", []string{"a"})
			return err == nil, err
		}},
		{&can.Tokenize, func(ctx context.Context) (bool, error) {
			t, err := c.Tokenize(ctx, infer.Prompt{Text: "a"})
			return err == nil && len(t) > 0, err
		}},
	} {
		if c.cfg.Dialect == ONNX && (t.can == &can.Generate || t.can == &can.Chat || t.can == &can.Grammar || t.can == &can.Schema) {
			continue // an encoder says nothing
		}
		ok, err := t.try(ctx)
		if err != nil && !inability(err) {
			return err
		}
		*t.can = ok
	}
	if !can.Generate && !can.Embed && !can.Rerank {
		return abi.Errorf(abi.Unavailable, "reach model %q: the runtime neither generates, embeds nor reranks", c.cfg.Model)
	}
	return nil
}

// inability tells an answer that says no from a server that does not answer.
func inability(err error) bool {
	switch abi.CodeOf(err) {
	case abi.Unsupported, abi.Invalid, abi.NotFound, abi.TooLarge:
		return true
	}
	return false
}

// says generates and checks the text.
func (c *Client) says(ctx context.Context, r *infer.Request, want func(string) bool) (bool, error) {
	a, err := infer.Collect(c.info.Engine, c.Generate(ctx, r))
	return err == nil && (want == nil || want(a.Text)), err
}

// trySalt sees whether two scopes share a cached prompt: a prompt of several cache blocks is sent twice in one scope, which
// must find it, and once in another, which must not. Without a hit there is no cache, and nothing to keep apart is not
// taken for a proof.
func (c *Client) trySalt(ctx context.Context) (bool, error) {
	text := strings.Repeat("one two three four five six seven eight ", 32)
	ask := func(scope string) (int64, error) {
		a, err := infer.Collect(c.info.Engine, c.Generate(ctx, &infer.Request{Prompt: infer.Prompt{Text: text}, MaxTokens: 1, Scope: scope}))
		return a.Usage.Cached, err
	}
	var cached [3]int64
	for i, scope := range []string{"probe-1", "probe-1", "probe-2"} {
		n, err := ask(scope)
		if err != nil {
			if inability(err) {
				return false, nil
			}
			return false, err
		}
		cached[i] = n
	}
	return cached[1] > 0 && cached[2] == 0, nil
}
