package rehearse

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests/pattern"
)

// rawModel stands for a model: what it answers to one question.
type rawModel struct {
	Model   string  `toml:"model"`
	Asked   string  `toml:"asked"`
	Text    *string `toml:"text"`
	Finish  string  `toml:"finish"`
	Piece   int64   `toml:"piece"`
	Vectors any     `toml:"vectors"`
	Scores  any     `toml:"scores"`
	Tokens  any     `toml:"tokens"`
	Error   string  `toml:"error"`
	Message string  `toml:"message"`
	Times   *int64  `toml:"times"`
}

// modelAnswer is one of a world.
type modelAnswer struct {
	rawModel
	function string
	code     abi.Code
	vectors  [][]float32
	scores   []float64
	tokens   []int32
	left     int64 // -1 for ever
	used     bool
}

// models reads the tables.
func (k *checker) modelAnswers() {
	for i := range k.head.Models {
		r := &k.head.Models[i]
		m := modelAnswer{rawModel: *r, code: abi.OK, left: timesOf(r.Times)}
		kinds := 0
		for _, kind := range []struct {
			function string
			there    bool
			into     any
			from     any
		}{{"infer.generate", r.Text != nil, nil, nil}, {"infer.embed", r.Vectors != nil, &m.vectors, r.Vectors}, {"infer.rerank", r.Scores != nil, &m.scores, r.Scores}, {"infer.tokenize", r.Tokens != nil, &m.tokens, r.Tokens}, {"", r.Error != "", nil, nil}} {
			if !kind.there {
				continue
			}
			kinds++
			m.function = kind.function
			if kind.into == nil {
				continue
			}
			raw, err := json.Marshal(kind.from)
			if err == nil {
				err = json.Unmarshal(raw, kind.into)
			}
			if err != nil {
				k.bad("", []any{"model", i}, "not numbers: %v", err)
			}
		}
		if kinds != 1 {
			k.bad("say one of text, vectors, scores, tokens and error", []any{"model", i}, "it answers in %d ways", kinds)
		}
		if r.Error != "" {
			m.code = k.code(r.Error, []any{"model", i, "error"})
		}
		if r.Piece < 0 || r.Finish != "" && r.Finish != "stop" && r.Finish != "length" {
			k.bad(`finish is "stop" or "length", piece a number of bytes`, []any{"model", i}, "it ends in no way")
		}
		k.Case.models = append(k.Case.models, m)
	}
}

// timesOf is how often an answer is there; -1 for ever.
func timesOf(n *int64) int64 {
	switch {
	case n == nil:
		return 1
	case *n == 0:
		return -1
	}
	return *n
}

// models answers out of the file. A file without a table for any is a host that has no model.
type models struct{ *world }

// find is the first answer of the file that fits and is not used up.
func (m models) find(ctx context.Context, function, model, asked string) (*modelAnswer, error) {
	what := function + " " + cmp.Or(model, "default") + " " + show([]byte(asked))
	if m.bare {
		m.lacking = true
		return nil, m.note(what, abi.Errorf(abi.Denied, "use %q on %q: an example runs without it", abi.Infer, model))
	}
	if err := m.refuse(function, model); err != nil {
		return nil, m.note(what, err)
	}
	if _, err := m.Use(ctx, abi.Infer, model, 0); err != nil {
		return nil, err
	}
	for i := range m.answersOf {
		a := &m.answersOf[i]
		if a.left == 0 || a.function != function && a.code == abi.OK || !pattern.Glob(cmp.Or(a.Model, "*"), model, "") || !pattern.Glob(cmp.Or(a.Asked, "*"), asked, "") {
			continue
		}
		a.used = true
		if a.left > 0 {
			a.left--
		}
		if a.code != abi.OK {
			return nil, m.note(what, abi.Errorf(a.code, "%s", cmp.Or(a.Message, "the model does not answer")))
		}
		return a, m.note(what+" -> "+a.told(), nil)
	}
	if len(m.answersOf) > 0 {
		m.problems = append(m.problems, fmt.Sprintf("the tool asks %s of model %q with %s and the file has no [[model]] left for that", function, model, show([]byte(asked))))
	}
	return nil, m.note(what, abi.Errorf(abi.NoModel, "%s: this world has no model for it", function).WithHint("add a [[model]] table to the case"))
}

func (a *modelAnswer) told() string {
	switch a.function {
	case "infer.generate":
		return show([]byte(*a.Text))
	case "infer.embed":
		return count(len(a.vectors), "vector", false)
	case "infer.rerank":
		return count(len(a.scores), "score", false)
	}
	return count(len(a.tokens), "token", false)
}

// engine is what a world's answers are made by: nothing that may be compared with a real model's.
func engine(model string) abi.InferEngine {
	return abi.InferEngine{Engine: "case", Kind: "lexical", Model: cmp.Or(model, "default")}
}

// usage counts words, so that it is the same everywhere.
func usage(asked, said string) abi.InferUsage {
	return abi.InferUsage{Prompt: int64(len(strings.Fields(asked))), Output: int64(len(strings.Fields(said)))}
}

// lastOf is what a chat asks: its last message.
func lastOf(prompt string, chat []abi.InferMessage) string {
	if len(chat) > 0 {
		return chat[len(chat)-1].Content
	}
	return prompt
}

// Generate implements wasm.Infer.
func (m models) Generate(ctx context.Context, req abi.InferRequest) (wasm.Answer, error) {
	asked := lastOf(req.Prompt, req.Messages)
	a, err := m.find(ctx, "infer.generate", req.Model, asked)
	if err != nil {
		return nil, err
	}
	return &saying{world: m.world, model: req.Model, asked: asked, of: a, left: *a.Text}, nil
}

// Embed implements wasm.Infer.
func (m models) Embed(ctx context.Context, req abi.InferEmbed) (abi.InferVectors, error) {
	asked := strings.Join(req.Texts, "\n")
	a, err := m.find(ctx, "infer.embed", req.Model, asked)
	if err != nil {
		return abi.InferVectors{}, err
	}
	return abi.InferVectors{InferEngine: engine(req.Model), Vectors: a.vectors, Usage: usage(asked, "")}, nil
}

// Rerank implements wasm.Infer.
func (m models) Rerank(ctx context.Context, req abi.InferRerank) (abi.InferScores, error) {
	a, err := m.find(ctx, "infer.rerank", req.Model, req.Query)
	if err != nil {
		return abi.InferScores{}, err
	}
	return abi.InferScores{InferEngine: engine(req.Model), Scores: a.scores, Usage: usage(req.Query+" "+strings.Join(req.Documents, " "), "")}, nil
}

// Tokenize implements wasm.Infer.
func (m models) Tokenize(ctx context.Context, req abi.InferTokenize) (abi.InferTokens, error) {
	a, err := m.find(ctx, "infer.tokenize", req.Model, lastOf(req.Prompt, req.Messages))
	if err != nil {
		return abi.InferTokens{}, err
	}
	got := abi.InferTokens{InferEngine: engine(req.Model), Tokens: a.tokens, Count: len(a.tokens)}
	if req.Count {
		got.Tokens = nil
	}
	return got, nil
}

// saying is a text that a world's model gives, a piece at a time.
type saying struct {
	*world
	model, asked string
	of           *modelAnswer
	left         string
}

// Engine implements wasm.Answer.
func (s *saying) Engine() abi.InferEngine { return engine(s.model) }

// Read implements wasm.Answer. What a file refuses of stream.read for a model fails the answer in its middle.
func (s *saying) Read(_ context.Context, buf []byte) (int, error) {
	if err := s.refuse("stream.read", s.model); err != nil {
		return 0, s.note("stream.read "+cmp.Or(s.model, "default"), err)
	}
	if s.of.Piece > 0 {
		buf = buf[:min(int64(len(buf)), s.of.Piece)]
	}
	n := copy(buf, s.left)
	if s.left = s.left[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Finish implements wasm.Answer.
func (s *saying) Finish(context.Context) (abi.InferResult, error) {
	return abi.InferResult{InferEngine: s.Engine(), Finish: cmp.Or(s.of.Finish, "stop"), Usage: usage(s.asked, *s.of.Text)}, nil
}

// Close implements wasm.Answer.
func (s *saying) Close() error { return nil }
