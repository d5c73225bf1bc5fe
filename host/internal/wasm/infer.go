package wasm

import (
	"context"
	"fmt"

	"github.com/arw-project/arw/abi"
)

// inferGenerate begins an answer. Which model a request without a name means is the host's to know, so the host's side asks
// for the lease.
func inferGenerate(c *call, a []uint64) abi.Status {
	var req abi.InferRequest
	if s, ok := c.request(a, &req); !ok {
		return s
	}
	if req.MaxTokens < 0 || req.BudgetTokens < 0 || req.BudgetUSDMicros < 0 || req.TimeoutMS < 0 {
		return c.fail(abi.Invalid, c.inside+": a bound is negative")
	}
	if s, full := c.crowdedHandles(); full {
		return s
	}
	g, err := c.host.Infer.Generate(c, req)
	if err != nil {
		return c.refuse(err)
	}
	head := abi.InferStream{InferEngine: g.Engine()}
	head.Handle = c.newHandle(&opened{answer: g})
	return c.replyJSON(a, 2, head)
}

func inferFinish(c *call, a []uint64) abi.Status {
	if _, fits := c.room(a, 1); !fits {
		return c.outside("out")
	}
	o, s := c.handle(uint32(a[0]))
	switch {
	case o == nil:
		return s
	case o.answer == nil:
		return c.fail(abi.Invalid, fmt.Sprintf("%s: handle %d is no answer of a model", c.inside, uint32(a[0])))
	}
	got, err := o.answer.Finish(c)
	if err != nil {
		return c.refuse(err)
	}
	return c.replyJSON(a, 1, got)
}

func inferEmbed(c *call, a []uint64) abi.Status {
	return ask(c, a, func(req abi.InferEmbed) (abi.InferVectors, error) { return c.host.Infer.Embed(c, req) })
}

func inferRerank(c *call, a []uint64) abi.Status {
	return ask(c, a, func(req abi.InferRerank) (abi.InferScores, error) { return c.host.Infer.Rerank(c, req) })
}

func inferTokenize(c *call, a []uint64) abi.Status {
	return ask(c, a, func(req abi.InferTokenize) (abi.InferTokens, error) { return c.host.Infer.Tokenize(c, req) })
}

// ask passes a request of the form that run takes and gives its answer.
func ask[In, Out any](c *call, a []uint64, run func(In) (Out, error)) abi.Status {
	var req In
	if s, ok := c.request(a, &req); !ok {
		return s
	}
	got, err := run(req)
	if err != nil {
		return c.refuse(err)
	}
	return c.replyJSON(a, 2, got)
}

// reading makes what a handle gives a Source for stream.read.
type reading struct {
	from interface {
		Read(ctx context.Context, buf []byte) (int, error)
	}
}

func (r reading) Read(ctx context.Context, buf []byte) (int, error) { return r.from.Read(ctx, buf) }
func (r reading) Close() error                                      { return nil }
