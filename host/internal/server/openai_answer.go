package server

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
)

// usage of tokens as the host's own answers have it.
type usage struct {
	Prompt int64 `json:"prompt_tokens"`
	Cached int64 `json:"cached_tokens"`
	Output int64 `json:"completion_tokens"`
}

func (u usage) wire() *api.OpenAIUsage {
	w := &api.OpenAIUsage{Prompt: u.Prompt, Output: u.Output, Total: u.Prompt + u.Output}
	w.Details.Cached = u.Cached
	return w
}

// generated is the output of infer.generate.
type generated struct {
	Model  string `json:"model"`
	Text   string `json:"text"`
	Finish string `json:"finish_reason"`
	Usage  usage  `json:"usage"`
}

// form is what tells chats and completions apart.
type form struct {
	chat                    bool
	prefix, object, object2 string // of ids, of an answer, of a chunk
}

var (
	chatForm = form{true, "chatcmpl-", "chat.completion", "chat.completion.chunk"}
	textForm = form{false, "cmpl-", "text_completion", "text_completion"}
)

func (f form) head(a action.Action, object, model string) api.OpenAIAnswer {
	return api.OpenAIAnswer{ID: f.prefix + a.ID, Object: object, Created: a.Created.Unix(), Model: model, Choices: []api.OpenAIChoice{}}
}

// whole is an answer in one piece.
func (f form) whole(a action.Action, g generated) api.OpenAIAnswer {
	out := f.head(a, f.object, g.Model)
	choice := api.OpenAIChoice{Finish: &g.Finish}
	if f.chat {
		choice.Message = &api.OpenAIMessage{Role: "assistant", Text: &g.Text}
	} else {
		choice.Text = &g.Text
	}
	out.Choices, out.Usage = append(out.Choices, choice), g.Usage.wire()
	return out
}

// chunks writes an answer piece by piece.
type chunks struct {
	form
	w     *bufio.Writer
	act   action.Action
	model string
	usage bool
	pace  *pace
}

func (ch *chunks) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return ch.raw("data: " + string(text) + "\n\n")
}

func (ch *chunks) raw(text string) error {
	_, err := ch.w.WriteString(text)
	return errors.Join(err, ch.w.Flush())
}

func (ch *chunks) pulse() error { return ch.raw(": keep-alive\n\n") }

func (ch *chunks) choice(c api.OpenAIChoice) error {
	out := ch.head(ch.act, ch.object2, ch.model)
	out.Choices = append(out.Choices, c)
	return ch.send(out)
}

// begin names the role, as chats do.
func (ch *chunks) begin() error {
	if !ch.chat {
		return ch.w.Flush()
	}
	return ch.choice(api.OpenAIChoice{Delta: &api.OpenAIMessage{Role: "assistant", Text: new("")}})
}

func (ch *chunks) text(text string) error {
	defer ch.pace.part()
	if ch.chat {
		return ch.choice(api.OpenAIChoice{Delta: &api.OpenAIMessage{Text: &text}})
	}
	return ch.choice(api.OpenAIChoice{Text: &text})
}

func (ch *chunks) end(g generated) error {
	ch.model = g.Model
	last := api.OpenAIChoice{Finish: &g.Finish, Text: new("")}
	if ch.chat {
		last.Text, last.Delta = nil, &api.OpenAIMessage{}
	}
	err := ch.choice(last)
	if err == nil && ch.usage {
		out := ch.head(ch.act, ch.object2, g.Model)
		out.Usage = g.Usage.wire()
		err = ch.send(out)
	}
	return errors.Join(err, ch.raw("data: [DONE]\n\n"))
}

// embedded is the output of infer.embed.
type embedded struct {
	Model   string      `json:"model"`
	Vectors [][]float32 `json:"vectors"`
	Usage   usage       `json:"usage"`
}

func (e embedded) list(packed bool) api.OpenAIVectors {
	out := api.OpenAIVectors{Object: "list", Model: e.Model, Data: []api.OpenAIVector{}}
	out.Usage.Prompt, out.Usage.Total = e.Usage.Prompt, e.Usage.Prompt
	for i, v := range e.Vectors {
		one := api.OpenAIVector{Object: "embedding", Index: i, Embedding: v}
		if packed {
			var raw []byte
			for _, x := range v {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
			}
			one.Embedding = base64.StdEncoding.EncodeToString(raw)
		}
		out.Data = append(out.Data, one)
	}
	return out
}

// openAIError gives an error OpenAI's shape. The codes are the host's own, but for the two that clients look for.
func openAIError(err error) (status int, body api.OpenAIError) {
	p := api.ProblemOf(err, "")
	status = p.Status
	body.Error.Message, body.Error.Code, body.Error.Type = err.Error(), p.Code, "invalid_request_error"
	if hint := abi.HintOf(err); hint != "" {
		body.Error.Message += "; " + hint
	}
	switch {
	case status == 401:
		body.Error.Type, body.Error.Code = "authentication_error", "invalid_api_key"
	case status == 403:
		body.Error.Type = "permission_error"
	case status == 429:
		body.Error.Type = "rate_limit_error"
	case status >= 500:
		body.Error.Type = "server_error"
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		if at, ok := e.Detail.(param); ok {
			if body.Error.Param = &at.Name; e.Code == abi.Unsupported {
				status, body.Error.Type, body.Error.Code = 400, "invalid_request_error", "unsupported_parameter"
			}
		}
	}
	if abi.CodeOf(err) == abi.Internal {
		body.Error.Message = p.Detail
	}
	return status, body
}
