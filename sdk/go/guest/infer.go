package guest

import (
	"io"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Infer is the host's models. Needs [capabilities.infer] with a scope of model names, effects = "reads" or more, and a lease for
// each model that is asked. What a model uses is counted against the lease as it is used, and a lease that ends, ends an
// answer in its middle.
type Infer struct{ c *Call }

// Infer gives the models.
func (c *Call) Infer() Infer { return Infer{c} }

// Generate begins an answer. Its text is read from the Answer as it comes; the Answer must be closed, and a tool may have 16
// of them and of HTTP's open.
func (i Infer) Generate(req abi.InferRequest) (*Answer, error) {
	raw, err := codec.AppendAny(nil, req)
	if err != nil {
		return nil, err
	}
	a := &Answer{c: i.c}
	if err := i.reply(hostInferGenerate(i.c, raw, i.c.scratch[:]), &a.InferStream); err != nil {
		return nil, err
	}
	return a, nil
}

// Complete waits for the whole of an answer.
func (i Infer) Complete(req abi.InferRequest) (text string, how abi.InferResult, err error) {
	a, err := i.Generate(req)
	if err != nil {
		return "", how, err
	}
	defer a.Close()
	var b strings.Builder
	if _, err = io.Copy(&b, a); err != nil {
		return b.String(), how, err
	}
	how, err = a.Finish()
	return b.String(), how, err
}

// Embed makes a vector of each text; the model's name may be empty.
func (i Infer) Embed(model string, texts ...string) (v abi.InferVectors, err error) {
	raw, err := codec.AppendAny(nil, abi.InferEmbed{Model: model, Texts: texts})
	if err == nil {
		err = i.reply(hostInferEmbed(i.c, raw, i.c.scratch[:]), &v)
	}
	return v, err
}

// Rerank scores each document against the query; the model's name may be empty.
func (i Infer) Rerank(model, query string, documents ...string) (s abi.InferScores, err error) {
	raw, err := codec.AppendAny(nil, abi.InferRerank{Model: model, Query: query, Documents: documents})
	if err == nil {
		err = i.reply(hostInferRerank(i.c, raw, i.c.scratch[:]), &s)
	}
	return s, err
}

// Tokenize gives the tokens of a prompt or a chat as the model would read it, or only their number.
func (i Infer) Tokenize(req abi.InferTokenize) (t abi.InferTokens, err error) {
	raw, err := codec.AppendAny(nil, req)
	if err == nil {
		err = i.reply(hostInferTokenize(i.c, raw, i.c.scratch[:]), &t)
	}
	return t, err
}

// Count is the number of tokens of a text; the model's name may be empty.
func (i Infer) Count(model, text string) (int, error) {
	t, err := i.Tokenize(abi.InferTokenize{Model: model, Prompt: text, Count: true})
	return t.Count, err
}

func (i Infer) reply(s abi.Status, into any) error {
	raw, err := i.c.fetch(s)
	if err != nil {
		return err
	}
	if err := codec.DecodeAny(raw, into); err != nil {
		return abi.Errorf(abi.Internal, "read the host's answer: %w", err)
	}
	return nil
}

// Answer is a text that a model is making and, as an io.Reader, what has come of it. A read may end within a character.
type Answer struct {
	abi.InferStream
	c *Call
}

// Read implements io.Reader. What fails an answer in its middle (a lease that ended, a runtime that died) fails the read.
func (a *Answer) Read(buf []byte) (int, error) { return readHandle(a.c, a.Handle, buf) }

// Finish waits for the end, drops text that was not read, and tells how the answer ended.
func (a *Answer) Finish() (r abi.InferResult, err error) {
	err = Infer{a.c}.reply(hostInferFinish(a.c, a.Handle, a.c.scratch[:]), &r)
	return r, err
}

// Close gives the answer up; the model is free for others. The end of the call closes what is left open.
func (a *Answer) Close() error { return a.c.check(hostStreamClose(a.c, a.Handle)) }
