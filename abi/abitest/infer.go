package abitest

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Infer is the world's one model, "words", which is also its default. It answers " w0 w1 w2" and so on, a token a word, three
// unless another number is asked for; to a chat with the role and text of its last message before that; to "long" with 300,000
// bytes; to "breaks" with " w0" and then not at all.
type Infer struct{ w *World }

// Infer gives the part of that name.
func (w *World) Infer() Infer { return Infer{w} }

var wordsEngine = abi.InferEngine{Engine: "abitest", Kind: "neural", Model: "words"}

func (i Infer) allowed(model string) error {
	if name, ok := i.w.refused[abi.Infer]; ok {
		code, _ := abi.CodeByName(name)
		return abi.Errorf(code, "the lease for %s is over", abi.Infer)
	}
	if model != "" && model != wordsEngine.Model {
		return abi.Errorf(abi.NotFound, "there is no model %q", model)
	}
	return nil
}

// Generate begins an answer.
func (i Infer) Generate(_ context.Context, req abi.InferRequest) (*Answer, error) {
	if err := i.allowed(req.Model); err != nil {
		return nil, err
	}
	if (req.Prompt == "") == (len(req.Messages) == 0) {
		return nil, abi.Errorf(abi.Invalid, "give a prompt or messages")
	}
	a := &Answer{how: abi.InferResult{InferEngine: wordsEngine, Finish: "stop", USDMicros: 7}}
	n := 3
	if req.MaxTokens > 0 {
		n, a.how.Finish = req.MaxTokens, "length"
	}
	if last := len(req.Messages) - 1; last >= 0 {
		a.parts = append(a.parts, req.Messages[last].Role+" "+req.Messages[last].Content)
	}
	for k := range n {
		a.parts = append(a.parts, fmt.Sprintf(" w%d", k))
	}
	switch req.Prompt {
	case "long":
		a.parts = []string{strings.Repeat("0123456789", 30_000)}
	case "breaks":
		a.parts, a.fails = a.parts[:1], true
	}
	a.how.Usage = abi.InferUsage{Prompt: int64(len(req.Prompt)), Cached: 1, Output: int64(n)}
	return a, nil
}

// Answer is one answer of the world's model.
type Answer struct {
	parts []string
	fails bool
	how   abi.InferResult
}

// Engine says what answers.
func (*Answer) Engine() abi.InferEngine { return wordsEngine }

// Read gives the parts, one at a time.
func (a *Answer) Read(_ context.Context, buf []byte) (int, error) {
	switch {
	case len(a.parts) > 0:
	case a.fails:
		return 0, abi.Errorf(abi.Unavailable, "the model broke off")
	default:
		return 0, io.EOF
	}
	n := copy(buf, a.parts[0])
	if a.parts[0] = a.parts[0][n:]; a.parts[0] == "" {
		a.parts = a.parts[1:]
	}
	return n, nil
}

// Finish drops what was not read.
func (a *Answer) Finish(context.Context) (abi.InferResult, error) {
	a.parts = nil
	if a.fails {
		return abi.InferResult{}, abi.Errorf(abi.Unavailable, "the model broke off")
	}
	return a.how, nil
}

// Close ends it.
func (*Answer) Close() error { return nil }

// Embed gives each text its length and a half.
func (i Infer) Embed(_ context.Context, req abi.InferEmbed) (v abi.InferVectors, err error) {
	v = abi.InferVectors{InferEngine: wordsEngine, Vectors: [][]float32{}, Usage: abi.InferUsage{Prompt: int64(len(req.Texts))}}
	for _, text := range req.Texts {
		v.Vectors = append(v.Vectors, []float32{float32(len(text)), 0.5})
	}
	return v, i.allowed(req.Model)
}

// Rerank scores a document by how often the query stands in it, in halves.
func (i Infer) Rerank(_ context.Context, req abi.InferRerank) (s abi.InferScores, err error) {
	s = abi.InferScores{InferEngine: wordsEngine, Scores: []float64{}}
	for _, text := range req.Documents {
		s.Scores = append(s.Scores, float64(strings.Count(text, req.Query))/2)
	}
	return s, i.allowed(req.Model)
}

// Tokenize makes every byte a token.
func (i Infer) Tokenize(_ context.Context, req abi.InferTokenize) (t abi.InferTokens, err error) {
	t = abi.InferTokens{InferEngine: wordsEngine, Count: len(req.Prompt)}
	for k := 0; k < len(req.Prompt) && !req.Count; k++ {
		t.Tokens = append(t.Tokens, int32(req.Prompt[k]))
	}
	return t, i.allowed(req.Model)
}
