package onnx

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 32 << 20

// Worker answers the dialect "onnx" of package openai: the common part's embeddings and reranking, /tokenize, /props and /health.
type Worker struct {
	Encoder *Encoder
	Key     string // every request but /health must bear it
	Version string // of the engine: "gomlx 0.26.0"
}

// Serve listens on a unix socket until ctx ends. The socket's folder must be closed to others.
func (w *Worker) Serve(ctx context.Context, socket string) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return abi.Errorf(abi.Unavailable, "serve a model: %w", err)
	}
	srv := &http.Server{Handler: w.handler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errors.Join(srv.Close(), <-done)
	}
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return err
}

func (w *Worker) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /props", w.guarded(w.props))
	mux.HandleFunc("POST /v1/embeddings", w.guarded(w.embed))
	mux.HandleFunc("POST /v1/rerank", w.guarded(w.rerank))
	mux.HandleFunc("POST /tokenize", w.guarded(w.tokenize))
	return mux
}

// guarded checks the key, and writes what do gives or why it failed in the dialect's words.
func (w *Worker) guarded(do func(*json.Decoder) (any, error)) http.HandlerFunc {
	return func(out http.ResponseWriter, in *http.Request) {
		status, answer := http.StatusOK, any(nil)
		if subtle.ConstantTimeCompare([]byte(in.Header.Get("Authorization")), []byte("Bearer "+w.Key)) != 1 {
			status, answer = http.StatusUnauthorized, fault("unauthorized", "the key is missing or wrong")
		} else {
			got, err := do(json.NewDecoder(http.MaxBytesReader(out, in.Body, maxRequest)))
			if answer = got; err != nil {
				status, answer = refusal(err)
			}
		}
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(status)
		_ = json.NewEncoder(out).Encode(answer) // a client that left needs none
	}
}

func fault(kind, text string) map[string]any {
	return map[string]any{"error": map[string]any{"type": kind, "message": text}}
}

// refusal is an error as llama-server words it, with the counts of a text that is too long.
func refusal(err error) (int, any) {
	var e *abi.Error
	if !errors.As(err, &e) {
		return http.StatusBadRequest, fault("invalid_request_error", err.Error())
	}
	if over, ok := e.Detail.(infer.Overflow); ok && e.Code == abi.TooLarge {
		return http.StatusBadRequest, map[string]any{"error": map[string]any{"type": "exceed_context_size_error", "message": e.Error(),
			"n_prompt_tokens": over.Prompt, "n_ctx": over.Context}}
	}
	if e.Code == abi.Unsupported {
		return http.StatusNotImplemented, fault("not_supported_error", e.Error())
	}
	return http.StatusInternalServerError, fault("server_error", e.Error())
}

func (w *Worker) props(*json.Decoder) (any, error) {
	return map[string]any{"engine": "onnx", "build_info": w.Version, "total_slots": 1,
		"default_generation_settings": map[string]any{"n_ctx": w.Encoder.Max()}}, nil
}

func (w *Worker) embed(in *json.Decoder) (any, error) {
	var req struct {
		Input []string `json:"input"`
	}
	if err := in.Decode(&req); err != nil {
		return nil, err
	}
	vectors, n, err := w.Encoder.Embed(req.Input)
	if err != nil {
		return nil, err
	}
	data := make([]map[string]any, len(vectors))
	for i, v := range vectors {
		data[i] = map[string]any{"object": "embedding", "index": i, "embedding": v}
	}
	return map[string]any{"object": "list", "data": data, "usage": map[string]int{"prompt_tokens": n, "total_tokens": n}}, nil
}

func (w *Worker) rerank(in *json.Decoder) (any, error) {
	var req struct {
		Query     string   `json:"query"`
		Documents []string `json:"documents"`
	}
	if err := in.Decode(&req); err != nil {
		return nil, err
	}
	scores, n, err := w.Encoder.Score(req.Query, req.Documents)
	if err != nil {
		return nil, err
	}
	results := make([]map[string]any, len(scores))
	for i, s := range scores {
		results[i] = map[string]any{"index": i, "relevance_score": s}
	}
	return map[string]any{"results": results, "usage": map[string]int{"prompt_tokens": n, "total_tokens": n}}, nil
}

func (w *Worker) tokenize(in *json.Decoder) (any, error) {
	var req struct {
		Content string `json:"content"`
	}
	if err := in.Decode(&req); err != nil {
		return nil, err
	}
	return map[string]any{"tokens": w.Encoder.Tokens(req.Content)}, nil
}
