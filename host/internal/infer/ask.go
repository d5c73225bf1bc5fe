package infer

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// maxAnswer bounds the text of one answer, in bytes; maxPerToken the mean size of a token before the answer counts as a flood.
const (
	maxAnswer   = 16 << 20
	maxPerToken = 256
)

// Generate asks a model and holds it to the request. Parts arrive as the model gives them; the last has Finish and Usage.
//
// Errors beside the adapter's: Invalid and TooLarge (Request.Check), Unsupported, BudgetExhausted when the next token is not
// covered by Budget (what was generated until then has been given), Deadline when its time is over, Unavailable for a runtime
// that gives more than was asked for, and ToolFailed with detail {"finish_reason"} when a form was asked for and the answer was
// cut off or does not have it. Leaving the loop cancels the request.
func Generate(ctx context.Context, m Model, req *Request) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		if err := req.Check(); err != nil {
			yield(Part{}, err)
			return
		}
		info := m.Info()
		if err := able(info, req); err != nil {
			yield(Part{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		if req.Budget.Time > 0 {
			ctx, cancel = context.WithTimeoutCause(ctx, req.Budget.Time, outOfTime(info.Model, req.Budget.Time))
		}
		defer cancel()
		w := newWatch(info.Model, req)
		sent := *req
		sent.MaxTokens = int(w.max)
		ended := false
		for part, err := range m.Generate(ctx, &sent) {
			if err == nil {
				err = w.see(&part)
			}
			if err != nil {
				yield(Part{}, because(ctx, err))
				return
			}
			if ended = part.Finish != ""; !yield(part, nil) || ended {
				return
			}
		}
		if !ended {
			yield(Part{}, because(ctx, abi.Errorf(abi.Unavailable, "ask model %q: the answer broke off before its end", info.Model)))
		}
	}
}

func outOfTime(model string, d time.Duration) error {
	return abi.Errorf(abi.Deadline, "ask model %q: the call's time of %v is over", model, d)
}

// because prefers why a context ended to how an adapter noticed it.
func because(ctx context.Context, err error) error {
	if cause, ok := errors.AsType[*abi.Error](context.Cause(ctx)); ok {
		return cause
	}
	return err
}

func able(i Info, r *Request) error {
	switch {
	case !i.Can.Generate:
		return Lacks(i, "generate text")
	case r.Messages != nil && !i.Can.Chat:
		return Lacks(i, "answer chats")
	case len(r.Schema) > 0 && !i.Can.Schema:
		return Lacks(i, "hold answers to a schema")
	case r.Grammar != "" && !i.Can.Grammar:
		return Lacks(i, "hold answers to a grammar")
	}
	return nil
}

// watch counts an answer as it comes.
type watch struct {
	model string
	req   *Request
	max   int64 // tokens
	parts int64 // with text: each is a token at least
	bytes int64
	text  strings.Builder // kept only when a form was asked for
}

func newWatch(model string, req *Request) *watch {
	w := &watch{model: model, req: req, max: int64(req.MaxTokens)}
	if w.max == 0 {
		w.max = DefaultTokens
	}
	if b := req.Budget.Tokens; b > 0 {
		w.max = min(w.max, b)
	}
	if b := req.Budget; b.Money > 0 && b.Price.Out > 0 {
		w.max = max(1, min(w.max, b.Money*1_000_000/b.Price.Out))
	}
	return w
}

func (w *watch) see(p *Part) error {
	if p.Text != "" {
		w.parts++
		w.bytes += int64(len(p.Text))
	}
	if w.parts > w.max || w.bytes > maxAnswer || w.bytes > 4096+w.max*maxPerToken {
		return abi.Errorf(abi.Unavailable, "ask model %q: the runtime gives more than the %d tokens it was asked for", w.model, w.max).
			WithHint("the request was cancelled; look at the runtime: arw runtime logs")
	}
	if w.req.Asked() {
		w.text.WriteString(p.Text)
	}
	if p.Finish == "" {
		p.Usage = nil
		return nil
	}
	w.settle(p)
	if err := w.afford(p.Usage); err != nil {
		return err
	}
	return w.formed(p.Finish)
}

// settle makes the usage one that can be true: what was seen here is the least, what was asked for the most.
func (w *watch) settle(p *Part) {
	u := Usage{Output: w.parts, Doubtful: true}
	if p.Usage != nil {
		u = *p.Usage
	}
	sound := u.Output >= w.parts && u.Output <= w.max && u.Prompt >= 0 && u.Prompt <= MaxPrompt && u.Cached >= 0 && u.Cached <= u.Prompt
	if !sound {
		u.Doubtful = true
		u.Output = max(w.parts, min(u.Output, w.max))
		// A token is a byte at least, beside what a template adds: no honest prompt has more.
		u.Prompt = max(0, min(u.Prompt, w.req.Prompt.mostTokens()))
		u.Cached = max(0, min(u.Cached, u.Prompt))
	}
	p.Usage = &u
}

// MostTokens are the most that a request can take, in and out, whatever the model.
func (r *Request) MostTokens() (in, out int64) {
	if out = int64(r.MaxTokens); out == 0 {
		out = DefaultTokens
	}
	return r.Prompt.mostTokens(), out
}

func (p *Prompt) mostTokens() int64 {
	n := int64(len(p.Text)) + 64
	for i := range p.Messages {
		n += int64(len(p.Messages[i].Text)) + 64
	}
	return n
}

func (w *watch) afford(u *Usage) error {
	b := w.req.Budget
	if spent := u.Prompt + u.Output; b.Tokens > 0 && spent > b.Tokens {
		return abi.Errorf(abi.BudgetExhausted, "ask model %q: it took %d tokens, the budget of the call was %d", w.model, spent, b.Tokens).WithDetail(u)
	}
	if cost := b.Price.Of(u.Prompt, u.Output); b.Money > 0 && cost > b.Money {
		return abi.Errorf(abi.BudgetExhausted, "ask model %q: it cost %d millionths of a USD, the budget of the call was %d", w.model, cost, b.Money).WithDetail(u)
	}
	return nil
}

// formed refuses an answer without the form that was asked for. A runtime holds its tokens to the schema, but nothing makes
// it close what it opened before its tokens run out.
func (w *watch) formed(f Finish) error {
	if !w.req.Asked() {
		return nil
	}
	detail := map[string]any{"finish_reason": f}
	if f != Stopped {
		return abi.Errorf(abi.ToolFailed, "ask model %q: the answer was cut off before it had the form that was asked for", w.model).
			WithHint("raise max_tokens, or ask for a smaller form").WithDetail(detail)
	}
	if len(w.req.Schema) > 0 && !json.Valid([]byte(w.text.String())) {
		return abi.Errorf(abi.ToolFailed, "ask model %q: the answer is not JSON", w.model).WithDetail(detail)
	}
	return nil
}

// Collect ranges over an answer and gives it as a whole.
func Collect(e Engine, parts iter.Seq2[Part, error]) (Answer, error) {
	a := Answer{Engine: e}
	var text strings.Builder
	for p, err := range parts {
		if err != nil {
			return Answer{}, err
		}
		text.WriteString(p.Text)
		if p.Finish != "" {
			if a.Finish = p.Finish; p.Usage != nil {
				a.Usage = *p.Usage
			}
		}
	}
	a.Text = text.String()
	return a, nil
}

// Embed gives one vector per text, of one width and of finite numbers. Errors: Invalid, TooLarge, Unsupported, the adapter's;
// Unavailable for vectors that are none.
func Embed(ctx context.Context, m Model, texts []string) (Vectors, error) {
	info := m.Info()
	if err := checkTexts("embed", "texts", texts); err != nil {
		return Vectors{}, err
	}
	if !info.Can.Embed {
		return Vectors{}, Lacks(info, "embed")
	}
	v, err := m.Embed(ctx, texts)
	if err != nil {
		return Vectors{}, err
	}
	if len(v.Values) != len(texts) {
		return Vectors{}, abi.Errorf(abi.Unavailable, "embed with %q: %d vectors for %d texts", info.Model, len(v.Values), len(texts))
	}
	for i, row := range v.Values {
		if len(row) == 0 || len(row) != len(v.Values[0]) {
			return Vectors{}, abi.Errorf(abi.Unavailable, "embed with %q: vector %d has %d numbers, the first has %d", info.Model, i, len(row), len(v.Values[0]))
		}
		for _, x := range row {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return Vectors{}, abi.Errorf(abi.Unavailable, "embed with %q: vector %d holds a number that is none", info.Model, i)
			}
		}
	}
	return v, nil
}

// Rerank gives one finite score per document. Errors as for Embed.
func Rerank(ctx context.Context, m Model, query string, documents []string) (Scores, error) {
	info := m.Info()
	if err := checkTexts("rerank", "documents", documents); err != nil {
		return Scores{}, err
	}
	if err := checkTexts("rerank", "query", []string{query}); err != nil {
		return Scores{}, err
	}
	if !info.Can.Rerank {
		return Scores{}, Lacks(info, "rerank")
	}
	s, err := m.Rerank(ctx, query, documents)
	if err != nil {
		return Scores{}, err
	}
	if len(s.Values) != len(documents) {
		return Scores{}, abi.Errorf(abi.Unavailable, "rerank with %q: %d scores for %d documents", info.Model, len(s.Values), len(documents))
	}
	for i, x := range s.Values {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return Scores{}, abi.Errorf(abi.Unavailable, "rerank with %q: score %d is no number", info.Model, i)
		}
	}
	return s, nil
}

// Tokenize gives the tokens of a prompt. Errors: Invalid, TooLarge, Unsupported, the adapter's.
func Tokenize(ctx context.Context, m Model, p Prompt) ([]int32, error) {
	if err := p.check("tokenize"); err != nil {
		return nil, err
	}
	if info := m.Info(); !info.Can.Tokenize {
		return nil, Lacks(info, "tokenize")
	}
	return m.Tokenize(ctx, p)
}

// Count is the number of tokens of a prompt, as the runtime would read it. Errors as for Tokenize.
func Count(ctx context.Context, m Model, p Prompt) (int, error) {
	tokens, err := Tokenize(ctx, m, p)
	return len(tokens), err
}
