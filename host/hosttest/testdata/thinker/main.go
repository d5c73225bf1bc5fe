// Command thinker is a pack that asks models, in every way there is.
package main

import (
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() {
	guest.Tool("thinker.think", think)
	guest.Tool("thinker.hear", hear)
	guest.Tool("thinker.leave", leave)
	guest.Tool("thinker.embed", func(c *guest.Call, in abi.InferEmbed) (abi.InferVectors, error) {
		return c.Infer().Embed(in.Model, in.Texts...)
	})
	guest.Tool("thinker.rank", func(c *guest.Call, in abi.InferRerank) (abi.InferScores, error) {
		return c.Infer().Rerank(in.Model, in.Query, in.Documents...)
	})
	guest.Tool("thinker.tokens", func(c *guest.Call, in abi.InferTokenize) (abi.InferTokens, error) { return c.Infer().Tokenize(in) })
	guest.Tool("thinker.still", think)
}

type thought struct {
	Text string          `json:"text"`
	How  abi.InferResult `json:"how"`
}

// think asks and waits.
func think(c *guest.Call, in abi.InferRequest) (thought, error) {
	text, how, err := c.Infer().Complete(in)
	return thought{text, how}, err
}

type heard struct {
	Text string `json:"text"`
	Code string `json:"code"`
	Msg  string `json:"msg,omitempty"`
}

// hear passes on what comes as it comes, and tells how it ended instead of failing.
func hear(c *guest.Call, in abi.InferRequest) (heard, error) {
	a, err := c.Infer().Generate(in)
	if err != nil {
		return heard{Code: abi.CodeOf(err).String(), Msg: err.Error()}, nil
	}
	var got []byte
	buf := make([]byte, 256)
	for {
		n, err := a.Read(buf)
		got = append(got, buf[:n]...)
		if n > 0 {
			if _, err := c.Output().Write(buf[:n]); err != nil && abi.CodeOf(err) != abi.NotFound {
				return heard{}, err
			}
		}
		switch {
		case err == io.EOF:
			return heard{Text: string(got), Code: "ok"}, nil
		case err != nil:
			return heard{Text: string(got), Code: abi.CodeOf(err).String(), Msg: err.Error()}, nil
		}
	}
}

// leave begins an answer, hears one part and returns: the end of the call closes what it left open.
func leave(c *guest.Call, in abi.InferRequest) (heard, error) {
	a, err := c.Infer().Generate(in)
	if err != nil {
		return heard{}, err
	}
	buf := make([]byte, 16)
	n, err := a.Read(buf)
	return heard{Text: string(buf[:n])}, err
}
