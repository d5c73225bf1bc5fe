package api

import "time"

// InferEvent is the body of infer.done, infer.failed and infer.refused. Numbers of what failed say how far it came.
type InferEvent struct {
	Kind       string `json:"kind"`            // "infer.generate"
	Model      string `json:"model,omitempty"` // absent: none was found
	Engine     string `json:"engine,omitempty"`
	EngineKind string `json:"engine_kind,omitempty"` // lexical or neural
	Prompt     int64  `json:"prompt_tokens"`
	Cached     int64  `json:"cached_tokens"` // those of the prompt that were not computed
	Output     int64  `json:"completion_tokens"`
	Doubtful   bool   `json:"doubtful,omitempty"` // counted by the host, since the runtime's count cannot be true
	MS         int64  `json:"ms"`                 // from the start of the action, waiting for the runtime included
	Money      int64  `json:"usd_micros"`
	Code       string `json:"code,omitempty"` // why it failed
}

// PullModel is the input of an action models.pull. The digest is known beforehand, from a source that is trusted more than
// the one that sends the file.
type PullModel struct {
	Name    string `json:"name"`
	URL     string `json:"url"` // https
	Digest  string `json:"digest"`
	Profile string `json:"profile"` // of runtimes.toml
	License string `json:"license,omitempty"`
	Source  string `json:"source,omitempty"`
	Default bool   `json:"default,omitempty"`
	// Also are entries of an http scope for places that the address leads on to: nothing else is reached.
	Also []string `json:"also,omitempty"`
}

// ModelFile is the body of models.pull.progress, models.pulled, models.pull.failed and models.swept.
type ModelFile struct {
	Name   string `json:"name,omitempty"`
	Digest string `json:"digest"`
	Source string `json:"source,omitempty"` // without a query
	Done   int64  `json:"bytes_done"`
	Total  int64  `json:"bytes"` // -1: unknown yet
	Code   string `json:"code,omitempty"`
}

// RuntimeAsk is the input of the actions runtimes.*: start names a Model (empty is the default), stop and logs an ID.
type RuntimeAsk struct {
	Model string `json:"model,omitempty"`
	ID    string `json:"id,omitempty"`
}

// RuntimeMatrix is the document "runtime_matrix".
type RuntimeMatrix struct {
	Severity string                 `json:"severity"` // the worst of all: ok, warning or error
	Reason   string                 `json:"reason,omitempty"`
	States   map[string]int         `json:"states"` // how many are in each
	Items    map[string]RuntimeCell `json:"items"`  // by id, those that were asked for since the start
}

// RuntimeCell is how one runtime is.
type RuntimeCell struct {
	State       string        `json:"state"` // starting, ready, draining, stopped or failed
	Severity    string        `json:"severity"`
	Reason      string        `json:"reason,omitempty"`
	Model       string        `json:"model"` // digest
	Profile     string        `json:"profile"`
	Runtime     string        `json:"runtime"`
	Accelerator string        `json:"accelerator"` // cpu or gpu, as the profile asks
	Generation  int           `json:"generation"`
	Restarts    RestartBudget `json:"restart_budget"`
}

// RestartBudget is how often a runtime may fail before it rests.
type RestartBudget struct {
	Max       int       `json:"max"`
	Used      int       `json:"used"`
	Remaining int       `json:"remaining"`
	WindowMS  int64     `json:"window_ms"`
	Rests     time.Time `json:"rests_until,omitzero"`
}

// ModelUsage adds up what models were asked, by whom and of what. It is the document "usage".
type ModelUsage struct {
	Total    UsageSum            `json:"total"`
	Models   map[string]UsageSum `json:"models,omitempty"`
	Packs    map[string]UsageSum `json:"packs,omitempty"`
	Projects map[string]UsageSum `json:"projects,omitempty"`
	Actors   map[string]UsageSum `json:"actors,omitempty"` // as journals name them: "operator", "person:NAME", "agent:NAME"
	Days     map[string]UsageSum `json:"days,omitempty"`   // UTC: "2026-01-31"
}

// UsageSum adds up events infer.*.
type UsageSum struct {
	Calls   int64 `json:"calls"`   // infer.done
	Failed  int64 `json:"failed"`  // infer.failed
	Refused int64 `json:"refused"` // infer.refused
	Prompt  int64 `json:"prompt_tokens"`
	Cached  int64 `json:"cached_tokens"`
	Output  int64 `json:"completion_tokens"`
	MS      int64 `json:"ms"`
	Money   int64 `json:"usd_micros"`
}

// What follows is OpenAI's dialect, as far as the host speaks it; docs/spec/http.md says how far that is.

// OpenAIAnswer is an answer or a chunk of one.
type OpenAIAnswer struct {
	ID      string         `json:"id"`
	Object  string         `json:"object"`
	Created int64          `json:"created"` // seconds since 1970
	Model   string         `json:"model"`
	Choices []OpenAIChoice `json:"choices"`
	Usage   *OpenAIUsage   `json:"usage,omitempty"`
}

// OpenAIChoice has a Message (chat), a Delta (chunk of a chat) or a Text (completion).
type OpenAIChoice struct {
	Index    int            `json:"index"`
	Message  *OpenAIMessage `json:"message,omitempty"`
	Delta    *OpenAIMessage `json:"delta,omitempty"`
	Text     *string        `json:"text,omitempty"`
	Logprobs *struct{}      `json:"logprobs"` // always null
	Finish   *string        `json:"finish_reason"`
}

// OpenAIMessage is a turn, or a piece of one.
type OpenAIMessage struct {
	Role string  `json:"role,omitempty"`
	Text *string `json:"content,omitempty"`
}

// OpenAIUsage counts tokens.
type OpenAIUsage struct {
	Prompt  int64 `json:"prompt_tokens"`
	Output  int64 `json:"completion_tokens"`
	Total   int64 `json:"total_tokens"`
	Details struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// OpenAIVectors are embeddings.
type OpenAIVectors struct {
	Object string         `json:"object"`
	Data   []OpenAIVector `json:"data"`
	Model  string         `json:"model"`
	Usage  struct {
		Prompt int64 `json:"prompt_tokens"`
		Total  int64 `json:"total_tokens"`
	} `json:"usage"`
}

// OpenAIVector is one of them: numbers, or the base64 of 32-bit floats, the lowest byte first.
type OpenAIVector struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
}

// OpenAIModels names models.
type OpenAIModels struct {
	Object string        `json:"object"`
	Data   []OpenAIModel `json:"data"`
}

// OpenAIModel is one of them.
type OpenAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// OpenAIError is how a request under /v1 fails. Code is one of the host's own, "unsupported_parameter" or "invalid_api_key".
type OpenAIError struct {
	Error struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	} `json:"error"`
}
