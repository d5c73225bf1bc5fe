package openai

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"iter"
	"mime"
	"net/http"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// ask is a request in the dialect. Fields a server does not know are left out by the caller, not sent in hope.
type ask struct {
	Model         string          `json:"model"`
	Prompt        string          `json:"prompt,omitempty"`
	Messages      []infer.Message `json:"messages,omitempty"`
	MaxTokens     int             `json:"max_tokens"`
	Stream        bool            `json:"stream"`
	StreamOptions struct {
		Usage bool `json:"include_usage"`
	} `json:"stream_options"`
	Seed             *int64   `json:"seed,omitempty"`
	Temperature      *float64 `json:"temperature,omitempty"`
	TopP             *float64 `json:"top_p,omitempty"`
	TopK             *int     `json:"top_k,omitempty"`
	MinP             *float64 `json:"min_p,omitempty"`
	RepeatPenalty    *float64 `json:"repeat_penalty,omitempty"`
	RepetitionP      *float64 `json:"repetition_penalty,omitempty"`
	FrequencyPenalty *float64 `json:"frequency_penalty,omitempty"`
	PresencePenalty  *float64 `json:"presence_penalty,omitempty"`
	Stop             []string `json:"stop,omitempty"`

	ResponseFormat any             `json:"response_format,omitempty"`
	JSONSchema     json.RawMessage `json:"json_schema,omitempty"`
	Grammar        string          `json:"grammar,omitempty"`
	Structured     any             `json:"structured_outputs,omitempty"`

	CachePrompt *bool  `json:"cache_prompt,omitempty"`
	CacheSalt   string `json:"cache_salt,omitempty"`
	Slot        *int   `json:"id_slot,omitempty"`
}

// phrase puts a request into the words of the server.
func (c *Client) phrase(r *infer.Request) (*ask, error) {
	a := &ask{Model: c.cfg.Model, Prompt: r.Text, Messages: r.Messages, MaxTokens: r.MaxTokens, Stream: true,
		Seed: r.Seed, Temperature: r.Temperature, TopP: r.TopP, TopK: r.TopK, MinP: r.MinP, FrequencyPenalty: r.FrequencyPenalty,
		PresencePenalty: r.PresencePenalty, Stop: r.Stop}
	a.StreamOptions.Usage = true
	switch c.cfg.Dialect {
	case Llama:
		a.RepeatPenalty, a.Grammar = r.RepeatPenalty, r.Grammar
		if r.Messages == nil {
			a.JSONSchema = r.Schema
		}
		// This server keeps prompts of all callers in one cache and its time tells what is in it, so a scope has none,
		// unless it has a slot of its own.
		cache := r.Scope == "" || r.Slot != nil
		a.CachePrompt, a.Slot = &cache, r.Slot
	case VLLM:
		a.RepetitionP = r.RepeatPenalty
		if r.Grammar != "" {
			a.Structured = map[string]string{"grammar": r.Grammar}
		}
		if r.Scope != "" {
			a.CacheSalt = salt(r.Scope)
		}
	case Remote:
		if r.TopK != nil || r.MinP != nil || r.RepeatPenalty != nil {
			return nil, infer.Lacks(c.info, `know "top_k", "min_p" and "repeat_penalty"`)
		}
	}
	if len(r.Schema) > 0 && a.JSONSchema == nil {
		a.ResponseFormat = map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "answer", "strict": true, "schema": r.Schema}}
	}
	return a, nil
}

// Words are the path and body with which Generate would ask. Errors: Unsupported, Invalid.
func (c *Client) Words(r *infer.Request) (path string, body []byte, err error) {
	a, err := c.phrase(r)
	if err != nil {
		return "", nil, err
	}
	path = "/v1/completions"
	if r.Messages != nil {
		path = "/v1/chat/completions"
	}
	body, err = json.Marshal(a)
	return path, body, err
}

// salt keeps the caches of scopes apart without telling the server their names.
func salt(scope string) string {
	sum := sha256.Sum256([]byte("arw cache salt\x00" + scope))
	return hex.EncodeToString(sum[:])
}

// chunk is one event of a streamed answer.
type chunk struct {
	Choices []struct {
		Text  string `json:"text"`
		Delta struct {
			Content   string `json:"content"`
			Reasoning string `json:"reasoning_content"`
		} `json:"delta"`
		Finish string `json:"finish_reason"`
	} `json:"choices"`
	Usage       *usage          `json:"usage"`
	Timings     *timings        `json:"timings"`
	Fingerprint string          `json:"system_fingerprint"`
	Error       json.RawMessage `json:"error"`
}

type usage struct {
	Prompt  int64 `json:"prompt_tokens"`
	Output  int64 `json:"completion_tokens"`
	Details struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

type timings struct {
	Cached int64 `json:"cache_n"`
}

// Generate implements infer.Model.
func (c *Client) Generate(ctx context.Context, req *infer.Request) iter.Seq2[infer.Part, error] {
	return func(yield func(infer.Part, error) bool) {
		body, err := c.phrase(req)
		if err != nil {
			yield(infer.Part{}, err)
			return
		}
		path := "/v1/completions"
		if req.Messages != nil {
			path = "/v1/chat/completions"
		}
		ctx, watch := c.patience(ctx)
		defer watch.end()
		resp, err := c.send(ctx, http.MethodPost, path, body)
		if err != nil {
			yield(infer.Part{}, err)
			return
		}
		defer resp.Body.Close()
		if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
			yield(infer.Part{}, c.nonsense("%.60q where a stream of events was asked for", kind))
			return
		}
		c.read(ctx, resp.Body, watch, yield)
	}
}

// answer is what is known of an answer while it is read. The end is told in two or three events: the reason, the usage, and
// a mark that nothing follows; it is passed on as one part.
type answer struct {
	finish infer.Finish
	usage  *infer.Usage
	cached int64
}

func (c *Client) read(ctx context.Context, body io.Reader, watch *patience, yield func(infer.Part, error) bool) {
	var a answer
	for stream := newEvents(body); ; {
		data, err := stream.next()
		if err == io.EOF && a.finish != "" && a.usage != nil {
			yield(a.last(), nil) // some servers leave the mark out
			return
		}
		if err != nil {
			yield(infer.Part{}, c.broken(ctx, err))
			return
		}
		watch.hear()
		if bytes.Equal(bytes.TrimSpace(data), []byte("[DONE]")) {
			if a.finish == "" {
				yield(infer.Part{}, c.nonsense("an answer that ends without a reason"))
				return
			}
			yield(a.last(), nil)
			return
		}
		part, err := c.take(&a, data)
		if err != nil {
			yield(infer.Part{}, err)
			return
		}
		if part.Text != "" && !yield(part, nil) {
			return
		}
	}
}

func (a *answer) last() infer.Part {
	if a.usage != nil && a.usage.Cached == 0 {
		a.usage.Cached = a.cached
	}
	return infer.Part{Finish: a.finish, Usage: a.usage}
}

// take reads one event.
func (c *Client) take(a *answer, data []byte) (p infer.Part, err error) {
	var ev chunk
	if err := json.Unmarshal(data, &ev); err != nil {
		return p, c.nonsense("an event that is not JSON: %v", err)
	}
	if len(ev.Error) > 0 {
		return p, c.complain(http.StatusInternalServerError, data)
	}
	if err := c.same(ev.Fingerprint); err != nil {
		return p, err
	}
	if len(ev.Choices) > 1 {
		return p, c.nonsense("%d answers where one was asked for", len(ev.Choices))
	}
	if ev.Timings != nil {
		a.cached = ev.Timings.Cached
	}
	if u := ev.Usage; u != nil {
		a.usage = &infer.Usage{Prompt: u.Prompt, Output: u.Output, Cached: u.Details.Cached}
	}
	if len(ev.Choices) == 0 {
		return p, nil
	}
	ch := &ev.Choices[0]
	p.Text = ch.Text + ch.Delta.Content
	if p.Text != "" && a.finish != "" {
		return p, c.nonsense("text behind the end of an answer")
	}
	switch ch.Finish {
	case "":
	case "stop":
		a.finish = infer.Stopped
	case "length":
		a.finish = infer.Length
	case "content_filter":
		return p, abi.Errorf(abi.Denied, "ask model %q: the server's filter stopped the answer", c.cfg.Model)
	default:
		return p, c.nonsense("an answer that ends with the reason %.40q", ch.Finish)
	}
	return p, nil
}

// same refuses an answer of another build than the one whose abilities were tried. A server of ours that is replaced under
// its address must be opened anew; one of others changes as it likes.
func (c *Client) same(fingerprint string) error {
	if fingerprint == "" || c.cfg.Dialect == Remote {
		return nil
	}
	if known := c.print.Load(); known == nil {
		c.print.CompareAndSwap(nil, &fingerprint)
	} else if *known != fingerprint {
		return abi.Errorf(abi.Unavailable, "ask model %q: the runtime was %q and is %q now", c.cfg.Model, quote(*known), quote(fingerprint)).
			WithHint("restart it, so that what it can do is tried anew: arw runtime stop")
	}
	return nil
}
