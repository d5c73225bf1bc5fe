package openai

import (
	"context"
	"net/http"

	"github.com/arw-project/arw/host/internal/infer"
)

// batch is how many texts go into one request, so that its answer stays below maxBody.
const batch = 64

type embedding struct {
	Data []struct {
		Index  int       `json:"index"`
		Vector []float32 `json:"embedding"`
	} `json:"data"`
	Usage usage `json:"usage"`
}

// Embed implements infer.Model.
func (c *Client) Embed(ctx context.Context, texts []string) (infer.Vectors, error) {
	out := infer.Vectors{Engine: c.info.Engine, Values: make([][]float32, len(texts))}
	for at := 0; at < len(texts); at += batch {
		some := texts[at:min(at+batch, len(texts))]
		var got embedding
		err := c.call(ctx, http.MethodPost, "/v1/embeddings", map[string]any{"model": c.cfg.Model, "input": some, "encoding_format": "float"}, &got)
		if err != nil {
			return infer.Vectors{}, err
		}
		if len(got.Data) != len(some) {
			return infer.Vectors{}, c.nonsense("%d vectors for %d texts", len(got.Data), len(some))
		}
		for _, d := range got.Data {
			if d.Index < 0 || d.Index >= len(some) || out.Values[at+d.Index] != nil {
				return infer.Vectors{}, c.nonsense("vectors whose indexes are not those of the texts")
			}
			out.Values[at+d.Index] = d.Vector
		}
		out.Usage.Prompt += max(0, got.Usage.Prompt)
	}
	return out, nil
}

// Rerank implements infer.Model.
func (c *Client) Rerank(ctx context.Context, query string, documents []string) (infer.Scores, error) {
	var got struct {
		Results []struct {
			Index int     `json:"index"`
			Score float64 `json:"relevance_score"`
		} `json:"results"`
		Usage usage `json:"usage"`
	}
	err := c.call(ctx, http.MethodPost, "/v1/rerank", map[string]any{"model": c.cfg.Model, "query": query, "documents": documents, "top_n": len(documents)}, &got)
	if err != nil {
		return infer.Scores{}, err
	}
	out := infer.Scores{Engine: c.info.Engine, Values: make([]float64, len(documents)), Usage: infer.Usage{Prompt: max(0, got.Usage.Prompt)}}
	seen := make([]bool, len(documents))
	for _, r := range got.Results {
		if r.Index < 0 || r.Index >= len(seen) || seen[r.Index] {
			return infer.Scores{}, c.nonsense("scores whose indexes are not those of the documents")
		}
		seen[r.Index], out.Values[r.Index] = true, r.Score
	}
	if len(got.Results) != len(documents) {
		return infer.Scores{}, c.nonsense("%d scores for %d documents", len(got.Results), len(documents))
	}
	return out, nil
}

// Tokenize implements infer.Model.
func (c *Client) Tokenize(ctx context.Context, p infer.Prompt) ([]int32, error) {
	var got struct {
		Tokens []int32 `json:"tokens"`
	}
	switch c.cfg.Dialect {
	case ONNX:
		if p.Messages != nil {
			return nil, infer.Lacks(c.info, "answer chats")
		}
		err := c.call(ctx, http.MethodPost, "/tokenize", map[string]any{"content": p.Text}, &got)
		return got.Tokens, err
	case Llama:
		text := p.Text
		if p.Messages != nil {
			var laid struct {
				Prompt string `json:"prompt"`
			}
			if err := c.call(ctx, http.MethodPost, "/apply-template", map[string]any{"messages": p.Messages}, &laid); err != nil {
				return nil, err
			}
			text = laid.Prompt
		}
		err := c.call(ctx, http.MethodPost, "/tokenize", map[string]any{"content": text, "add_special": true, "parse_special": true}, &got)
		return got.Tokens, err
	case VLLM:
		body := map[string]any{"model": c.cfg.Model}
		if p.Messages != nil {
			body["messages"], body["add_generation_prompt"] = p.Messages, true
		} else {
			body["prompt"] = p.Text
		}
		err := c.call(ctx, http.MethodPost, "/tokenize", body, &got)
		return got.Tokens, err
	}
	return nil, infer.Lacks(c.info, "tokenize")
}
