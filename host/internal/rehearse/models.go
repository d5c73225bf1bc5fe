package rehearse

import (
	"context"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// models is a host without any: a world has nothing that could answer for one. A file may say with [[refuse]] how else a model fails.
type models struct{ *world }

func (m models) none(function, model string) error {
	what := function + " " + model
	if m.bare {
		m.lacking = true
		return m.note(what, abi.Errorf(abi.Denied, "use %q on %q: an example runs without it", abi.Infer, model))
	}
	if err := m.refuse(function, model); err != nil {
		return m.note(what, err)
	}
	return m.note(what, abi.Errorf(abi.NoModel, "%s: a test's world has no model", function).WithHint("test what asks models with the library's host in memory"))
}

// Generate implements wasm.Infer.
func (m models) Generate(_ context.Context, req abi.InferRequest) (wasm.Answer, error) {
	return nil, m.none("infer.generate", req.Model)
}

// Embed implements wasm.Infer.
func (m models) Embed(_ context.Context, req abi.InferEmbed) (abi.InferVectors, error) {
	return abi.InferVectors{}, m.none("infer.embed", req.Model)
}

// Rerank implements wasm.Infer.
func (m models) Rerank(_ context.Context, req abi.InferRerank) (abi.InferScores, error) {
	return abi.InferScores{}, m.none("infer.rerank", req.Model)
}

// Tokenize implements wasm.Infer.
func (m models) Tokenize(_ context.Context, req abi.InferTokenize) (abi.InferTokens, error) {
	return abi.InferTokens{}, m.none("infer.tokenize", req.Model)
}
