// Package infer keeps one promise: whatever a model is and wherever it runs, it is asked in one way, and no answer of it
// is larger, later, longer or of another form than was asked for.
//
// Model is what an adapter implements. Callers use Generate, Embed, Rerank and Tokenize of this package, which hold the
// adapter to the request: they check the request before it is sent, count what comes themselves, stop what floods, and
// refuse an answer that was cut off when a form was asked for. Nothing here dials, starts or stores anything. Values are
// plain data; a Model must be safe for concurrent use.
package infer

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Kind tells apart what learnt from data and what counts words. Results of the two are never mixed in one index.
type Kind string

// The kinds.
const (
	Lexical Kind = "lexical"
	Neural  Kind = "neural"
)

// Engine names what made a result. Every result carries it.
type Engine struct {
	Name  string `json:"engine"`      // "llama.cpp", "vllm", "lexical-hash-v1"
	Kind  Kind   `json:"engine_kind"` // lexical or neural
	Model string `json:"model,omitempty"`
}

// Info is what is known of a model before it is asked. A zero number is unknown.
type Info struct {
	Engine
	Version string `json:"version,omitempty"` // of the runtime, as it says
	Context int    `json:"context,omitempty"` // tokens of prompt and answer together that one request may hold
	Slots   int    `json:"slots,omitempty"`   // requests at a time
	Width   int    `json:"width,omitempty"`   // numbers of an embedding
	Can     Can    `json:"can"`
}

// Can says what a runtime was seen to do. A runtime that answers 200 to a field proves nothing; what is false here is
// refused with Unsupported instead of being sent and ignored.
type Can struct {
	Generate bool `json:"generate"`
	Chat     bool `json:"chat"`
	Embed    bool `json:"embed"`
	Rerank   bool `json:"rerank"`
	Tokenize bool `json:"tokenize"`
	Schema   bool `json:"schema"`
	Grammar  bool `json:"grammar"`
	Salt     bool `json:"salt"` // keeps the prompt caches of two scopes apart
}

// Model is one model in one runtime. Errors are *abi.Error: Unsupported for what Info.Can denies, TooLarge with Overflow as
// detail for a prompt beyond the context, Busy, Unavailable when the runtime is gone or talks nonsense, Cancelled and Deadline
// when ctx ends. Ending ctx, or leaving the loop over Generate, frees the runtime's slot.
type Model interface {
	// Generate gives the answer in parts as they come. The last one has Finish and Usage; a stream that ends without it is
	// an error. The sequence may be ranged over once.
	Generate(ctx context.Context, req *Request) iter.Seq2[Part, error]
	// Embed gives one vector per text, in order.
	Embed(ctx context.Context, texts []string) (Vectors, error)
	// Rerank scores every document against the query, in the order of the documents.
	Rerank(ctx context.Context, query string, documents []string) (Scores, error)
	// Tokenize gives the tokens of a prompt as the runtime would read it.
	Tokenize(ctx context.Context, p Prompt) ([]int32, error)
	// Info is what is known now; it costs nothing.
	Info() Info
}

// Message is one turn of a chat.
type Message struct {
	Role string `json:"role"` // system, user or assistant
	Text string `json:"content"`
}

// Prompt is either a text to be continued or a chat to be answered, never both.
type Prompt struct {
	Text     string    `json:"prompt,omitempty"`
	Messages []Message `json:"messages,omitempty"`
}

// Request asks for text. Every number that is nil or zero is left to the runtime, except MaxTokens.
type Request struct {
	Prompt
	// MaxTokens bounds the answer; zero means DefaultTokens.
	MaxTokens int `json:"max_tokens,omitempty"`
	Params
	// Form of the answer; the zero value is free text.
	Form
	// Scope keeps prompt caches of different scopes apart where the runtime can (pack and project, usually). It never
	// leaves the machine as it is: adapters send a digest of it.
	Scope string `json:"-"`
	// Slot is where a runtime with slots is to answer, and its memory there is the Scope's alone; nil lets it choose. See package
	// slots.
	Slot *int `json:"-"`
	// Budget of this one call beside MaxTokens.
	Budget Budget `json:"-"`
}

// Params are how the next token is chosen.
type Params struct {
	Seed             *int64   `json:"seed,omitempty"`
	Temperature      *float64 `json:"temperature,omitempty"` // 0 to 2
	TopP             *float64 `json:"top_p,omitempty"`       // 0 to 1
	TopK             *int     `json:"top_k,omitempty"`
	MinP             *float64 `json:"min_p,omitempty"` // 0 to 1
	RepeatPenalty    *float64 `json:"repeat_penalty,omitempty"`
	FrequencyPenalty *float64 `json:"frequency_penalty,omitempty"` // -2 to 2
	PresencePenalty  *float64 `json:"presence_penalty,omitempty"`  // -2 to 2
	Stop             []string `json:"stop,omitempty"`
}

// Form is what the answer must look like: JSON that fits a schema, or text of a grammar in the runtime's own notation.
// One of the two at most.
type Form struct {
	Schema  json.RawMessage `json:"schema,omitempty"`
	Grammar string          `json:"grammar,omitempty"`
}

// Asked reports whether there is a form at all.
func (f *Form) Asked() bool { return len(f.Schema) > 0 || f.Grammar != "" }

// Budget bounds one call. A zero field is no bound.
type Budget struct {
	Tokens int64         // of prompt and answer together
	Time   time.Duration // from the call to its last token
	// Money in millionths of a USD, at Price.
	Money int64
	Price Price
}

// Price of tokens in millionths of a USD for a million of them, so that a price list's "$0.15 / 1M" is 150,000.
type Price struct {
	In, Out int64
}

// Of is what an amount costs, in millionths of a USD, rounded up: a budget is never overdrawn by rounding.
func (p Price) Of(in, out int64) int64 {
	const million = 1_000_000
	return (in*p.In + out*p.Out + million - 1) / million
}

// Finish is why an answer ended.
type Finish string

// The reasons.
const (
	Stopped Finish = "stop"   // the model ended it, or a stop text came
	Length  Finish = "length" // MaxTokens or the context's end: more would have come
)

// Usage counts tokens. Cached of the Prompt tokens came from the runtime's cache and were not computed.
type Usage struct {
	Prompt int64 `json:"prompt_tokens"`
	Cached int64 `json:"cached_tokens"`
	Output int64 `json:"completion_tokens"`
	// Doubtful is set when the runtime's count cannot be true and was replaced by what was seen here.
	Doubtful bool `json:"doubtful,omitempty"`
}

// Part is a piece of an answer. Text may be empty. Finish and Usage are those of the last part alone.
type Part struct {
	Text   string
	Finish Finish
	Usage  *Usage
}

// Vectors are embeddings of one engine. Values of different engines must not be compared.
type Vectors struct {
	Engine
	Values [][]float32 `json:"vectors"`
	Usage  Usage       `json:"usage"`
}

// Scores rate documents: higher fits better. They compare within one call only.
type Scores struct {
	Engine
	Values []float64 `json:"scores"`
	Usage  Usage     `json:"usage"`
}

// Tokens are a prompt as a model reads it.
type Tokens struct {
	Engine
	Tokens []int32 `json:"tokens,omitempty"` // nil when only the number was asked for
	Count  int     `json:"count"`
}

// Answer is a generated text as a whole.
type Answer struct {
	Engine
	Text   string `json:"text"`
	Finish Finish `json:"finish_reason"`
	Usage  Usage  `json:"usage"`
}

// Overflow is the detail of a prompt that does not fit.
type Overflow struct {
	Prompt  int `json:"prompt_tokens"` // 0: the runtime did not say
	Context int `json:"context_tokens"`
	Wanted  int `json:"wanted_tokens,omitempty"` // room asked for the answer
}
