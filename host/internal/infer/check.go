package infer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// Bounds of a request.
const (
	DefaultTokens = 1024      // of an answer, when a request names no number
	MaxTokens     = 1 << 20   // that a request may name
	MaxPrompt     = 8 << 20   // bytes of all text of one request
	MaxMessages   = 4096      // turns of a chat
	MaxStops      = 16        // stop texts, of 256 bytes each
	MaxForm       = 256 << 10 // bytes of a schema or grammar
	MaxTexts      = 2048      // texts of one Embed, documents of one Rerank
)

var roles = map[string]bool{"system": true, "user": true, "assistant": true}

// Check says what is wrong with a request, before anything is spent on it. The error has code Invalid or TooLarge and names
// the field as JSON names it.
func (r *Request) Check() error {
	if err := r.Prompt.check("generate"); err != nil {
		return err
	}
	if r.MaxTokens < 0 || r.MaxTokens > MaxTokens {
		return abi.Errorf(abi.Invalid, `generate: "max_tokens" %d is not 1 to %d`, r.MaxTokens, MaxTokens)
	}
	if err := r.Params.check(); err != nil {
		return err
	}
	return r.Form.check()
}

func (p *Prompt) check(doing string) error {
	size := len(p.Text)
	switch {
	case p.Text != "" && p.Messages != nil:
		return abi.Errorf(abi.Invalid, `%s: "prompt" and "messages" are both there; give one`, doing)
	case p.Text == "" && len(p.Messages) == 0:
		return abi.Errorf(abi.Invalid, `%s: there is no "prompt" and there are no "messages"`, doing)
	case len(p.Messages) > MaxMessages:
		return abi.Errorf(abi.TooLarge, "%s: %d messages, at most %d", doing, len(p.Messages), MaxMessages)
	}
	for i := range p.Messages {
		m := &p.Messages[i]
		if !roles[m.Role] {
			return abi.Errorf(abi.Invalid, `%s: "messages[%d].role" %.40q is not system, user or assistant`, doing, i, m.Role)
		}
		size += len(m.Text)
		if !utf8.ValidString(m.Text) {
			return abi.Errorf(abi.Invalid, `%s: "messages[%d].content" is not UTF-8`, doing, i)
		}
	}
	if size > MaxPrompt {
		return abi.Errorf(abi.TooLarge, "%s: %d bytes of text, at most %d", doing, size, MaxPrompt)
	}
	if !utf8.ValidString(p.Text) {
		return abi.Errorf(abi.Invalid, `%s: "prompt" is not UTF-8`, doing)
	}
	return nil
}

func (p *Params) check() error {
	for _, f := range []struct {
		name     string
		v        *float64
		min, max float64
	}{
		{"temperature", p.Temperature, 0, 2}, {"top_p", p.TopP, 0, 1}, {"min_p", p.MinP, 0, 1}, {"repeat_penalty", p.RepeatPenalty, 0, 10},
		{"frequency_penalty", p.FrequencyPenalty, -2, 2}, {"presence_penalty", p.PresencePenalty, -2, 2},
	} {
		if f.v != nil && !(*f.v >= f.min && *f.v <= f.max) { // a NaN is neither
			return abi.Errorf(abi.Invalid, "generate: %q %v is not %v to %v", f.name, *f.v, f.min, f.max)
		}
	}
	if p.TopK != nil && (*p.TopK < 0 || *p.TopK > 1<<20) {
		return abi.Errorf(abi.Invalid, `generate: "top_k" %d is not 0 to %d`, *p.TopK, 1<<20)
	}
	if len(p.Stop) > MaxStops {
		return abi.Errorf(abi.TooLarge, `generate: %d texts in "stop", at most %d`, len(p.Stop), MaxStops)
	}
	for i, s := range p.Stop {
		if s == "" || len(s) > 256 || !utf8.ValidString(s) {
			return abi.Errorf(abi.Invalid, `generate: "stop[%d]" is not text of 1 to 256 bytes`, i)
		}
	}
	return nil
}

func (f *Form) check() error {
	switch {
	case len(f.Schema) > 0 && f.Grammar != "":
		return abi.Errorf(abi.Invalid, `generate: "schema" and "grammar" are both there; give one`)
	case len(f.Schema) > MaxForm || len(f.Grammar) > MaxForm:
		return abi.Errorf(abi.TooLarge, "generate: a form of more than %d bytes", MaxForm)
	case len(f.Schema) > 0 && (!json.Valid(f.Schema) || !strings.HasPrefix(strings.TrimSpace(string(f.Schema)), "{")):
		return abi.Errorf(abi.Invalid, `generate: "schema" is not a JSON object`)
	}
	return nil
}

func checkTexts(doing, what string, texts []string) error {
	if len(texts) == 0 || len(texts) > MaxTexts {
		return abi.Errorf(abi.Invalid, "%s: %d %s, 1 to %d are allowed", doing, len(texts), what, MaxTexts)
	}
	size := 0
	for i, t := range texts {
		size += len(t)
		if t == "" || !utf8.ValidString(t) {
			return abi.Errorf(abi.Invalid, "%s: %s %d is empty or not UTF-8", doing, what, i)
		}
	}
	if size > MaxPrompt {
		return abi.Errorf(abi.TooLarge, "%s: %d bytes of text, at most %d", doing, size, MaxPrompt)
	}
	return nil
}

// TooLong is the error of a prompt that the context cannot hold. Zero counts are unknown.
func TooLong(model string, o Overflow) error {
	says := "more tokens than"
	if o.Prompt > 0 {
		says = fmt.Sprintf("%d tokens, and", o.Prompt)
	}
	return abi.Errorf(abi.TooLarge, "ask model %q: the prompt has %s the context holds %d", model, says, o.Context).
		WithHint("shorten the prompt, or raise \"context\" in the model's profile").WithDetail(o)
}

// Lacks is the error of an ability that a model does not have.
func Lacks(i Info, what string) error {
	return abi.Errorf(abi.Unsupported, "ask model %q: %s does not %s here", i.Model, i.Name, what).
		WithHint("choose a model that does: arw model list")
}
