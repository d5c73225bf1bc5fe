package abi

import "encoding/json"

// MaxInferTexts bounds the texts of one infer.embed and the documents of one infer.rerank.
const MaxInferTexts = 2048

// InferMessage is one turn of a chat; Role is system, user or assistant.
type InferMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// InferRequest asks a model for text: Prompt is to be continued, or Messages are to be answered, never both. An empty Model is
// the host's default; zero MaxTokens is the host's default, other fields left out are the runtime's choice. Of Schema (a JSON
// Schema) and Grammar (in the runtime's notation) one at most says what the answer must look like. The last three bound this
// request within the lease: tokens of prompt and answer together, millionths of a US dollar, and time.
type InferRequest struct {
	Model            string          `json:"model,omitempty"`
	Prompt           string          `json:"prompt,omitempty"`
	Messages         []InferMessage  `json:"messages,omitempty"`
	MaxTokens        int             `json:"max_tokens,omitempty"`
	Seed             *int64          `json:"seed,omitempty"`
	Temperature      *float64        `json:"temperature,omitempty"`
	TopP             *float64        `json:"top_p,omitempty"`
	TopK             *int            `json:"top_k,omitempty"`
	MinP             *float64        `json:"min_p,omitempty"`
	RepeatPenalty    *float64        `json:"repeat_penalty,omitempty"`
	FrequencyPenalty *float64        `json:"frequency_penalty,omitempty"`
	PresencePenalty  *float64        `json:"presence_penalty,omitempty"`
	Stop             []string        `json:"stop,omitempty"`
	Schema           json.RawMessage `json:"schema,omitempty"`
	Grammar          string          `json:"grammar,omitempty"`
	BudgetTokens     int64           `json:"budget_tokens,omitempty"`
	BudgetUSDMicros  int64           `json:"budget_usd_micros,omitempty"`
	TimeoutMS        int64           `json:"timeout_ms,omitempty"`
}

// InferEngine says what made a result: Engine names it, Kind is "neural" or "lexical", Model is the host's name.
type InferEngine struct {
	Engine string `json:"engine"`
	Kind   string `json:"engine_kind"`
	Model  string `json:"model"`
}

// InferStream is an answer that has begun. Handle is where its text is read.
type InferStream struct {
	Handle uint32 `json:"handle"`
	InferEngine
}

// InferUsage counts tokens; Cached of the Prompt tokens were not computed. Doubtful counts are the host's own, since the
// runtime's cannot be true.
type InferUsage struct {
	Prompt   int64 `json:"prompt_tokens"`
	Cached   int64 `json:"cached_tokens"`
	Output   int64 `json:"completion_tokens"`
	Doubtful bool  `json:"doubtful,omitempty"`
}

// InferResult is how an answer ended: Finish is "stop" or "length", USDMicros what it cost.
type InferResult struct {
	InferEngine
	Finish    string     `json:"finish_reason"`
	Usage     InferUsage `json:"usage"`
	USDMicros int64      `json:"usd_micros"`
}

// InferEmbed asks for one vector per text.
type InferEmbed struct {
	Model string   `json:"model,omitempty"`
	Texts []string `json:"texts"`
}

// InferVectors are vectors of one engine, in the order of the texts. Those of different engines must not be compared.
type InferVectors struct {
	InferEngine
	Vectors [][]float32 `json:"vectors"`
	Usage   InferUsage  `json:"usage"`
}

// InferRerank asks how well documents fit a query.
type InferRerank struct {
	Model     string   `json:"model,omitempty"`
	Query     string   `json:"query"`
	Documents []string `json:"documents"`
}

// InferScores has one score per document, in their order; a higher one fits better. They compare within one answer only.
type InferScores struct {
	InferEngine
	Scores []float64  `json:"scores"`
	Usage  InferUsage `json:"usage"`
}

// InferTokenize asks for the tokens of a prompt or a chat as the model would read it; with Count only for their number.
type InferTokenize struct {
	Model    string         `json:"model,omitempty"`
	Prompt   string         `json:"prompt,omitempty"`
	Messages []InferMessage `json:"messages,omitempty"`
	Count    bool           `json:"count,omitempty"`
}

// InferTokens are tokens of a model's own numbering; Tokens is left out where only the number was asked for.
type InferTokens struct {
	InferEngine
	Tokens []int32 `json:"tokens,omitempty"`
	Count  int     `json:"count"`
}
