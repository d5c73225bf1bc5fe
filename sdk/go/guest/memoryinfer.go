//go:build !wasip1

package guest

import (
	"bytes"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// MemoryModels are the models of a test; a nil function is a host without a model for it.
type MemoryModels struct {
	Generate func(abi.InferRequest) (text string, how abi.InferResult, err error)
	Embed    func(abi.InferEmbed) (abi.InferVectors, error)
	Rerank   func(abi.InferRerank) (abi.InferScores, error)
	Tokenize func(abi.InferTokenize) (abi.InferTokens, error)
}

func noModel(function string) error {
	return abi.Errorf(abi.NoModel, "%s: this test has no model for it; set Memory.Models", function)
}

// askModels runs one of the functions that have a request and an answer.
func askModels[In, Out any](c *Call, function string, raw, out []byte, run func(In) (Out, error)) abi.Status {
	return c.sys.lookup(function, out, func() ([]byte, error) {
		var req In
		if err := codec.DecodeAny(raw, &req); err != nil {
			return nil, abi.Errorf(abi.Invalid, "%s: req: %w", function, err)
		}
		if run == nil {
			return nil, noModel(function)
		}
		got, err := run(req)
		if err != nil {
			return nil, err
		}
		return codec.AppendAny(nil, got)
	})
}

func hostInferGenerate(c *Call, raw, out []byte) abi.Status {
	m := c.sys.Memory
	return askModels(c, "infer.generate", raw, out, func(req abi.InferRequest) (s abi.InferStream, err error) {
		if m.Models.Generate == nil {
			return s, noModel("infer.generate")
		}
		text, how, err := m.Models.Generate(req)
		if err != nil {
			return s, err
		}
		handle, x, err := m.begin("infer.generate", []byte("{}"))
		if err != nil {
			return s, err
		}
		x.head, x.answer, x.result = &abi.HTTPResponse{}, bytes.NewReader([]byte(text)), &how
		return abi.InferStream{Handle: handle, InferEngine: how.InferEngine}, nil
	})
}

func hostInferFinish(c *Call, handle uint32, out []byte) abi.Status {
	m := c.sys.Memory
	return m.lookup("infer.finish", out, func() ([]byte, error) {
		x, err := m.exchange("infer.finish", handle)
		if err != nil {
			return nil, err
		}
		if x.result == nil {
			return nil, abi.Errorf(abi.Invalid, "infer.finish: handle %d is no answer of a model", handle)
		}
		x.answer.Reset(nil)
		return codec.AppendAny(nil, *x.result)
	})
}

func hostInferEmbed(c *Call, raw, out []byte) abi.Status {
	return askModels(c, "infer.embed", raw, out, c.sys.Models.Embed)
}

func hostInferRerank(c *Call, raw, out []byte) abi.Status {
	return askModels(c, "infer.rerank", raw, out, c.sys.Models.Rerank)
}

func hostInferTokenize(c *Call, raw, out []byte) abi.Status {
	return askModels(c, "infer.tokenize", raw, out, c.sys.Models.Tokenize)
}
